use std::time::{Duration, SystemTime};

use ropewalk_store::{CollectSettings, Collected, NoProgress, Root, Store, StoreError, Tree, TreeEntry};
use ropewalk_types::Digest;

use crate::transfer::directory_in;
use crate::{Harness, dropped_after, noise, on_every_backend};

on_every_backend!(
    what_nothing_needs_goes_in_two_steps,
    what_is_needed_again_comes_back,
    a_dry_run_changes_nothing,
    at_once_when_nobody_else_works,
    packs_that_are_mostly_garbage_are_written_anew,
    a_commit_that_relied_on_garbage_writes_it_again,
    a_commit_that_relied_on_what_is_gone_fails,
    a_handle_that_has_not_looked_for_days_looks_again,
    a_transfer_that_relied_on_garbage_repeats_itself,
    a_tree_that_outlived_its_parts_keeps_them,
    nothing_is_collected_when_something_is_missing,
    writers_go_on_beside_a_collector,
    usage_tells_what_would_go,
    a_killed_collector_loses_nothing,
);

pub(crate) const GRACE: Duration = Duration::from_hours(24);

/// As seen `graces` times of grace from now.
pub(crate) fn settings(graces: u32) -> CollectSettings {
    let now = SystemTime::now() + GRACE * graces + Duration::from_mins(1);
    CollectSettings { now, grace: GRACE, dry_run: false }
}

pub(crate) async fn collect(store: &Store, roots: &[Root], graces: u32) -> Collected {
    store.collect(roots, &settings(graces)).await.unwrap()
}

pub(crate) async fn assert_whole(store: &Store, tree: &Digest) {
    for file in store.tree_files(tree).await.unwrap() {
        assert_eq!(Digest::of(&store.get_bytes(&file.digest).await.unwrap()), file.digest, "{}", file.path);
    }
}

async fn what_nothing_needs_goes_in_two_steps(harness: Harness) {
    let (store, idle) = (harness.open().await, harness.open().await);
    let (kept, gone) = (directory_in(&store, &harness, 1).await, directory_in(&store, &harness, 2).await);
    let roots = [Root::Tree(kept)];
    // All is young.
    assert_eq!(collect(&store, &roots, 0).await.condemned.pieces, 0);
    let first = collect(&store, &roots, 1).await;
    assert!(first.condemned.pieces > 50 && first.removed.pieces == 0, "{first:?}");
    assert!(!store.contains(&gone).await.unwrap());
    assert!(!idle.contains(&gone).await.unwrap() || !harness.open().await.contains(&gone).await.unwrap());
    // Condemned is not gone.
    for store in [&store, &idle, &harness.open().await] {
        assert_whole(store, &gone).await;
    }
    let waiting = collect(&store, &roots, 0).await;
    assert_eq!((waiting.condemned.pieces, waiting.waiting, waiting.removed.pieces), (0, first.condemned, 0));
    // Two times of grace after the first.
    let second = collect(&store, &roots, 3).await;
    assert_eq!(second.removed, first.condemned);
    assert!(second.freed > 3 << 20, "{second:?}");
    for store in [&store, &idle, &harness.open().await] {
        assert_whole(store, &kept).await;
        assert!(matches!(store.tree_get(&gone).await, Err(StoreError::NotFound { .. })));
    }
    let third = collect(&harness.open().await, &roots, 9).await;
    assert_eq!((third.condemned.pieces, third.removed.pieces, third.waiting.pieces), (0, 0, 0));
    assert_eq!(third.kept, second.kept);
    // What had gone can be added again.
    assert_eq!(directory_in(&store, &harness, 2).await, gone);
    assert_whole(&idle, &gone).await;
}

async fn what_is_needed_again_comes_back(harness: Harness) {
    let store = harness.open().await;
    let tree = directory_in(&store, &harness, 1).await;
    assert!(collect(&store, &[], 1).await.condemned.pieces > 50);
    assert!(!store.contains(&tree).await.unwrap());
    // Whoever asks what there is to be kept is told of it; of what is not there, and of a part of what is not, he is not.
    let elsewhere = Digest::of(b"elsewhere");
    let roots = harness.open().await.whole([Root::Tree(tree), Root::Tree(elsewhere), Root::Blob(elsewhere)]).await;
    assert_eq!(roots.unwrap(), [Root::Tree(tree)]);
    let restored = collect(&harness.open().await, &[Root::Tree(tree)], 3).await;
    assert!(restored.restored.pieces > 50 && restored.removed.pieces == 0, "{restored:?}");
    assert!(store.contains(&tree).await.unwrap());
    assert!(harness.open().await.contains(&tree).await.unwrap());
    assert_whole(&store, &tree).await;
}

