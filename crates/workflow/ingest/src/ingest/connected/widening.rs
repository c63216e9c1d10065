//! Types that the first rows of a source told, and that later rows do not fit.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_connectors::ConnectorError;

use super::super::appending::Previous;
use super::super::schema::TableSchema;
use super::partition::ReadPartition;
use crate::{IngestError, IngestSettings, Source};

/// Whether the first rows of a source tell its types, not a declaration that holds.
pub(super) fn is_guessed(source: &Source) -> bool {
    match source {
        Source::Sql(request) => request.url.starts_with("sqlite:"),
        Source::Documents(_) | Source::JsonApi(_) => true,
        Source::Files(_) | Source::Remote(_) => false,
    }
}

/// Has all rows decide the columns `wide`.
pub(super) fn widen(source: &mut Source, wide: BTreeSet<String>) {
    match source {
        Source::Sql(request) => request.inferred_whole = wide,
        Source::Documents(request) => request.inferred_whole = wide,
        Source::JsonApi(request) => request.inferred_whole = wide,
        Source::Files(_) | Source::Remote(_) => {}
    }
}

/// Says that everything is read again.
pub(super) fn told_again(wide: &BTreeSet<String>) -> String {
    let names: Vec<_> = wide.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "more rows than `type_tolerance` accepts do not fit what the first ones told of {}: everything is read again, and \
         every row tells",
        names.join(", ")
    )
}

/// The columns of which more values than is accepted do not fit, of all rows of the version; none when all types hold.
pub(super) fn misfitting(
    parts: &Result<Vec<ReadPartition>, IngestError>,
    schema: &TableSchema,
    previous: Option<&Previous>,
    settings: &IngestSettings,
) -> Option<BTreeSet<String>> {
    let wide: BTreeSet<String> = match parts {
        Ok(parts) => {
            let misfits = rows_by_column(parts);
            let is_wide = |(name, rows): &(&str, u64)| {
                let (values, before) = values(name, parts, schema, previous);
                (rows + before) as f64 > settings.type_tolerance * (values + rows) as f64
            };
            misfits.into_iter().filter(is_wide).map(|(name, _)| name.to_owned()).collect()
        }
        // So many that the source has not even come to its end.
        Err(IngestError::Connector(ConnectorError::TooManyMisfits { example, .. })) => {
            BTreeSet::from([top(&example.column).to_owned()])
        }
        Err(_) => return None,
    };
    // What is no document at all has no column.
    let wide: BTreeSet<_> = wide.into_iter().filter(|name| !name.is_empty()).collect();
    (!wide.is_empty()).then_some(wide)
}

/// The column of the table that the place `column` lies in.
fn top(column: &str) -> &str {
    column.split('.').next().unwrap_or(column)
}

/// How many rows do not fit a column, for each that has any.
fn rows_by_column(parts: &[ReadPartition]) -> BTreeMap<&str, u64> {
    let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
    for part in parts {
        // A row may have several misfits in one column of lists or documents.
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for misfit in &part.written.outcome.quarantine {
            let Some(column) = misfit.column.as_deref().map(top) else { continue };
            if last.insert(column, misfit.row) != Some(misfit.row) {
                *rows.entry(column).or_default() += 1;
            }
        }
    }
    rows
}

/// How many values the column `name` has with those of the previous version, beside the misfits of `parts`, and how many
/// misfits that version has. A column that the table lacks has as many values as there are rows.
fn values(name: &str, parts: &[ReadPartition], schema: &TableSchema, previous: Option<&Previous>) -> (u64, u64) {
    let place = schema.columns.iter().position(|column| column.name == name);
    let of_part = |part: &ReadPartition| {
        let outcome = &part.written.outcome;
        let nulls = place.and_then(|place| outcome.nulls.get(place)).copied().unwrap_or_default();
        outcome.rows.saturating_sub(nulls)
    };
    let values: u64 = parts.iter().map(of_part).sum();
    let Some(report) = previous.map(|previous| &previous.report) else { return (values, 0) };
    let column = report.columns.iter().find(|column| column.name == name);
    let (nulls, misfits) = column.map_or((0, 0), |column| (column.nulls, column.misfits));
    (values + report.rows.saturating_sub(nulls) + misfits, misfits)
}
