use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ropewalk_store::{Store, files};
use ropewalk_types::Digest;
use serde_json::json;
use tempfile::TempPath;

use super::delimited::{Beginning, DelimitedReader};
use super::encoding::utf8_text;
use super::format::{TableFormat, check_content};
use super::json::{JsonFile, JsonSummary};
use super::nulls::NullTexts;
use super::piece::{ChunkTaker, PieceReader, PieceSummary, READER_VERSION};
use super::place::{FoundFile, Readable};
use super::schema::FileColumns;
use super::typed::TypedFile;
use super::workbook::{SheetTask, WorkbookReader};
use super::{Checkpoints, IngestProgress, IngestSettings};
use crate::blocking::blocking;
use crate::scratch::Scratch;
use crate::workers::Workers;
use crate::{IngestError, Sheets};

/// A table of the source.
#[derive(Clone)]
pub(crate) struct TableFile {
    pub(crate) file: FoundFile,
    pub(crate) format: TableFormat,
}

/// A file, or a sheet of one, that was looked at: what its columns are is known.
pub(crate) struct Piece {
    pub(crate) name: String,
    pub(crate) format: TableFormat,
    /// Of the file's bytes as the source has them.
    pub(crate) digest: Digest,
    /// Stands for all that decides what the piece holds.
    pub(crate) key: Digest,
    pub(crate) content: PieceContent,
    pub(crate) reused: bool,
    /// Whether to read it again costs less than a checkpoint: one of very many small files.
    pub(crate) cheap: bool,
}

/// The rows of a piece, or where they are.
pub(crate) enum PieceContent {
    /// Loosely typed, in a scratch file.
    Cells { file: TempPath, summary: PieceSummary },
    /// In a text of separated values, of which only the beginning may have been looked at.
    Text { source: Readable, summary: PieceSummary, complete: bool },
    /// In a text of JSON.
    Json { source: Readable, summary: JsonSummary },
    /// In a file that has types of its own.
    Typed { source: Readable, schema: SchemaRef },
}

impl Piece {
    pub(crate) fn columns(&self) -> FileColumns<'_> {
        match &self.content {
            PieceContent::Cells { summary, .. } | PieceContent::Text { summary, .. } => FileColumns::Cells(summary),
            PieceContent::Json { summary, .. } => FileColumns::Json(summary),
            PieceContent::Typed { schema, .. } => FileColumns::Typed(schema),
        }
    }

    /// What reading cells found, if the piece holds cells.
    pub(crate) fn summary(&self) -> Option<&PieceSummary> {
        match &self.content {
            PieceContent::Cells { summary, .. } | PieceContent::Text { summary, .. } => Some(summary),
            PieceContent::Json { .. } | PieceContent::Typed { .. } => None,
        }
    }

    pub(crate) fn sheet(&self) -> Option<&str> {
        self.summary().and_then(|summary| summary.sheet.as_deref())
    }

    /// Rows that are known before the piece is written.
    fn rows(&self) -> u64 {
        self.summary().map_or(0, |summary| summary.rows)
    }
}

pub(crate) fn piece_opened(file: &Path, digest: &Digest) -> Result<(PieceReader, PieceSummary), IngestError> {
    let damaged = |reason| IngestError::Damaged { what: "piece", digest: *digest, reason };
    PieceReader::open(files::open(file)?).map_err(damaged)
}

