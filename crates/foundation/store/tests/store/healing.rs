//! What was lost or spoilt in one store, healed from another, and who is told to need it.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use ropewalk_store::{BackendOptions, Blob, Lacking, NoProgress, Root, Store, Tree, TreeEntry};
use ropewalk_types::Digest;

use crate::{Harness, noise, on_every_backend};

on_every_backend!(
    everything_damaged_is_named_and_who_needs_it,
    what_is_missing_is_named_and_who_needs_it,
    all_packs_are_healed_once_another_store_has_them,
    what_is_damaged_and_not_needed_is_let_go,
    a_second_copy_keeps_what_is_above_it,
    what_is_added_again_takes_the_place_of_what_is_damaged,
);

/// A store in which each object has a pack and an index object of its own.
struct Shelf {
    store: Store,
    packs: BTreeMap<Digest, Path>,
    indexes: BTreeMap<Digest, Path>,
    /// Two versions: `first` has the folders `a` and `b` and the large file, `second` has `b` only.
    first: Digest,
    second: Digest,
    a: Digest,
    b: Digest,
    in_a: Digest,
    in_b: Digest,
    large: Digest,
}

impl Shelf {
    async fn new(harness: &Harness) -> Self {
        let (store, nothing) = (harness.open().await, Digest::of(b""));
        let mut shelf = Self {
            store,
            packs: BTreeMap::new(),
            indexes: BTreeMap::new(),
            first: nothing,
            second: nothing,
            a: nothing,
            b: nothing,
            in_a: nothing,
            in_b: nothing,
            large: nothing,
        };
        let in_a = shelf.file(harness, noise(1, 1000)).await;
        let in_b = shelf.file(harness, noise(2, 1000)).await;
        let large = shelf.file(harness, noise(3, 600_000)).await;
        (shelf.in_a, shelf.in_b, shelf.large) = (in_a.digest, in_b.digest, large.digest);
        let file = |blob: Blob| TreeEntry::File { digest: blob.digest, size: blob.size, executable: false };
        shelf.a = shelf.folder(harness, &[("x", file(in_a))]).await;
        shelf.b = shelf.folder(harness, &[("y", file(in_b))]).await;
        let (a, b) = (TreeEntry::Directory { digest: shelf.a }, TreeEntry::Directory { digest: shelf.b });
        shelf.first = shelf.folder(harness, &[("a", a), ("b", b), ("z", file(large))]).await;
        shelf.second = shelf.folder(harness, &[("b", b)]).await;
        shelf
    }

    async fn file(&mut self, harness: &Harness, bytes: Vec<u8>) -> Blob {
        let before = (harness.paths("packs").await, harness.paths("index").await);
        let blob = self.store.put_bytes(bytes.into()).await.unwrap();
        self.note(harness, blob.digest, before).await;
        blob
    }

    async fn folder(&mut self, harness: &Harness, entries: &[(&str, TreeEntry)]) -> Digest {
        let before = (harness.paths("packs").await, harness.paths("index").await);
        let mut tree = Tree::new();
        for (name, entry) in entries {
            tree.insert(*name, *entry).unwrap();
        }
        let digest = self.store.tree_put(&tree).await.unwrap();
        self.note(harness, digest, before).await;
        digest
    }

    /// Notes which pack and which index object are new.
    async fn note(&mut self, harness: &Harness, digest: Digest, (packs, indexes): (BTreeSet<Path>, BTreeSet<Path>)) {
        let new = |before: &BTreeSet<Path>, after: BTreeSet<Path>| {
            let new: Vec<_> = after.difference(before).cloned().collect();
            assert_eq!(new.len(), 1, "{new:?}");
            new.into_iter().next().unwrap()
        };
        self.packs.insert(digest, new(&packs, harness.paths("packs").await));
        self.indexes.insert(digest, new(&indexes, harness.paths("index").await));
    }

    /// The two versions, and each file by itself.
    fn groups(&self) -> Vec<Vec<Root>> {
        let files = [self.in_a, self.in_b, self.large].map(|digest| vec![Root::Blob(digest)]);
        [vec![Root::Tree(self.first)], vec![Root::Tree(self.second)]].into_iter().chain(files).collect()
    }

    /// Another store, with all of it.
    async fn copied(&self, to: &Harness) -> Store {
        let store = to.open().await;
        let roots = [Root::Tree(self.first), Root::Tree(self.second)];
        self.store.copy_to(&store, &roots, &NoProgress).await.unwrap();
        store
    }

