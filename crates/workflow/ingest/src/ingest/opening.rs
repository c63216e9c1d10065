use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ropewalk_store::files;
use ropewalk_types::Digest;

use super::archive::{Budget, plain_name, tar_unpack, too_much, zip_list};
use super::decompress::{decompressed, decompressed_file};
use super::format::{ArchiveFormat, Compression, FileKind, NamedKind, aside, kind_of_file, kind_of_name};
use super::place::{FoundFile, OpenedZip, Place, Readable, Reopened};
use super::scan::ScannedFile;
use super::stamp::Stamp;
use super::walk::{LocalFile, Walked, walk};
use super::{IngestSettings, SourceFile};
use crate::blocking::blocking;
use crate::report::Skipped;
use crate::scratch::Scratch;
use crate::{Content, IngestError};

/// An opened source: what it holds, and what it was when it was opened.
pub(crate) struct OpenedSource {
    /// What lineage shows of it.
    pub(crate) shown: SourceFile,
    /// The files as the source has them, archives folded.
    sources: Vec<Readable>,
    /// Its files, sorted by name, archives unfolded.
    pub(crate) files: Vec<FoundFile>,
    pub(crate) skipped: Vec<Skipped>,
}

impl OpenedSource {
    /// An error when a file was written to since it was opened: its digest would be a lie.
    pub(crate) async fn check_unchanged(&self) -> Result<(), IngestError> {
        let sources = self.sources.clone();
        blocking(move || sources.iter().try_for_each(Readable::check_unchanged)).await
    }
}

/// A local file that was looked at.
struct Looked {
    file: LocalFile,
    digest: Digest,
    stamp: Stamp,
}

impl Looked {
    fn readable(&self) -> Readable {
        Readable::Local(self.file.path.clone(), self.stamp)
    }
}

