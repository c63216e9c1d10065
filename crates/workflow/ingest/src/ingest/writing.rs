use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ropewalk_store::{Blob, Store};
use ropewalk_types::Digest;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::NamedTempFile;

use super::cast::{batch_cast, cells_cast, chunk_cast};
use super::encoding::utf8_text;
use super::format::TableFormat;
use super::json::JsonFile;
use super::part_sink::{PartOutcome, PartSink};
use super::piece::{Chunk, READER_VERSION};
use super::quarantine::{Misfit, quarantine_write};
use super::reading::{Piece, PieceContent, piece_opened, text_stream};
use super::schema::{TableColumn, TableSchema};
use super::typed::TypedFile;
use super::{Checkpoints, IngestProgress, IngestSettings};
use crate::blocking::blocking;
use crate::report::{ColumnReport, FileReport, REPORT_FORMAT, Skipped};
use crate::scratch::Scratch;
use crate::workers::Workers;
use crate::{IngestError, TableReport};

/// A table whose parts are in the store and whose tree is not made yet.
pub(crate) struct WrittenTable {
    pub(crate) parts: Vec<Blob>,
    pub(crate) misfits: Vec<Misfit>,
    pub(crate) report: TableReport,
}

/// Where parts are written from and to.
#[derive(Clone, Copy)]
pub(crate) struct Writing<'a> {
    pub(crate) settings: &'a IngestSettings,
    pub(crate) store: &'a Store,
    pub(crate) checkpoints: &'a dyn Checkpoints,
    pub(crate) progress: &'a dyn IngestProgress,
    pub(crate) scratch: &'a Arc<Scratch>,
    pub(crate) workers: &'a Workers,
}

/// A part that is in the store: what a checkpoint of it keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WrittenPart {
    pub(crate) digest: Digest,
    size: u64,
    pub(crate) outcome: PartOutcome,
}

impl WrittenPart {
    pub(crate) fn new(blob: Blob, outcome: PartOutcome) -> Self {
        Self { digest: blob.digest, size: blob.size, outcome }
    }

    pub(crate) fn blob(&self) -> Blob {
        Blob { digest: self.digest, size: self.size }
    }
}

impl Writing<'_> {
    /// Writes a part for every piece, in the types of `schema`, some at the same time; each is a checkpoint.
    pub(crate) async fn table(
        self,
        pieces: Vec<Piece>,
        schema: TableSchema,
        skipped: Vec<Skipped>,
    ) -> Result<WrittenTable, IngestError> {
        let schema = Arc::new(schema);
        let described = schema_description(&schema);
        let works: Vec<_> = pieces
            .into_iter()
            .map(|piece| {
                let (piece, schema, described) = (Arc::new(piece), Arc::clone(&schema), &described);
                async move {
                    let part = self.part(&piece, schema, described).await?;
                    self.progress.file_written(&piece.name, part.outcome.rows);
                    Ok::<_, IngestError>((piece, part))
                }
            })
            .collect();
        let written: Vec<(Arc<Piece>, WrittenPart)> =
            stream::iter(works).buffered(self.settings.parallelism.get()).try_collect().await?;
        let report = report(&schema, &written, skipped);
        let parts = written.iter().map(|(_, part)| part.blob()).collect();
        let misfits: Vec<Misfit> = written.into_iter().flat_map(|(_, part)| part.outcome.quarantine).collect();
        check_quarantine(&misfits, report.quarantined, self.settings.limits.quarantined_rows)?;
        Ok(WrittenTable { parts, misfits, report })
    }

    async fn part(
        self,
        piece: &Arc<Piece>,
        schema: Arc<TableSchema>,
        described: &str,
    ) -> Result<WrittenPart, IngestError> {
        let key = Digest::of_json(&json!({
            "kind": "part",
            "reader": READER_VERSION,
            "piece": piece.key.to_string(),
            "name": piece.name,
            "schema": described,
        }));
        if !piece.cheap
            && let Some(part) = self.finished(&key).await?
        {
            return Ok(part);
        }
        let cheap = piece.cheap;
        let (piece, scratch, settings) = (Arc::clone(piece), Arc::clone(self.scratch), self.settings.clone());
        let (target, outcome) = self.workers.run(move || part_write(&piece, &schema, &settings, &scratch)).await?;
        let blob = self.workers.put_file(self.store, target.path()).await?;
        let part = WrittenPart::new(blob, outcome);
        if !cheap {
            self.keep(&key, &part).await?;
        }
        Ok(part)
    }

    /// The part that an earlier run wrote; none when it is gone, so that it is written again.
    async fn finished(self, key: &Digest) -> Result<Option<WrittenPart>, IngestError> {
        let Some(value) = self.checkpoints.get(key).await? else { return Ok(None) };
        if !self.store.contains(&value).await? {
            return Ok(None);
        }
        // One that an earlier version of this program kept is written again.
        let Ok(part) = serde_json::from_slice::<WrittenPart>(&self.store.get_bytes(&value).await?) else {
            return Ok(None);
        };
        Ok(self.store.contains(&part.digest).await?.then_some(part))
    }

    async fn keep(self, key: &Digest, part: &WrittenPart) -> Result<(), IngestError> {
        let bytes = serde_json::to_vec(part)
            .map_err(|error| IngestError::Encoding { action: "encode a checkpoint", reason: error.to_string() })?;
        let blob = self.store.put_bytes(Bytes::from(bytes)).await?;
        self.checkpoints.put(key, &blob.digest).await
    }
}

