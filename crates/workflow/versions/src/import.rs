//! Coming from DVC and Git LFS: what they keep becomes datasets with the same content, verified by their digests.

mod digests;
mod dvc;
mod lfs;

#[cfg(test)]
pub(crate) use digests::md5_of;

use std::collections::{BTreeSet, HashSet};
use std::path::{Component, Path, PathBuf};

use futures::future::BoxFuture;
use ropewalk_store::files::{self, EntryKind, OddNames, ScanNext};
use ropewalk_store::{LinkMode, NewFile, TransferProgress, TreeFile};
use ropewalk_types::{DatasetName, Diagnose as _, Digest};
use serde::Serialize;

use crate::discovery::{Place, Tracked};
use crate::error::{VersionsError, blocking};
use crate::git;
use crate::pointer::{Kind, Links, Pointer, PointerState};
use crate::selection::Selection;
use crate::workspace::{
    AddLinks, COMMIT_TRIES, Content, Laying, MOST_FILES, Opened, Workspace, follow, is_collected, tree_commit,
};

/// Where the bytes of a file are taken from; they were read, and have the digest that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "from", content = "path")]
pub enum FileSource {
    /// The work tree.
    WorkTree(PathBuf),
    /// The cache of the other tool.
    Cache(PathBuf),
    /// A remote of the other tool that is a folder of this machine.
    Remote(PathBuf),
}

impl FileSource {
    /// The file itself.
    pub fn path(&self) -> &Path {
        match self {
            Self::WorkTree(path) | Self::Cache(path) | Self::Remote(path) => path,
        }
    }
}

/// A file that will be part of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// Its path inside the dataset; of a single file, its name.
    pub path: String,
    /// What the other tool calls its bytes, such as `md5:…`; empty for files that it does not keep.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// Where it is taken from.
    pub source: FileSource,
    /// Whether what lies in the work tree only stands for the file: a link into a cache, or a pointer of Git LFS.
    pub stands_in: bool,
}

/// Something that will be a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedOutput {
    /// What it will be called.
    pub name: DatasetName,
    /// The data, relative to the project.
    pub path: String,
    /// The file that speaks of it, such as `data.dvc`.
    pub declared_in: String,
    /// What it is on disk.
    pub kind: Kind,
    /// Its files, sorted by path.
    pub files: Vec<PlannedFile>,
    /// Files whose bytes were found nowhere; with any of these, it is not taken over.
    pub missing: Vec<String>,
    /// Symbolic links in it that do not stand for files of the other tool, by path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
}

/// Something that cannot be a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedOutput {
    /// What it is.
    pub path: String,
    /// The file that speaks of it.
    pub declared_in: String,
    /// Why not.
    pub reason: String,
}

/// What an import would do; nothing was changed to make it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportPlan {
    /// What is taken over, sorted by path.
    pub outputs: Vec<PlannedOutput>,
    /// What is not.
    pub skipped: Vec<SkippedOutput>,
    /// What becomes of the symbolic links in it that do not stand for files of the other tool.
    pub links: AddLinks,
}

impl ImportPlan {
    /// What is whole, and so can be taken over.
    pub fn whole(&self) -> impl Iterator<Item = &PlannedOutput> {
        self.outputs.iter().filter(|output| output.missing.is_empty())
    }
}

/// A dataset that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The dataset.
    pub name: DatasetName,
    /// The data, relative to the project.
    pub path: String,
    /// Its first version.
    pub version: Digest,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were laid out because the work tree lacked them.
    pub written: u64,
    /// Files of the work tree that differ from what the other tool keeps; they were left as they are.
    pub changed: Vec<String>,
}

