//! Types that the first rows of a source told, and that later rows do not fit.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ropewalk_connectors::ConnectorError;

use super::super::appending::Previous;
use super::super::schema::TableSchema;
use super::partition::ReadPartition;
use crate::{IngestError, IngestSettings, Source};

/// How often everything is read again. Where each time another column is found that was told wrong, such as in documents
/// whose names of fields are values, the import has to end.
pub(super) const ROUNDS: usize = 16;

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
    format!(
        "more rows than `type_tolerance` accepts do not fit what the first ones told of {}: everything is read again, and \
         every row tells",
        named(wide)
    )
}

/// Says that the first rows tell otherwise than the version `previous`, which more of them told.
pub(super) fn told_before(wide: &BTreeSet<String>, previous: &str) -> String {
    format!("the first rows tell other types of {} than {previous} has: every row tells", named(wide))
}

fn named(columns: &BTreeSet<String>) -> String {
    columns.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The columns of which more values than is accepted do not fit, of all rows of the version; none when all types hold.
/// Those of `known` were told by all rows already.
pub(super) fn misfitting(
    parts: &Result<Vec<ReadPartition>, IngestError>,
    schema: &TableSchema,
    previous: Option<&Previous>,
    settings: &IngestSettings,
    known: &BTreeSet<String>,
) -> Option<BTreeSet<String>> {
    let names: HashSet<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    let wide: BTreeSet<String> = match parts {
        Ok(parts) => {
            let misfits = rows_by_column(parts, &names);
            let is_wide = |(name, rows): &(&str, u64)| {
                let (values, before) = values(name, parts, schema, previous);
                (rows + before) as f64 > settings.type_tolerance * (values + rows) as f64
            };
            misfits.into_iter().filter(is_wide).map(|(name, _)| name.to_owned()).collect()
        }
        // So many that the source has not even come to its end.
        Err(IngestError::Connector(ConnectorError::TooManyMisfits { example, .. })) => {
            BTreeSet::from([top(&example.column, &names).to_owned()])
        }
        Err(_) => return None,
    };
    // What is no document at all has no column.
    let wide: BTreeSet<_> = wide.into_iter().filter(|name| !name.is_empty() && !known.contains(name)).collect();
    (!wide.is_empty()).then_some(wide)
}

/// The column of the table, one of `names`, that the `place` lies in: names may have dots of their own. What lies in none
/// is a column that the table lacks.
fn top<'a>(place: &'a str, names: &HashSet<&str>) -> &'a str {
    let ends = std::iter::once(place.len()).chain(place.rmatch_indices('.').map(|(dot, _)| dot));
    ends.map(|end| &place[..end]).find(|name| names.contains(name)).unwrap_or(place)
}

/// How many rows do not fit a column, for each that has any.
fn rows_by_column<'a>(parts: &'a [ReadPartition], names: &HashSet<&str>) -> BTreeMap<&'a str, u64> {
    let mut rows: BTreeMap<&'a str, u64> = BTreeMap::new();
    for part in parts {
        // A row may have several misfits in one column of lists or documents.
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for misfit in &part.written.outcome.quarantine {
            let Some(column) = misfit.column.as_deref().map(|place| top(place, names)) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_dots() {
        let names = HashSet::from(["user", "user.name", "at"]);
        for (place, column) in
            [("user.name", "user.name"), ("user.name.first", "user.name"), ("user.age", "user"), ("at.item.x", "at")]
        {
            assert_eq!(top(place, &names), column);
        }
        assert_eq!(top("new.field", &names), "new.field", "the table lacks it");
    }
}