fn schema_description(schema: &TableSchema) -> String {
    let column =
        |column: &TableColumn| format!("{:?} {:?} {} {:?}", column.name, column.data_type, column.cells, column.json);
    schema.columns.iter().map(column).collect::<Vec<_>>().join("\n")
}

fn check_quarantine(misfits: &[Misfit], quarantined: u64, limit: u64) -> Result<(), IngestError> {
    if quarantined <= limit {
        return Ok(());
    }
    let example = misfits.last().map(Misfit::to_string).unwrap_or_default();
    let file = misfits.last().map(|last| last.file.clone()).unwrap_or_default();
    Err(IngestError::QuarantineFull { limit, file, example })
}

fn part_write(
    piece: &Piece,
    schema: &TableSchema,
    settings: &IngestSettings,
    scratch: &Scratch,
) -> Result<(NamedTempFile, PartOutcome), IngestError> {
    let target = scratch.file()?;
    let output = target.as_file().try_clone().map_err(IngestError::stream("write a part"))?;
    let (name, limit) = (piece.name.as_str(), settings.limits.quarantined_rows);
    let mut sink = PartSink::new(schema, name, piece.sheet(), limit, output)?;
    let empty_rows = piece_rows(piece, schema, settings, scratch, &mut sink)?;
    Ok((target, sink.finish(empty_rows)?))
}

/// Gives the rows of a piece, in the types of `schema`, to `sink`; gives the number of rows that hold nothing.
pub(crate) fn piece_rows(
    piece: &Piece,
    schema: &TableSchema,
    settings: &IngestSettings,
    scratch: &Scratch,
    sink: &mut PartSink<'_>,
) -> Result<u64, IngestError> {
    let name = piece.name.as_str();
    match &piece.content {
        PieceContent::Cells { file, summary } => {
            let (reader, _) = piece_opened(file, &piece.digest)?;
            cells_cast(reader, &schema.places(summary), sink)?;
            Ok(summary.empty_rows)
        }
        // These are read again. A part is kept under the digest that the file had, so it must not have changed since.
        PieceContent::Text { source, summary, .. } => source.unchanged(|| {
            let places = schema.places(summary);
            let mut take = |chunk: &Chunk| chunk_cast(chunk, &places, sink);
            text_stream((name, piece.format), source, settings, scratch, &mut take)
        }),
        PieceContent::Json { source, summary } => source.unchanged(|| {
            let (text, _) = utf8_text(name, source.open()?, settings.dialect.encoding.as_deref(), scratch)?;
            let json = JsonFile { name, lines: piece.format == TableFormat::JsonLines };
            json.read(text, summary, &schema.json_fields(), sink)
        }),
        PieceContent::Typed { source, .. } => source.unchanged(|| {
            let mut before = 0;
            let typed = TypedFile { name, format: piece.format, limits: &settings.limits };
            typed.read(source.open()?, |batch| {
                batch_cast(batch, |row| before + row as u64 + 1, sink)?;
                before += batch.num_rows() as u64;
                Ok(())
            })?;
            Ok(0)
        }),
    }
}

