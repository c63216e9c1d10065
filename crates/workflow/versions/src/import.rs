//! Coming from DVC and Git LFS: what they keep becomes datasets with the same content, verified by their digests.

mod content;
mod digests;
mod dvc;
mod lfs;
mod plan;

#[cfg(test)]
pub(crate) use digests::md5_of;
pub use dvc::{DvcOpener, DvcRemote, DvcSurroundings};
pub use plan::{
    DamagedObject, FailedOutput, FileSource, ImportOutcome, ImportPlan, Imported, PlannedFile, PlannedOutput,
    RemoteObject, SkippedOutput,
};

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::path::{Component, Path};

use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind, OddNames, ScanNext};
use ropewalk_store::{Blob, LinkMode, TransferProgress, TreeFile};
use ropewalk_types::{DatasetName, Digest};

use crate::discovery::{Place, Tracked};
use crate::error::{VersionsError, blocking};
use crate::git;
use crate::pointer::{Kind, Links, Pointer, PointerState};
use crate::selection::Selection;
use crate::workspace::{
    AddLinks, COMMIT_TRIES, Content, Laying, MOST_FILES, Opened, Workspace, follow, is_collected, tree_commit,
};

impl Workspace {
    /// Looks at the DVC project in `folder` (the one that holds `.dvc`): its `*.dvc` files and `dvc.lock`s, and where
    /// the bytes of every file are: in the work tree, the cache or a remote.
    ///
    /// Every file of this machine is read and held against its MD5; of what only a remote in an object store has, it is
    /// looked whether it is there. A folder with symbolic links that stand for no file of DVC is not taken over unless
    /// `links` says what becomes of them. No dataset gets one of `others` for a name.
    pub fn dvc_plan<'a>(
        &'a self,
        folder: &'a Path,
        links: AddLinks,
        surroundings: &'a DvcSurroundings,
        others: &'a [DatasetName],
    ) -> BoxFuture<'a, Result<ImportPlan, VersionsError>> {
        Box::pin(async move {
            let (root, folder) = (self.root().to_owned(), dvc::joined(self.root(), folder));
            let tracked = self.discover().await?;
            let unfinished = self.left_in_half(&tracked).await?;
            let plan = dvc::plan(root, folder, links, &tracked, unfinished, surroundings, others).await?;
            Ok(ImportPlan { links, ..plan })
        })
    }

    /// Looks at a folder or file whose files are kept by Git LFS, and at its objects in `.git/lfs`.
    ///
    /// Every file of Git LFS is read and held against the SHA-256 that the index of git has for it: first in the work
    /// tree, then in `.git/lfs`. Other files are taken as they are. The project as a whole stands for each topmost folder
    /// that holds files of Git LFS, and each such file at its top; a folder in which git tracks other files too is passed
    /// over then. Symbolic links are refused unless `links` says what becomes of them. Where no `name` is
    /// given, the datasets get none of `others`.
    pub fn lfs_plan<'a>(
        &'a self,
        path: &'a Path,
        name: Option<DatasetName>,
        links: AddLinks,
        others: &'a [DatasetName],
    ) -> BoxFuture<'a, Result<ImportPlan, VersionsError>> {
        Box::pin(async move {
            let (root, tracked) = (self.root().to_owned(), self.discover().await?);
            let all = name.is_none() && is_root(&root, path);
            let kept = lfs::kept(&root).await?;
            let unfinished = self.left_in_half(&tracked).await?;
            let of_git = if all { git::tracked_files(&root).await? } else { Vec::new() };
            let (path, others) = (path.to_owned(), others.to_owned());
            let plan = blocking(move || {
                let mut taken = names_taken(&tracked, &others);
                if all {
                    let mut plan = lfs::plan_all(&root, &of_git, &kept, links, &tracked, &mut taken)?;
                    plan.failed.extend(lfs::in_half(&kept, unfinished));
                    return Ok(plan);
                }
                let place = Place::of(&root, &path)?;
                if let Some(name) = unfinished.get(&place.path) {
                    return Err(VersionsError::Unfinished { name: name.clone(), path: place.path });
                }
                let name = name.map_or_else(|| name_for(&place.path, &mut taken), Ok)?;
                lfs::plan(&root, &place, name, &kept, links, &tracked)
            });
            Ok(ImportPlan { links, ..plan.await? })
        })
    }

    /// Puts what the symbolic links of a plan point to in their place, where it says so; gives the links, by path in the
    /// project. Whatever was put there, the plan does not know: it is to be made again.
    pub fn import_follow<'a>(&'a self, plan: &'a ImportPlan) -> BoxFuture<'a, Result<Vec<String>, VersionsError>> {
        Box::pin(async move {
            let anywhere = match plan.links {
                AddLinks::AsBefore | AddLinks::Skip => return Ok(Vec::new()),
                AddLinks::Follow => false,
                AddLinks::FollowAnywhere => true,
            };
            let _lock = self.lock().await?;
            let mut all = Vec::new();
            for output in plan.whole().filter(|output| !output.links.is_empty()) {
                let (root, output) = (self.root().to_owned(), output.clone());
                let followed = blocking(move || {
                    let stand_ins = output.files.iter().filter(|file| file.stands_in);
                    let stand_ins = stand_ins.map(|file| file.path.as_str()).collect();
                    let links = follow(&root, &root.join(&output.path), anywhere, &stand_ins, MOST_FILES)?;
                    Ok(links.into_iter().map(|link| format!("{}/{link}", output.path)).collect::<Vec<_>>())
                });
                all.extend(followed.await?);
            }
            Ok(all)
        })
    }

    /// Makes datasets of what a plan found whole: content into the store, a first version, a pointer, the work tree.
    ///
    /// Can be run again: what is a dataset already is as it is. What fails for another reason than its own bytes, such
    /// as a network or a full disk, ends it: the outcome has that and, as not tried, all that comes behind it.
    pub fn import<'a>(
        &'a self,
        plan: &'a ImportPlan,
        author: &'a str,
        mode: LinkMode,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<ImportOutcome, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let mut outcome = ImportOutcome::default();
            let links = if plan.links == AddLinks::Skip { Links::Skipped } else { Links::Refused };
            let mut whole = plan.whole();
            for output in whole.by_ref() {
                match self.import_one(output, links, author, mode, progress).await {
                    Ok(imported) => outcome.imported.push(imported),
                    Err(error) => {
                        outcome.failed.push(FailedOutput::of(&output.path, &output.declared_in, &error));
                        // The bytes of this one are not what they were or should be; those of others may be.
                        if !matches!(error, VersionsError::Import { .. }) {
                            break;
                        }
                    }
                }
            }
            outcome.failed.extend(whole.map(FailedOutput::not_tried));
            Ok(outcome)
        })
    }

    /// The datasets, by path in the project, of which the index of git still has files that it leaves to Git LFS: also
    /// those of an import that was stopped before git was told to forget them.
    pub fn lfs_left(&self) -> BoxFuture<'_, Result<Vec<String>, VersionsError>> {
        Box::pin(async move {
            let staged: BTreeSet<String> =
                git::lfs_files(self.root()).await?.into_iter().map(|file| file.path).collect();
            let tracked = self.discover().await?.into_iter().map(|tracked| tracked.place.path);
            Ok(tracked.filter(|path| lfs::any_within(&staged, path)).collect())
        })
    }

    async fn import_one(
        &self,
        output: &PlannedOutput,
        links: Links,
        author: &str,
        mode: LinkMode,
        progress: &dyn TransferProgress,
    ) -> Result<Imported, VersionsError> {
        let place = Place::at(self.root(), output.path.clone());
        let (mut output, mut tries) = (Cow::Borrowed(output), COMMIT_TRIES);
        let (root, kind, files) = loop {
            let error = match self.import_content(&output, &place, progress).await {
                Ok(content) => break content,
                Err(error) => error,
            };
            if is_collected(&error) && tries > 1 {
                tries -= 1;
                continue;
            }
            let damaged = match &error {
                VersionsError::Import { path, .. } => path.clone(),
                _ => return Err(error),
            };
            let other = from_elsewhere(&output, &damaged).await;
            output = Cow::Owned(other.ok_or(error)?);
        };
        let (bytes, count) = (files.iter().map(|file| file.size).sum(), files.len() as u64);
        let mut pointer = Pointer {
            name: output.name.clone(),
            kind,
            path: place.file_name().to_owned(),
            digest: root,
            bytes,
            files: count,
            links,
            state: PointerState::Added { base: None },
        };
        let message = format!("Taken over from {}", output.declared_in);
        let (version, _) = self.version_make(&pointer, &output.path, None, &message, author).await?;
        pointer.state = PointerState::Committed { version };
        let opened = Opened { place: place.clone(), pointer: pointer.clone(), index: None };
        // With an index of what belongs there, other content in the work tree counts as the user's changes.
        let opened = self.index_again(opened).await?;
        self.write_down(&place, &pointer, opened.index.clone()).await?;
        let stand_ins: Vec<_> = output.files.iter().filter(|file| file.stands_in).cloned().collect();
        let data = place.data.clone();
        blocking(move || remove_stand_ins(&data, kind, &stand_ins)).await?;
        let content = Content::of(&pointer);
        let selection = &Selection::Recorded;
        let laid_out = self.lay(Laying::of(opened, content, selection, mode), progress).await?;
        Ok(Imported {
            name: output.name.clone(),
            path: output.path.clone(),
            version,
            files: count,
            bytes,
            written: laid_out.written,
            changed: laid_out.kept,
        })
    }

    async fn import_content(
        &self,
        output: &PlannedOutput,
        place: &Place,
        progress: &dyn TransferProgress,
    ) -> Result<(Digest, Kind, Vec<TreeFile>), VersionsError> {
        let (data, folder) = (place.data.clone(), output.kind == Kind::Folder);
        let executable = blocking(move || if folder { executables(&data) } else { Ok(HashSet::new()) }).await?;
        let mut writer = self.store().await?.writer();
        let blobs = content::add_all(&mut writer, &output.files, progress).await?;
        let file = |(file, blob): (&PlannedFile, Blob)| {
            let executable = executable.contains(&file.path) || output.kind == Kind::Executable;
            TreeFile { path: file.path.clone(), digest: blob.digest, size: blob.size, executable }
        };
        let files: Vec<_> = output.files.iter().zip(blobs).map(file).collect();
        let root = match (folder, files.as_slice()) {
            (false, [file]) => {
                writer.commit().await?;
                file.digest
            }
            _ => tree_commit(writer, &files).await?,
        };
        Ok((root, output.kind, files))
    }
}