impl Workspace {
    /// Looks at the DVC project in `folder` (the one that holds `.dvc`): its `*.dvc` files and `dvc.lock`s, and where
    /// the bytes of every file are: in the work tree, the cache or a remote that is a local folder.
    ///
    /// Every file is read and held against its MD5. A folder with symbolic links that stand for no file of DVC is passed
    /// over unless `links` says what becomes of them.
    pub fn dvc_plan<'a>(
        &'a self,
        folder: &'a Path,
        links: AddLinks,
    ) -> BoxFuture<'a, Result<ImportPlan, VersionsError>> {
        Box::pin(async move {
            let (root, folder) = (self.root().to_owned(), self.root().join(folder));
            let tracked = self.discover().await?;
            let plan = blocking(move || dvc::plan(&root, &folder, links, &tracked)).await?;
            Ok(ImportPlan { links, ..plan })
        })
    }

    /// Looks at a folder or file whose files are kept by Git LFS, and at its objects in `.git/lfs`.
    ///
    /// Every object is read and held against its SHA-256. Other files are taken as they are. The project as a whole stands
    /// for each topmost folder that holds files of Git LFS, and each such file at its top; a folder in which git tracks
    /// other files too is passed over then. Symbolic links are refused unless `links` says what becomes of them.
    pub fn lfs_plan<'a>(
        &'a self,
        path: &'a Path,
        name: Option<DatasetName>,
        links: AddLinks,
    ) -> BoxFuture<'a, Result<ImportPlan, VersionsError>> {
        Box::pin(async move {
            let storage = lfs::storage(self.root()).await?;
            let (root, tracked) = (self.root().to_owned(), self.discover().await?);
            let plan = if name.is_none() && is_root(&root, path) {
                self.lfs_plan_all(storage, links, tracked).await?
            } else {
                let place = Place::of(self.root(), path)?;
                blocking(move || lfs::plan(&root, &place, name, &storage, links, &tracked)).await?
            };
            Ok(ImportPlan { links, ..plan })
        })
    }

    async fn lfs_plan_all(
        &self,
        storage: PathBuf,
        links: AddLinks,
        tracked: Vec<Tracked>,
    ) -> Result<ImportPlan, VersionsError> {
        let (root, marked) = (self.root().to_owned(), git::lfs_files(self.root()).await?);
        let (tops, tracked) = blocking(move || Ok((lfs::tops(&root, marked, &tracked)?, tracked))).await?;
        let mut with_git = Vec::with_capacity(tops.len());
        for top in tops {
            let of_git = git::tracked_files(self.root(), &top.path).await?;
            with_git.push((top, of_git));
        }
        let root = self.root().to_owned();
        blocking(move || lfs::plan_all(&root, &with_git, &storage, links, &tracked)).await
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
    /// Can be run again: what is a dataset already is as it is.
    pub fn import<'a>(
        &'a self,
        plan: &'a ImportPlan,
        author: &'a str,
        mode: LinkMode,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<Vec<Imported>, VersionsError>> {
        Box::pin(async move {
            let _lock = self.lock().await?;
            let mut imported = Vec::new();
            let links = if plan.links == AddLinks::Skip { Links::Skipped } else { Links::Refused };
            for output in plan.whole() {
                imported.push(self.import_one(output, links, author, mode, progress).await?);
            }
            Ok(imported)
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
        let mut content = self.import_content(output, &place).await;
        for _ in 1..COMMIT_TRIES {
            if !content.as_ref().is_err_and(is_collected) {
                break;
            }
            content = self.import_content(output, &place).await;
        }
        let (root, kind, files) = content?;
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
    ) -> Result<(Digest, Kind, Vec<TreeFile>), VersionsError> {
        let (data, folder) = (place.data.clone(), output.kind == Kind::Folder);
        let executable = blocking(move || if folder { executables(&data) } else { Ok(HashSet::new()) }).await?;
        let mut writer = self.store().await?.writer();
        let new = |file: &PlannedFile| NewFile { path: file.source.path().to_owned(), size: file.size };
        let blobs = writer.add_files(output.files.iter().map(new).collect()).await?;
        let mut files = Vec::with_capacity(blobs.len());
        for (file, blob) in output.files.iter().zip(blobs) {
            if blob.size != file.size {
                let reason = format!("it changed while it was taken over: {} bytes, not {}", blob.size, file.size);
                return Err(VersionsError::Foreign { path: file.source.path().to_owned(), reason });
            }
            let executable = executable.contains(&file.path) || output.kind == Kind::Executable;
            files.push(TreeFile { path: file.path.clone(), digest: blob.digest, size: blob.size, executable });
        }
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

/// Why something cannot be taken over, and what to do about it.
fn reason_of(error: &VersionsError) -> String {
    let hint = error.hint().map_or_else(String::new, |hint| format!(": {hint}"));
    format!("{error}{hint}")
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

/// The names that the project's datasets have.
fn names_taken(tracked: &[Tracked]) -> BTreeSet<String> {
    tracked.iter().filter_map(|tracked| tracked.pointer.as_ref().ok()).map(|pointer| pointer.name.to_string()).collect()
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