    async fn assert_whole(&self, harness: &Harness) {
        let store = harness.open().await;
        let found = store.verify(None).await.unwrap();
        assert_eq!(found.damaged, []);
        let lacking = store.lacking(&self.groups(), &found).await.unwrap();
        assert_eq!(lacking, Lacking { affected: vec![false; 5], ..Lacking::default() });
        for digest in [self.in_a, self.in_b, self.large] {
            assert_eq!(Digest::of(&store.get_bytes(&digest).await.unwrap()), digest);
        }
    }
}

/// A folder that cannot be read hides neither what else is damaged nor who needs that.
async fn everything_damaged_is_named_and_who_needs_it(harness: Harness) {
    let (shelf, place) = (Shelf::new(&harness).await, harness.beside());
    let other = shelf.copied(&place).await;
    harness.spoil([shelf.packs[&shelf.a].clone()]).await;
    harness.lose([shelf.packs[&shelf.in_b].clone()]).await;
    let store = harness.open().await;
    let mut found = store.verify(None).await.unwrap();
    let named: BTreeSet<_> = found.damaged.iter().map(|damage| damage.digest).collect();
    assert_eq!(named, BTreeSet::from([shelf.a, shelf.in_b]), "{found:?}");
    let lacking = store.lacking(&shelf.groups(), &found).await.unwrap();
    assert_eq!(lacking.missing, []);
    assert_eq!(lacking.unreadable.iter().map(|one| one.digest).collect::<Vec<_>>(), [shelf.a]);
    assert_eq!(lacking.affected, [true, true, false, true, false]);
    store.heal(&mut found, &other).await.unwrap();
    assert!(found.damaged.iter().all(|damage| damage.healed) && found.damaged_there.is_empty(), "{found:?}");
    shelf.assert_whole(&harness).await;
}

async fn what_is_missing_is_named_and_who_needs_it(harness: Harness) {
    let (shelf, place) = (Shelf::new(&harness).await, harness.beside());
    let other = shelf.copied(&place).await;
    harness.lose([shelf.indexes[&shelf.b].clone(), shelf.indexes[&shelf.large].clone()]).await;
    let store = harness.open().await;
    let found = store.verify(None).await.unwrap();
    assert_eq!(found.damaged, [], "nothing says that it was there, but those that need it");
    let lacking = store.lacking(&shelf.groups(), &found).await.unwrap();
    assert_eq!(lacking.missing, [Root::Blob(shelf.large), Root::Tree(shelf.b)]);
    assert_eq!((lacking.unreadable.len(), lacking.affected), (0, vec![true, true, false, false, true]));
    other.copy_to(&store, &lacking.missing, &NoProgress).await.unwrap();
    shelf.assert_whole(&harness).await;
}

/// An index says that it is there, so that whoever adds it must be told to write it all the same.
async fn what_is_added_again_takes_the_place_of_what_is_damaged(harness: Harness) {
    let shelf = Shelf::new(&harness).await;
    harness.lose([shelf.packs[&shelf.large].clone()]).await;
    harness.spoil([shelf.packs[&shelf.in_b].clone()]).await;
    let store = harness.open().await;
    let mut found = store.verify(None).await.unwrap();
    let digests: Vec<_> = found.damaged.iter().map(|damage| damage.digest).collect();
    assert!(digests.len() > 2, "{found:?}");
    store.put_bytes(noise(3, 600_000).into()).await.unwrap();
    assert_eq!(store.verify_only(&digests).await.unwrap().damaged.len(), digests.len(), "the index was trusted");
    let mut writer = store.writer_over(&found);
    for bytes in [noise(2, 1000), noise(3, 600_000)] {
        writer.add_bytes(bytes.into()).await.unwrap();
    }
    writer.commit().await.unwrap();
    store.heal_copies(&mut found).await.unwrap();
    assert!(found.damaged.iter().all(|damage| damage.healed), "{found:?}");
    assert_eq!(store.verify_only(&digests).await.unwrap().damaged, []);
    shelf.assert_whole(&harness).await;
}

