use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use futures::stream::{self, StreamExt as _};
use ropewalk_store::{Store, files};
use ropewalk_types::Digest;
use serde_json::json;
use tempfile::NamedTempFile;

use super::archive::{ArchiveEntry, entry_list, unpack};
use super::delimited::delimited_read;
use super::nulls::NullTexts;
use super::piece::{PieceReader, PieceSummary, READER_VERSION};
use super::source::{SourceKind, TableFormat, check_content, kind_of_name};
use super::workbook::{SheetReader, workbook_read};
use super::{Checkpoints, IngestProgress, IngestSettings};
use crate::DataError;
use crate::blocking::blocking;
use crate::report::Skipped;
use crate::scratch::Scratch;

/// An opened source: what it holds, and what it was when it was opened.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// The path that lineage and reports show.
    pub(crate) shown: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    modified: Option<SystemTime>,
    /// The tables, sorted by name.
    pub(crate) files: Vec<TableFile>,
    pub(crate) skipped: Vec<Skipped>,
}

/// One table of a source.
#[derive(Clone, Debug)]
pub(crate) struct TableFile {
    pub(crate) name: String,
    format: TableFormat,
    /// None when the source is the table itself.
    entry: Option<ArchiveEntry>,
}

impl Source {
    /// An error when the file was written to since it was opened: its digest would be a lie.
    pub(crate) async fn check_unchanged(&self) -> Result<(), DataError> {
        let (path, size, modified) = (self.path.clone(), self.size, self.modified);
        blocking(move || {
            let now = stamp(&files::open(&path)?, &path)?;
            if now == (size, modified) {
                return Ok(());
            }
            let file = path.display().to_string();
            Err(DataError::Table { file, reason: "it was changed while it was read".to_owned() })
        })
        .await
    }
}

fn stamp(file: &File, path: &Path) -> Result<(u64, Option<SystemTime>), DataError> {
    let metadata = file.metadata().map_err(DataError::stream(format!("look at `{}`", path.display())))?;
    Ok((metadata.len(), metadata.modified().ok()))
}

/// Opens the source, hashes it and lists its tables; guards archives before anything is unpacked.
pub(crate) async fn source_open(settings: &IngestSettings, project: &Path) -> Result<Source, DataError> {
    let path = project.join(&settings.source);
    let shown = path.strip_prefix(project).unwrap_or(&path).to_owned();
    let limits = settings.limits.clone();
    blocking(move || {
        let file = files::open(&path)?;
        let (size, modified) = stamp(&file, &path)?;
        let digest = digest_of(&file, &path)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let kind = kind_of_name(&name)
            .map_err(|reason| DataError::SourceKind { file: shown.display().to_string(), reason: reason.to_owned() })?;
        let (files, skipped) = match kind {
            SourceKind::Table(format) => (vec![TableFile { name, format, entry: None }], Vec::new()),
            SourceKind::Archive => {
                let archive = shown.display().to_string();
                tables_of(&archive, entry_list(&archive, files::open(&path)?, &limits)?)?
            }
        };
        Ok(Source { path, shown, digest, size, modified, files, skipped })
    })
    .await
}

fn digest_of(file: &File, path: &Path) -> Result<Digest, DataError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(DataError::stream(format!("read `{}`", path.display())))?;
    Ok(hasher.finalize().into())
}

fn tables_of(archive: &str, entries: Vec<ArchiveEntry>) -> Result<(Vec<TableFile>, Vec<Skipped>), DataError> {
    let (mut tables, mut skipped) = (Vec::new(), Vec::new());
    for entry in entries {
        match kind_of_name(&entry.name) {
            Ok(SourceKind::Table(format)) => {
                tables.push(TableFile { name: entry.name.clone(), format, entry: Some(entry) });
            }
            Ok(SourceKind::Archive) => {
                let reason = format!("entry `{}` is an archive inside the archive", entry.name);
                return Err(DataError::Archive { archive: archive.to_owned(), reason });
            }
            Err(reason) => skipped.push(Skipped { name: entry.name, reason: reason.to_owned() }),
        }
    }
    if tables.is_empty() {
        let reason = format!("none of its {} entries is a workbook, a CSV or a TSV file", skipped.len());
        return Err(DataError::Empty { source_name: archive.to_owned(), reason });
    }
    Ok((tables, skipped))
}

/// A file that was read: its rows wait, loosely typed, in a piece.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) digest: Digest,
    pub(crate) summary: PieceSummary,
    pub(crate) reused: bool,
    file: NamedTempFile,
}

impl Piece {
    pub(crate) fn reader(&self) -> Result<PieceReader, DataError> {
        opened(&self.file, &self.digest).map(|(reader, _)| reader)
    }
}

fn opened(file: &NamedTempFile, digest: &Digest) -> Result<(PieceReader, PieceSummary), DataError> {
    let damaged = |reason| DataError::Damaged { what: "piece", digest: *digest, reason };
    PieceReader::open(files::open(file.path())?).map_err(damaged)
}