async fn a_dry_run_changes_nothing(harness: Harness) {
    let store = harness.open().await;
    let tree = directory_in(&store, &harness, 1).await;
    let dry = CollectSettings { dry_run: true, ..settings(1) };
    let counted = store.collect(&[], &dry).await.unwrap();
    assert!(counted.condemned.pieces > 50);
    assert!(harness.open().await.contains(&tree).await.unwrap());
    assert_eq!(store.collect(&[], &settings(1)).await.unwrap().condemned, counted.condemned);
}

async fn at_once_when_nobody_else_works(harness: Harness) {
    let store = harness.open().await;
    let (kept, gone) = (directory_in(&store, &harness, 1).await, directory_in(&store, &harness, 2).await);
    let at_once = CollectSettings { now: SystemTime::now(), grace: Duration::ZERO, dry_run: false };
    let done = store.collect(&[Root::Tree(kept)], &at_once).await.unwrap();
    assert!(done.removed.pieces > 50 && done.condemned.pieces == 0, "{done:?}");
    assert_whole(&harness.open().await, &kept).await;
    assert!(matches!(store.tree_get(&gone).await, Err(StoreError::NotFound { .. })));
    let packs: u64 = harness.objects("packs").iter().map(|pack| pack.size).sum();
    assert!(packs < 5 << 20, "{packs}");
}

async fn packs_that_are_mostly_garbage_are_written_anew(harness: Harness) {
    let (store, idle) = (harness.open().await, harness.open().await);
    let mut writer = store.writer();
    let mut blobs = Vec::new();
    for seed in 0..20 {
        blobs.push(writer.add_bytes(noise(seed, 10_000).into()).await.unwrap());
    }
    writer.commit().await.unwrap();
    // All of them in one pack, of which an idle handle knows.
    assert!(idle.contains(&blobs[0].digest).await.unwrap());
    let most: Vec<_> = blobs[..15].iter().map(|blob| Root::Blob(blob.digest)).collect();
    collect(&store, &most, 1).await;
    let gaps = collect(&store, &most, 3).await;
    assert_eq!((gaps.removed.pieces, gaps.freed), (5, 0), "three quarters are in use");
    let few: Vec<_> = blobs[..4].iter().map(|blob| Root::Blob(blob.digest)).collect();
    collect(&store, &few, 5).await;
    let counted = store.collect(&few, &CollectSettings { dry_run: true, ..settings(7) }).await.unwrap();
    let anew = collect(&store, &few, 7).await;
    assert_eq!((counted, anew.freed_packs), (anew, 1));
    assert_eq!(anew.removed.pieces, 11);
    assert!((160_000..161_000).contains(&anew.freed), "{anew:?}");
    for store in [&store, &idle, &harness.open().await] {
        for blob in &blobs[..4] {
            assert_eq!(Digest::of(&store.get_bytes(&blob.digest).await.unwrap()), blob.digest);
        }
        assert!(!store.contains(&blobs[4].digest).await.unwrap());
    }
}

async fn a_commit_that_relied_on_garbage_writes_it_again(harness: Harness) {
    let (store, other) = (harness.open().await, harness.open().await);
    let bytes = noise(1, 600_000);
    let blob = store.put_bytes(bytes.clone().into()).await.unwrap();
    let tree = directory_in(&store, &harness, 2).await;
    for more in [true, false] {
        let mut writer = store.writer();
        // All of it is there and need not be written.
        writer.add_bytes(bytes.clone().into()).await.unwrap();
        writer.add_tree(&store.tree_get(&tree).await.unwrap()).await.unwrap();
        if more {
            writer.add_bytes("more".into()).await.unwrap();
        }
        assert!(collect(&other, &[], 1).await.condemned.pieces > 50);
        assert!(!other.contains(&blob.digest).await.unwrap() && !other.contains(&tree).await.unwrap());
        writer.commit().await.unwrap();
        // Visible with all below it.
        let fresh = harness.open().await;
        assert!(fresh.contains(&blob.digest).await.unwrap() && fresh.contains(&tree).await.unwrap());
        for file in fresh.tree_files(&tree).await.unwrap() {
            assert!(fresh.contains(&file.digest).await.unwrap(), "{}", file.path);
        }
    }
    let roots = [Root::Blob(blob.digest), Root::Tree(tree)];
    collect(&other, &roots, 3).await;
    collect(&other, &roots, 5).await;
    let fresh = harness.open().await;
    assert_eq!(fresh.get_bytes(&blob.digest).await.unwrap(), bytes);
    assert_whole(&fresh, &tree).await;
}