/// Looks at every file of the source, some at the same time; what no earlier run has read is read, and kept as a
/// checkpoint.
///
/// After a failure, files that are being read are finished (their checkpoints count for the next run) and no other is
/// begun; the error is that of the first file by name.
pub(crate) async fn pieces_read(
    reading: Reading<'_>,
    tables: &[TableFile],
    progress: &dyn IngestProgress,
) -> Result<Vec<Piece>, IngestError> {
    let failed = AtomicBool::new(false);
    // A closure that is called inside the stream would make the whole future's `Send` too general to prove.
    let works: Vec<_> = tables
        .iter()
        .map(|table| {
            let (reading, failed) = (&reading, &failed);
            async move {
                if failed.load(Ordering::Relaxed) {
                    return None;
                }
                let result = reading.pieces(table).await;
                match &result {
                    Ok(pieces) => {
                        let rows = pieces.iter().map(Piece::rows).sum();
                        progress.file_read(&table.file.name, rows, pieces.iter().all(|piece| piece.reused));
                    }
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
                Some(result)
            }
        })
        .collect();
    let results: Vec<Option<Result<Vec<Piece>, IngestError>>> =
        stream::iter(works).buffered(reading.settings.parallelism.get()).collect().await;
    let pieces: Vec<Vec<Piece>> = results.into_iter().flatten().collect::<Result<_, _>>()?;
    Ok(pieces.into_iter().flatten().collect())
}

/// A source of more files has no checkpoints of its small ones: each is three files of the store and a wait for the disk.
const MANY_FILES: usize = 256;
/// Larger files are not small.
const SMALL_BYTES: u64 = 16 << 10;

/// What files are read with.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) settings: &'a IngestSettings,
    pub(crate) store: &'a Store,
    pub(crate) checkpoints: &'a dyn Checkpoints,
    pub(crate) scratch: &'a Arc<Scratch>,
    /// Bounds what is read at once, over files and over sheets.
    pub(crate) workers: &'a Workers,
    /// How many files the source has.
    pub(crate) files: usize,
}