/// Reads every file of the source that no earlier run has read, some at the same time, and keeps each as a checkpoint.
///
/// After a failure, files that are being read are finished (their checkpoints count for the next run) and no other is
/// begun; the error is that of the first file by name.
pub(crate) async fn pieces_read(
    settings: &IngestSettings,
    source: &Source,
    store: &Store,
    checkpoints: &dyn Checkpoints,
    progress: &dyn IngestProgress,
    scratch: &Arc<Scratch>,
) -> Result<Vec<Piece>, DataError> {
    let failed = AtomicBool::new(false);
    let reading = Reading { settings, source, store, checkpoints, scratch };
    // A closure that is called inside the stream would make the whole future's `Send` too general to prove.
    let works: Vec<_> = source
        .files
        .iter()
        .map(|file| {
            let (reading, failed) = (&reading, &failed);
            async move {
                if failed.load(Ordering::Relaxed) {
                    return None;
                }
                let result = reading.piece(file).await;
                match &result {
                    Ok(piece) => progress.file_read(&file.name, piece.summary.rows, piece.reused),
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
                Some(result)
            }
        })
        .collect();
    let results: Vec<Option<Result<Piece, DataError>>> =
        stream::iter(works).buffered(settings.parallelism.get()).collect().await;
    let count = results.len();
    let pieces: Vec<Piece> = results.into_iter().flatten().collect::<Result<_, _>>()?;
    debug_assert_eq!(pieces.len(), count, "only an error leaves files out");
    Ok(pieces)
}

#[derive(Clone, Copy)]
struct Reading<'a> {
    settings: &'a IngestSettings,
    source: &'a Source,
    store: &'a Store,
    checkpoints: &'a dyn Checkpoints,
    scratch: &'a Arc<Scratch>,
}

impl Reading<'_> {
    async fn piece(self, file: &TableFile) -> Result<Piece, DataError> {
        let (unpacked, digest) = self.unpack(file).await?;
        let key = self.key(file.format, &digest);
        if let Some(value) = self.checkpoints.get(&key).await?
            && let Some(piece) = self.reuse(digest, value).await?
        {
            return Ok(piece);
        }
        let (target, summary) = self.execute(file, unpacked).await?;
        let blob = self.store.put_file(target.path()).await?;
        self.checkpoints.put(&key, &blob.digest).await?;
        Ok(Piece { digest, summary, reused: false, file: target })
    }

    /// All that decides what a file's piece holds.
    fn key(self, format: TableFormat, workbook: &Digest) -> Digest {
        Digest::of_json(&json!({
            "kind": "piece",
            "reader": READER_VERSION,
            "file": workbook.to_string(),
            "format": format!("{format:?}"),
            "sheet": self.settings.sheet,
            "null_texts": self.settings.null_texts,
        }))
    }

    /// The bytes of one file, and their digest; the source itself when it is no archive.
    async fn unpack(self, file: &TableFile) -> Result<(Unpacked, Digest), DataError> {
        let (path, scratch, entry) = (self.source.path.clone(), Arc::clone(self.scratch), file.entry.clone());
        let (archive, digest) = (self.source.shown.display().to_string(), self.source.digest);
        blocking(move || {
            let Some(entry) = entry else { return Ok((Unpacked::Whole(path), digest)) };
            let mut target = scratch.file()?;
            let digest = unpack(&archive, files::open(&path)?, &entry, target.as_file_mut())?;
            Ok((Unpacked::Entry(target), digest))
        })
        .await
    }

    /// The piece that an earlier run made; none when it cannot be read any more, so that it is made again.
    async fn reuse(self, digest: Digest, value: Digest) -> Result<Option<Piece>, DataError> {
        let scratch = Arc::clone(self.scratch);
        let file = blocking(move || scratch.file()).await?;
        if !self.store.contains(&value).await? {
            return Ok(None);
        }
        self.store.materialize(&value, file.path()).await?;
        blocking(move || {
            let (_, summary) = opened(&file, &value)?;
            Ok(Some(Piece { digest, summary, reused: true, file }))
        })
        .await
    }

    async fn execute(self, file: &TableFile, source: Unpacked) -> Result<(NamedTempFile, PieceSummary), DataError> {
        let (scratch, file) = (Arc::clone(self.scratch), file.clone());
        let settings = self.settings.clone();
        blocking(move || {
            let target = scratch.file()?;
            let output = files_clone(&target)?;
            let mut input = files::open(source.path())?;
            check_content(&file.name, file.format, &mut input)?;
            let nulls = NullTexts::new(&settings.null_texts);
            let summary = match file.format {
                TableFormat::Delimited { tab } => delimited_read(&file.name, input, output, &nulls, tab)?,
                TableFormat::Workbook(format) => {
                    let (sheet, limits) = (settings.sheet.as_deref(), &settings.limits);
                    let reader = SheetReader { sheet, nulls: &nulls, limits };
                    workbook_read(&file.name, format, input, output, &reader)?
                }
            };
            Ok((target, summary))
        })
        .await
    }
}

fn files_clone(file: &NamedTempFile) -> Result<File, DataError> {
    file.as_file().try_clone().map_err(DataError::stream("write a scratch file"))
}

enum Unpacked {
    Whole(PathBuf),
    Entry(NamedTempFile),
}

impl Unpacked {
    fn path(&self) -> &Path {
        match self {
            Self::Whole(path) => path,
            Self::Entry(file) => file.path(),
        }
    }
}
