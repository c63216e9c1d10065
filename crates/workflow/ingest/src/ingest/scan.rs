use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ropewalk_store::files;

use super::delimited::Beginning;
use super::format::{FileKind, NamedKind, TableFormat, check_content, kind_of_file};
use super::opening::scan_open;
use super::part_sink::{Aside, PartSink};
use super::quarantine::Misfit;
use super::reading::{Job, Piece, PieceContent};
use super::schema::TableSchema;
use super::typed::TypedFile;
use super::writing::piece_rows;
use super::{NAMED, first_named, no_column, only_tables};
use crate::report::Skipped;
use crate::scratch::Scratch;
use crate::workers::Workers;
use crate::{IngestError, IngestSettings, Limits};

/// From what of each text the types of its columns are told.
const SAMPLE: Beginning = Beginning { rows: 1 << 18, bytes: 256 << 20 };

/// A file on disk that somebody names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What errors and notes call it.
    pub name: String,
}

/// The format of a file that is neither packed nor an archive, by its name; none of any other that can be read.
///
/// Errors: why it can be no table.
pub fn plain_format(name: &str) -> Result<Option<TableFormat>, &'static str> {
    match kind_of_file(name, None)? {
        NamedKind { kind: FileKind::Table(format), compression: None } => Ok(Some(format)),
        NamedKind { kind: FileKind::Media, .. } => Err("an image or audio, not a table"),
        _ => Ok(None),
    }
}

/// Reads a Parquet or Arrow file to its end; an error says what is wrong with it.
pub fn file_check(file: &ScannedFile, format: TableFormat) -> Result<(), IngestError> {
    let mut opened = files::open(&file.path)?;
    check_content(&file.name, format, &mut opened)?;
    let limits = Limits::default();
    TypedFile { name: &file.name, format, limits: &limits }.read(opened, |_| Ok(()))
}

/// Opens files as one table, with the columns, types and rows that [`crate::ingest`] would give it; nothing is kept.
///
/// The types of long texts are told from their first rows, and a value further down that does not fit them is
/// [`IngestError::Sampled`]. Rows are read when they are asked for, in bounded memory; workbooks and what is packed are
/// unpacked into `settings.scratch`, until the scan is dropped.
pub fn scan<'a>(
    files: &'a [ScannedFile],
    settings: &'a IngestSettings,
) -> BoxFuture<'a, Result<FileScan, IngestError>> {
    Box::pin(async move {
        settings.dialect.check()?;
        let settings = settings.clone();
        let scratch = Arc::new(Scratch::new(&settings.scratch)?);
        let (found, mut skipped) = scan_open(files, &settings, &scratch).await?;
        let tables = only_tables(found, &mut skipped);
        let workers = Workers::new(settings.parallelism)?;
        let works: Vec<_> = tables
            .into_iter()
            .map(|table| {
                let job = Job { table, settings: settings.clone(), scratch: Arc::clone(&scratch) };
                workers.run(move || looked_at(&job))
            })
            .collect();
        let pieces: Vec<Piece> = stream::iter(works).buffered(settings.parallelism.get()).try_collect().await?;
        let columns = pieces.iter().map(|piece| (piece.name.as_str(), piece.columns()));
        let schema = TableSchema::unite(columns, settings.type_tolerance)?;
        if schema.columns.is_empty() {
            let source_name = files.iter().map(|file| file.name.as_str()).take(NAMED).collect::<Vec<_>>().join(", ");
            return Err(IngestError::Empty { source_name, reason: no_column(pieces.len(), skipped.len()) });
        }
        let sampled = (!pieces.iter().all(is_complete)).then_some(SAMPLE.rows);
        let arrow = schema.arrow();
        let left_out = pieces.iter().map(|_| Mutex::default()).collect();
        Ok(FileScan { schema, arrow, pieces, settings, scratch, sampled, left_out, skipped })
    })
}

