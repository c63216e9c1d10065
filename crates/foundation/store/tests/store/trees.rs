use std::collections::BTreeMap;
use std::path::Path;

use ropewalk_store::{Store, StoreError, Tree, TreeEntry, files};
use ropewalk_types::{Diagnose as _, Digest};

use crate::{Harness, noise, on_every_backend};

on_every_backend!(
    a_directory_comes_back,
    the_digest_is_that_of_the_content,
    a_target_in_use_is_left_alone,
    trees_that_lie_are_refused,
    trees_without_end_are_refused,
);

fn fill(directory: &Path) {
    for (name, bytes) in [
        ("a.txt", b"hemp".to_vec()),
        ("empty", Vec::new()),
        ("sub/b.bin", noise(1, 300_000)),
        ("sub/deep/c.bin", noise(2, 3 << 20)),
        ("sub/deep/same.txt", b"hemp".to_vec()),
        ("z/ä ö.txt", b"x".to_vec()),
    ] {
        files::write_atomic(&directory.join(name), &bytes).unwrap();
    }
    let tool = files::AtomicFile::create(&directory.join("tool")).unwrap();
    tool.set_executable().unwrap();
    tool.commit().unwrap();
    files::create_directories(&directory.join("nothing/in/here")).unwrap();
}

/// All files below, with content and executable bit; directories with nothing.
fn content(directory: &Path) -> BTreeMap<String, Option<(Vec<u8>, bool)>> {
    let mut found = BTreeMap::new();
    for entry in files::list(directory).unwrap() {
        if entry.kind == files::EntryKind::Directory {
            found.extend(content(&entry.path).into_iter().map(|(path, file)| (format!("{}/{path}", entry.name), file)));
            found.insert(entry.name, None);
        } else {
            found.insert(entry.name, Some((files::read(&entry.path).unwrap(), entry.executable)));
        }
    }
    found
}

async fn a_directory_comes_back(harness: Harness) {
    let store = harness.open().await;
    let source = harness.directory.path().join("source");
    fill(&source);
    let tree = store.put_directory(&source).await.unwrap();
    let target = harness.directory.path().join("new/target");
    harness.open().await.materialize_tree(&tree, &target).await.unwrap();
    assert!(content(&source) == content(&target));
    assert_eq!(store.put_directory(&target).await.unwrap(), tree);
    let root = store.tree_get(&tree).await.unwrap();
    assert_eq!(root.len(), 6);
    assert_eq!(root.digest(), tree);
    assert!(matches!(root.get("tool"), Some(TreeEntry::File { executable: true, size: 0, .. })));
    assert_eq!(files::list(target.parent().unwrap()).unwrap().len(), 1, "nothing is left beside");
}

async fn the_digest_is_that_of_the_content(harness: Harness) {
    let store = harness.open().await;
    let (one, two) = (harness.directory.path().join("one"), harness.directory.path().join("two"));
    fill(&one);
    fill(&two);
    // What a killed process leaves is no part of a directory.
    files::write_atomic(&two.join(".tmp#1234000000001"), b"half").unwrap();
    let digest = store.put_directory(&one).await.unwrap();
    assert_eq!(store.put_directory(&two).await.unwrap(), digest);
    files::write_atomic(&two.join("sub/deep/same.txt"), b"hemq").unwrap();
    assert_ne!(store.put_directory(&two).await.unwrap(), digest);
}

async fn a_target_in_use_is_left_alone(harness: Harness) {
    let store = harness.open().await;
    let mut tree = Tree::new();
    let blob = store.put_bytes("new".into()).await.unwrap();
    tree.insert("file", TreeEntry::File { digest: blob.digest, size: blob.size, executable: false }).unwrap();
    let digest = store.tree_put(&tree).await.unwrap();
    let target = harness.directory.path().join("target");
    files::write_atomic(&target.join("mine"), b"kept").unwrap();
    let error = store.materialize_tree(&digest, &target).await.unwrap_err();
    assert_eq!(error.code(), "store.target_occupied");
    assert_eq!(files::list(&target).unwrap().len(), 1);
    let error = store.materialize_tree(&digest, &target.join("mine")).await.unwrap_err();
    assert_eq!(error.code(), "store.target_occupied");
    files::remove_file(&target.join("mine")).unwrap();
    store.materialize_tree(&digest, &target).await.unwrap();
    assert_eq!(files::read(&target.join("file")).unwrap(), b"new");
}