async fn all_packs_are_healed_once_another_store_has_them(harness: Harness) {
    let (shelf, place) = (Shelf::new(&harness).await, harness.beside());
    let other = shelf.copied(&place).await;
    let beside = harness.beside();
    shelf.store.copy_to(&beside.open().await, &[Root::Tree(shelf.first)], &NoProgress).await.unwrap();
    beside.lose(beside.paths("packs").await).await;
    harness.lose(harness.paths("packs").await).await;
    let store = harness.open().await;
    let mut found = store.verify(None).await.unwrap();
    assert_eq!(found.damaged.len() as u64, found.pieces);
    store.heal(&mut found, &beside.open().await).await.unwrap();
    assert!(found.damaged.iter().all(|damage| !damage.healed), "{found:?}");
    // It lacks the second version, and what it names it has lost as well.
    assert_eq!(found.damaged_there.len(), found.damaged.len() - 1);
    store.heal(&mut found, &other).await.unwrap();
    assert!(found.damaged.iter().all(|damage| damage.healed), "{found:?}");
    shelf.assert_whole(&harness).await;
}

async fn what_is_damaged_and_not_needed_is_let_go(harness: Harness) {
    let (shelf, place) = (Shelf::new(&harness).await, harness.beside());
    let other = shelf.copied(&place).await;
    harness.lose([shelf.packs[&shelf.in_a].clone()]).await;
    let store = harness.open().await;
    let mut found = store.verify(None).await.unwrap();
    assert_eq!(found.damaged.len(), 1);
    assert_eq!(store.put_bytes(noise(1, 1000).into()).await.unwrap().digest, shelf.in_a);
    assert!(store.get_bytes(&shelf.in_a).await.is_err(), "what an index names is not written again");
    let never = vec![Root::Blob(Digest::of(b"never stored"))];
    for groups in [shelf.groups(), vec![vec![Root::Tree(shelf.second)], never]] {
        store.let_go(&mut found, &groups).await.unwrap();
        assert!(!found.damaged[0].healed, "it is needed, or that cannot be told");
    }
    store.let_go(&mut found, &[vec![Root::Tree(shelf.second)]]).await.unwrap();
    assert!(found.damaged[0].healed && found.damaged[0].let_go, "{found:?}");
    let fresh = harness.open().await;
    for (digest, stays) in [
        (shelf.in_a, false),
        // What is visible is whole, also where nothing needs it.
        (shelf.a, false),
        (shelf.first, false),
        (shelf.b, true),
        (shelf.in_b, true),
        (shelf.large, true),
    ] {
        assert_eq!(fresh.contains(&digest).await.unwrap(), stays, "{digest}");
    }
    assert_eq!(fresh.verify(None).await.unwrap().damaged, []);
    let moved = other.copy_to(&fresh, &[Root::Tree(shelf.first)], &NoProgress).await.unwrap();
    assert_eq!(moved.pieces, 3);
    shelf.assert_whole(&harness).await;
}

async fn a_second_copy_keeps_what_is_above_it(harness: Harness) {
    let stale = harness.open().await;
    let shelf = Shelf::new(&harness).await;
    // A handle that has not looked since does not know that it is there.
    assert_eq!(stale.put_bytes(noise(1, 1000).into()).await.unwrap().digest, shelf.in_a);
    harness.lose([shelf.packs[&shelf.in_a].clone()]).await;
    let store = harness.open().await;
    let mut found = store.verify(None).await.unwrap();
    assert_eq!(found.damaged.len(), 1);
    store.let_go(&mut found, &[vec![Root::Tree(shelf.second)]]).await.unwrap();
    assert!(found.damaged[0].let_go, "{found:?}");
    let fresh = harness.open().await;
    assert_eq!(fresh.verify(None).await.unwrap().damaged, []);
    shelf.assert_whole(&harness).await;
}

#[tokio::test]
async fn what_lost_its_index_is_not_shown_with_gaps() {
    let harness = Harness::on_disk();
    let (shelf, place) = (Shelf::new(&harness).await, harness.beside());
    let other = shelf.copied(&place).await;
    let index = shelf.indexes[&shelf.in_a].clone();
    harness.spoil([index]).await;
    let url = format!("file:{}", harness.directory.path().join("store").display());
    let store = Store::open_damaged(&url, &BackendOptions::default()).await.unwrap();
    let mut found = store.verify(None).await.unwrap();
    store.heal(&mut found, &other).await.unwrap();
    store.let_go(&mut found, &[vec![Root::Tree(shelf.second)]]).await.unwrap();
    let fresh = harness.open().await;
    for (digest, stays) in [(shelf.in_a, false), (shelf.a, false), (shelf.first, false), (shelf.b, true)] {
        assert_eq!(fresh.contains(&digest).await.unwrap(), stays, "{digest}");
    }
    other.copy_to(&fresh, &[Root::Tree(shelf.first)], &NoProgress).await.unwrap();
    shelf.assert_whole(&harness).await;
}
