use bytes::Bytes;
use futures::FutureExt as _;
use ropewalk_store::{Store, StoreError, files};
use ropewalk_types::{Diagnose as _, Digest};

use crate::{Harness, noise, on_every_backend};

on_every_backend!(
    every_size_comes_back,
    files_come_back_as_files,
    what_is_missing_is_said,
    the_same_bytes_are_stored_once,
    a_writer_commits_all_at_once,
    cached_files_are_made_once,
);

/// Around every border: of chunks, of what is prepared whole, of the window that files are read through.
const SIZES: [usize; 9] = [0, 1, 16 << 10, (16 << 10) + 1, 256 << 10, (256 << 10) + 1, 1 << 20, (1 << 20) + 1, 5 << 20];

async fn every_size_comes_back(harness: Harness) {
    let store = harness.open().await;
    for size in SIZES {
        for bytes in [noise(size as u64, size), b"yarn ".repeat(size / 5)] {
            let blob = store.put_bytes(bytes.clone().into()).await.unwrap();
            assert_eq!((blob.digest, blob.size), (Digest::of(&bytes), bytes.len() as u64));
            assert!(store.contains(&blob.digest).await.unwrap());
            assert_eq!(store.size(&blob.digest).await.unwrap(), blob.size);
            assert_eq!(store.get_bytes(&blob.digest).await.unwrap(), bytes);
        }
    }
}

async fn files_come_back_as_files(harness: Harness) {
    let store = harness.open().await;
    for size in SIZES {
        let bytes = noise(size as u64, size);
        let blob = store.put_file(&harness.file("in", &bytes)).await.unwrap();
        assert_eq!((blob.digest, blob.size), (Digest::of(&bytes), size as u64));
        let path = harness.directory.path().join("out/deep/file");
        store.materialize(&blob.digest, &path).await.unwrap();
        assert!(files::read(&path).unwrap() == bytes, "{size}");
    }
}

async fn what_is_missing_is_said(harness: Harness) {
    let store = harness.open().await;
    let digest = Digest::of(b"never stored");
    assert!(!store.contains(&digest).await.unwrap());
    assert!(matches!(store.get_bytes(&digest).await, Err(StoreError::NotFound { .. })));
    let path = harness.directory.path().join("out");
    assert_eq!(store.materialize(&digest, &path).await.unwrap_err().code(), "store.not_found");
    assert!(!files::exists(&path).unwrap());
    let error = store.put_file("/no/such/file".as_ref()).await.unwrap_err();
    assert_eq!(error.code(), "file.not_found");
    assert!(error.to_string().contains("/no/such/file"), "{error}");
    assert!(matches!(store.cached_file(&digest).await, Err(StoreError::NoCache)));
}

async fn the_same_bytes_are_stored_once(harness: Harness) {
    let store = harness.open().await;
    let bytes = Bytes::from(noise(1, 3 << 20));
    let mut writer = store.writer();
    let first = writer.add_bytes(bytes.clone()).await.unwrap();
    assert_eq!(writer.add_bytes(bytes.clone()).await.unwrap(), first);
    writer.commit().await.unwrap();
    let path = harness.file("same", &bytes);
    assert_eq!(store.put_file(&path).await.unwrap(), first);
    assert_eq!(harness.open().await.put_bytes(bytes.clone()).await.unwrap(), first);
    let (stored, length) = (harness.bytes("packs").await, bytes.len() as u64);
    assert!((length..length + 10_000).contains(&stored), "{stored}");
}

async fn a_writer_commits_all_at_once(harness: Harness) {
    let (store, other) = (harness.open().await, harness.open().await);
    let mut writer = store.writer();
    let mut blobs = Vec::new();
    for size in SIZES {
        blobs.push(writer.add_bytes(noise(size as u64, size).into()).await.unwrap());
    }
    for blob in &blobs {
        assert!(!other.contains(&blob.digest).await.unwrap());
        assert!(!store.contains(&blob.digest).await.unwrap());
    }
    writer.commit().await.unwrap();
    for blob in &blobs {
        assert_eq!(Digest::of(&other.get_bytes(&blob.digest).await.unwrap()), blob.digest);
    }
    assert_eq!(harness.count("packs").await, 1);
    store.writer().commit().await.unwrap();
    assert_eq!(harness.count("index").await, 1, "an empty commit writes nothing");
}

