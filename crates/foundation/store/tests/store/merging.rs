//! Many small packs become few large ones, whatever others do meanwhile.

use std::time::{Duration, SystemTime};

use ropewalk_store::{CollectSettings, RefName, Root, Store, Tree, TreeEntry};
use ropewalk_types::Digest;

use crate::collection::{GRACE, assert_whole, collect, settings};
use crate::{Harness, dropped_after, noise, on_every_backend};

on_every_backend!(
    many_small_commits_become_few_objects,
    when_nobody_else_works_they_become_few_at_once,
    merging_goes_on_beside_writers_and_readers,
    what_is_merged_can_become_garbage,
    of_two_collectors_at_once_neither_loses_anything,
    a_killed_merger_loses_nothing,
);

/// A commit of one small change, as a version of a dataset is: a file, its directory, and a ref that is moved on.
async fn commit(store: &Store, number: u64) -> Root {
    let blob = store.put_bytes(noise(number, 2000 + number as usize).into()).await.unwrap();
    let mut tree = Tree::new();
    for name in ["one", "other"] {
        tree.insert(name, TreeEntry::File { digest: blob.digest, size: blob.size, executable: false }).unwrap();
    }
    let digest = store.tree_put(&tree).await.unwrap();
    let head = RefName::new("head").unwrap();
    let seen = store.ref_get(&head).await.unwrap().map(|value| value.generation);
    store.ref_set(&head, seen, digest.to_string().into()).await.unwrap();
    Root::Tree(digest)
}

async fn commits(store: &Store, numbers: std::ops::Range<u64>) -> Vec<Root> {
    let mut roots = Vec::new();
    for number in numbers {
        roots.push(commit(store, number).await);
    }
    roots
}

async fn all_whole(store: &Store, roots: &[Root]) {
    for root in roots {
        assert_whole(store, root.digest()).await;
    }
}

async fn objects(harness: &Harness) -> [usize; 3] {
    [harness.count("packs").await, harness.count("index").await, harness.count("refs").await]
}

async fn many_small_commits_become_few_objects(harness: Harness) {
    let (store, idle, reader) = (harness.open().await, harness.open().await, harness.open().await);
    let roots = commits(&store, 0..60).await;
    let before = objects(&harness).await;
    assert!(before[0] == 120 && before[2] > 4, "{before:?}");
    all_whole(&idle, &roots).await;
    all_whole(&reader, &roots).await;
    let groups: Vec<_> = roots.iter().map(|root| vec![*root]).collect();
    let usage = store.usage(&groups).await.unwrap();
    // Young packs are left alone; only what names them becomes one object.
    assert_eq!(collect(&store, &roots, 0).await.merged_packs, 0);
    assert_eq!(objects(&harness).await, [120, 1, before[2]]);

    let counted = store.collect(&roots, &CollectSettings { dry_run: true, ..settings(2) }).await.unwrap();
    let merged = collect(&store, &roots, 2).await;
    assert_eq!(counted, merged);
    assert_eq!((merged.merged_packs, merged.merged.pieces, merged.kept.pieces), (120, 120, 120), "{merged:?}");
    assert_eq!((merged.condemned.pieces, merged.removed.pieces), (0, 0), "{merged:?}");
    let [packs, index, refs] = objects(&harness).await;
    // The small packs are still there for whoever reads in them.
    assert!(packs == 121 && index <= 3 && refs <= 5, "{packs} {index} {refs}");
    for store in [&store, &idle, &harness.open().await] {
        all_whole(store, &roots).await;
        assert_eq!(store.usage(&groups).await.unwrap(), usage);
    }
    assert_eq!(store.verify(None).await.unwrap().damaged, []);

    let done = collect(&harness.open().await, &roots, 4).await;
    assert_eq!((done.copies.pieces, done.removed.pieces, done.merged_packs), (120, 0, 0), "{done:?}");
    let [packs, index, refs] = objects(&harness).await;
    assert!(packs == 1 && index <= 3 && refs <= 5, "{packs} {index} {refs}");
    // One of them knows of nothing but the small packs.
    for store in [&reader, &idle, &store, &harness.open().await] {
        all_whole(store, &roots).await;
        assert_eq!(store.usage(&groups).await.unwrap(), usage);
        let verified = store.verify(None).await.unwrap();
        assert_eq!((verified.damaged, verified.pieces), (Vec::new(), 120));
    }
    let last = collect(&store, &roots, 6).await;
    assert_eq!((last.kept.pieces, last.copies.pieces, last.merged_packs), (120, 0, 0), "{last:?}");
    let head = store.ref_get(&RefName::new("head").unwrap()).await.unwrap().unwrap();
    assert_eq!((head.generation, head.bytes), (60, roots[59].digest().to_string().into()));
}