impl Reading<'_> {
    fn is_cheap(self, table: &TableFile) -> Result<bool, IngestError> {
        Ok(self.files > MANY_FILES && table.file.size()? <= SMALL_BYTES)
    }

    async fn pieces(self, table: &TableFile) -> Result<Vec<Piece>, IngestError> {
        let (file, scratch) = (table.file.clone(), Arc::clone(self.scratch));
        let (source, digest) = self.workers.run(move || file.unpack(&scratch)).await?;
        match (table.format, &self.settings.sheets) {
            (TableFormat::Json | TableFormat::JsonLines, _) => Ok(vec![self.json(table, source, digest).await?]),
            (TableFormat::Parquet | TableFormat::Arrow, _) => Ok(vec![self.typed(table, source, digest).await?]),
            (format, Sheets::All) if format.is_workbook() => self.sheets(table, source, digest).await,
            (format, Sheets::Chosen(names)) if format.is_workbook() && names.len() > 1 => {
                self.sheets(table, source, digest).await
            }
            _ => Ok(vec![self.cells(table, source, digest, None).await?]),
        }
    }

    /// All that decides what a file's piece holds.
    fn key(self, format: TableFormat, digest: &Digest, sheet: Option<&SheetTask>) -> Digest {
        let settings = self.settings;
        Digest::of_json(&json!({
            "kind": "piece",
            "reader": READER_VERSION,
            "file": digest.to_string(),
            "format": format.as_str(),
            "sheet": sheet.map(|sheet| &sheet.name),
            "sheets": format!("{:?}", settings.sheets),
            "header": format!("{:?}", settings.header),
            "dialect": format!("{:?}", settings.dialect),
            "null_texts": settings.null_texts,
            "inferred_records": settings.inferred_records,
        }))
    }

    async fn sheets(self, table: &TableFile, source: Readable, digest: Digest) -> Result<Vec<Piece>, IngestError> {
        let (job, input) = (self.job(table), source.clone());
        let (source, tasks) = self
            .workers
            .run(move || {
                let plain = job.plain(input)?;
                let nulls = NullTexts::new(&[]);
                let reader = job.workbook_reader(&nulls);
                let list =
                    || reader.sheets(&job.table.file.name, job.table.format, &plain.open()?, &job.settings.sheets);
                let tasks = plain.unchanged(list)?;
                Ok((plain, tasks))
            })
            .await?;
        let table = TableFile { file: FoundFile { compression: None, ..table.file.clone() }, format: table.format };
        let works: Vec<_> =
            tasks.into_iter().map(|task| self.cells(&table, source.clone(), digest, Some(task))).collect();
        stream::iter(works).buffered(self.settings.parallelism.get()).try_collect().await
    }

    async fn cells(
        self,
        table: &TableFile,
        source: Readable,
        digest: Digest,
        sheet: Option<SheetTask>,
    ) -> Result<Piece, IngestError> {
        let key = self.key(table.format, &digest, sheet.as_ref());
        let (name, format, cheap) = (table.file.name.clone(), table.format, self.is_cheap(table)?);
        if !cheap
            && let Some(value) = self.checkpoints.get(&key).await?
            && let Some((file, summary)) = self.reuse(value).await?
        {
            let content = PieceContent::Cells { file, summary };
            return Ok(Piece { name, format, digest, key, content, reused: true, cheap });
        }
        let job = self.job(table);
        let (file, summary) = self.workers.run(move || job.cells(source, sheet.as_ref())).await?;
        if !cheap {
            let blob = self.workers.put_file(self.store, &file).await?;
            self.checkpoints.put(&key, &blob.digest).await?;
        }
        let content = PieceContent::Cells { file, summary };
        Ok(Piece { name, format, digest, key, content, reused: false, cheap })
    }

    /// The piece that an earlier run made; none when it is gone, so that it is made again.
    async fn reuse(self, value: Digest) -> Result<Option<(TempPath, PieceSummary)>, IngestError> {
        let scratch = Arc::clone(self.scratch);
        let file = blocking(move || Ok::<_, IngestError>(scratch.file()?.into_temp_path())).await?;
        if !self.store.contains(&value).await? {
            return Ok(None);
        }
        self.store.materialize(&value, &file).await?;
        self.workers
            .run(move || {
                let (_, summary) = piece_opened(&file, &value)?;
                Ok(Some((file, summary)))
            })
            .await
    }

    async fn json(self, table: &TableFile, source: Readable, digest: Digest) -> Result<Piece, IngestError> {
        let key = self.key(table.format, &digest, None);
        let (name, format, cheap) = (table.file.name.clone(), table.format, self.is_cheap(table)?);
        let mut known = None;
        if !cheap
            && let Some(value) = self.checkpoints.get(&key).await?
            && self.store.contains(&value).await?
        {
            let bytes = self.store.get_bytes(&value).await?;
            // One that an earlier version of this program wrote is made again.
            known = serde_json::from_slice::<JsonSummary>(&bytes).ok();
        }
        let (reused, job) = (known.is_some(), self.job(table));
        let beginning = Beginning::of_rows(job.settings.inferred_records);
        let (source, summary) = self.workers.run(move || job.json(source, known, beginning)).await?;
        if !reused && !cheap {
            let bytes = serde_json::to_vec(&summary)
                .map_err(|error| IngestError::Encoding { action: "encode a checkpoint", reason: error.to_string() })?;
            let blob = self.store.put_bytes(Bytes::from(bytes)).await?;
            self.checkpoints.put(&key, &blob.digest).await?;
        }
        Ok(Piece { name, format, digest, key, content: PieceContent::Json { source, summary }, reused, cheap })
    }

    /// Reads the schema alone, so there is nothing to keep.
    async fn typed(self, table: &TableFile, source: Readable, digest: Digest) -> Result<Piece, IngestError> {
        let (key, job) = (self.key(table.format, &digest, None), self.job(table));
        let (name, format, cheap) = (table.file.name.clone(), table.format, self.is_cheap(table)?);
        let (source, schema) = self.workers.run(move || job.typed(source)).await?;
        let content = PieceContent::Typed { source, schema };
        Ok(Piece { name, format, digest, key, content, reused: false, cheap })
    }

    fn job(self, table: &TableFile) -> Job {
        Job { table: table.clone(), settings: self.settings.clone(), scratch: Arc::clone(self.scratch) }
    }
}

/// What a worker needs to read one file.
pub(crate) struct Job {
    pub(crate) table: TableFile,
    pub(crate) settings: IngestSettings,
    pub(crate) scratch: Arc<Scratch>,
}

impl Job {
    fn plain(&self, source: Readable) -> Result<Readable, IngestError> {
        self.table.file.decompress(source, &self.settings.limits, &self.scratch)
    }

    fn opened(&self, source: &Readable) -> Result<File, IngestError> {
        let mut file = source.open()?;
        check_content(&self.table.file.name, self.table.format, &mut file)?;
        Ok(file)
    }

    fn workbook_reader<'a>(&'a self, nulls: &'a NullTexts) -> WorkbookReader<'a> {
        WorkbookReader { header: self.settings.header, nulls, limits: &self.settings.limits }
    }