async fn a_commit_that_relied_on_what_is_gone_fails(harness: Harness) {
    let (store, other) = (harness.open().await, harness.open().await);
    let bytes = noise(1, 1000);
    let blob = store.put_bytes(bytes.clone().into()).await.unwrap();
    let mut writer = store.writer();
    writer.add_bytes(bytes.clone().into()).await.unwrap();
    collect(&other, &[], 1).await;
    assert_eq!(collect(&other, &[], 3).await.removed.pieces, 1);
    let error = writer.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::Collected { digest } if digest == blob.digest), "{error}");
    // Adding it again writes it again.
    store.put_bytes(bytes.clone().into()).await.unwrap();
    assert_eq!(harness.open().await.get_bytes(&blob.digest).await.unwrap(), bytes);
}

async fn a_handle_that_has_not_looked_for_days_looks_again(harness: Harness) {
    let (store, other) = (harness.open().await, harness.open().await);
    let bytes = noise(1, 1000);
    let path = harness.file("rope", &bytes);
    let directory = harness.directory.path().join("folder");
    ropewalk_store::files::write_atomic(&directory.join("a"), &bytes).unwrap();
    let tree = store.put_directory(&directory).await.unwrap();
    let content = store.tree_get(&tree).await.unwrap();
    for round in 0..4 {
        // Removed by another process, of which this handle knows nothing.
        collect(&other, &[], 1 + 4 * round).await;
        assert_eq!(collect(&other, &[], 3 + 4 * round).await.removed.pieces, if round == 0 { 2 } else { 1 });
        let digest = match round {
            0 => store.put_bytes(bytes.clone().into()).await.unwrap().digest,
            1 => store.put_file(&path).await.unwrap().digest,
            2 => store.tree_put(&content).await.unwrap(),
            _ => break,
        };
        assert!(harness.open().await.contains(&digest).await.unwrap(), "{round}");
    }
    store.put_directory(&directory).await.unwrap();
    assert_whole(&harness.open().await, &tree).await;
}

async fn a_transfer_that_relied_on_garbage_repeats_itself(harness: Harness) {
    let place = harness.beside();
    let (from, to, collector) = (harness.open().await, place.open().await, place.open().await);
    let tree = directory_in(&from, &harness, 1).await;
    let roots = [Root::Tree(tree)];
    // A tree that is there already is passed over until it turns out, at the end, that it is gone.
    from.copy_to(&to, &roots, &NoProgress).await.unwrap();
    let extra = from.put_bytes(noise(5, 1000).into()).await.unwrap();
    let both = [Root::Tree(tree), Root::Blob(extra.digest)];
    let (moved, collected) = futures::join!(from.copy_to(&to, &both, &NoProgress), collect(&collector, &[], 1));
    moved.unwrap();
    // Whatever came first: what was condemned after the end of the transfer comes back by its root.
    assert!(collected.condemned.pieces > 0);
    collect(&collector, &both, 3).await;
    assert_whole(&place.open().await, &tree).await;
}

/// Its writer died after its commit was visible, and before it had looked again.
async fn a_tree_that_outlived_its_parts_keeps_them(harness: Harness) {
    let (store, other) = (harness.open().await, harness.open().await);
    let blob = store.put_bytes("part".into()).await.unwrap();
    let mut tree = Tree::new();
    tree.insert("part", TreeEntry::File { digest: blob.digest, size: blob.size, executable: false }).unwrap();
    let digest = tree.digest();
    // As if that writer had ended there: nobody looks again for a tree that is put by itself.
    collect(&other, &[], 1).await;
    store.tree_put(&tree).await.unwrap();
    assert!(other.contains(&digest).await.unwrap() && !other.contains(&blob.digest).await.unwrap());
    // The tree is condemned now, and its part stays as long as it.
    let first = collect(&other, &[], 3).await;
    assert_eq!((first.condemned.pieces, first.waiting.pieces, first.removed.pieces), (1, 1, 0), "{first:?}");
    let roots = [Root::Tree(digest)];
    assert_eq!(collect(&other, &roots, 5).await.restored.pieces, 2);
    assert_whole(&harness.open().await, &digest).await;
    collect(&other, &[], 7).await;
    assert_eq!(collect(&other, &[], 9).await.removed.pieces, 2);
}

