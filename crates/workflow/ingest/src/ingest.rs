mod again;
mod appending;
mod archive;
mod cast;
mod cell;
mod checkpoint;
mod column_buffer;
mod connected;
mod decompress;
mod delimited;
mod encoding;
mod evidence;
mod format;
mod header;
mod json;
mod limits;
mod line_end;
mod media;
mod nulls;
mod opening;
mod part_sink;
mod piece;
mod place;
mod quarantine;
mod reading;
mod record;
mod remote;
mod scan;
mod schema;
mod stamp;
mod typed;
mod walk;
mod widen;
mod workbook;
mod writing;

use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::{Store, files};
use ropewalk_types::{Digest, counted};

use self::again::{given_again, tell_unknown};
use self::appending::Previous;
use self::format::{FileKind, aside};
use self::media::Keeping;
use self::opening::{OpenedSource, local_files, local_fingerprint, local_open};
use self::place::FoundFile;
use self::quarantine::{mostly_quarantined, quarantine_keep};
use self::reading::{Reading, TableFile, pieces_read};
use self::schema::{FileColumns, TableSchema};
use self::writing::{Writing, WrittenTable, quarantine_file};
use crate::publish::VersionContent;
use crate::report::{Origin, Skipped};
use crate::scratch::Scratch;
use crate::workers::Workers;
use crate::{Content, IngestError, IngestSettings, Source, TableReport};

pub use checkpoint::{Checkpoints, StoreCheckpoints};
pub use format::TableFormat;
pub use limits::Limits;
pub use scan::{FileScan, ScannedFile, file_check, plain_format, scan};
pub use walk::{READ_ITSELF, link_target, read_once};

/// Files that are named, of a list of them.
const NAMED: usize = 3;

/// Hears how far an ingest has come. Calls come from several threads' work, in no fixed order.
pub trait IngestProgress: Send + Sync {
    /// The source was opened and holds `count` files.
    fn files_found(&self, count: usize);
    /// A file was read, or its piece was found finished (`reused`). `rows` is 0 where only writing tells them.
    fn file_read(&self, name: &str, rows: u64, reused: bool);
    /// A file's rows were typed and written.
    fn file_written(&self, name: &str, rows: u64);
    /// A source with nothing new has something to say that the version, which stays as it is, does not.
    fn noted(&self, _text: &str) {}
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl IngestProgress for NoProgress {
    fn files_found(&self, _: usize) {}
    fn file_read(&self, _: &str, _: u64, _: bool) {}
    fn file_written(&self, _: &str, _: u64) {}
}

/// What was ingested, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Of one file its path, relative to the project when it lies inside; otherwise the patterns, or the place without
    /// any secret.
    pub path: PathBuf,
    /// Of one file the digest of its bytes; otherwise of the list of all names and digests.
    pub digest: Digest,
    /// Bytes of all files; 0 where there are none.
    pub size: u64,
    /// The files themselves, archives folded; none of a source that is elsewhere.
    pub files: Vec<PathBuf>,
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
    /// Files, sheets and partitions whose piece was finished by an earlier run.
    pub reused_pieces: usize,
    /// Files, sheets and partitions that were read now.
    pub executed_pieces: usize,
    /// The entity tags of the files that were received, by name: with them and the same settings the next import can ask
    /// whether they changed. None where nothing was received.
    pub tags: BTreeMap<String, String>,
}

/// What the local files of a source are now, without reading anything of them but their bytes: what decides whether an
/// ingest of them would give another version.
pub fn source_fingerprint<'a>(
    settings: &'a IngestSettings,
    project: &'a Path,
) -> BoxFuture<'a, Result<SourceFile, IngestError>> {
    Box::pin(async move {
        match &settings.source {
            Source::Files(patterns) => local_fingerprint(patterns, settings, project).await,
            other => Err(IngestError::Settings { reason: format!("`{}` is no local file", other.shown()) }),
        }
    })
}