/// The output with the object at `url`, whose bytes are wrong, taken from the next remote that has it; none if there is
/// no such object, or no such remote.
async fn from_elsewhere(output: &PlannedOutput, url: &Path) -> Option<PlannedOutput> {
    let object = |file: &PlannedFile| match &file.source {
        FileSource::RemoteObject(object) if Path::new(&object.url()) == url => Some(object.clone()),
        _ => None,
    };
    let (damaged, md5) =
        output.files.iter().find_map(|file| Some((object(file)?, file.digest.strip_prefix("md5:")?)))?;
    let found = damaged.elsewhere(md5).await?;
    let mut output = output.clone();
    for file in output.files.iter_mut().filter(|file| object(file).is_some()) {
        file.size = found.size;
        file.source = FileSource::RemoteObject(found.clone());
    }
    Some(output)
}

/// Whether `path`, absolute or relative to `root`, is `root` itself.
fn is_root(root: &Path, path: &Path) -> bool {
    root.join(path).components().filter(|part| *part != Component::CurDir).eq(root.components())
}

/// The files below `folder` that may be executed; links are passed over.
fn executables(folder: &Path) -> Result<HashSet<String>, VersionsError> {
    let mut found = HashSet::new();
    let scanned = files::scan(folder, OddNames::Refused, &mut |entry| {
        if entry.executable {
            found.insert(entry.path.to_owned());
        }
        ScanNext::Enter
    });
    match scanned {
        Err(error) if error.is_not_found() => Ok(found),
        result => Ok(result.map(|()| found)?),
    }
}