    /// Reads cells into a piece. What is kept under the file's digest must have been read of just that file.
    pub(crate) fn cells(
        &self,
        source: Readable,
        sheet: Option<&SheetTask>,
    ) -> Result<(TempPath, PieceSummary), IngestError> {
        let plain = self.plain(source)?;
        plain.unchanged(|| self.cells_of(&plain, sheet))
    }

    fn cells_of(&self, plain: &Readable, sheet: Option<&SheetTask>) -> Result<(TempPath, PieceSummary), IngestError> {
        let (name, format, settings) = (&self.table.file.name, self.table.format, &self.settings);
        let input = self.opened(plain)?;
        let target = self.scratch.file()?;
        let output = target.as_file().try_clone().map_err(IngestError::stream("write a scratch file"))?;
        let nulls = NullTexts::new(&settings.null_texts);
        let reader = self.workbook_reader(&nulls);
        let summary = match sheet {
            Some(task) => reader.read(name, format, input, output, task)?,
            None if format.is_workbook() => reader.read_one(name, format, input, output, &settings.sheets)?,
            None => {
                let (text, encoding) = utf8_text(name, input, settings.dialect.encoding.as_deref(), &self.scratch)?;
                delimited_reader(settings, format, &nulls).read(name, text, output, encoding)?
            }
        };
        Ok((target.into_temp_path(), summary))
    }

    /// What the `beginning` of a text of separated values says of its columns, and whether that was all of it.
    pub(crate) fn text(
        &self,
        source: Readable,
        beginning: Beginning,
    ) -> Result<(Readable, PieceSummary, bool), IngestError> {
        let (name, settings) = (&self.table.file.name, &self.settings);
        let source = self.plain(source)?;
        let (summary, complete) = source.unchanged(|| {
            let input = self.opened(&source)?;
            let (text, encoding) = utf8_text(name, input, settings.dialect.encoding.as_deref(), &self.scratch)?;
            let nulls = NullTexts::new(&settings.null_texts);
            delimited_reader(settings, self.table.format, &nulls).sample(name, text, encoding, beginning)
        })?;
        Ok((source, summary, complete))
    }

    /// Where the rows of a file with types of its own are, and its schema.
    pub(crate) fn typed(&self, source: Readable) -> Result<(Readable, SchemaRef), IngestError> {
        let source = self.plain(source)?;
        let (name, format, limits) = (&self.table.file.name, self.table.format, &self.settings.limits);
        let schema = source.unchanged(|| TypedFile { name, format, limits }.schema(self.opened(&source)?))?;
        Ok((source, schema))
    }

    /// The text that is read, and what is known of it, or what its `beginning` says.
    pub(crate) fn json(
        &self,
        source: Readable,
        known: Option<JsonSummary>,
        beginning: Beginning,
    ) -> Result<(Readable, JsonSummary), IngestError> {
        let source = self.plain(source)?;
        if let Some(known) = known {
            return Ok((source, known));
        }
        let (name, declared) = (&self.table.file.name, self.settings.dialect.encoding.as_deref());
        let summary = source.unchanged(|| {
            let (text, encoding) = utf8_text(name, self.opened(&source)?, declared, &self.scratch)?;
            let json = JsonFile { name, lines: self.table.format == TableFormat::JsonLines };
            let mut summary = json.infer(text, beginning)?;
            summary.encoding = encoding.map(str::to_owned);
            Ok(summary)
        })?;
        Ok((source, summary))
    }
}

fn delimited_reader<'a>(
    settings: &'a IngestSettings,
    format: TableFormat,
    nulls: &'a NullTexts,
) -> DelimitedReader<'a> {
    let tab = format == TableFormat::Tsv;
    DelimitedReader { dialect: &settings.dialect, header: settings.header, nulls, tab }
}

/// Gives the rows of a text of separated values to `take`; gives the number of rows that hold nothing.
pub(crate) fn text_stream<'a>(
    (name, format): (&str, TableFormat),
    source: &Readable,
    settings: &IngestSettings,
    scratch: &Scratch,
    take: &'a mut ChunkTaker<'a>,
) -> Result<u64, IngestError> {
    let (text, _) = utf8_text(name, source.open()?, settings.dialect.encoding.as_deref(), scratch)?;
    let nulls = NullTexts::new(&settings.null_texts);
    delimited_reader(settings, format, &nulls).stream(name, text, take)
}