/// The local files that a source names now, archives folded, of which nothing is read.
pub fn source_files<'a>(
    settings: &'a IngestSettings,
    project: &'a Path,
) -> BoxFuture<'a, Result<Vec<PathBuf>, IngestError>> {
    Box::pin(async move {
        let Source::Files(patterns) = &settings.source else { return Ok(Vec::new()) };
        local_files(patterns, settings, project).await
    })
}

/// Reads a source into a dataset version: Parquet parts, one for each file in the order of their names, what did not
/// fit, and a report.
///
/// Files are read at the same time; each finished one is a checkpoint, but for the small ones of very many. Then one schema is chosen from what all of them
/// hold, and every file is cast to it. The same local files and settings give the same version, however the work was
/// scheduled or cut off. Memory is that of `parallelism` chunks, not of files or rows.
///
/// A source of images or audio becomes a version of files: the files as they are in `files/`, and a table of what they
/// are. A checkpoint is of some hundred of them.
pub fn ingest<'a>(
    settings: &'a IngestSettings,
    project: &'a Path,
    store: &'a Store,
    checkpoints: &'a dyn Checkpoints,
    progress: &'a dyn IngestProgress,
) -> BoxFuture<'a, Result<Ingested, IngestError>> {
    Box::pin(async move {
        settings.dialect.check()?;
        let scratch = Arc::new(Scratch::new(&settings.scratch)?);
        let workers = Workers::new(settings.parallelism)?;
        let work = Work { settings, store, checkpoints, progress, scratch: &scratch, workers: &workers };
        let made = match (&settings.source, &settings.network) {
            (Source::Files(patterns), _) => {
                let source = local_open(patterns, settings, project, &scratch).await?;
                work.files(source, None).await
            }
            (Source::Remote(request), Some(network)) => work.remote(request, network).await,
            (Source::Sql(_) | Source::Documents(_) | Source::JsonApi(_), Some(network)) => {
                work.connected(network).await
            }
            (other, None) => {
                let reason = format!("`{}` needs a network, and none is given", other.shown());
                Err(IngestError::Settings { reason })
            }
        }?;
        // Of an import that failed; this one, which may have found nothing new, has none.
        if let Some(place) = &settings.kept_quarantine {
            files::remove_file(place)?;
        }
        Ok(made)
    })
}

/// What an ingest works with.
#[derive(Clone, Copy)]
struct Work<'a> {
    settings: &'a IngestSettings,
    store: &'a Store,
    checkpoints: &'a dyn Checkpoints,
    progress: &'a dyn IngestProgress,
    scratch: &'a Arc<Scratch>,
    workers: &'a Workers,
}