async fn when_nobody_else_works_they_become_few_at_once(harness: Harness) {
    let store = harness.open().await;
    let mut roots = commits(&store, 0..20).await;
    let gone = roots.split_off(15);
    let at_once = CollectSettings { now: SystemTime::now(), grace: Duration::ZERO, dry_run: false };
    let counted = store.collect(&roots, &CollectSettings { dry_run: true, ..at_once }).await.unwrap();
    let done = store.collect(&roots, &at_once).await.unwrap();
    assert_eq!(counted, done);
    assert!(done.freed > 0 && done.freed_packs == 40, "{done:?}");
    assert_eq!((done.merged_packs, done.removed.pieces, done.copies.pieces), (30, 10, 0), "{done:?}");
    let [packs, index, _] = objects(&harness).await;
    assert!(packs == 1 && index <= 2, "{packs} {index}");
    for store in [&store, &harness.open().await] {
        all_whole(store, &roots).await;
        assert!(!store.contains(gone[0].digest()).await.unwrap());
        assert_eq!(store.verify(None).await.unwrap().damaged, []);
    }
}

/// Writers that add what others have as well, and readers that know old places only, while small packs are merged, and
/// while they go.
async fn merging_goes_on_beside_writers_and_readers(harness: Harness) {
    let store = harness.open().await;
    let old = commits(&store, 0..12).await;
    let mut tasks = Vec::new();
    for task in 0..3_u64 {
        let (store, reader, old) = (harness.open().await, harness.open().await, old.clone());
        tasks.push(tokio::spawn(async move {
            let mut done = Vec::new();
            for round in 0..8 {
                // What is old already, what others add too, and what nobody else has.
                for seed in [round, 50 + round, 100 * (task + 1) + round] {
                    let mut writer = store.writer();
                    let blob = writer.add_bytes(noise(seed, 2000 + seed as usize).into()).await.unwrap();
                    let mut tree = Tree::new();
                    tree.insert("x", TreeEntry::File { digest: blob.digest, size: blob.size, executable: false })
                        .unwrap();
                    done.push(Root::Tree(writer.add_tree(&tree).await.unwrap()));
                    writer.commit().await.unwrap();
                }
                all_whole(&reader, &old).await;
            }
            (reader, done)
        }));
    }
    let collector = harness.open().await;
    let mut merged = 0;
    // To one of them all packs are old: it merges those that are needed, and condemns what is no root yet.
    for graces in [0, 1, 0] {
        merged += collect(&collector, &old, graces).await.merged_packs;
        tokio::task::yield_now().await;
    }
    assert!(merged >= 24, "{merged}");
    let (mut roots, mut readers) = (old, Vec::new());
    for task in tasks {
        let (reader, done) = task.await.unwrap();
        roots.extend(done);
        readers.push(reader);
    }
    // The readers have not looked since before.
    for graces in [3, 5, 7, 9] {
        let reading = futures::future::join_all(readers.iter().map(|reader| all_whole(reader, &roots)));
        let collecting = harness.open().await;
        futures::join!(reading, collect(&collecting, &roots, graces));
        all_whole(&harness.open().await, &roots).await;
    }
    all_whole(&store, &roots).await;
    assert_eq!(store.verify(None).await.unwrap().damaged, []);
    let [packs, index, _] = objects(&harness).await;
    assert!(packs < 8 && index < 8, "{packs} {index}");
}