/// Removes links and pointers of Git LFS from the work tree, so that the files themselves can be laid out.
fn remove_stand_ins(data: &Path, kind: Kind, stand_ins: &[PlannedFile]) -> Result<(), VersionsError> {
    for file in stand_ins {
        let path = if kind == Kind::Folder { data.join(&file.path) } else { data.to_owned() };
        let link = files::kind(&path)? == Some(EntryKind::Symlink);
        if link || lfs::pointer_at(&path)?.is_some() {
            files::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A name for the dataset at `path` that no other has.
fn name_for(path: &str, taken: &mut BTreeSet<String>) -> Result<DatasetName, VersionsError> {
    let parts: Vec<&str> = path.split('/').collect();
    let plain = |from: usize| {
        let text = parts.get(from..).unwrap_or_default().join("-");
        let letter = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
        let text: String = text.chars().map(letter).collect();
        let text = text.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let text: String = text.chars().take(100).collect();
        if text.is_empty() { "data".to_owned() } else { text }
    };
    let longer = (0..parts.len()).rev().map(plain);
    let numbered = (2..).map(|number: u64| format!("{}-{number}", plain(0)));
    let free = longer.chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default();
    let name = DatasetName::new(free)?;
    taken.insert(name.to_string());
    Ok(name)
}

/// The names that the project's datasets have, and `others`.
fn names_taken(tracked: &[Tracked], others: &[DatasetName]) -> BTreeSet<String> {
    let tracked = tracked.iter().filter_map(|tracked| tracked.pointer.as_ref().ok()).map(|pointer| &pointer.name);
    tracked.chain(others).map(DatasetName::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_paths_and_differ() {
        let mut taken = BTreeSet::from(["images".to_owned()]);
        let mut name = |path: &str| name_for(path, &mut taken).unwrap().to_string();
        assert_eq!(name("data/flights.csv"), "flights.csv");
        assert_eq!(name("raw/images"), "raw-images");
        assert_eq!(name("raw/images"), "raw-images-2");
        assert_eq!(name("über uns"), "ber-uns");
        assert_eq!(name("…"), "data");
        assert_eq!(name("…"), "data-2");
    }
}
