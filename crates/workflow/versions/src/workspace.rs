//! A project's datasets: what is tracked, what is laid out, and the operations on both.

mod add;
mod begun;
mod checkout;
mod commit;
mod compare;
mod conflicted;
mod damage;
mod facts;
mod gitignore;
mod holding;
mod links;
mod merge;
mod names;
mod plan;
mod removal;
mod remove;
mod restore;
mod snapshot;
mod source;
mod status;
mod unversioned;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_store::files::{self, FileError, FileLock};
use ropewalk_store::{Store, StoreError, TreeFile, Writer};
use ropewalk_types::{Ambient, DatasetName, Digest};
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::discovery::{Place, Tracked, discover};
use crate::error::{VersionsError, blocking};
use crate::history::Resolved;
use crate::index::Index;
use crate::pointer::{Kind, Pointer, PointerState};
use crate::trail::Trail;
use crate::version::Version;

pub use add::{AddRequest, Added};
pub(crate) use checkout::Laying;
pub use checkout::{CheckedOut, CheckoutRequest};
pub use commit::{CommitOutcome, Committed, CommittedEach};
pub use compare::Side;
pub(crate) use conflicted::Unreadable;
pub use damage::{FromWorkTree, Wanted};
pub(crate) use gitignore::is_ignored;
pub use holding::Holder;
pub use links::AddLinks;
pub(crate) use links::{MOST_FILES, follow};
pub use merge::{MergeOutcome, MergeRequest};
pub use names::FileOf;
pub use removal::RemovedVersion;
pub use remove::Removed;
pub use restore::{RestoreRequest, Restored};
pub use status::{Layout, Problem, Status};

/// Opens the project's store when an operation first needs it; `status` of an unchanged tree never does.
pub type StoreOpener = Arc<dyn Fn() -> BoxFuture<'static, Result<Store, StoreError>> + Send + Sync>;

/// Opens the project's remote when something is needed that the project's store lacks.
pub type RemoteOpener = Arc<dyn Fn() -> BoxFuture<'static, Result<Store, VersionsError>> + Send + Sync>;

/// Told who holds the lock of the work tree when an operation has to wait for it.
type OnWait = Arc<dyn Fn(&str) + Send + Sync>;

/// The tracked datasets of a project; cloning gives another handle to the same.
///
/// Operations that change something hold a lock on `STATE/work/lock`, so that one process at a time writes.
#[derive(Clone)]
pub struct Workspace {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    root: PathBuf,
    state: PathBuf,
    command: String,
    ambient: Arc<dyn Ambient>,
    opener: StoreOpener,
    store: OnceCell<Store>,
    remote_opener: Option<RemoteOpener>,
    remote: OnceCell<Store>,
    on_wait: Option<OnWait>,
    trail: Option<Trail>,
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("root", &self.inner.root).finish_non_exhaustive()
    }
}

/// A dataset that is tracked in the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dataset {
    /// The data, relative to the project, `/`-separated.
    pub path: String,
    /// What git keeps of it.
    pub pointer: Pointer,
}

/// A dataset that an operation works on.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) place: Place,
    pub(crate) pointer: Pointer,
    pub(crate) index: Option<Index>,
}

/// Content that can be laid out.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) root: Digest,
    pub(crate) kind: Kind,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    /// The version that has it.
    pub(crate) version: Option<Digest>,
}

impl Content {
    pub(crate) fn of(pointer: &Pointer) -> Self {
        let Pointer { digest, kind, bytes, files, .. } = *pointer;
        Self { root: digest, kind, bytes, files, version: pointer.version() }
    }

    /// A pointer to this content, else like another one.
    pub(crate) fn pointer_like(&self, pointer: &Pointer) -> Pointer {
        let Self { root: digest, kind, bytes, files, version } = *self;
        let state = version.map_or(pointer.state, |version| PointerState::Committed { version });
        Pointer { kind, digest, bytes, files, state, ..pointer.clone() }
    }

    pub(crate) fn of_version(found: &Resolved) -> Self {
        let Version { root, kind, bytes, files, .. } = found.version;
        Self { root, kind, bytes, files, version: Some(found.digest) }
    }
}

impl Workspace {
    /// The datasets of the project in the folder `root`; `state` is where Ropewalk keeps what git does not see.
    ///
    /// `command` describes this process to others that wait for it, such as `ropewalk data add`.
    pub fn new(root: PathBuf, state: PathBuf, command: &str, ambient: Arc<dyn Ambient>, opener: StoreOpener) -> Self {
        let (command, store, remote) = (command.to_owned(), OnceCell::new(), OnceCell::new());
        let (remote_opener, on_wait, trail) = (None, None, None);
        let inner = Inner { root, state, command, ambient, opener, store, remote_opener, remote, on_wait, trail };
        Self { inner: Arc::new(inner) }
    }

