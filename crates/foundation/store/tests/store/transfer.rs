use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::TryStreamExt as _;
use ropewalk_store::{NoProgress, Root, Store, StoreError, TransferProgress, Tree, TreeEntry, files};
use ropewalk_types::{Diagnose as _, Digest};

use crate::{Harness, noise, on_every_backend};

on_every_backend!(
    what_is_wanted_arrives,
    only_what_is_missing_moves,
    a_piece_that_is_missing_is_named,
    a_killed_transfer_goes_on,
    two_transfers_at_once_do_not_disturb_each_other,
    parts_of_blobs_are_read,
);

/// A directory with small and large files, of which the store has the tree.
pub(crate) async fn directory_in(store: &Store, harness: &Harness, seed: u64) -> Digest {
    let source = harness.directory.path().join(format!("source{seed}"));
    for (name, bytes) in [
        ("a.txt", b"hemp".to_vec()),
        ("empty", Vec::new()),
        ("sub/large", noise(seed, 3 << 20)),
        ("sub/same", b"hemp".to_vec()),
        ("sub/deep/text", b"yarn strand rope ".repeat(5000)),
    ] {
        files::write_atomic(&source.join(name), &bytes).unwrap();
    }
    for number in 0..50 {
        files::write_atomic(&source.join(format!("many/{number}")), &noise(seed * 1000 + number, 2000)).unwrap();
    }
    store.put_directory(&source).await.unwrap()
}

#[derive(Default)]
struct Count {
    planned: AtomicU64,
    moved: AtomicU64,
    laid_out: AtomicU64,
}

impl TransferProgress for Count {
    fn planned(&self, _: u64, bytes: u64) {
        self.planned.store(bytes, Ordering::Relaxed);
    }