async fn what_is_merged_can_become_garbage(harness: Harness) {
    let store = harness.open().await;
    let roots = commits(&store, 0..10).await;
    collect(&store, &roots, 1).await;
    // Half of it is needed no more, while the small packs are still there.
    let (kept, gone) = roots.split_at(5);
    for graces in [3, 5, 7] {
        collect(&store, kept, graces).await;
        all_whole(&harness.open().await, kept).await;
    }
    let fresh = harness.open().await;
    assert!(!fresh.contains(gone[0].digest()).await.unwrap());
    assert_eq!(fresh.verify(None).await.unwrap().pieces, 10);
    assert_eq!(harness.count("packs").await, 1);
}

async fn of_two_collectors_at_once_neither_loses_anything(harness: Harness) {
    let roots = commits(&harness.open().await, 0..12).await;
    for round in 0..4 {
        let (one, two) = (harness.open().await, harness.open().await);
        futures::join!(collect(&one, &roots, 1 + 2 * round), collect(&two, &roots, 1 + 2 * round));
        let fresh = harness.open().await;
        for root in &roots {
            assert!(fresh.contains(root.digest()).await.unwrap(), "visible after round {round}");
        }
        all_whole(&fresh, &roots).await;
        assert_eq!(fresh.verify(None).await.unwrap().damaged, []);
    }
    collect(&harness.open().await, &roots, 9).await;
    assert!(harness.count("packs").await <= 2);
}

/// Dropped after each of its steps, as `kill -9` would end it, a merger leaves a store that verifies, and the next goes on.
async fn a_killed_merger_loses_nothing(harness: Harness) {
    // Without a time of grace all is done in one go.
    for grace in [GRACE, Duration::ZERO] {
        let place = harness.beside();
        let (store, idle) = (place.open().await, place.open().await);
        let roots = commits(&store, 0..12).await;
        let (mut kills, mut ended) = (0, false);
        for (round, point) in (0..).zip(place.kill_points()) {
            let collector = place.open().await;
            let settings = CollectSettings { grace, ..settings(1 + 2 * round) };
            ended = dropped_after(point, collector.collect(&roots, &settings)).await;
            let fresh = place.open().await;
            all_whole(&fresh, &roots).await;
            assert_eq!(fresh.verify(None).await.unwrap().damaged, [], "{point}");
            if ended {
                break;
            }
            kills += 1;
        }
        // Where nothing has to be waited for, all of it can be one step.
        let least = if place.is_in_memory() { 1 } else { 2 };
        assert!(ended && kills >= least, "{ended} after {kills} kills");
        for graces in [3000, 3002, 3004, 3006] {
            collect(&place.open().await, &roots, graces).await;
        }
        store.sweep_orphans(SystemTime::now() + Duration::from_hours(1)).await.unwrap();
        all_whole(&idle, &roots).await;
        assert!(place.count("packs").await < 8);
    }
}

#[tokio::test]
async fn a_damaged_small_pack_stays_as_it_is_and_hinders_nobody() {
    use ropewalk_store::files;
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let roots = commits(&store, 0..10).await;
    let damaged = harness.objects("packs").into_iter().find(|pack| pack.size > 2000).unwrap();
    let mut bytes = files::read(&damaged.path).unwrap();
    bytes[1000] ^= 1;
    files::write_atomic(&damaged.path, &bytes).unwrap();
    assert_eq!(collect(&store, &roots, 1).await.merged_packs, 19);
    collect(&store, &roots, 3).await;
    assert_eq!(harness.objects("packs").len(), 2);
    assert!(files::exists(&damaged.path).unwrap());
    let found = store.verify(None).await.unwrap();
    assert_eq!(found.damaged.len(), 1, "{found:?}");
    let whole = |root: &Root| {
        let store = store.clone();
        let digest: Digest = *root.digest();
        async move {
            let files = store.tree_files(&digest).await.unwrap();
            store.get_bytes(&files[0].digest).await.is_ok()
        }
    };
    let mut broken = 0;
    for root in &roots {
        broken += usize::from(!whole(root).await);
    }
    assert_eq!(broken, 1);
}
