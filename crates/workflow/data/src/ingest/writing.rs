use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ropewalk_store::{Blob, Store};
use tempfile::NamedTempFile;

use super::cast::{CastJob, CastOutcome};
use super::limits::COLUMNS;
use super::quarantine::{Misfit, quarantine_write};
use super::reading::{Piece, Source};
use super::schema::TableSchema;
use super::{IngestProgress, IngestSettings};
use crate::blocking::blocking;
use crate::report::{ColumnReport, FileReport, REPORT_FORMAT};
use crate::scratch::Scratch;
use crate::{DataError, TableReport};

/// A table whose parts are in the store and whose tree is not made yet.
pub(crate) struct WrittenTable {
    pub(crate) parts: Vec<Blob>,
    pub(crate) quarantine: Option<NamedTempFile>,
    pub(crate) report: TableReport,
}

/// Casts every piece to the schema that fits them all.
pub(crate) async fn table_write(
    settings: &IngestSettings,
    source: &Source,
    pieces: &[Piece],
    store: &Store,
    progress: &dyn IngestProgress,
    scratch: &Arc<Scratch>,
) -> Result<WrittenTable, DataError> {
    let schema = TableSchema::unite(pieces.iter().map(|piece| &piece.summary), settings.type_tolerance);
    if schema.columns.is_empty() {
        let reason = format!("{} files were read and none has a column", pieces.len());
        return Err(DataError::Empty { source_name: source.shown.display().to_string(), reason });
    }
    if schema.columns.len() > COLUMNS {
        let reason = format!("its files have {} columns together, {COLUMNS} are accepted", schema.columns.len());
        return Err(DataError::Table { file: source.shown.display().to_string(), reason });
    }
    let schema = Arc::new(schema);
    let limit = settings.limits.quarantined_rows;
    let works: Vec<_> = source
        .files
        .iter()
        .zip(pieces)
        .map(|(file, piece)| {
            let schema = Arc::clone(&schema);
            async move {
                let (target, outcome) = part_cast(&file.name, piece, schema, limit, scratch).await?;
                let blob = store.put_file(target.path()).await?;
                progress.file_written(&file.name, outcome.rows);
                Ok::<_, DataError>((blob, outcome))
            }
        })
        .collect();
    let parts: Vec<(Blob, CastOutcome)> =
        stream::iter(works).buffered(settings.parallelism.get()).try_collect().await?;
    let (parts, mut outcomes): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let report = report(source, pieces, &schema, &outcomes);
    let misfits: Vec<Misfit> =
        outcomes.iter_mut().flat_map(|outcome| std::mem::take(&mut outcome.quarantine)).collect();
    if report.quarantined > limit {
        let example = misfits.last().map(Misfit::to_string).unwrap_or_default();
        let file = misfits.last().map(|last| last.file.clone()).unwrap_or_default();
        return Err(DataError::QuarantineFull { limit, file, example });
    }
    let quarantine = if misfits.is_empty() { None } else { Some(quarantine_file(misfits, scratch).await?) };
    Ok(WrittenTable { parts, quarantine, report })
}

async fn part_cast(
    name: &str,
    piece: &Piece,
    schema: Arc<TableSchema>,
    quarantine_limit: u64,
    scratch: &Arc<Scratch>,
) -> Result<(NamedTempFile, CastOutcome), DataError> {
    let (name, sheet) = (name.to_owned(), piece.summary.sheet.clone());
    let (reader, places, scratch) = (piece.reader()?, schema.places(&piece.summary), Arc::clone(scratch));
    blocking(move || {
        let target = scratch.file()?;
        let output = target.as_file().try_clone().map_err(DataError::stream("write a part"))?;
        let (file, sheet, arrow) = (name.as_str(), sheet.as_deref(), schema.arrow());
        let job = CastJob { file, sheet, schema: &schema, arrow, places, quarantine_limit };
        let outcome = job.run(reader, output)?;
        Ok((target, outcome))
    })
    .await
}

async fn quarantine_file(misfits: Vec<Misfit>, scratch: &Arc<Scratch>) -> Result<NamedTempFile, DataError> {
    let scratch = Arc::clone(scratch);
    blocking(move || {
        let target = scratch.file()?;
        let output = target.as_file().try_clone().map_err(DataError::stream("write the quarantine"))?;
        quarantine_write(&misfits, output)?;
        Ok(target)
    })
    .await
}

fn report(source: &Source, pieces: &[Piece], schema: &TableSchema, outcomes: &[CastOutcome]) -> TableReport {
    let total = |count: fn(&CastOutcome) -> u64| outcomes.iter().map(count).sum();
    let columns = schema.columns.iter().enumerate().map(|(place, column)| ColumnReport {
        name: column.name.clone(),
        data_type: column.column_type.to_string(),
        nulls: outcomes.iter().map(|outcome| outcome.nulls[place]).sum(),
        misfits: outcomes.iter().map(|outcome| outcome.misfits[place]).sum(),
        notes: column.notes.clone(),
    });
    let files = source.files.iter().zip(pieces).zip(outcomes).map(|((file, piece), outcome)| {
        let missing = schema.places(&piece.summary).into_iter().zip(&schema.columns);
        FileReport {
            name: file.name.clone(),
            digest: piece.digest,
            sheet: piece.summary.sheet.clone(),
            delimiter: piece.summary.delimiter.clone(),
            rows: outcome.rows,
            quarantined: outcome.quarantined,
            missing_columns: missing
                .filter(|(place, _)| place.is_none())
                .map(|(_, column)| column.name.clone())
                .collect(),
            notes: piece.summary.notes.clone(),
        }
    });
    TableReport {
        format: REPORT_FORMAT,
        rows: total(|outcome| outcome.rows),
        columns: columns.collect(),
        files: files.collect(),
        skipped: source.skipped.clone(),
        quarantined: total(|outcome| outcome.quarantined),
        empty_rows: pieces.iter().map(|piece| piece.summary.empty_rows).sum(),
        error_cells: pieces.iter().map(|piece| piece.summary.error_cells).sum(),
    }
}
