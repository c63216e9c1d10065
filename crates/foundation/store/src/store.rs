mod body;
mod cache;
mod collect;
mod copy;
mod heal;
mod index_objects;
mod just_checked;
mod lacking;
mod lay_out;
mod layout;
mod mark;
mod reach;
mod read;
mod refs;
mod relied;
mod share;
mod small;
mod stray;
mod stream;
mod sweep;
mod trees;
mod trusted;
mod usage;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use ropewalk_types::Digest;

use crate::backend::{self, BackendOptions, Resolved};
use crate::error::StoreError;
use crate::files::{self, Buffers, SharedLock};
use crate::index::{Index, PackId};
use crate::tree::Tree;
use crate::writer::Writer;

use just_checked::JustChecked;
use trusted::Trusted;

pub use collect::{Amount, CollectSettings, Collected};
pub use copy::{NoProgress, TransferProgress, Transferred};
pub use lacking::{Lacking, Unreadable};
pub use lay_out::{LaidOut, LinkMode};
pub use reach::Root;
pub(crate) use read::Piece;
pub use refs::RefHistory;
pub(crate) use relied::Relied;
pub use sweep::{Swept, sweep_leftovers};
pub use trees::TreeFile;
pub use usage::Usage;
pub use verify::{Damage, Verified};

/// Says of what kind a store is, so that a later version can tell.
const FORMAT_OBJECT: &str = "format";
const FORMAT: &[u8] = b"ropewalk store 1\n";
const FORMAT_BEGIN: &str = "ropewalk store ";
/// No mark of any version is longer, in bytes.
const FORMAT_MOST: u64 = 64;

/// Some bytes in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The BLAKE3 digest of the bytes: their name.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
}

/// A content-addressed store on an object store; cloning gives another handle to the same.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    cache: Option<Arc<Path>>,
    /// Held as long as any handle is.
    used: Option<Arc<SharedLock>>,
}

pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn ObjectStore>,
    index: RwLock<Index>,
    /// Held alone while index objects are read, so that many who miss a digest at once read them once; shared while
    /// one is written.
    refreshing: tokio::sync::RwLock<()>,
    /// Where the objects lie when that is a directory of this machine.
    directory: Option<PathBuf>,
    /// For what is read from that directory.
    buffers: Arc<Buffers>,
    just_checked: JustChecked,
    trusted: Trusted,
    /// When a body last made this handle look for what others removed.
    looked: Mutex<Option<Instant>>,
    /// Where it is, for people.
    place: String,
    /// Index objects that cannot be read are taken to say nothing.
    tolerant: bool,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By its short name: what a back-end shows of itself in full is not ours to answer for.
        f.debug_struct("Inner").field("backend", &format_args!("{}", self.backend)).finish_non_exhaustive()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("inner", &self.inner).field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store at `url` as [`Store::open_with`] does, without settings of a remote back-end.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &BackendOptions::default()).await
    }

    /// Opens the store at `url`, creating it if it is missing.
    ///
    /// - `file:PATH`: a directory of this machine.
    /// - `memory:`: empty, private to this handle and its clones, and gone with the last of them.
    /// - `s3://BUCKET/PREFIX`: Amazon S3 and what speaks its protocol, which must know conditional writes
    ///   (`If-None-Match: *`).
    /// - `gs://BUCKET/PREFIX`: Google Cloud Storage.
    /// - `az://CONTAINER/PREFIX`: Azure Blob Storage.
    pub async fn open_with(url: &str, options: &BackendOptions) -> Result<Self, StoreError> {
        Self::start(backend::resolve(url, options)?, url.to_owned(), false).await
    }

    /// Opens the store at `url` if there is one, and creates nothing; none also where its place cannot be seen.
    ///
    /// Errors: [`StoreError::MarkLost`] where everything is there but what says that it is a store.
    pub async fn open_existing(url: &str, options: &BackendOptions) -> Result<Option<Self>, StoreError> {
        if is_there(url, options).await? { Self::open_with(url, options).await.map(Some) } else { Ok(None) }
    }

    /// [`Store::open_damaged`], of a store that is there, as [`Store::open_existing`] does.
    pub async fn open_existing_damaged(url: &str, options: &BackendOptions) -> Result<Option<Self>, StoreError> {
        if is_there(url, options).await? { Self::open_damaged(url, options).await.map(Some) } else { Ok(None) }
    }

    /// Like [`Store::open_with`], for a store whose index is damaged: what cannot be read of it is passed over, and named
    /// by [`Store::verify`].
    pub async fn open_damaged(url: &str, options: &BackendOptions) -> Result<Self, StoreError> {
        Self::start(backend::resolve(url, options)?, url.to_owned(), true).await
    }

    /// The store in `backend`, which must be strongly consistent and honour `PutMode::Create`.
    pub async fn with_backend(backend: Arc<dyn ObjectStore>) -> Result<Self, StoreError> {
        let place = backend.to_string();
        Self::start(Resolved { backend, directory: None }, place, false).await
    }

    async fn start(resolved: Resolved, place: String, tolerant: bool) -> Result<Self, StoreError> {
        let Resolved { backend, directory } = resolved;
        check_format(backend.as_ref(), &place).await.map_err(|error| error.opening(&place))?;
        let (index, refreshing) = (RwLock::default(), tokio::sync::RwLock::default());
        let (buffers, just_checked, trusted) = (Arc::default(), JustChecked::default(), Trusted::default());
        let inner = Inner {
            backend,
            index,
            refreshing,
            directory,
            buffers,
            just_checked,
            trusted,
            looked: Mutex::new(Some(Instant::now())),
            place,
            tolerant,
        };
        let store = Self { inner: Arc::new(inner), cache: None, used: None };
        store.inner.refresh().await?;
        Ok(store)
    }

    /// Where it is, for people: the URL by which it was opened, which holds no credentials.
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// Sets where [`Store::cached_file`] lays out whole files; several stores and processes may share it.
    #[must_use]
    pub fn with_cache(mut self, dir: PathBuf) -> Self {
        self.cache = Some(dir.into());
        self
    }

    /// Keeps the lock by which others see that the store is in use, for as long as there are handles of this one.
    #[must_use]
    pub fn with_lock(mut self, lock: SharedLock) -> Self {
        self.used = Some(Arc::new(lock));
        self
    }

    /// The lock by which others see that the store is in use, if it is kept.
    pub fn used(&self) -> Option<&SharedLock> {
        self.used.as_deref()
    }

    /// Whether its objects are files of this machine, and nothing of it is tied to the runtime that first used it.
    pub fn is_local(&self) -> bool {
        self.inner.directory.is_some()
    }

    pub(crate) fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// Begins a commit of many blobs, which share packs and become visible together.
    pub fn writer(&self) -> Writer {
        Writer::new(Arc::clone(&self.inner))
    }

    /// Stores `bytes`; they are durable and visible on return.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<Blob, StoreError> {
        let mut tries = Tries::default();
        loop {
            let mut writer = self.writer();
            let blob = writer.add_bytes(bytes.clone()).await?;
            if tries.commit(writer).await? {
                return Ok(blob);
            }
        }
    }

    /// Stores the file at `path`, holding only a few megabytes of it in memory at a time.
    pub async fn put_file(&self, path: &Path) -> Result<Blob, StoreError> {
        let mut tries = Tries::default();
        loop {
            let mut writer = self.writer();
            let blob = writer.add_file(path).await?;
            if tries.commit(writer).await? {
                return Ok(blob);
            }
        }
    }

    /// Stores the directory `dir` with all below it and gives the digest of its [`Tree`]; see
    /// [`Writer::add_directory`].
    pub async fn put_directory(&self, dir: &Path) -> Result<Digest, StoreError> {
        let mut tries = Tries::default();
        loop {
            let mut writer = self.writer();
            let digest = writer.add_directory(dir).await?;
            if tries.commit(writer).await? {
                return Ok(digest);
            }
        }
    }

    /// Stores a tree, not what it names.
    pub async fn tree_put(&self, tree: &Tree) -> Result<Digest, StoreError> {
        let mut tries = Tries::default();
        loop {
            let mut writer = self.writer();
            let digest = writer.add_tree(tree).await?;
            if tries.commit(writer).await? {
                return Ok(digest);
            }
        }
    }

    /// The tree of this digest.
    pub async fn tree_get(&self, digest: &Digest) -> Result<Tree, StoreError> {
        Tree::decode(&self.get_bounded(digest, Tree::MAX_ENCODED as u64, "the tree").await?)
    }

    /// Takes in what other processes have stored and removed since this handle last looked, so that it does not say of what
    /// was collected meanwhile that it is there.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.inner.refresh().await
    }

    /// Whether the store has the blob or tree; looks for what other processes wrote before it says no.
    pub async fn contains(&self, digest: &Digest) -> Result<bool, StoreError> {
        if self.inner.index(|index| index.has_blob(digest)) {
            return Ok(true);
        }
        self.inner.refresh().await?;
        Ok(self.inner.index(|index| index.has_blob(digest)))
    }
}

/// Two tries of a commit: a handle that had not looked at the index objects for days may have relied on what was removed
/// long ago. After the first try it has looked.
#[derive(Default)]
struct Tries {
    again: bool,
}

impl Tries {
    /// Says whether it is done, or is to be tried again from its beginning.
    async fn commit(&mut self, writer: Writer) -> Result<bool, StoreError> {
        match writer.commit().await {
            Err(StoreError::Collected { .. }) if !self.again => {
                self.again = true;
                Ok(false)
            }
            committed => committed.map(|()| true),
        }
    }
}

