//! Places for stores, one for each kind of back-end.

use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use ropewalk_store::files::{self, Entry, EntryKind, TemporaryDirectory};
use ropewalk_store::{BackendOptions, Store, object_store_at};

use yielding::Yielding;

// Also where this file is a module of another test.
#[path = "yielding.rs"]
mod yielding;

/// More steps than any work takes that is killed here.
const KILL_POINTS: usize = 1000;

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
        Self { directory: scratch(), place: Place::Memory(Arc::new(Yielding::default())) }
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
        self.sizes(folder).await.len()
    }

    /// How many bytes the objects in a folder of the store and below have together.
    pub(crate) async fn bytes(&self, folder: &str) -> u64 {
        self.sizes(folder).await.iter().sum()
    }

    async fn sizes(&self, folder: &str) -> Vec<u64> {
        let (backend, path) = match &self.place {
            Place::Disk => return sizes_below(&self.directory.path().join("store").join(folder)),
            Place::Memory(backend) => (Arc::clone(backend), folder.into()),
            Place::Remote(url, options) => object_store_at(&format!("{url}/{folder}"), options).unwrap(),
        };
        backend.list(Some(&path)).map_ok(|meta| meta.size).try_collect().await.unwrap()
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    /// After how many of its steps work is to be killed, one number for each time: every one where a step costs little,
    /// ever greater ones where it is a request to a server.
    pub(crate) fn kill_points(&self) -> Box<dyn Iterator<Item = usize> + Send> {
        match &self.place {
            Place::Disk | Place::Memory(_) => Box::new(0..KILL_POINTS),
            Place::Remote(..) => {
                let points = std::iter::successors(Some(0), |point| Some(point + point / 2 + 1));
                Box::new(points.take_while(|point| *point < KILL_POINTS * 10))
            }
        }
    }

    /// Begins work again and again and ends it as `kill -9` would, later each time, until it comes to its end; after each
    /// time it is looked at what is there.
    pub(crate) async fn killed_at_every_point(&self, mut work: impl AsyncFnMut(), mut look: impl AsyncFnMut()) {
        for point in self.kill_points() {
            let ended = dropped_after(point, Box::pin(work())).await;
            Box::pin(look()).await;
            if ended {
                return;
            }
        }
        panic!("it never came to its end");
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

fn sizes_below(folder: &FilePath) -> Vec<u64> {
    let entries = if files::exists(folder).unwrap() { files::list(folder).unwrap() } else { Vec::new() };
    let sizes = |entry: Entry| {
        if entry.kind == EntryKind::Directory { sizes_below(&entry.path) } else { vec![entry.size] }
    };
    entries.into_iter().flat_map(sizes).collect()
}

/// Lets work wake up `times` times at most and drops it, as `kill -9` would end it; says whether it had ended.
pub(crate) async fn dropped_after<F: Future>(times: usize, work: F) -> bool {
    let (mut work, mut left) = (Box::pin(work), times);
    std::future::poll_fn(|context| match left.checked_sub(1) {
        None => Poll::Ready(false),
        Some(less) => {
            left = less;
            work.as_mut().poll(context).map(|_| true)
        }
    })
    .await
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
