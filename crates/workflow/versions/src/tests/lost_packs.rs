//! Packs that are lost while index objects still name what was in them, and work trees that still have it.

use std::collections::BTreeSet;

use ropewalk_store::{NoProgress, Root, Store, Verified, files};
use ropewalk_types::{Diagnose as _, Digest};
use tempfile::TempDir;

use super::{AUTHOR, Project, name};
use crate::{AddRequest, CheckoutRequest, CommitOutcome, GiveUp, LetGo, PullOptions, PullTo, PushOptions, Wanted};

/// Whatever a file may have.
const ANY: Wanted<'static> = Wanted { missing: &[], sizes: None };

/// A project whose store is a folder.
struct OnDisk {
    project: Project,
    store: TempDir,
}

impl OnDisk {
    async fn new() -> Self {
        let store = tempfile::tempdir().unwrap();
        let url = format!("file:{}", store.path().display());
        Self { project: Project::with_store(1_700_000_000_000, Store::open(&url).await.unwrap()), store }
    }

    fn packs(&self) -> Vec<std::path::PathBuf> {
        files::list(&self.store.path().join("packs")).unwrap().into_iter().map(|entry| entry.path).collect()
    }

    /// Two files are added, which are in packs of their own, and committed; then those packs are cut.
    async fn lose_what_was_added(&self) -> Verified {
        self.project.write("data/a", "one");
        self.project.write("data/deep/b", "two");
        self.project.add("data").await;
        let packs = self.packs();
        self.project.commit("first").await;
        assert!(self.packs().len() > packs.len(), "the object of the version lies elsewhere");
        for pack in packs {
            files::write_atomic(&pack, b"cut").unwrap();
        }
        let found = self.verify().await;
        assert_eq!(found.damaged.len(), 4, "two files, two folders: {found:?}");
        found
    }

    /// Two versions, of which the first is laid out. Of the second, which is in the remote too, a file is lost here.
    async fn lose_a_file_of_the_second(&self) -> Store {
        let (ada, remote) = (&self.project, Store::open("memory:").await.unwrap());
        ada.write("data/a", "one");
        ada.write("data/gone", "gone");
        ada.commit_data("first").await;
        let before = self.packs();
        ada.store.put_bytes("two".into()).await.unwrap();
        let of_file: Vec<_> = self.packs().into_iter().filter(|pack| !before.contains(pack)).collect();
        ada.write("data/a", "two");
        ada.delete("data/gone");
        ada.commit_data("second").await;
        ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
        ada.checkout("v1").await.unwrap();
        let [pack] = of_file.as_slice() else { panic!("{of_file:?}") };
        files::write_atomic(pack, b"cut").unwrap();
        remote
    }

    async fn verify(&self) -> Verified {
        self.project.store.verify(None).await.unwrap()
    }

    /// How many names the note of damage has.
    fn noted(&self) -> usize {
        self.project.read(".ropewalk/work/damaged").map_or(0, |note| note.lines().count())
    }

    async fn assert_whole(&self) {
        assert_eq!(self.verify().await.damaged, []);
        self.project.write("data/a", "another");
        self.project.commit_data("second").await;
        self.project.checkout("v1").await.unwrap();
        assert_eq!(self.project.read("data/a").as_deref(), Some("one"));
    }
}

#[tokio::test]
async fn what_a_pack_lost_comes_from_the_work_tree() {
    let ada = OnDisk::new().await;
    let mut found = ada.lose_what_was_added().await;
    let given = ada.project.workspace.heal_from_files(&ada.project.store, &mut found, ANY).await.unwrap();
    assert_eq!((given.files, given.unread.len()), (2, 0));
    assert!(found.damaged.iter().all(|damage| damage.healed), "{found:?}");
    ada.assert_whole().await;
}

#[tokio::test]
async fn what_a_work_tree_no_longer_has_stays_damaged() {
    let ada = OnDisk::new().await;
    let mut found = ada.lose_what_was_added().await;
    ada.project.write("data/a", "changed since");
    let given = ada.project.workspace.heal_from_files(&ada.project.store, &mut found, ANY).await.unwrap();
    assert_eq!(given.files, 1);
    assert_eq!(found.damaged.iter().filter(|damage| !damage.healed).count(), 1, "{found:?}");
    let new = ropewalk_types::Digest::of(b"changed since");
    assert!(!ada.project.store.contains(&new).await.unwrap(), "nobody has added that");
}

