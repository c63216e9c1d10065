//! The store as its users see it, on every back-end that is built in.

#![expect(clippy::unwrap_used, reason = "clippy exempts test functions, not what they share")]

mod blobs;
mod damage;
mod refs;
mod sharing;
mod trees;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use ropewalk_store::Store;
use ropewalk_store::files::{self, Entry, TemporaryDirectory};

/// Runs an `async fn(Harness)` as one test for each back-end: the conformance suite is all that is named here.
macro_rules! on_every_backend {
    ($($test:ident),* $(,)?) => {
        mod on_disk {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::Harness::on_disk()).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::Harness::in_memory()).await;
            })*
        }
    };
}
pub(crate) use on_every_backend;

/// A place for one store, of which any number of independent handles can be opened, and a directory for files.
pub(crate) struct Harness {
    pub(crate) directory: TemporaryDirectory,
    memory: Option<Arc<dyn ObjectStore>>,
}

impl Harness {
    pub(crate) fn on_disk() -> Self {
        Self { directory: scratch(), memory: None }
    }

    pub(crate) fn in_memory() -> Self {
        Self { directory: scratch(), memory: Some(Arc::new(InMemory::new())) }
    }

    /// A handle with an index of its own, as another process would have.
    pub(crate) async fn open(&self) -> Store {
        match &self.memory {
            Some(backend) => Store::with_backend(Arc::clone(backend)).await.unwrap(),
            None => Store::open(&format!("file:{}", self.directory.path().join("store").display())).await.unwrap(),
        }
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        files::write_atomic(&path, bytes).unwrap();
        path
    }

    /// The objects in a folder of a store on disk.
    pub(crate) fn objects(&self, folder: &str) -> Vec<Entry> {
        let path = self.directory.path().join("store").join(folder);
        if files::exists(&path).unwrap() { files::list(&path).unwrap() } else { Vec::new() }
    }
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