/// What the columns of one file are, and where its rows are.
fn looked_at(job: &Job) -> Result<Piece, IngestError> {
    let (source, digest) = job.table.file.unpack(&job.scratch)?;
    let format = job.table.format;
    let content = match format {
        TableFormat::Json | TableFormat::JsonLines => {
            let (source, summary) = job.json(source, None, SAMPLE)?;
            PieceContent::Json { source, summary }
        }
        TableFormat::Parquet | TableFormat::Arrow => {
            let (source, schema) = job.typed(source)?;
            PieceContent::Typed { source, schema }
        }
        TableFormat::Csv | TableFormat::Tsv => {
            let (source, summary, complete) = job.text(source, SAMPLE)?;
            PieceContent::Text { source, summary, complete }
        }
        TableFormat::Xlsx | TableFormat::Xlsb | TableFormat::Xls | TableFormat::Ods => {
            let (file, summary) = job.cells(source, None)?;
            PieceContent::Cells { file, summary }
        }
    };
    Ok(Piece { name: job.table.file.name.clone(), format, digest, key: digest, content, reused: false, cheap: false })
}

fn is_complete(piece: &Piece) -> bool {
    match &piece.content {
        PieceContent::Text { complete, .. } => *complete,
        PieceContent::Json { summary, .. } => summary.is_complete(),
        PieceContent::Cells { .. } | PieceContent::Typed { .. } => true,
    }
}

/// Files on disk as one table; see [`scan`].
pub struct FileScan {
    schema: TableSchema,
    arrow: SchemaRef,
    pieces: Vec<Piece>,
    settings: IngestSettings,
    scratch: Arc<Scratch>,
    /// From how many rows of each file at most the types were told, where those were not all of them.
    sampled: Option<u64>,
    /// By piece.
    left_out: Vec<Mutex<LeftOut>>,
    skipped: Vec<Skipped>,
}

/// Rows that are none of the table.
#[derive(Clone, Debug, Default)]
struct LeftOut {
    rows: u64,
    first: Option<Misfit>,
}

impl std::fmt::Debug for FileScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<_> = self.pieces.iter().map(|piece| &piece.name).collect();
        f.debug_struct("FileScan").field("files", &files).field("schema", &self.arrow).finish_non_exhaustive()
    }
}

impl FileScan {
    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.arrow
    }

    /// How many parts there are: one for each file, in their order.
    pub fn parts(&self) -> usize {
        self.pieces.len()
    }

    /// Reads the rows of a part on this thread and gives them to `take`, until that says that it has enough.
    pub fn read(&self, part: usize, take: &mut dyn FnMut(RecordBatch) -> bool) -> Result<(), IngestError> {
        let (Some(piece), Some(left_out)) = (self.pieces.get(part), self.left_out.get(part)) else { return Ok(()) };
        let mut wanted = true;
        let mut give = |batch: RecordBatch| {
            wanted = batch.num_rows() == 0 || take(batch);
            if wanted { Ok(()) } else { Err(IngestError::Interrupted("nobody wants more rows".to_owned())) }
        };
        // A part may be read more than once, by two threads at the same time.
        let seen = Cell::new(0_u64);
        let counted = |rows: u64, first: &Misfit| {
            seen.set(seen.get() + rows);
            let mut all = locked(left_out);
            all.rows = all.rows.max(seen.get());
            all.first.get_or_insert_with(|| first.clone());
        };
        let aside = Aside::new(&counted, self.sampled);
        let limit = self.settings.limits.quarantined_rows;
        let mut sink = PartSink::taker(&self.schema, &piece.name, piece.sheet(), limit, &mut give, aside);
        let read = piece_rows(piece, &self.schema, &self.settings, &self.scratch, &mut sink);
        drop(sink);
        if wanted { read.map(drop) } else { Ok(()) }
    }

    /// What a reader of the rows that were read so far should know: what was left out, and why.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let (mut more, mut files) = (0, 0);
        for (piece, left_out) in self.pieces.iter().zip(&self.left_out) {
            let LeftOut { rows, first: Some(first) } = locked(left_out).clone() else { continue };
            if notes.len() < NAMED {
                let what = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
                notes.push(format!("left out of `{}`: {what} that did not fit; the first: {first}", piece.name));
            } else {
                (more, files) = (more + rows, files + 1);
            }
        }
        if files > 0 {
            notes.push(format!("left out of {files} more files: {more} rows"));
        }
        if !self.skipped.is_empty() {
            let skipped: Vec<_> = self.skipped.iter().collect();
            notes.push(format!("{} files in archives were passed over: {}", skipped.len(), first_named(&skipped)));
        }
        notes
    }
}

/// The counts stay right through a panic elsewhere: each is changed in one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
