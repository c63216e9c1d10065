use ropewalk_store::files::{self, EntryKind};
use ropewalk_store::{LinkMode, NewFile, NoProgress, TreeEntry, TreeFile};
use ropewalk_types::{Diagnose as _, Digest};

use crate::transfer::directory_in;
use crate::{Harness, noise, on_every_backend};

on_every_backend!(
    flat_lists_and_trees_are_the_same,
    files_are_laid_out,
    what_is_there_is_replaced,
    lists_that_lead_out_are_refused,
    what_is_not_whole_does_not_appear,
    a_cached_file_that_was_changed_is_made_anew,
    a_changed_file_with_its_time_set_back_is_made_anew,
    a_file_with_another_mode_is_made_anew,
);

async fn a_cached_file_that_was_changed_is_made_anew(harness: Harness) {
    let cache = harness.directory.path().join("cache");
    let store = harness.open().await.with_cache(cache.clone());
    let bytes = noise(5, 3 << 20);
    let blob = store.put_bytes(bytes.clone().into()).await.unwrap();
    let path = store.cached_file(&blob.digest).await.unwrap();
    assert_eq!(store.verify_cache().await.unwrap(), (1, Vec::new()));

    // In place, as an owner can: every name of the file shows it.
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    overwrite(&path, &changed);
    assert_eq!(store.cached_file(&blob.digest).await.unwrap(), path);
    assert!(files::read(&path).unwrap() == bytes, "made anew");

    overwrite(&path, &changed[..50]);
    assert_eq!(store.verify_cache().await.unwrap(), (1, vec![path.clone()]));
    assert!(!files::exists(&path).unwrap());
    assert_eq!(store.cached_file(&blob.digest).await.unwrap(), path);

    // Without its stamp it is read again, and is as good as before.
    assert!(files::remove_file(&std::path::PathBuf::from(format!("{}.stamp", path.display()))).unwrap());
    assert_eq!(store.cached_file(&blob.digest).await.unwrap(), path);
    assert_eq!(store.verify_cache().await.unwrap(), (1, Vec::new()));
}

async fn a_changed_file_with_its_time_set_back_is_made_anew(harness: Harness) {
    let store = harness.open().await.with_cache(harness.directory.path().join("cache"));
    let bytes = noise(6, 2 << 20);
    let blob = store.put_bytes(bytes.clone().into()).await.unwrap();
    let mut changed = bytes.clone();
    changed[100] ^= 1;
    let path = store.cached_file(&blob.digest).await.unwrap();
    overwrite_unseen(&path, &changed);
    assert_eq!(store.cached_file(&blob.digest).await.unwrap(), path);
    assert!(files::read(&path).unwrap() == bytes, "made anew");

    // By the name that it has in a work tree.
    let work = harness.directory.path().join("work");
    let file = TreeFile { path: "a".to_owned(), digest: blob.digest, size: blob.size, executable: false };
    let laid_out = store.files_lay_out(&[file], &work, LinkMode::Hardlink, &NoProgress).await.unwrap();
    assert_eq!(laid_out.hardlinked, 1);
    overwrite_unseen(&work.join("a"), &changed);
    assert!(files::read(&path).unwrap() == changed, "it is one file");
    assert_eq!(store.cached_file(&blob.digest).await.unwrap(), path);
    assert!(files::read(&path).unwrap() == bytes, "made anew");
}

