//! A project's datasets: what is tracked, what is laid out, and the operations on both.

mod add;
mod checkout;
mod commit;
mod compare;
mod conflicted;
mod gitignore;
mod merge;
mod names;
mod plan;
mod remove;
mod restore;
mod snapshot;
mod status;

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
use crate::index::Index;
use crate::pointer::{Kind, Pointer};

pub use add::{AddRequest, Added};
pub(crate) use checkout::Laying;
pub use checkout::{CheckedOut, CheckoutRequest};
pub use commit::{CommitOutcome, Committed};
pub use compare::Side;
pub use merge::{MergeOutcome, MergeRequest};
pub use names::FileOf;
pub use remove::Removed;
pub use restore::{RestoreRequest, Restored};
pub use status::{Layout, Status};

/// Opens the project's store when an operation first needs it; `status` of an unchanged tree never does.
pub type StoreOpener = Arc<dyn Fn() -> BoxFuture<'static, Result<Store, StoreError>> + Send + Sync>;

/// Told who holds the lock of the work tree when an operation has to wait for it.
type OnWait = Arc<dyn Fn(&str) + Send + Sync>;

/// The tracked datasets of a project; cloning gives another handle to the same.
///
/// Operations that change something hold a lock on `STATE/work/lock`, so that one process at a time writes.
#[derive(Clone)]
pub struct Workspace {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    state: PathBuf,
    command: String,
    ambient: Arc<dyn Ambient>,
    opener: StoreOpener,
    store: OnceCell<Store>,
    on_wait: Option<OnWait>,
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
}

impl Workspace {
    /// The datasets of the project in the folder `root`; `state` is where Ropewalk keeps what git does not see.
    ///
    /// `command` describes this process to others that wait for it, such as `ropewalk data add`.
    pub fn new(root: PathBuf, state: PathBuf, command: &str, ambient: Arc<dyn Ambient>, opener: StoreOpener) -> Self {
        let (command, store) = (command.to_owned(), OnceCell::new());
        Self { inner: Arc::new(Inner { root, state, command, ambient, opener, store, on_wait: None }) }
    }

    /// Sets who is told, with a description of the holder, when an operation waits for another process.
    #[must_use]
    pub fn on_wait(self, told: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let Inner { root, state, command, ambient, opener, store, .. } = &*self.inner;
        let inner = Inner {
            root: root.clone(),
            state: state.clone(),
            command: command.clone(),
            ambient: Arc::clone(ambient),
            opener: Arc::clone(opener),
            store: store.clone(),
            on_wait: Some(Arc::new(told)),
        };
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

    pub(crate) fn ambient(&self) -> &dyn Ambient {
        self.inner.ambient.as_ref()
    }

    /// Where indexes and the lock lie.
    pub(crate) fn work_folder(&self) -> PathBuf {
        self.inner.state.join("work")
    }

    pub(crate) fn index_path(&self, name: &DatasetName) -> PathBuf {
        self.work_folder().join(format!("{name}.index"))
    }

    /// Every tracked dataset, sorted by path; the first pointer that cannot be read is the error.
    pub async fn datasets(&self) -> Result<Vec<Dataset>, VersionsError> {
        let tracked = self.discover().await?;
        let dataset = |tracked: Tracked| Ok(Dataset { path: tracked.place.path, pointer: tracked.pointer? });
        tracked.into_iter().map(dataset).collect()
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
        let open = |(place, pointer): (Place, Pointer)| {
            // The index of another kind of data says nothing of this one.
            let index = Index::load(&self.index_path(&pointer.name))?;
            let index = index.filter(|index| (index.head.kind == Kind::Folder) == (pointer.kind == Kind::Folder));
            Ok(Opened { place, pointer, index })
        };
        chosen.into_iter().map(open).collect()
    }

    /// Takes the lock of the work tree, waiting for whoever holds it.
    pub(crate) async fn lock(&self) -> Result<FileLock, VersionsError> {
        let this = self.clone();
        blocking(move || {
            let path = this.lock_path();
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
        files::lock(&self.lock_path(), &self.inner.command).ok()
    }

    fn lock_path(&self) -> PathBuf {
        self.work_folder().join("lock")
    }

    /// The files of some content, as they lie below the folder of `place`; a single file by its name.
    pub(crate) async fn files_of(
        &self,
        name: &DatasetName,
        content: &Content,
        file_name: &str,
    ) -> Result<Vec<TreeFile>, VersionsError> {
        let Content { root, kind, bytes, .. } = *content;
        let store = self.store().await?;
        let files = match kind {
            Kind::Folder => store.tree_files(&root).await,
            Kind::File | Kind::Executable => store.size(&root).await.map(|size| {
                let executable = kind == Kind::Executable;
                vec![TreeFile { path: file_name.to_owned(), digest: root, size: size.max(bytes), executable }]
            }),
        };
        files.map_err(|error| match error {
            StoreError::NotFound { .. } => VersionsError::ContentMissing { name: name.clone(), root },
            error => error.into(),
        })
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
        let other = good.iter().find(|(other, named)| named.name == pointer.name && other.path < place.path);
        if let Some((other, _)) = other.filter(|_| names.is_empty() || names.contains(&pointer.name)) {
            let (path, other) = (place.path.clone(), other.path.clone());
            return Err(VersionsError::NameTaken { name: pointer.name.clone(), path, other });
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

/// Adds the nested trees of sorted files and commits; gives the digest of the outermost.
///
/// On a thread of its own, because the store's future cannot move between threads while it holds the writer.
pub(crate) async fn tree_commit(mut writer: Writer, files: Vec<TreeFile>) -> Result<Digest, VersionsError> {
    blocking(move || {
        let runtime = tokio::runtime::Handle::current();
        runtime.block_on(async move {
            let root = writer.add_tree_of(&files).await?;
            writer.commit().await?;
            Ok(root)
        })
    })
    .await
}