impl Work<'_> {
    async fn files(self, mut source: OpenedSource, origin: Option<Origin>) -> Result<Ingested, IngestError> {
        let files = std::mem::take(&mut source.files);
        let shown = source.shown.path.display().to_string();
        match content_of(&shown, self.settings.content, files, &mut source.skipped)? {
            Found::Tables(tables) => self.tables(source, tables, origin).await,
            Found::Files(files) => self.keep(source, files, origin).await,
        }
    }

    async fn tables(
        self,
        mut source: OpenedSource,
        tables: Vec<TableFile>,
        origin: Option<Origin>,
    ) -> Result<Ingested, IngestError> {
        let Work { settings, store, checkpoints, progress, scratch, workers } = self;
        progress.files_found(tables.len());
        let reading = Reading { settings, store, checkpoints, scratch, workers, files: tables.len() };
        let pieces = pieces_read(reading, &tables, progress).await?;
        source.check_unchanged().await?;
        let reused_pieces = pieces.iter().filter(|piece| piece.reused).count();
        let executed_pieces = pieces.len() - reused_pieces;
        let mut schema = self.unite(pieces.iter().map(|piece| (piece.name.as_str(), piece.columns())), None)?;
        if schema.columns.is_empty() {
            let reason = no_column(tables.len(), source.skipped.len());
            return Err(IngestError::Empty { source_name: source.shown.path.display().to_string(), reason });
        }
        if let Some(note) = left_out(&source.skipped) {
            progress.noted(&note);
            schema.notes.push(note);
        }
        let writing = Writing { settings, store, checkpoints, progress, scratch, workers };
        let mut written = writing.table(pieces, schema, std::mem::take(&mut source.skipped)).await?;
        // Writing reads files again that have types of their own.
        source.check_unchanged().await?;
        written.report.origin = origin.map(|origin| origin.counted(&written.report));
        let (tree, bytes, report) = self.publish(written, None).await?;
        let (source, tags) = (source.shown, BTreeMap::new());
        Ok(Ingested { tree, report, bytes, source, reused_pieces, executed_pieces, tags })
    }

    /// The schema of what was read, after that of the version that it is added to.
    fn unite<'b>(
        self,
        files: impl Iterator<Item = (&'b str, FileColumns<'b>)>,
        previous: Option<&'b Previous>,
    ) -> Result<TableSchema, IngestError> {
        let before = previous.map(|previous| (previous.name(), FileColumns::Typed(&previous.schema)));
        let schema = TableSchema::unite(before.into_iter().chain(files), self.settings.type_tolerance)?;
        if let Some(previous) = previous {
            previous.check(&schema)?;
        }
        Ok(schema)
    }

    async fn publish(
        self,
        written: WrittenTable,
        previous: Option<Previous>,
    ) -> Result<(Digest, u64, TableReport), IngestError> {
        let Work { settings, scratch, .. } = self;
        // What was set aside before was accepted then: it neither spoils good rows nor hides bad ones.
        if let Some(error) = mostly_quarantined(&written, previous.is_some(), settings) {
            if let Some(place) = &settings.kept_quarantine
                && let Some(list) = quarantine_file(written.misfits, scratch).await?
            {
                quarantine_keep(place.clone(), list).await?;
            }
            return Err(error);
        }
        let (rows, aside) = (written.report.rows + written.report.quarantined, written.report.quarantined);
        if previous.is_some() && aside > 0 {
            self.progress.noted(&format!("{aside} of {} set aside", counted(rows, "new row")));
        }
        let written = match previous {
            Some(previous) => previous.append(written, settings.limits.quarantined_rows)?,
            None => written,
        };
        self.version(written, None).await
    }

    /// Makes the version, or gives the latest one again if that holds the same.
    async fn version(
        self,
        written: WrittenTable,
        files: Option<(Digest, u64)>,
    ) -> Result<(Digest, u64, TableReport), IngestError> {
        let Work { settings, store, progress, scratch, .. } = self;
        let WrittenTable { parts, misfits, report } = written;
        let quarantine = quarantine_file(misfits, scratch).await?;
        let content = VersionContent::put(store, &parts, quarantine.as_ref(), files).await?;
        if let Some(latest) = &settings.latest
            && let Some(version) = given_again(latest, store, &content, &report).await?
        {
            tell_unknown(&version.2, report.notes_all(), progress);
            return Ok(version);
        }
        let (tree, bytes) = content.publish(store, &report).await?;
        Ok((tree, bytes, report))
    }

    async fn keep(
        self,
        source: OpenedSource,
        files: Vec<FoundFile>,
        origin: Option<Origin>,
    ) -> Result<Ingested, IngestError> {
        let Work { settings, store, checkpoints, progress, scratch, .. } = self;
        progress.files_found(files.len());
        let (count, skipped) = (files.len(), source.skipped.clone());
        let kept = Keeping { settings, store, checkpoints, progress, scratch }.files(files, skipped).await?;
        source.check_unchanged().await?;
        let origin = origin.map(|origin| origin.counted(&kept.report));
        let mut report = TableReport { origin, ..kept.report };
        if let Some(note) = left_out(&report.skipped) {
            progress.noted(&note);
            report.notes.push(note);
        }
        let table = store.put_file(kept.table.path()).await?;
        let written = WrittenTable { parts: vec![table], misfits: kept.misfits, report };
        let (tree, bytes, report) = self.version(written, Some((kept.tree, kept.bytes))).await?;
        let (reused_pieces, executed_pieces) = (kept.reused, count - kept.reused);
        let (source, tags) = (source.shown, BTreeMap::new());
        Ok(Ingested { tree, report, bytes, source, reused_pieces, executed_pieces, tags })
    }
}