fn look(file: LocalFile) -> Result<Looked, IngestError> {
    let opened = files::open(&file.path)?;
    let stamp = Stamp::of(&opened, &file.path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(opened).map_err(IngestError::stream(format!("read `{}`", file.path.display())))?;
    Ok(Looked { digest: hasher.finalize().into(), stamp, file })
}

async fn look_all(files: Vec<LocalFile>, settings: &IngestSettings) -> Result<Vec<Looked>, IngestError> {
    let works: Vec<_> = files.into_iter().map(|file| blocking(move || look(file))).collect();
    stream::iter(works).buffered(settings.parallelism.get()).try_collect().await
}

/// What the files of `patterns` are together: of one file its path and the digest of its bytes; of several the first
/// pattern and a digest of all names and digests.
fn shown_source(patterns: &[String], looked: &[Looked], single: bool) -> SourceFile {
    let files = looked.iter().map(|looked| looked.file.path.clone()).collect();
    if let ([one], true) = (looked, single) {
        return SourceFile { path: one.file.shown.clone(), digest: one.digest, size: one.stamp.size, files };
    }
    let listing: Vec<_> = looked.iter().map(|looked| (&looked.file.name, looked.digest.to_string())).collect();
    SourceFile {
        path: patterns.join(", ").into(),
        digest: Digest::of_json(&serde_json::json!(listing)),
        size: looked.iter().map(|looked| looked.stamp.size).sum(),
        files,
    }
}

async fn walked(patterns: &[String], settings: &IngestSettings, project: &Path) -> Result<Walked, IngestError> {
    let (project, patterns, limits) = (project.to_owned(), patterns.to_vec(), settings.limits.clone());
    blocking(move || walk(&project, &patterns, &limits)).await
}

async fn looked(
    patterns: &[String],
    settings: &IngestSettings,
    project: &Path,
) -> Result<(Vec<Looked>, Vec<Skipped>, bool), IngestError> {
    let walked = walked(patterns, settings, project).await?;
    Ok((look_all(walked.files, settings).await?, walked.skipped, walked.single))
}

/// The files of `patterns`, of which nothing is read.
pub(crate) async fn local_files(
    patterns: &[String],
    settings: &IngestSettings,
    project: &Path,
) -> Result<Vec<PathBuf>, IngestError> {
    let walked = walked(patterns, settings, project).await?;
    Ok(walked.files.into_iter().map(|file| file.path).collect())
}

/// What local files are before anything is read of them, as [`super::Ingested::source`] shows it.
pub(crate) async fn local_fingerprint(
    patterns: &[String],
    settings: &IngestSettings,
    project: &Path,
) -> Result<SourceFile, IngestError> {
    let (looked, _, single) = looked(patterns, settings, project).await?;
    Ok(shown_source(patterns, &looked, single))
}

/// Opens local files, hashes them and lists what they hold; guards archives before anything is unpacked.
pub(crate) async fn local_open(
    patterns: &[String],
    settings: &IngestSettings,
    project: &Path,
    scratch: &Arc<Scratch>,
) -> Result<OpenedSource, IngestError> {
    let (looked, skipped, single) = looked(patterns, settings, project).await?;
    let shown = shown_source(patterns, &looked, single);
    unfolded(looked, skipped, single, shown, settings, scratch).await
}

/// Opens files that were received from the place `shown`, each with the digest that it had then; nothing else that lies
/// beside them belongs to the source.
pub(crate) async fn received_open(
    shown: &str,
    received: Vec<(LocalFile, Digest)>,
    settings: &IngestSettings,
    scratch: &Arc<Scratch>,
) -> Result<OpenedSource, IngestError> {
    let (files, digests): (Vec<_>, Vec<_>) = received.into_iter().unzip();
    let looked = look_all(files, settings).await?;
    if let Some((other, _)) = looked.iter().zip(&digests).find(|(looked, digest)| looked.digest != **digest) {
        return Err(IngestError::changed(&other.file.path));
    }
    let single = looked.len() == 1;
    let shown = SourceFile { files: Vec::new(), ..shown_source(&[shown.to_owned()], &looked, single) };
    unfolded(looked, Vec::new(), single, shown, settings, scratch).await
}

/// Lists what files hold, in archives and beside them.
async fn unfolded(
    looked: Vec<Looked>,
    mut skipped: Vec<Skipped>,
    single: bool,
    shown: SourceFile,
    settings: &IngestSettings,
    scratch: &Arc<Scratch>,
) -> Result<OpenedSource, IngestError> {
    let sources = looked.iter().map(Looked::readable).collect();
    let works: Vec<_> = looked
        .into_iter()
        .map(|looked| {
            let (settings, scratch) = (settings.clone(), Arc::clone(scratch));
            blocking(move || {
                let mut unfolding = Unfolding::new(&settings, &scratch);
                unfolding.local(looked, single)?;
                Ok::<_, IngestError>((unfolding.files, unfolding.skipped))
            })
        })
        .collect();
    let unfolded: Vec<_> = stream::iter(works).buffered(settings.parallelism.get()).try_collect().await?;
    let mut files = Vec::new();
    for (found, passed_over) in unfolded {
        files.extend(found);
        skipped.extend(passed_over);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(OpenedSource { shown, sources, files, skipped })
}

/// Files that somebody names, archives unfolded, and what is passed over in archives. Nothing of them is hashed, as
/// nothing of them is kept.
pub(crate) async fn scan_open(
    files: &[ScannedFile],
    settings: &IngestSettings,
    scratch: &Arc<Scratch>,
) -> Result<(Vec<FoundFile>, Vec<Skipped>), IngestError> {
    let (files, settings, scratch) = (files.to_vec(), settings.clone(), Arc::clone(scratch));
    blocking(move || {
        let (mut found, mut skipped) = (Vec::new(), Vec::new());
        for file in files {
            let mut unfolding = Unfolding::new(&settings, &scratch);
            unfolding.named(file)?;
            found.append(&mut unfolding.files);
            skipped.append(&mut unfolding.skipped);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((found, skipped))
    })
    .await
}

/// Lists what one local file holds, through archives in archives.
struct Unfolding<'a> {
    settings: &'a IngestSettings,
    scratch: &'a Scratch,
    budget: Budget,
    files: Vec<FoundFile>,
    skipped: Vec<Skipped>,
}

/// An archive that is to be listed.
struct ArchivePlace {
    /// What errors call it.
    shown: String,
    /// What stands before the names of its entries.
    prefix: String,
    readable: Readable,
    /// Of its bytes, packed as they are.
    digest: Digest,
    format: ArchiveFormat,
    compression: Option<Compression>,
    depth: u32,
}

impl<'a> Unfolding<'a> {
    fn new(settings: &'a IngestSettings, scratch: &'a Scratch) -> Self {
        let budget = Budget::new(&settings.limits);
        Self { settings, scratch, budget, files: Vec::new(), skipped: Vec::new() }
    }

    fn local(&mut self, looked: Looked, single: bool) -> Result<(), IngestError> {
        let (readable, digest) = (looked.readable(), looked.digest);
        let LocalFile { name, shown, .. } = looked.file;
        let kind = kind_of_name(&name, self.settings.format);
        let keeps_all = self.settings.content == Content::Files;
        if let (Err(reason), true, false) = (kind, single, keeps_all) {
            return Err(IngestError::SourceKind { file: shown.display().to_string(), reason: reason.to_owned() });
        }
        if let Ok(NamedKind { kind: FileKind::Archive(format), compression }) = kind {
            let prefix = if single { String::new() } else { format!("{name}/") };
            let shown = shown.display().to_string();
            let archive =
                ArchivePlace { shown, prefix, readable: readable.clone(), digest, format, compression, depth: 1 };
            return readable.unchanged(|| self.archive(&archive));
        }
        self.file(name, kind, Place::Whole(readable, digest));
        Ok(())
    }

    fn named(&mut self, file: ScannedFile) -> Result<(), IngestError> {
        let ScannedFile { path, name } = file;
        let digest = Digest::of(name.as_bytes());
        let stamp = Stamp::of(&files::open(&path)?, &path)?;
        let readable = Readable::Local(path, stamp);
        match kind_of_file(&name, self.settings.format) {
            Err(reason) => Err(IngestError::SourceKind { file: name, reason: reason.to_owned() }),
            Ok(NamedKind { kind: FileKind::Archive(format), compression }) => {
                // What lies in a hidden folder is not hidden in its archive.
                let prefix = if aside(&name).is_none() { format!("{name}/") } else { String::new() };
                let (shown, depth) = (name, 1);
                let archive =
                    ArchivePlace { shown, prefix, readable: readable.clone(), digest, format, compression, depth };
                readable.unchanged(|| self.archive(&archive))
            }
            Ok(NamedKind { kind, compression }) => {
                let place = Place::Whole(readable, digest);
                self.files.push(FoundFile { name, kind: Ok(kind), compression, place });
                Ok(())
            }
        }
    }

    fn file(&mut self, name: String, kind: Result<NamedKind, &'static str>, place: Place) {
        if let Some(reason) = aside(&name) {
            return self.skipped.push(Skipped { name, reason: reason.to_owned() });
        }
        let compression = kind.ok().and_then(|kind| kind.compression);
        self.files.push(FoundFile { name, kind: kind.map(|kind| kind.kind), compression, place });
    }

    fn archive(&mut self, archive: &ArchivePlace) -> Result<(), IngestError> {
        let limit = self.settings.limits.archive_depth;
        if archive.depth > limit {
            return Err(too_much(
                &archive.shown,
                format!(
                    "it lies in {} archives, and {limit} in each other are accepted (`limits.archive_depth`)",
                    archive.depth - 1
                ),
            ));
        }
        match archive.format {
            ArchiveFormat::Zip => self.zip(archive),
            ArchiveFormat::Tar => self.tar(archive),
        }
    }

    fn zip(&mut self, archive: &ArchivePlace) -> Result<(), IngestError> {
        let readable = self.plain(archive)?;
        let limits = &self.settings.limits;
        let (zip, entries) = zip_list(&archive.shown, Reopened::new(readable.clone()), limits, &mut self.budget)?;
        #[expect(clippy::redundant_clone, reason = "the clone has the list, and does not hold the file open")]
        let zip = zip.clone();
        let opened = Arc::new(OpenedZip { name: archive.shown.clone(), readable, digest: archive.digest, zip });
        for entry in entries {
            let kind = kind_of_name(&entry.name, self.settings.format);
            let name = format!("{}{}", archive.prefix, plain_name(&entry.name));
            let place = Place::Zipped(Arc::clone(&opened), entry);
            match kind {
                Ok(NamedKind { kind: FileKind::Archive(_), .. }) => self.inner(archive, name, kind, place)?,
                kind => self.file(name, kind, place),
            }
        }
        Ok(())
    }

    /// The archive without the compression around it, for formats that are not read from their beginning.
    fn plain(&self, archive: &ArchivePlace) -> Result<Readable, IngestError> {
        let name = archive.shown.clone();
        let Some(compression) = archive.compression else { return Ok(archive.readable.clone()) };
        let limits = &self.settings.limits;
        let file = archive.readable.open()?;
        let target = decompressed_file(&name, file, compression, limits, self.scratch)?;
        Ok(Readable::Scratch(Arc::new(target)))
    }

    fn tar(&mut self, archive: &ArchivePlace) -> Result<(), IngestError> {
        let (limits, scratch) = (&self.settings.limits, self.scratch);
        let (declared, all) = (self.settings.format, self.settings.content == Content::Files);
        let wanted = |name: &str| kind_of_name(name, declared).is_ok() || (all && aside(name).is_none());
        let file = archive.readable.open()?;
        let budget = &mut self.budget;
        let entries = match archive.compression {
            None => {
                let reader = std::io::BufReader::new(file);
                tar_unpack(&archive.shown, reader, limits, budget, scratch, wanted)?
            }
            Some(compression) => {
                let reader = decompressed(&archive.shown, file, compression, limits)?;
                tar_unpack(&archive.shown, reader, limits, budget, scratch, wanted)?
            }
        };
        for entry in entries {
            let kind = kind_of_name(&entry.name, declared);
            let name = format!("{}{}", archive.prefix, plain_name(&entry.name));
            match (entry.unpacked, kind) {
                (None, kind) => {
                    let reason = kind.err().unwrap_or("nothing that is read").to_owned();
                    self.skipped.push(Skipped { name, reason });
                }
                (Some((file, digest)), kind) => {
                    let place = Place::Whole(Readable::Scratch(Arc::new(file)), digest);
                    match kind {
                        Ok(NamedKind { kind: FileKind::Archive(_), .. }) => self.inner(archive, name, kind, place)?,
                        kind => self.file(name, kind, place),
                    }
                }
            }
        }
        Ok(())
    }

    fn inner(
        &mut self,
        outer: &ArchivePlace,
        name: String,
        kind: Result<NamedKind, &'static str>,
        place: Place,
    ) -> Result<(), IngestError> {
        let Ok(NamedKind { kind: FileKind::Archive(format), compression }) = kind else { return Ok(()) };
        let entry = name.strip_prefix(&outer.prefix).unwrap_or(&name);
        let shown = format!("{}/{entry}", outer.shown);
        let prefix = format!("{name}/");
        let depth = outer.depth + 1;
        let found = FoundFile { name, kind: Ok(FileKind::Archive(format)), compression: None, place };
        let (readable, digest) = found.unpack(self.scratch)?;
        self.archive(&ArchivePlace { shown, prefix, readable, digest, format, compression, depth })
    }
}