impl Inner {
    /// Says in an error of damage in which store it is.
    pub(crate) fn here(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Damaged { digest, object, reason } => {
                StoreError::Damaged { digest, object: format!("{object} of {}", self.place), reason }
            }
            other => other,
        }
    }

    pub(crate) fn index<T>(&self, read: impl FnOnce(&Index) -> T) -> T {
        // A poisoned index is whole: it is changed by one finished entry at a time.
        read(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many segments of up to 8 MiB are read at once: as many as keep a disk busy, or the way to another machine.
    pub(crate) fn segments_at_once(&self) -> usize {
        if self.directory.is_some() { 3 } else { 8 }
    }

    /// How many parts of 8 MiB of a pack are written at once.
    pub(crate) fn parts_at_once(&self) -> usize {
        if self.directory.is_some() { 2 } else { 6 }
    }

    /// Whether the objects are files of this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.directory.is_some()
    }

    /// The file that is the pack, when the store is a directory of this machine.
    pub(crate) fn pack_file(&self, pack: PackId) -> Option<PathBuf> {
        let directory = self.directory.as_deref()?;
        Some(pack.path().parts().fold(directory.to_owned(), |path, part| path.join(part.as_ref())))
    }

    /// Refuses a directory that has gone since the store was opened, such as that of a disk that was unmounted: what would
    /// be written now would lie on another disk.
    async fn check_there(&self) -> Result<(), StoreError> {
        let Some(directory) = self.directory.clone() else { return Ok(()) };
        blocking(move || {
            if files::exists(&directory.join(FORMAT_OBJECT))? {
                Ok(())
            } else {
                Err(StoreError::Vanished { directory, note: None })
            }
        })
        .await
    }

    fn index_mut(&self, change: impl FnOnce(&mut Index)) {
        change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether there is a store at `url`.
async fn is_there(url: &str, options: &BackendOptions) -> Result<bool, StoreError> {
    let (objects, place) = backend::object_store_at(url, options)?;
    let mark = place.clone().join(FORMAT_OBJECT);
    match objects.head(&mark).await {
        Err(object_store::Error::NotFound { .. }) => {}
        Err(source) => return Err(failed("look for", &mark)(source).opening(url)),
        Ok(_) => return Ok(true),
    }
    if holds_objects(objects.as_ref(), &place, url).await? {
        return Err(StoreError::MarkLost { place: url.to_owned() });
    }
    Ok(false)
}

/// Whether there are objects as only a store has them.
async fn holds_objects(objects: &dyn ObjectStore, place: &ObjectPath, url: &str) -> Result<bool, StoreError> {
    for (folder, is_of_store) in OF_STORES {
        let folder = place.clone().join(folder);
        match objects.list(Some(&folder)).next().await {
            Some(Ok(found)) if found.location.filename().is_some_and(is_of_store) => return Ok(true),
            None | Some(Ok(_) | Err(object_store::Error::NotFound { .. })) => {}
            Some(Err(source)) => return Err(failed("list", &folder)(source).opening(url)),
        }
    }
    Ok(false)
}

/// Whether an object of this name is one of a store.
type IsOfStore = fn(&str) -> bool;

/// Folders in which every store has objects, and how their names are known from those that others put there.
const OF_STORES: [(&str, IsOfStore); 2] =
    [(index_objects::FOLDER, |name| name.parse::<Digest>().is_ok()), (refs::FOLDER, refs::is_generation)];

/// Marks a new store, or checks that the one found is of the kind that is known here.
async fn check_format(backend: &dyn ObjectStore, place: &str) -> Result<(), StoreError> {
    let path = ObjectPath::from(FORMAT_OBJECT);
    let put = async || backend.put_opts(&path, FORMAT.into(), PutOptions::from(PutMode::Create)).await;
    match backend.get(&path).await {
        Err(object_store::Error::NotFound { .. }) => match put().await {
            // Another process has just marked it; both write the same.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(source) => Err(failed("mark the store by", &path)(source)),
        },
        Err(source) => Err(failed("read", &path)(source)),
        Ok(found) if found.meta.size <= FORMAT_MOST => {
            let bytes = found.bytes().await.map_err(failed("read", &path))?;
            if bytes == FORMAT { Ok(()) } else { Err(unknown_format(place, &bytes)) }
        }
        Ok(_) => Err(unknown_format(place, b"")),
    }
}

/// Says of another mark than ours whether it is that of another program's store, or nothing.
fn unknown_format(place: &str, mark: &[u8]) -> StoreError {
    StoreError::UnknownFormat { place: place.to_owned(), number: number_of(mark) }
}

/// The number of the form that a mark tells.
fn number_of(mark: &[u8]) -> Option<u32> {
    let rest = std::str::from_utf8(mark).ok()?.strip_prefix(FORMAT_BEGIN)?;
    rest.strip_suffix('\n').unwrap_or(rest).parse().ok()
}

/// Names the object and the action in an error of the backend.
pub(crate) fn failed(action: &'static str, path: &ObjectPath) -> impl FnOnce(object_store::Error) -> StoreError {
    let object = path.to_string();
    move |source| StoreError::of_backend(action, object, source)
}

/// Runs work that computes or blocks, off the reactor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // A panic goes on in the task that asked for the work.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Interrupted),
        },
    }
}