/// What of a source is not in the version, beside files that hold no data by their names; none when there is nothing.
pub fn left_out(skipped: &[Skipped]) -> Option<String> {
    let told: Vec<_> = skipped.iter().filter(|skipped| aside(&skipped.name).is_none()).collect();
    (!told.is_empty()).then(|| format!("{} left out: {}", counted(told.len() as u64, "file"), first_named(&told)))
}

/// The first of the files that are passed over, and why.
fn first_named(skipped: &[&Skipped]) -> String {
    let named = skipped.iter().take(NAMED).map(|skipped| format!("`{}` ({})", skipped.name, skipped.reason));
    let dots = if skipped.len() > NAMED { ", …" } else { "" };
    named.collect::<Vec<_>>().join(", ") + dots
}

/// Why `read` files, beside those that were passed over, make no table.
fn no_column(read: usize, skipped: usize) -> String {
    match (read, skipped) {
        (0, 0) => "it is empty".to_owned(),
        (0, _) => format!("none of its {skipped} files is a table that is read"),
        (1, 0) => "nothing is in it, not even the names of columns".to_owned(),
        (1, _) => "nothing is in the one file that is read, not even the names of columns".to_owned(),
        _ => format!("nothing is in any of {read} files, not even the names of columns"),
    }
}

/// What a source turns out to hold.
enum Found {
    Tables(Vec<TableFile>),
    Files(Vec<FoundFile>),
}

/// Chooses what the version is made of; what is not part of it is listed in `skipped`.
fn content_of(
    shown: &str,
    content: Content,
    files: Vec<FoundFile>,
    skipped: &mut Vec<Skipped>,
) -> Result<Found, IngestError> {
    let count =
        |wanted: fn(&FileKind) -> bool| files.iter().filter(|file| file.kind.as_ref().is_ok_and(wanted)).count();
    let tables = count(|kind| matches!(kind, FileKind::Table(_)));
    let media = count(|kind| matches!(kind, FileKind::Media));
    let empty = |what: &str| {
        let reason = match files.len() + skipped.len() {
            0 => "it is empty".to_owned(),
            count => format!("none of its {count} files is {what}"),
        };
        IngestError::Empty { source_name: shown.to_owned(), reason }
    };
    match (content, tables, media) {
        (Content::Detect, 1.., 1..) => Err(IngestError::Settings {
            reason: format!("`{shown}` holds {tables} tables and {media} images or audio files: say which are wanted"),
        }),
        (Content::Detect, 0, 1..) | (Content::Files, ..) if !files.is_empty() => {
            Ok(Found::Files(if content == Content::Files { files } else { only_media(files, skipped) }))
        }
        (_, 0, _) if content == Content::Files => Err(empty("one that can be kept")),
        (_, 0, _) => Err(empty("a table that is read")),
        _ => Ok(Found::Tables(only_tables(files, skipped))),
    }
}

fn only_tables(files: Vec<FoundFile>, skipped: &mut Vec<Skipped>) -> Vec<TableFile> {
    let mut tables = Vec::new();
    for file in files {
        match file.kind {
            Ok(FileKind::Table(format)) => tables.push(TableFile { file, format }),
            kind => {
                let reason = kind.err().unwrap_or("an image or audio, not a table").to_owned();
                skipped.push(Skipped { name: file.name, reason });
            }
        }
    }
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    tables
}

fn only_media(files: Vec<FoundFile>, skipped: &mut Vec<Skipped>) -> Vec<FoundFile> {
    let (media, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.kind == Ok(FileKind::Media));
    for file in others {
        let reason = file.kind.err().unwrap_or("not an image or audio").to_owned();
        skipped.push(Skipped { name: file.name, reason });
    }
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    media
}