async fn nothing_is_collected_when_something_is_missing(harness: Harness) {
    let store = harness.open().await;
    let never = Digest::of(b"never stored");
    let mut tree = Tree::new();
    tree.insert("x", TreeEntry::File { digest: never, size: 12, executable: false }).unwrap();
    let tree = store.tree_put(&tree).await.unwrap();
    let blob = store.put_bytes("hemp".into()).await.unwrap();
    let error = store.collect(&[Root::Tree(tree)], &settings(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { digest } if digest == never));
    assert!(harness.open().await.contains(&blob.digest).await.unwrap());
    let absent = collect(&store, &[Root::Tree(never), Root::Blob(blob.digest)], 1).await;
    assert_eq!((absent.absent_roots, absent.kept.pieces), (1, 1));
}

/// Everybody adds what others have as well, and sets no root before the commit has held.
async fn writers_go_on_beside_a_collector(harness: Harness) {
    let mut tasks = Vec::new();
    for task in 0..3_u64 {
        let store = harness.open().await;
        tasks.push(tokio::spawn(async move {
            let mut done = Vec::new();
            for round in 0..8 {
                let bytes = noise(round % 4 + task % 2, 2000);
                let mut writer = store.writer();
                let blob = writer.add_bytes(bytes.into()).await.unwrap();
                writer.add_bytes(noise(1000 * task + round, 100).into()).await.unwrap();
                match writer.commit().await {
                    Ok(()) => done.push(Root::Blob(blob.digest)),
                    Err(error) => assert!(matches!(error, StoreError::Collected { .. }), "{error}"),
                }
            }
            done
        }));
    }
    let collector = harness.open().await;
    // One of them condemns; for the others, no time of grace has passed since.
    for graces in [0, 0, 1, 0, 0] {
        collect(&collector, &[], graces).await;
        tokio::task::yield_now().await;
    }
    let mut roots = Vec::new();
    for task in tasks {
        roots.extend(task.await.unwrap());
    }
    collect(&collector, &roots, 2).await;
    collect(&collector, &roots, 4).await;
    let fresh = harness.open().await;
    for root in &roots {
        assert_eq!(Digest::of(&fresh.get_bytes(root.digest()).await.unwrap()), *root.digest());
    }
}

async fn usage_tells_what_would_go(harness: Harness) {
    let store = harness.open().await;
    let (one, two) = (store.put_bytes(noise(1, 1000).into()).await, store.put_bytes(noise(2, 3000).into()).await);
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut tree = Tree::new();
    for (name, blob) in [("a", one), ("b", two), ("c", two)] {
        tree.insert(name, TreeEntry::File { digest: blob.digest, size: blob.size, executable: false }).unwrap();
    }
    let tree = store.tree_put(&tree).await.unwrap();
    let groups =
        [vec![Root::Tree(tree), Root::Tree(Digest::of(b"never stored"))], vec![Root::Blob(one.digest)], Vec::new()];
    let usage = store.usage(&groups).await.unwrap();
    assert!(usage[0].stored > 4000 && usage[0].stored < 4300, "{usage:?}");
    assert_eq!(usage[0].stored - usage[0].exclusive, 1000);
    assert_eq!((usage[1].stored, usage[1].exclusive), (1000, 0));
    assert_eq!(usage[2].stored, 0);
}

/// Killed after each of its steps, a collector leaves a whole store, and the next goes on.
async fn a_killed_collector_loses_nothing(harness: Harness) {
    let store = harness.open().await;
    let (kept, gone) = (directory_in(&store, &harness, 1).await, directory_in(&store, &harness, 2).await);
    let roots = [Root::Tree(kept)];
    let mut graces = 1;
    // While it sets aside; then, where nobody else works, while it removes.
    for grace in [GRACE, Duration::ZERO] {
        let (mut kills, mut ended) = (0, false);
        for point in harness.kill_points() {
            let collector = harness.open().await;
            let settings = CollectSettings { grace, ..settings(graces) };
            ended = dropped_after(point, collector.collect(&roots, &settings)).await;
            assert_whole(&harness.open().await, &kept).await;
            if ended {
                break;
            }
            (kills, graces) = (kills + 1, graces + 2);
        }
        assert!(ended && kills > 1, "{ended} after {kills} kills");
    }
    for later in [2, 4, 6] {
        collect(&store, &roots, graces + later).await;
    }
    assert!(matches!(store.tree_get(&gone).await, Err(StoreError::NotFound { .. })));
    assert_whole(&harness.open().await, &kept).await;
}