#[tokio::test]
async fn what_is_known_to_be_damaged_is_added_again() {
    let ada = OnDisk::new().await;
    let found = ada.lose_what_was_added().await;
    let workspace = &ada.project.workspace;
    assert!(!ada.project.add("data").await.changed);
    assert_eq!(ada.verify().await.damaged.len(), 4, "the index was trusted, as long as nobody has looked");
    workspace.damage_note(&found).await.unwrap();
    assert!(ada.project.without_store().status(&[name("data")]).await.unwrap().len() == 1, "no store is asked");
    let committed = ada.project.commit("the same").await;
    assert!(matches!(committed[0].outcome, crate::CommitOutcome::Unchanged { .. }), "{committed:?}");
    ada.assert_whole().await;
    assert!(!files::exists(&ada.project.path(".ropewalk/work/damaged")).unwrap());
}

#[tokio::test]
async fn a_removed_version_whose_object_is_damaged_ends_the_history_and_bars_nobody() {
    let (ada, data) = (OnDisk::new().await, name("data"));
    let mut of_second = Vec::new();
    for text in ["1", "2", "3"] {
        ada.project.write("data/a", text);
        ada.project.add("data").await;
        let before = ada.packs();
        ada.project.commit(text).await;
        if text == "2" {
            of_second = ada.packs().into_iter().filter(|pack| !before.contains(pack)).collect();
        }
    }
    let third = ada.project.workspace.resolve(&data, "latest").await.unwrap().digest;
    ada.project.workspace.remove_version(&data, "v2", "ada", "asked to").await.unwrap();
    let [pack] = of_second.as_slice() else { panic!("{of_second:?}") };
    files::write_atomic(pack, b"cut").unwrap();

    let log = ada.project.workspace.log(&data).await.unwrap();
    assert_eq!(log.iter().map(|one| one.digest).collect::<Vec<_>>(), [third]);
    let (bob, latest) =
        (Project::at(1_800_000_000_000).await, PullOptions { to: PullTo::Latest, ..Default::default() });
    let pulled = bob.workspace.pull(&ada.project.store, &[data], latest, &NoProgress).await.unwrap();
    assert!(pulled.gone.is_empty() && pulled.fetched.removed.len() == 1, "{pulled:?}");
    assert_eq!(bob.read("data/a").as_deref(), Some("3"));
    // What lies behind it must not be taken for what nobody needs.
    assert_eq!(ada.project.workspace.roots().await.unwrap_err().code(), "store.damaged");
    // Once that is given up, it is kept by itself.
    let job = GiveUp { store: &ada.project.store, others: &[], own: true };
    let released = ada.project.workspace.give_up(job).await.unwrap();
    assert!(released.given_up.is_empty() && released.failed.is_empty(), "{released:?}");
    ada.project.workspace.roots().await.unwrap();
    assert_eq!(ada.project.workspace.log(&name("data")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_turns_out_to_be_damaged_in_a_checkout_comes_from_the_remote() {
    let ada = OnDisk::new().await;
    let remote = ada.lose_a_file_of_the_second().await;
    let request = CheckoutRequest { version: Some("v2".to_owned()), ..CheckoutRequest::of(name("data")) };
    ada.project.with_remote(&remote).checkout(request, &NoProgress).await.unwrap();
    assert_eq!((ada.project.read("data/a").as_deref(), ada.project.read("data/gone")), (Some("two"), None));
    assert!(ada.project.status().await.is_clean());
    assert_eq!(ada.verify().await.damaged, []);
}

#[tokio::test]
async fn what_is_laid_out_in_half_is_told_and_makes_no_version() {
    let ada = OnDisk::new().await;
    let remote = ada.lose_a_file_of_the_second().await;
    let (project, workspace) = (&ada.project, &ada.project.workspace);
    let error = project.checkout("latest").await.unwrap_err();
    assert_eq!((error.code(), project.read("data/gone")), ("versions.laid_out_in_half", None));
    let said = error.to_string();
    assert!(said.starts_with("dataset `data`, version ") && said.contains("the same command finishes it"), "{said}");
    assert!(error.hint().unwrap().contains("data verify --heal"), "{:?}", error.hint());
    let refused = workspace.commit(&[], "mixed", AUTHOR).await.unwrap_err();
    let told = workspace.status(&[]).await.unwrap_err();
    for error in [project.try_add("data").await.unwrap_err(), refused, told] {
        assert_eq!(error.code(), "versions.unfinished", "{error}");
        assert!(error.hint().unwrap().contains("`ropewalk data checkout data`"), "{error}");
    }
    // Back again.
    project.checkout("v1").await.unwrap();
    assert_eq!(project.read("data/gone").as_deref(), Some("gone"));
    assert!(project.status().await.is_clean());
    assert!(matches!(project.commit("nothing").await[0].outcome, CommitOutcome::Unchanged { .. }));
    // Or kept as it is.
    project.checkout("latest").await.unwrap_err();
    workspace.add(AddRequest { path: "data".into(), force: true, ..AddRequest::default() }).await.unwrap();
    assert!(matches!(project.commit("kept").await[0].outcome, CommitOutcome::Committed { files: 1, .. }));
    // Or finished, once it can be.
    project.checkout("latest").await.unwrap_err();
    let mut found = ada.verify().await;
    project.store.heal(&mut found, &remote).await.unwrap();
    project.checkout("latest").await.unwrap();
    assert_eq!(project.read("data/a").as_deref(), Some("two"));
    assert!(matches!(project.commit("nothing").await[0].outcome, CommitOutcome::Unchanged { .. }));
}

#[tokio::test]
async fn only_files_of_a_wanted_size_are_read() {
    let ada = OnDisk::new().await;
    let mut found = ada.lose_what_was_added().await;
    for index in files::list(&ada.project.path(".ropewalk/work")).unwrap() {
        if index.name.strip_suffix(".index").is_some() {
            files::remove_file(&index.path).unwrap();
        }
    }
    for (size, read) in [(99, 0), (3, 2)] {
        let sizes = BTreeSet::from([size]);
        let wanted = Wanted { missing: &[], sizes: Some(&sizes) };
        let given = ada.project.workspace.heal_from_files(&ada.project.store, &mut found, wanted).await.unwrap();
        assert_eq!(given.files, read, "{size}");
    }
    ada.assert_whole().await;
}

#[tokio::test]
async fn a_dataset_that_cannot_be_looked_at_is_in_no_other_ones_way() {
    let ada = OnDisk::new().await;
    let mut found = ada.lose_what_was_added().await;
    ada.project.write("another/x", "x");
    ada.project.add("another").await;
    ada.project.write(".ropewalk/work/another.index", "no index at all");
    ada.project.write("another/.git/config", "no data");
    let given = ada.project.workspace.heal_from_files(&ada.project.store, &mut found, ANY).await.unwrap();
    assert_eq!(given.unread.len(), 1, "{given:?}");
    assert!(given.files == 2 && given.unread[0].contains("`another`"), "{given:?}");
}

#[tokio::test]
async fn only_what_a_dataset_needs_of_the_damage_is_looked_at() {
    let ada = OnDisk::new().await;
    let found = ada.lose_what_was_added().await;
    ada.project.workspace.damage_note(&found).await.unwrap();
    ada.project.write("other/x", "nothing of it");
    ada.project.add("other").await;
    assert_eq!(ada.noted(), 4);
    ada.project.write("other/y", "one");
    ada.project.add("other").await;
    assert_eq!((ada.noted(), ada.verify().await.damaged.len()), (3, 3), "the same bytes were written anew");
}

#[tokio::test]
async fn a_version_that_cannot_be_read_is_let_go_and_in_nobodys_way() {
    let ada = OnDisk::new().await;
    ada.project.write("data/a", "one");
    let first = ada.project.commit_data("first").await;
    ada.project.write("data/a", "two");
    ada.project.add("data").await;
    let before = ada.packs();
    ada.project.commit("second").await;
    for pack in ada.packs().iter().filter(|pack| !before.contains(pack)) {
        files::write_atomic(pack, b"cut").unwrap();
    }
    assert_eq!(ada.verify().await.damaged.len(), 1);
    // What is larger than any ref.
    let tag = ada.store.path().join("refs/datasets/data/tags/large/@00000000000000000001");
    files::write_atomic(&tag, &vec![b'x'; (1 << 20) + 1]).unwrap();
    let job = GiveUp { store: &ada.project.store, others: &[], own: true };
    let released = ada.project.workspace.give_up(job).await.unwrap();
    assert!(released.failed.is_empty(), "{released:?}");
    let what: Vec<_> = released.given_up.into_iter().map(|one| one.what).collect();
    let large = LetGo::Tag(ropewalk_types::TagName::new("large").unwrap());
    assert_eq!(what, [large, LetGo::Head(Some(first)), LetGo::Pointer("data".to_owned())]);
    assert_eq!(ada.verify().await.damaged, []);
    ada.project.commit("again").await;
    let log = ada.project.workspace.log(&name("data")).await.unwrap();
    assert_eq!((log.len(), log[0].version.parents.as_slice()), (2, &[first][..]));
}

/// Nine versions; the bytes of the fifth are damaged.
async fn nine_without_the_fifth() -> (OnDisk, Vec<Digest>) {
    let (ada, mut versions, mut of_fifth) = (OnDisk::new().await, Vec::new(), Vec::new());
    for number in 1..=9 {
        ada.project.write("data/a", &format!("{number}"));
        ada.project.add("data").await;
        let before = ada.packs();
        let committed = ada.project.commit(&format!("{number}")).await;
        let CommitOutcome::Committed { version, .. } = committed[0].outcome else { panic!("{committed:?}") };
        versions.push(version);
        if number == 5 {
            of_fifth = ada.packs().into_iter().filter(|pack| !before.contains(pack)).collect();
        }
    }
    let [pack] = of_fifth.as_slice() else { panic!("{of_fifth:?}") };
    files::write_atomic(pack, b"cut").unwrap();
    // As a collection leaves the head long after: it does not tell what lies that far behind.
    for generation in 1..=5 {
        let path = format!("refs/datasets/data/head/@{generation:020}");
        assert!(files::remove_file(&ada.store.path().join(path)).unwrap());
    }
    (ada, versions)
}

/// Nothing of the other eight is collected.
async fn assert_eight_are_kept(ada: &OnDisk, versions: &[Digest]) {
    let roots = ada.project.workspace.roots().await.unwrap();
    let kept = versions.iter().filter(|version| roots.contains(&Root::Blob(**version))).count();
    assert_eq!(kept, 8);
    for version in [&versions[0], &versions[3], &versions[8]] {
        let found = ada.project.workspace.resolve(&name("data"), &version.to_string()).await.unwrap();
        assert!(roots.contains(&Root::Tree(found.version.root)));
    }
    let refs = crate::history::refs(&ada.project.store, &name("data")).await.unwrap();
    assert_eq!(refs.tips.into_iter().collect::<Vec<_>>(), [versions[3]], "the newest of them is enough");
    assert_eq!(ada.verify().await.damaged, []);
}

#[tokio::test]
async fn what_lies_far_behind_a_version_that_is_removed_by_its_digest_is_kept() {
    let (ada, versions) = nine_without_the_fifth().await;
    assert_eq!(ada.project.workspace.roots().await.unwrap_err().code(), "store.damaged");
    let spec = versions[4].to_string();
    ada.project.workspace.remove_version(&name("data"), &spec, "ada", "nobody has it").await.unwrap();
    assert_eight_are_kept(&ada, &versions).await;
}

#[tokio::test]
async fn what_lies_far_behind_a_version_of_a_tag_that_is_given_up_is_kept() {
    let (ada, versions) = nine_without_the_fifth().await;
    let store = &ada.project.store;
    super::damaged::point(store, "datasets/data/tags/t", &versions[4]).await;
    let job = GiveUp { store, others: &[], own: true };
    let released = ada.project.workspace.give_up(job).await.unwrap();
    assert!(released.failed.is_empty() && released.given_up.len() == 1, "{released:?}");
    assert_eight_are_kept(&ada, &versions).await;
}