    /// Sets who is told, with a description of the holder, when an operation waits for another process.
    #[must_use]
    pub fn on_wait(self, told: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let on_wait: OnWait = Arc::new(told);
        self.changed(|inner| inner.on_wait = Some(on_wait))
    }

    /// Sets where content comes from that the project's store lacks, opened when it is first needed.
    #[must_use]
    pub fn with_remote(self, opener: RemoteOpener) -> Self {
        self.changed(|inner| inner.remote_opener = Some(opener))
    }

    /// Sets what writes down what is about to be done, before it is to be seen.
    #[must_use]
    pub fn with_trail(self, trail: Trail) -> Self {
        self.changed(|inner| inner.trail = Some(trail))
    }

    pub(crate) fn trail(&self) -> Option<&Trail> {
        self.inner.trail.as_ref()
    }

    fn changed(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = (*self.inner).clone();
        change(&mut inner);
        Self { inner: Arc::new(inner) }
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The project's store, opened when it is first asked for.
    pub async fn store(&self) -> Result<&Store, VersionsError> {
        Ok(self.inner.store.get_or_try_init(|| (self.inner.opener)()).await?)
    }

    /// The project's remote, if it has one, opened when it is first asked for.
    pub(crate) async fn remote(&self) -> Result<Option<&Store>, VersionsError> {
        match &self.inner.remote_opener {
            Some(opener) => self.inner.remote.get_or_try_init(|| opener()).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn ambient(&self) -> &dyn Ambient {
        self.inner.ambient.as_ref()
    }

    /// Where files lie of which those in the work tree may be second names.
    pub(crate) fn cache_folder(&self) -> PathBuf {
        self.inner.state.join("cache")
    }

    pub(crate) fn state(&self) -> &Path {
        &self.inner.state
    }

    /// Where indexes and the lock lie.
    pub(crate) fn work_folder(&self) -> PathBuf {
        self.inner.state.join("work")
    }

    pub(crate) fn index_path(&self, name: &DatasetName) -> PathBuf {
        self.work_folder().join(format!("{name}.index"))
    }

    /// Every tracked dataset, sorted by path, with what is wrong with one beside the others.
    pub async fn datasets(&self) -> Result<Vec<Result<Dataset, Problem>>, VersionsError> {
        let dataset = |Tracked { place, pointer }| match pointer {
            Ok(pointer) => Ok(Dataset { path: place.path, pointer }),
            Err(error) => Err(Problem { path: place.path, error: Box::new(error) }),
        };
        Ok(self.discover().await?.into_iter().map(dataset).collect())
    }

    /// One tracked dataset. Pointers of others that cannot be read are in nobody's way; where none has the name, the first
    /// that cannot be read is the error, because it may be the one that was meant.
    pub async fn dataset(&self, name: &DatasetName) -> Result<Dataset, VersionsError> {
        let chosen = choose(self.discover().await?, std::slice::from_ref(name))?;
        let found = chosen.into_iter().next().ok_or(VersionsError::Interrupted)?;
        Ok(Dataset { path: found.0.path, pointer: found.1 })
    }

    /// Like [`Workspace::dataset`]; none where no pointer that can be read has the name.
    pub async fn dataset_if_tracked(&self, name: &DatasetName) -> Result<Option<Dataset>, VersionsError> {
        let found = self.datasets().await?.into_iter().flatten();
        Ok(found.into_iter().find(|dataset| dataset.pointer.name == *name))
    }

    /// Whether a dataset is tracked here, also by a pointer with conflict markers, or has versions in the store.
    pub async fn is_tracked(&self, name: &DatasetName) -> Result<bool, VersionsError> {
        let pointers = self.pointers().await?;
        Ok(pointers.iter().any(|pointer| pointer.name == *name) || self.names().await?.contains(name))
    }

    /// The names that pointers here have, also those with conflict markers.
    pub async fn tracked_names(&self) -> Result<Vec<DatasetName>, VersionsError> {
        Ok(self.pointers().await?.into_iter().map(|pointer| pointer.name).collect())
    }

    /// Whether git tracks `path` or something below it.
    pub async fn git_tracks(&self, path: &str) -> Result<bool, VersionsError> {
        Ok(crate::git::tracks(self.root(), Path::new(path)).await?)
    }

    /// Whether git would see `path`: one in a repository that no `.gitignore` leaves out.
    pub async fn git_sees(&self, path: &Path) -> Result<bool, VersionsError> {
        let repository = crate::git::is_repository(self.root()).await?;
        Ok(repository && !crate::git::ignores(self.root(), path).await?)
    }

    pub(crate) async fn discover(&self) -> Result<Vec<Tracked>, VersionsError> {
        let root = self.inner.root.clone();
        blocking(move || discover(&root)).await
    }

    /// The datasets of these names, or all if there are none, each with its index.
    pub(crate) async fn open(&self, names: &[DatasetName]) -> Result<Vec<Opened>, VersionsError> {
        let (this, names) = (self.clone(), names.to_vec());
        blocking(move || this.open_now(&names)).await
    }

    pub(crate) async fn open_one(&self, name: &DatasetName) -> Result<Opened, VersionsError> {
        let opened = self.open(std::slice::from_ref(name)).await?;
        opened.into_iter().next().ok_or(VersionsError::Interrupted)
    }

    pub(crate) fn open_now(&self, names: &[DatasetName]) -> Result<Vec<Opened>, VersionsError> {
        let chosen = choose(discover(&self.inner.root)?, names)?;
        chosen.into_iter().map(|(place, pointer)| self.with_index(place, pointer)).collect()
    }

    fn with_index(&self, place: Place, pointer: Pointer) -> Result<Opened, VersionsError> {
        // The index of another kind of data says nothing of this one.
        let index = Index::load(&self.index_path(&pointer.name))?;
        let index = index.filter(|index| (index.head.kind == Kind::Folder) == (pointer.kind == Kind::Folder));
        Ok(Opened { place, pointer, index })
    }

    /// Takes the lock of the work tree, waiting for whoever holds it.
    pub(crate) async fn lock(&self) -> Result<FileLock, VersionsError> {
        let this = self.clone();
        blocking(move || {
            let path = this.lock_path()?;
            match files::lock(&path, &this.inner.command) {
                Err(FileError::Held { holder, .. }) => {
                    if let Some(told) = &this.inner.on_wait {
                        told(&holder);
                    }
                    Ok(files::lock_wait(&path, &this.inner.command)?)
                }
                result => Ok(result?),
            }
        })
        .await
    }

    /// Takes the lock if nobody holds it and the disk can be written.
    pub(crate) fn lock_now(&self) -> Option<FileLock> {
        files::lock(&self.lock_path().ok()?, &self.inner.command).ok()
    }

    /// The lock is the first file of all in the folder that git must not see.
    fn lock_path(&self) -> Result<PathBuf, FileError> {
        files::create_ignored_directory(&self.inner.state)?;
        Ok(self.work_folder().join("lock"))
    }
}

/// The pointers of these names, or all.
fn choose(tracked: Vec<Tracked>, names: &[DatasetName]) -> Result<Vec<(Place, Pointer)>, VersionsError> {
    let (mut good, mut bad): (Vec<(Place, Pointer)>, Vec<VersionsError>) = (Vec::new(), Vec::new());
    for Tracked { place, pointer } in tracked {
        match pointer {
            Ok(pointer) => good.push((place, pointer)),
            Err(error) => bad.push(error),
        }
    }
    for (place, pointer) in &good {
        if names.is_empty() || names.contains(&pointer.name) {
            check_name(place, pointer, &good)?;
        }
    }
    let mut bad = bad.into_iter();
    if names.is_empty() {
        return bad.next().map_or(Ok(good), Err);
    }
    let known: Vec<_> = good.iter().map(|(_, pointer)| pointer.name.to_string()).collect();
    let find = |name: &DatasetName| match good.iter().find(|(_, pointer)| pointer.name == *name) {
        Some(found) => Ok(found.clone()),
        // The one that cannot be read may be the one that was meant.
        None => {
            Err(bad.next().unwrap_or(VersionsError::UnknownDataset { name: name.to_string(), known: known.clone() }))
        }
    };
    names.iter().map(find).collect()
}

/// Of two datasets with one name, the second by path is refused.
fn check_name(place: &Place, pointer: &Pointer, all: &[(Place, Pointer)]) -> Result<(), VersionsError> {
    match all.iter().find(|(other, named)| named.name == pointer.name && other.path < place.path) {
        Some((other, _)) => {
            let (path, other) = (place.path.clone(), other.path.clone());
            Err(VersionsError::NameTaken { name: pointer.name.clone(), path, other })
        }
        None => Ok(()),
    }
}

/// How often files are added in all before it is an error that a collector took what they rely on.
pub(crate) const COMMIT_TRIES: usize = 3;

/// Whether content was gone that the store was known to have: a collector has removed it since the index of the store was
/// read. Now that this is known, adding the same again writes it.
pub(crate) fn is_collected(error: &VersionsError) -> bool {
    matches!(error, VersionsError::Store(StoreError::Collected { .. } | StoreError::NotFound { .. }))
}

/// Adds the nested trees of sorted files and commits; gives the digest of the outermost.
pub(crate) async fn tree_commit(mut writer: Writer, files: &[TreeFile]) -> Result<Digest, VersionsError> {
    let root = writer.add_tree_of(files).await?;
    writer.commit().await?;
    Ok(root)
}
