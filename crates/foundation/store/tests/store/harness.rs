//! Places for stores, one for each kind of back-end.

use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use ropewalk_store::files::{self, Entry, EntryKind, TemporaryDirectory};
use ropewalk_store::{BackendOptions, Store, object_store_at};

/// A place for one store, of which any number of independent handles can be opened, and a directory for files.
pub(crate) struct Harness {
    pub(crate) directory: TemporaryDirectory,
    place: Place,
}

enum Place {
    Disk,
    Memory(Arc<dyn ObjectStore>),
    Remote(String, BackendOptions),
}

impl Harness {
    pub(crate) fn on_disk() -> Self {
        Self::in_directory(&std::env::temp_dir())
    }

    /// A place for a store on the file system of `directory`.
    pub(crate) fn in_directory(directory: &FilePath) -> Self {
        Self { directory: files::temporary_directory(directory).unwrap(), place: Place::Disk }
    }

    pub(crate) fn in_memory() -> Self {
        Self { directory: scratch(), place: Place::Memory(Arc::new(InMemory::new())) }
    }

    /// A new place below `url`.
    pub(crate) fn remote(url: &str, options: BackendOptions) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let place = format!("{url}/{time}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { directory: scratch(), place: Place::Remote(place, options) }
    }

    /// A place for another store of the same kind.
    pub(crate) fn beside(&self) -> Self {
        match &self.place {
            Place::Disk => Self::on_disk(),
            Place::Memory(_) => Self::in_memory(),
            Place::Remote(url, options) => Self::remote(url, options.clone()),
        }
    }

    /// A handle with an index of its own, as another process would have.
    pub(crate) async fn open(&self) -> Store {
        match &self.place {
            Place::Disk => Store::open(&format!("file:{}", self.directory.path().join("store").display())).await,
            Place::Memory(backend) => Store::with_backend(Arc::clone(backend)).await,
            Place::Remote(url, options) => Store::open_with(url, options).await,
        }
        .unwrap()
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        files::write_atomic(&path, bytes).unwrap();
        path
    }

    /// How many objects lie in a folder of the store and below.
    pub(crate) async fn count(&self, folder: &str) -> usize {
        let (backend, path) = match &self.place {
            Place::Disk => return count_files(&self.directory.path().join("store").join(folder)),
            Place::Memory(backend) => (Arc::clone(backend), folder.into()),
            Place::Remote(url, options) => object_store_at(&format!("{url}/{folder}"), options).unwrap(),
        };
        let listed: Vec<_> = backend.list(Some(&path)).try_collect().await.unwrap();
        listed.len()
    }

    /// The paths of all objects in a folder of the store.
    pub(crate) async fn paths(&self, folder: &str) -> BTreeSet<Path> {
        let (backend, path) = self.backend(folder);
        let listed: Vec<_> = backend.list(Some(&path)).try_collect().await.unwrap();
        listed.into_iter().map(|meta| meta.location).collect()
    }

    /// Removes objects, as if they had been lost.
    pub(crate) async fn lose(&self, objects: impl IntoIterator<Item = Path>) {
        let (backend, _) = self.backend("");
        for object in objects {
            backend.delete(&object).await.unwrap();
        }
    }

    /// Writes something else where an object is.
    pub(crate) async fn spoil(&self, objects: impl IntoIterator<Item = Path>) {
        let (backend, _) = self.backend("");
        for object in objects {
            backend.put(&object, "no object of a store".into()).await.unwrap();
        }
    }

    fn backend(&self, folder: &str) -> (Arc<dyn ObjectStore>, Path) {
        match &self.place {
            Place::Disk => {
                let url = format!("file:{}", self.directory.path().join("store").join(folder).display());
                object_store_at(&url, &BackendOptions::default()).unwrap()
            }
            Place::Memory(backend) => (Arc::clone(backend), folder.into()),
            Place::Remote(url, options) => object_store_at(&format!("{url}/{folder}"), options).unwrap(),
        }
    }

    /// The objects in a folder of a store on disk.
    pub(crate) fn objects(&self, folder: &str) -> Vec<Entry> {
        let path = self.directory.path().join("store").join(folder);
        if files::exists(&path).unwrap() { files::list(&path).unwrap() } else { Vec::new() }
    }
}

fn count_files(folder: &FilePath) -> usize {
    let entries = if files::exists(folder).unwrap() { files::list(folder).unwrap() } else { Vec::new() };
    let count = |entry: Entry| if entry.kind == EntryKind::Directory { count_files(&entry.path) } else { 1 };
    entries.into_iter().map(count).sum()
}

fn scratch() -> TemporaryDirectory {
    files::temporary_directory(&std::env::temp_dir()).unwrap()
}

/// Bytes that cannot be compressed, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