async fn trees_that_lie_are_refused(harness: Harness) {
    let store = harness.open().await;
    let target = harness.directory.path().join("target");
    let small = store.put_bytes("hemp".into()).await.unwrap();
    let large = store.put_bytes(noise(9, 1 << 20).into()).await.unwrap();
    for blob in [small, large] {
        let mut tree = Tree::new();
        tree.insert("x", TreeEntry::File { digest: blob.digest, size: blob.size + 1, executable: false }).unwrap();
        let digest = store.tree_put(&tree).await.unwrap();
        let error = store.materialize_tree(&digest, &target).await.unwrap_err();
        assert!(matches!(error, StoreError::Malformed { what: "tree", .. }), "{error}");
    }
    for digest in [small.digest, large.digest] {
        let mut tree = Tree::new();
        tree.insert("not-a-tree", TreeEntry::Directory { digest }).unwrap();
        let digest = store.tree_put(&tree).await.unwrap();
        assert_eq!(store.materialize_tree(&digest, &target).await.unwrap_err().code(), "store.malformed");
    }
    let mut tree = Tree::new();
    let digest = Digest::of(b"never stored");
    tree.insert("absent", TreeEntry::File { digest, size: 12, executable: false }).unwrap();
    let digest = store.tree_put(&tree).await.unwrap();
    assert_eq!(store.materialize_tree(&digest, &target).await.unwrap_err().code(), "store.not_found");
    assert!(!files::exists(&target).unwrap(), "nothing half-visible");
    // What was stored as bytes, by somebody who wants to write beside the target.
    let evil = [&b"RWTR\x01\x01\0\0\0\x00\x0b../../evil1"[..], digest.as_bytes(), &4_u64.to_le_bytes()].concat();
    let digest = store.put_bytes(evil.into()).await.unwrap().digest;
    assert_eq!(store.materialize_tree(&digest, &target).await.unwrap_err().code(), "store.malformed");
}

async fn chain(store: &Store, depth: usize) -> Digest {
    let mut digest = store.tree_put(&Tree::new()).await.unwrap();
    let mut writer = store.writer();
    for _ in 0..depth {
        let mut tree = Tree::new();
        tree.insert("below", TreeEntry::Directory { digest }).unwrap();
        digest = writer.add_tree(&tree).await.unwrap();
    }
    writer.commit().await.unwrap();
    digest
}

async fn trees_without_end_are_refused(harness: Harness) {
    let store = harness.open().await;
    let target = harness.directory.path().join("target");
    let deep = chain(&store, 200).await;
    assert_eq!(store.materialize_tree(&deep, &target).await.unwrap_err().code(), "store.malformed");
    assert!(!files::exists(&target).unwrap());
    let mut below = harness.directory.path().join("source");
    for _ in 0..130 {
        below.push("d");
    }
    files::create_directories(&below).unwrap();
    let error = store.put_directory(&harness.directory.path().join("source")).await.unwrap_err();
    assert_eq!(error.code(), "store.not_storable");
}

#[cfg(unix)]
#[tokio::test]
async fn symbolic_links_are_refused() {
    let harness = Harness::in_memory();
    let store = harness.open().await;
    let source = harness.directory.path().join("source");
    fill(&source);
    let tree = store.put_directory(&source).await.unwrap();
    std::os::unix::fs::symlink("/etc/passwd", source.join("sub/link")).unwrap();
    let error = store.put_directory(&source).await.unwrap_err();
    assert!(error.to_string().contains("sub/link` in a tree: it is a symbolic link"), "{error}");

    let elsewhere = harness.directory.path().join("elsewhere");
    files::create_directories(&elsewhere).unwrap();
    let target = harness.directory.path().join("target");
    std::os::unix::fs::symlink(&elsewhere, &target).unwrap();
    assert_eq!(store.materialize_tree(&tree, &target).await.unwrap_err().code(), "store.target_occupied");
    assert!(files::list(&elsewhere).unwrap().is_empty());
}

#[tokio::test]
async fn two_thousand_files_are_a_handful_of_objects() {
    let harness = Harness::on_disk();
    let source = harness.directory.path().join("source");
    for folder in 0..20 {
        files::create_directories(&source.join(folder.to_string())).unwrap();
        for file in 0..100 {
            let name = source.join(format!("{folder}/{file}.txt"));
            files::write_new(&name, &noise(folder * 100 + file, 1000), false).unwrap();
        }
    }
    let store = harness.open().await;
    let tree = store.put_directory(&source).await.unwrap();
    assert_eq!(harness.objects("packs").len() + harness.objects("index").len(), 2);
    let target = harness.directory.path().join("target");
    store.materialize_tree(&tree, &target).await.unwrap();
    assert!(content(&source) == content(&target));
}