/// The misfits as a Parquet file, if there are any.
pub(crate) async fn quarantine_file(
    misfits: Vec<Misfit>,
    scratch: &Arc<Scratch>,
) -> Result<Option<NamedTempFile>, IngestError> {
    if misfits.is_empty() {
        return Ok(None);
    }
    let scratch = Arc::clone(scratch);
    blocking(move || {
        let target = scratch.file()?;
        let output = target.as_file().try_clone().map_err(IngestError::stream("write the quarantine"))?;
        quarantine_write(&misfits, output)?;
        Ok(Some(target))
    })
    .await
}

fn report(schema: &TableSchema, written: &[(Arc<Piece>, WrittenPart)], skipped: Vec<Skipped>) -> TableReport {
    let outcomes: Vec<_> = written.iter().map(|(_, part)| &part.outcome).collect();
    let total = |count: fn(&PartOutcome) -> u64| outcomes.iter().map(|outcome| count(outcome)).sum();
    TableReport {
        format: REPORT_FORMAT,
        rows: total(|outcome| outcome.rows),
        columns: columns_report(schema, &outcomes),
        files: written.iter().map(|(piece, part)| file_report(schema, piece, &part.outcome)).collect(),
        skipped,
        quarantined: total(|outcome| outcome.quarantined),
        empty_rows: total(|outcome| outcome.empty_rows),
        error_cells: written.iter().filter_map(|(piece, _)| piece.summary()).map(|summary| summary.error_cells).sum(),
        notes: schema.notes.clone(),
        kept_files: None,
        origin: None,
    }
}

/// What the parts of a table say together of each of its columns.
pub(crate) fn columns_report(schema: &TableSchema, outcomes: &[&PartOutcome]) -> Vec<ColumnReport> {
    let column = |(place, column): (usize, &TableColumn)| ColumnReport {
        name: column.name.clone(),
        data_type: crate::column::type_name(&column.data_type),
        nulls: outcomes.iter().map(|outcome| outcome.nulls[place]).sum(),
        misfits: outcomes.iter().map(|outcome| outcome.misfits[place]).sum(),
        notes: column.notes.clone(),
    };
    schema.columns.iter().enumerate().map(column).collect()
}

fn file_report(schema: &TableSchema, piece: &Piece, outcome: &PartOutcome) -> FileReport {
    let names: BTreeSet<&str> = match &piece.content {
        PieceContent::Cells { summary, .. } | PieceContent::Text { summary, .. } => {
            summary.columns.iter().map(|column| column.name.as_str()).collect()
        }
        PieceContent::Json { summary, .. } => summary.shape.fields().iter().map(|field| field.name.as_str()).collect(),
        PieceContent::Typed { schema, .. } => schema.fields().iter().map(|field| field.name().as_str()).collect(),
    };
    let missing = schema.columns.iter().filter(|column| !names.contains(column.name.as_str()));
    let encoding = match &piece.content {
        PieceContent::Cells { summary, .. } | PieceContent::Text { summary, .. } => summary.encoding.clone(),
        PieceContent::Json { summary, .. } => summary.encoding.clone(),
        PieceContent::Typed { .. } => None,
    };
    FileReport {
        name: piece.name.clone(),
        digest: piece.digest,
        sheet: piece.sheet().map(str::to_owned),
        delimiter: piece.summary().and_then(|summary| summary.delimiter.clone()),
        encoding,
        rows: outcome.rows,
        quarantined: outcome.quarantined,
        missing_columns: missing.map(|column| column.name.clone()).collect(),
        notes: piece.summary().map(|summary| summary.notes.clone()).unwrap_or_default(),
    }
}