    fn moved(&self, _: u64, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn laid_out(&self, _: u64, bytes: u64) {
        self.laid_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

async fn assert_same(one: &Store, two: &Store, tree: &Digest) {
    let files = one.tree_files(tree).await.unwrap();
    assert_eq!(two.tree_files(tree).await.unwrap(), files);
    for file in &files {
        assert_eq!(Digest::of(&two.get_bytes(&file.digest).await.unwrap()), file.digest, "{}", file.path);
    }
}

async fn what_is_wanted_arrives(harness: Harness) {
    let other = harness.beside();
    let (from, to) = (harness.open().await, other.open().await);
    let tree = directory_in(&from, &harness, 1).await;
    let blob = from.put_bytes(noise(9, 600_000).into()).await.unwrap();
    let count = Count::default();
    let roots = [Root::Tree(tree), Root::Blob(blob.digest), Root::Blob(blob.digest)];
    let moved = from.copy_to(&to, &roots, &count).await.unwrap();
    assert!(moved.pieces > 60 && moved.bytes > 3 << 20);
    assert_eq!(count.planned.load(Ordering::Relaxed), moved.bytes);
    assert_eq!(count.moved.load(Ordering::Relaxed), moved.bytes);
    assert_eq!(count.laid_out.load(Ordering::Relaxed), 0);
    let fresh = other.open().await;
    assert_same(&from, &fresh, &tree).await;
    assert_eq!(Digest::of(&fresh.get_bytes(&blob.digest).await.unwrap()), blob.digest);
    assert!(from.copy_to(&from, &roots, &NoProgress).await.unwrap().pieces == 0);
}

async fn only_what_is_missing_moves(harness: Harness) {
    let other = harness.beside();
    let (from, to) = (harness.open().await, other.open().await);
    let one = directory_in(&from, &harness, 1).await;
    from.copy_to(&to, &[Root::Tree(one)], &NoProgress).await.unwrap();
    let again = from.copy_to(&to, &[Root::Tree(one)], &NoProgress).await.unwrap();
    assert_eq!((again.pieces, again.bytes, again.present), (0, 0, 1));
    // One file of many is another, and the trees above it.
    let mut tree = from.tree_get(&one).await.unwrap();
    let blob = from.put_bytes("changed".into()).await.unwrap();
    let entry = TreeEntry::File { digest: blob.digest, size: blob.size, executable: false };
    tree.insert("new", entry).unwrap();
    let two = from.tree_put(&tree).await.unwrap();
    let moved = from.copy_to(&to, &[Root::Tree(two)], &NoProgress).await.unwrap();
    assert_eq!(moved.pieces, 2);
    assert_same(&from, &to, &two).await;
    // What another process has brought there meanwhile is seen.
    let three = directory_in(&from, &harness, 3).await;
    from.copy_to(&other.open().await, &[Root::Tree(three)], &NoProgress).await.unwrap();
    assert_eq!(from.copy_to(&to, &[Root::Tree(three)], &NoProgress).await.unwrap().pieces, 0);
}

async fn a_piece_that_is_missing_is_named(harness: Harness) {
    let other = harness.beside();
    let (from, to) = (harness.open().await, other.open().await);
    let never = Digest::of(b"never stored");
    let mut tree = Tree::new();
    tree.insert("x", TreeEntry::File { digest: never, size: 12, executable: false }).unwrap();
    let tree = from.tree_put(&tree).await.unwrap();
    for root in [Root::Tree(tree), Root::Tree(never), Root::Blob(never)] {
        let error = from.copy_to(&to, &[root], &NoProgress).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound { digest } if digest == never), "{error}");
        assert!(error.to_string().contains(&never.to_string()));
    }
    assert!(!to.contains(&tree).await.unwrap());
}

/// Dropped after each of its steps in turn, a transfer leaves nothing wrong and ends in the end.
async fn a_killed_transfer_goes_on(harness: Harness) {
    let other = harness.beside();
    let from = harness.open().await;
    let tree = directory_in(&from, &harness, 1).await;
    let copy = async || {
        let to = other.open().await;
        from.copy_to(&to, &[Root::Tree(tree)], &NoProgress).await.unwrap();
    };
    let look = async || {
        let fresh = other.open().await;
        if fresh.contains(&tree).await.unwrap() {
            assert_same(&from, &fresh, &tree).await;
        }
    };
    other.killed_at_every_point(copy, look).await;
    assert_same(&from, &other.open().await, &tree).await;
}

async fn two_transfers_at_once_do_not_disturb_each_other(harness: Harness) {
    let other = harness.beside();
    let (from, one, two) = (harness.open().await, other.open().await, other.open().await);
    let (a, b) = (directory_in(&from, &harness, 1).await, directory_in(&from, &harness, 2).await);
    let (roots_one, roots_two) = ([Root::Tree(a), Root::Tree(b)], [Root::Tree(b), Root::Tree(a)]);
    let (first, second) =
        futures::join!(from.copy_to(&one, &roots_one, &NoProgress), from.copy_to(&two, &roots_two, &NoProgress));
    first.unwrap();
    second.unwrap();
    for tree in [a, b] {
        assert_same(&from, &other.open().await, &tree).await;
    }
}

async fn parts_of_blobs_are_read(harness: Harness) {
    let store = harness.open().await;
    for size in [0, 5, 100_000, 3 << 20] {
        let bytes = Bytes::from(noise(size as u64, size));
        let digest = store.put_bytes(bytes.clone()).await.unwrap().digest;
        for (start, end) in [(0, size), (0, 3), (3, size), (size / 3, size / 2), (size, size + 9), (size / 2, size * 2)]
        {
            let parts: Vec<Bytes> = store.blob_stream(&digest, start as u64..end as u64).try_collect().await.unwrap();
            let (start, end) = (start.min(size), end.min(size));
            assert!(parts.concat() == bytes[start..end.max(start)], "{start}..{end} of {size}");
        }
        let whole: Vec<Bytes> = store.blob_stream(&digest, 0..u64::MAX).try_collect().await.unwrap();
        assert!(whole.concat() == bytes);
    }
    let missing = store.blob_stream(&Digest::of(b"never stored"), 0..9).try_collect::<Vec<_>>().await;
    assert_eq!(missing.unwrap_err().code(), "store.not_found");
}
