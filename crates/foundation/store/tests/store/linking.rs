//! Packs that two stores of one file system have in common.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use ropewalk_store::{CollectSettings, NoProgress, Root, Store, StoreError, files};
use ropewalk_types::Digest;

use crate::{Harness, noise};

/// A store of two packs: one of 3 MiB of leaves, and one of a few bytes.
async fn filled(harness: &Harness) -> (Store, Vec<Root>) {
    let store = harness.open().await;
    let mut writer = store.writer();
    let mut roots = Vec::new();
    for number in 0..300 {
        let blob = writer.add_bytes(noise(number, 10_000).into()).await.unwrap();
        roots.push(Root::Blob(blob.digest));
    }
    writer.commit().await.unwrap();
    roots.push(Root::Blob(store.put_bytes("hemp".into()).await.unwrap().digest));
    (store, roots)
}

fn names_of_packs(harness: &Harness) -> Vec<u64> {
    let mut names: Vec<_> = harness.objects("packs").iter().map(|pack| pack.path.metadata().unwrap().nlink()).collect();
    names.sort_unstable();
    names
}

async fn assert_whole(store: &Store, roots: &[Root]) {
    for root in roots {
        assert_eq!(Digest::of(&store.get_bytes(root.digest()).await.unwrap()), *root.digest());
    }
}

/// Whether a file system that shares blocks makes second names needless.
fn shares_blocks(harness: &Harness) -> bool {
    files::link_support(harness.directory.path()).unwrap().reflink
}

#[tokio::test]
async fn a_large_pack_becomes_a_second_name_and_a_small_one_is_copied() {
    let (harness, other) = (Harness::on_disk(), Harness::on_disk());
    let (from, roots) = filled(&harness).await;
    let to = other.open().await;
    let moved = from.link_to(&to, &roots, &NoProgress).await.unwrap();
    assert_eq!((moved.pieces, moved.present), (301, 0));
    assert_eq!(moved.bytes, 3_000_004);
    if !shares_blocks(&harness) {
        assert_eq!((names_of_packs(&harness), names_of_packs(&other)), (vec![1, 2], vec![1, 2]));
    }
    assert_whole(&other.open().await, &roots).await;
    assert_eq!(from.link_to(&to, &roots, &NoProgress).await.unwrap().pieces, 0);
    // What becomes of one store is nothing to the other.
    std::fs::remove_dir_all(harness.directory.path().join("store")).unwrap();
    assert_whole(&other.open().await, &roots).await;
}

#[tokio::test]
async fn a_copy_has_files_of_its_own() {
    let (harness, other) = (Harness::on_disk(), Harness::on_disk());
    let (from, roots) = filled(&harness).await;
    from.copy_to(&other.open().await, &roots, &NoProgress).await.unwrap();
    assert!(names_of_packs(&harness).iter().chain(&names_of_packs(&other)).all(|names| *names == 1));
    assert_whole(&other.open().await, &roots).await;
}

#[tokio::test]
async fn what_was_not_asked_for_does_not_come_along() {
    let (harness, other) = (Harness::on_disk(), Harness::on_disk());
    let (from, mut roots) = filled(&harness).await;
    let left = roots.remove(7);
    let moved = from.link_to(&other.open().await, &roots, &NoProgress).await.unwrap();
    assert_eq!(moved.pieces, 300);
    assert!(names_of_packs(&other).iter().all(|names| *names == 1));
    assert!(!other.open().await.contains(left.digest()).await.unwrap());
    let bytes: u64 = other.objects("packs").iter().map(|pack| pack.size).sum();
    assert!(bytes < 3_000_000, "{bytes}");
}

#[tokio::test]
async fn a_damaged_pack_is_named_and_not_taken() {
    let (harness, other) = (Harness::on_disk(), Harness::on_disk());
    let (from, roots) = filled(&harness).await;
    let packs = harness.objects("packs");
    let large = packs.iter().max_by_key(|pack| pack.size).unwrap();
    let mut bytes = files::read(&large.path).unwrap();
    bytes[1_000_000] ^= 1;
    files::write_atomic(&large.path, &bytes).unwrap();
    let to = other.open().await;
    let error = from.link_to(&to, &roots, &NoProgress).await.unwrap_err();
    let StoreError::Damaged { object, .. } = &error else { panic!("{error}") };
    assert!(object.contains(from.place()), "{error}");
    assert_eq!(names_of_packs(&harness), [1, 1]);
    // What was whole before it may have come: as a whole.
    let there = other.open().await;
    let mut absent = 0;
    for root in &roots {
        absent += usize::from(!there.contains(root.digest()).await.unwrap());
    }
    assert!(absent > 0, "what is damaged did not come");
    assert_eq!(there.verify(None).await.unwrap().damaged, []);
}

#[tokio::test]
async fn what_one_store_collects_the_other_keeps_and_gives_again() {
    let (harness, other) = (Harness::on_disk(), Harness::on_disk());
    let (from, roots) = filled(&harness).await;
    let to = other.open().await;
    from.link_to(&to, &roots, &NoProgress).await.unwrap();
    let settings = CollectSettings { now: SystemTime::now(), grace: Duration::ZERO, dry_run: false };
    to.collect_erasing(&roots[..3], &settings).await.unwrap();
    assert!(!other.open().await.contains(roots[3].digest()).await.unwrap());
    assert_whole(&from, &roots).await;
    from.link_to(&to, &roots, &NoProgress).await.unwrap();
    assert_whole(&other.open().await, &roots).await;
    from.collect_erasing(&[], &settings).await.unwrap();
    assert!(harness.objects("packs").is_empty());
    assert_whole(&other.open().await, &roots).await;
}

#[tokio::test]
async fn a_pack_that_has_just_come_is_young() {
    let (harness, other) = (Harness::on_disk(), Harness::on_disk());
    let (from, roots) = filled(&harness).await;
    let long_ago = SystemTime::now() - Duration::from_hours(1000);
    for pack in harness.objects("packs") {
        std::fs::File::options().write(true).open(&pack.path).unwrap().set_modified(long_ago).unwrap();
    }
    from.link_to(&other.open().await, &roots, &NoProgress).await.unwrap();
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    for pack in other.objects("packs") {
        assert!(pack.modified.unwrap() > hour_ago);
    }
}

/// A tree is visible only with all below it, also where its pack is shared before the others are written.
#[tokio::test]
async fn a_killed_transfer_shows_no_tree_without_its_files() {
    let (harness, other) = (Harness::on_disk(), Harness::on_disk());
    let from = harness.open().await;
    let source = harness.directory.path().join("source");
    for number in 0..200 {
        files::write_atomic(&source.join(format!("{number}")), &noise(number, 20_000)).unwrap();
    }
    // One file lies in another pack than the tree.
    from.put_bytes(noise(3, 20_000).into()).await.unwrap();
    let tree = from.put_directory(&source).await.unwrap();
    let link = async || {
        let to = other.open().await;
        from.link_to(&to, &[Root::Tree(tree)], &NoProgress).await.unwrap();
    };
    let look = async || {
        let fresh = other.open().await;
        if fresh.contains(&tree).await.unwrap() {
            for file in fresh.tree_files(&tree).await.unwrap() {
                assert!(fresh.contains(&file.digest).await.unwrap(), "{}", file.path);
            }
        }
    };
    other.killed_at_every_point(link, look).await;
    let to = other.open().await;
    assert_eq!(to.tree_files(&tree).await.unwrap().len(), 200);
}