async fn cached_files_are_made_once(harness: Harness) {
    let cache = harness.directory.path().join("cache");
    let store = harness.open().await.with_cache(cache.clone());
    let bytes = noise(5, 2 << 20);
    let digest = store.put_bytes(bytes.clone().into()).await.unwrap().digest;
    let other = harness.open().await.with_cache(cache.clone());
    let (one, two) = futures::join!(store.cached_file(&digest), other.cached_file(&digest));
    let path = one.unwrap();
    assert_eq!(path, two.unwrap());
    assert_eq!(path, cache.join(&digest.to_string()[..2]).join(digest.to_string()));
    assert!(files::read(&path).unwrap() == bytes);
    assert!(path.metadata().unwrap().permissions().readonly());
    let modified = path.metadata().unwrap().modified().unwrap();
    store.cached_file(&digest).await.unwrap();
    assert_eq!(path.metadata().unwrap().modified().unwrap(), modified);
    // It and its stamp.
    assert_eq!(files::list(path.parent().unwrap()).unwrap().len(), 2);
}

/// A commit after it could name chunks that were never written.
#[test]
fn a_cancelled_addition_cannot_be_committed() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let store = Store::open("memory:").await.unwrap();
        let mut writer = store.writer();
        // The only thread for such work is busy, so that the addition is certainly given up half-way.
        let (busy, gate) = std::sync::mpsc::channel::<()>();
        let waiting = tokio::task::spawn_blocking(move || gate.recv());
        assert!(writer.add_bytes("half".into()).now_or_never().is_none());
        drop(busy);
        waiting.await.unwrap().unwrap_err();
        assert!(matches!(writer.add_bytes("more".into()).await, Err(StoreError::WriterFailed)));
        assert!(matches!(writer.commit().await, Err(StoreError::WriterFailed)));
        assert!(!store.contains(&Digest::of(b"half")).await.unwrap());
    });
}

#[tokio::test]
async fn text_is_compressed() {
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let text: String = (0..200_000).flat_map(|row| [row.to_string(), ",hemp\n".to_owned()]).collect();
    store.put_bytes(text.clone().into()).await.unwrap();
    let stored: u64 = harness.objects("packs").iter().map(|pack| pack.size).sum();
    assert!(stored < text.len() as u64 / 3, "{stored} of {}", text.len());
}

#[tokio::test]
async fn the_memory_store_is_private() {
    let (one, two) = (Store::open("memory:").await.unwrap(), Store::open("memory:").await.unwrap());
    let blob = one.put_bytes("hemp".into()).await.unwrap();
    assert!(one.clone().contains(&blob.digest).await.unwrap());
    assert!(!two.contains(&blob.digest).await.unwrap());
}

/// Everything that a server does with a store happens in tasks.
#[tokio::test]
async fn futures_can_be_spawned() {
    fn spawned<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    let harness = Harness::in_memory();
    let store = harness.open().await;
    let path = harness.directory.path().join("x");
    let digest = spawned({
        let store = store.clone();
        async move { store.put_bytes("x".into()).await.unwrap().digest }
    })
    .await;
    drop(spawned({
        let (store, path) = (store.clone(), path.clone());
        async move {
            let _ = store.put_file(&path).await;
            let _ = store.put_directory(&path).await;
            let _ = store.materialize(&digest, &path).await;
            let _ = store.materialize_tree(&digest, &path).await;
            let _ = store.cached_file(&digest).await;
            let _ = store.ref_list("").await;
            let _ = store.sweep_orphans(std::time::SystemTime::UNIX_EPOCH).await;
        }
    }));
    assert_eq!(spawned(async move { store.get_bytes(&digest).await.unwrap() }).await, "x");
}
