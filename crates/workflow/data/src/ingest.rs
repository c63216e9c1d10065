mod archive;
mod cast;
mod cell;
mod checkpoint;
mod column_buffer;
mod delimited;
mod evidence;
mod header;
mod limits;
mod nulls;
mod piece;
mod quarantine;
mod reading;
mod record;
mod schema;
mod source;
mod workbook;
mod writing;

use futures::future::BoxFuture;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::Store;
use ropewalk_types::Digest;

use crate::publish::publish;
use crate::scratch::Scratch;
use crate::{DataError, TableReport};

pub use checkpoint::{Checkpoints, StoreCheckpoints};
pub use limits::Limits;

/// What to ingest, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct IngestSettings {
    /// A zip of workbooks and CSV or TSV files, or one such file; relative to the project.
    pub source: PathBuf,
    /// The sheet to read of every workbook; the first visible one when none is named.
    pub sheet: Option<String>,
    /// Texts that stand for no value.
    pub null_texts: Vec<String>,
    /// Share of a column's cells with a value that may misfit its type before the column becomes text.
    pub type_tolerance: f64,
    /// What archives may make of this machine.
    pub limits: Limits,
    /// How many files are read at once.
    pub parallelism: NonZeroUsize,
    /// Directory for files of this run, removed when it ends.
    pub scratch: PathBuf,
}

impl IngestSettings {
    /// The defaults for `source`: as many files at once as there are cores, nulls as spreadsheets and data tools write
    /// them, one misfit in a hundred.
    pub fn new(source: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            sheet: None,
            null_texts: ["", "NA", "N/A", "NaN", "null"].map(str::to_owned).to_vec(),
            type_tolerance: 0.01,
            limits: Limits::default(),
            parallelism: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            scratch: scratch.into(),
        }
    }
}

/// Hears how far an ingest has come. Calls come from several threads' work, in no fixed order.
pub trait IngestProgress: Send + Sync {
    /// The source was opened and holds `count` tables.
    fn files_found(&self, count: usize);
    /// A file was read, or its piece was found finished (`reused`).
    fn file_read(&self, name: &str, rows: u64, reused: bool);
    /// A file's rows were typed and written.
    fn file_written(&self, name: &str, rows: u64);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl IngestProgress for NoProgress {
    fn files_found(&self, _: usize) {}
    fn file_read(&self, _: &str, _: u64, _: bool) {}
    fn file_written(&self, _: &str, _: u64) {}
}

/// The file that was ingested, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the project when it lies inside.
    pub path: PathBuf,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A new dataset version.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// Digest of its tree: the version.
    pub tree: Digest,
    /// What it holds.
    pub report: TableReport,
    /// Bytes of its files.
    pub bytes: u64,
    /// Where it came from.
    pub source: SourceFile,
    /// Files whose piece was finished by an earlier run.
    pub reused_pieces: usize,
    /// Files that were read now.
    pub executed_pieces: usize,
}

/// Reads a source into a dataset version: Parquet parts, one for each file in the order of their names, what did not
/// fit, and a report.
///
/// Files are read at the same time; each finished one is a checkpoint. Then one schema is chosen from what all of them
/// hold, and every file is cast to it. The same source and settings give the same version, however the work was
/// scheduled or cut off. Memory is that of `parallelism` chunks, not of files or rows.
pub fn ingest<'a>(
    settings: &'a IngestSettings,
    project: &'a Path,
    store: &'a Store,
    checkpoints: &'a dyn Checkpoints,
    progress: &'a dyn IngestProgress,
) -> BoxFuture<'a, Result<Ingested, DataError>> {
    Box::pin(async move {
        let scratch = Arc::new(Scratch::new(&settings.scratch)?);
        let source = reading::source_open(settings, project).await?;
        progress.files_found(source.files.len());
        let pieces = reading::pieces_read(settings, &source, store, checkpoints, progress, &scratch).await?;
        source.check_unchanged().await?;
        let reused_pieces = pieces.iter().filter(|piece| piece.reused).count();
        let executed_pieces = pieces.len() - reused_pieces;
        let written = writing::table_write(settings, &source, &pieces, store, progress, &scratch).await?;
        let (tree, bytes) = publish(store, &written.parts, written.quarantine.as_ref(), &written.report).await?;
        let source = SourceFile { path: source.shown, digest: source.digest, size: source.size };
        Ok(Ingested { tree, report: written.report, bytes, source, reused_pieces, executed_pieces })
    })
}