/// Whoever may execute a file may do so by each of its names.
async fn a_file_with_another_mode_is_made_anew(harness: Harness) {
    use std::os::unix::fs::PermissionsExt as _;
    let store = harness.open().await.with_cache(harness.directory.path().join("cache"));
    let blob = store.put_bytes(noise(7, 2 << 20).into()).await.unwrap();
    let work = harness.directory.path().join("work");
    let file = |path: &str, executable| {
        vec![TreeFile { path: path.to_owned(), digest: blob.digest, size: blob.size, executable }]
    };
    let mode = |path: &str| std::fs::metadata(work.join(path)).unwrap().permissions().mode() & 0o777;
    let lay_out = async |path: &str, executable| {
        let files = file(path, executable);
        store.files_lay_out(&files, &work, LinkMode::Hardlink, &NoProgress).await.unwrap()
    };
    assert_eq!(lay_out("plain", false).await.hardlinked, 1);
    let made_with = mode("plain");
    assert_eq!(made_with & 0o333, 0);
    std::fs::set_permissions(work.join("plain"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Beside it, and in its place.
    for path in ["other", "plain"] {
        assert_eq!(lay_out(path, false).await.hardlinked, 1);
        assert_eq!(mode(path), made_with, "{path}");
    }
    assert_eq!(lay_out("program", true).await.copied, 1);
    assert_eq!((mode("program") & 0o100, mode("plain")), (0o100, made_with));
    assert_eq!(store.verify_cache().await.unwrap(), (1, Vec::new()));
    std::fs::set_permissions(work.join("plain"), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(store.verify_cache().await.unwrap().1.len(), 1, "told, and gone from the cache");
    assert_eq!(mode("plain"), 0o755);
}

/// Changes a file until its clock has moved on, and sets its mode and the time at which it was written back to what they
/// were.
fn overwrite_unseen(path: &std::path::Path, bytes: &[u8]) {
    use std::os::unix::fs::MetadataExt as _;
    let before = std::fs::metadata(path).unwrap();
    loop {
        overwrite(path, bytes);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        std::fs::set_permissions(path, before.permissions()).unwrap();
        let now = std::fs::metadata(path).unwrap();
        assert_eq!((now.len(), now.modified().unwrap()), (before.len(), before.modified().unwrap()));
        if (now.ctime(), now.ctime_nsec()) != (before.ctime(), before.ctime_nsec()) {
            return;
        }
    }
}

fn overwrite(path: &std::path::Path, bytes: &[u8]) {
    let mut permissions = std::fs::metadata(path).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "it is the owner of the file who may do this")]
    permissions.set_readonly(false);
    std::fs::set_permissions(path, permissions).unwrap();
    std::fs::write(path, bytes).unwrap();
}

async fn flat_lists_and_trees_are_the_same(harness: Harness) {
    let store = harness.open().await;
    let tree = directory_in(&store, &harness, 1).await;
    let found = store.tree_files(&tree).await.unwrap();
    assert!(found.is_sorted_by_key(|file| file.path.clone()));
    assert_eq!(found.len(), 55);
    let mut writer = store.writer();
    assert_eq!(writer.add_tree_of(&found).await.unwrap(), tree);
    writer.commit().await.unwrap();

    let source = harness.directory.path().join("source1");
    let new = found.iter().map(|file| NewFile { path: source.join(&file.path), size: file.size }).collect();
    let beside = harness.beside();
    let other = beside.open().await;
    let mut writer = other.writer();
    let blobs = writer.add_files(new).await.unwrap();
    assert!(blobs.iter().map(|blob| blob.digest).eq(found.iter().map(|file| file.digest)));
    assert_eq!(writer.add_tree_of(&found).await.unwrap(), tree);
    writer.commit().await.unwrap();
    assert_eq!(other.tree_files(&tree).await.unwrap(), found);

    let absent = TreeFile { path: "x".to_owned(), digest: Digest::of(b"never stored"), size: 1, executable: false };
    assert_eq!(other.writer().add_tree_of(&[absent]).await.unwrap_err().code(), "store.not_found");

    let entry = store.tree_find(&tree, "sub/deep/text").await.unwrap().unwrap();
    assert!(matches!(entry, TreeEntry::File { size: 85_000, .. }));
    assert!(matches!(store.tree_find(&tree, "sub").await.unwrap(), Some(TreeEntry::Directory { .. })));
    for nothing in ["", "x", "sub/x", "a.txt/x", "/sub", "sub/", "sub/../a.txt"] {
        assert_eq!(store.tree_find(&tree, nothing).await.unwrap(), None, "{nothing}");
    }
}

async fn files_are_laid_out(harness: Harness) {
    let store = harness.open().await.with_cache(harness.directory.path().join("cache"));
    let tree = directory_in(&store, &harness, 1).await;
    let mut list = store.tree_files(&tree).await.unwrap();
    for file in &mut list {
        file.executable = file.path == "a.txt";
    }
    let support = files::link_support(harness.directory.path()).unwrap();
    for mode in [LinkMode::Auto, LinkMode::Hardlink, LinkMode::Copy] {
        let target = harness.directory.path().join(format!("{mode:?}/deep"));
        let done = store.files_lay_out(&list, &target, mode, &NoProgress).await.unwrap();
        let linked = u64::from(mode != LinkMode::Copy && (support.hardlink || support.reflink));
        assert_eq!((done.hardlinked + done.reflinked, done.copied), (linked, 55 - linked), "{mode:?}");
        assert_eq!(done.bytes, list.iter().map(|file| file.size).sum::<u64>());
        for file in &list {
            let path = target.join(&file.path);
            assert_eq!(Digest::of(&files::read(&path).unwrap()), file.digest);
        }
        let found = files::list(&target).unwrap();
        #[cfg(unix)]
        assert!(found.iter().all(|entry| entry.executable == (entry.name == "a.txt")), "{found:?}");
        let large = target.join("sub/large").metadata().unwrap().permissions();
        assert_eq!(large.readonly(), done.hardlinked == 1, "{mode:?}");
    }
    let target = harness.directory.path().join("reflinks");
    let reflinks = store.files_lay_out(&list, &target, LinkMode::Reflink, &NoProgress).await;
    match reflinks {
        Ok(done) => assert!(support.reflink && done.reflinked == 1),
        Err(error) => {
            assert!(!support.reflink);
            assert_eq!(error.code(), "store.no_link");
            assert!(error.to_string().contains("sub/large"), "{error}");
        }
    }
}

async fn what_is_there_is_replaced(harness: Harness) {
    let store = harness.open().await;
    let tree = directory_in(&store, &harness, 1).await;
    let list = store.tree_files(&tree).await.unwrap();
    let target = harness.directory.path().join("target");
    files::write_atomic(&target.join("a.txt"), b"old").unwrap();
    files::write_atomic(&target.join("sub/large"), b"old").unwrap();
    files::write_atomic(&target.join("sub/mine"), b"mine").unwrap();
    for _ in 0..2 {
        store.files_lay_out(&list, &target, LinkMode::Auto, &NoProgress).await.unwrap();
    }
    assert_eq!(files::read(&target.join("a.txt")).unwrap(), b"hemp");
    assert_eq!(files::read(&target.join("sub/mine")).unwrap(), b"mine");
    assert!(files::read(&target.join("sub/large")).unwrap() == noise(1, 3 << 20));
    let names: Vec<_> = files::list(&target.join("sub")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["deep", "large", "mine", "same"]);
}

async fn lists_that_lead_out_are_refused(harness: Harness) {
    let store = harness.open().await;
    let blob = store.put_bytes("evil".into()).await.unwrap();
    let target = harness.directory.path().join("target");
    files::create_directories(&target).unwrap();
    for path in ["../evil", "/evil", "a/../../evil", "", "a//b", "a/", "./a"] {
        let file = TreeFile { path: path.to_owned(), digest: blob.digest, size: blob.size, executable: false };
        let error = store.files_lay_out(&[file], &target, LinkMode::Auto, &NoProgress).await.unwrap_err();
        assert_eq!(error.code(), "store.malformed", "{path}");
    }
    assert!(files::list(&target).unwrap().is_empty());
    assert_eq!(files::kind(&harness.directory.path().join("evil")).unwrap(), None);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(harness.directory.path(), target.join("link")).unwrap();
        let file = TreeFile { path: "link/evil".to_owned(), digest: blob.digest, size: blob.size, executable: false };
        let error = store.files_lay_out(&[file], &target, LinkMode::Auto, &NoProgress).await.unwrap_err();
        assert_eq!(error.code(), "file.in_the_way");
        assert_eq!(files::kind(&harness.directory.path().join("evil")).unwrap(), None);
        assert_eq!(files::kind(&target.join("link")).unwrap(), Some(EntryKind::Symlink));
    }
}

async fn what_is_not_whole_does_not_appear(harness: Harness) {
    let store = harness.open().await;
    let (small, large) = (noise(1, 1000), noise(2, 3 << 20));
    let never = Digest::of(b"never stored");
    let target = harness.directory.path().join("target");
    for bytes in [small, large] {
        let blob = store.put_bytes(bytes.into()).await.unwrap();
        for (digest, size, code) in [(blob.digest, blob.size + 1, "store.malformed"), (never, 12, "store.not_found")] {
            let file = TreeFile { path: "x/y".to_owned(), digest, size, executable: false };
            let error = store.files_lay_out(&[file], &target, LinkMode::Auto, &NoProgress).await.unwrap_err();
            assert_eq!(error.code(), code);
            assert!(files::list(&target.join("x")).unwrap().is_empty());
        }
    }
}
