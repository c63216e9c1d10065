use std::sync::atomic::{AtomicU64, Ordering};

use ropewalk_store::{NoProgress, Store, TransferProgress, files};
use ropewalk_types::{Diagnose as _, TagName};

use super::merging::{conflicted, request};
use super::{Project, name};
use crate::{MergeOutcome, PullOptions, PullTo, PushOptions, Pushed, PushedHead, VersionsError};

async fn push(project: &Project, remote: &Store) -> Result<Pushed, VersionsError> {
    project.workspace.push(remote, &[], PushOptions::default(), &NoProgress).await
}

/// What `git clone` brings: the pointers, and nothing else.
async fn clone_of(project: &Project, millis: i64) -> Project {
    let clone = Project::at(millis).await;
    clone.write("data.dataset", &project.read("data.dataset").unwrap());
    clone
}

#[tokio::test]
async fn the_story_of_two() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    for number in 0..30 {
        ada.write(&format!("data/{number}"), &format!("file {number}"));
    }
    ada.commit_data("first").await;
    let pushed = push(&ada, &remote).await.unwrap();
    assert!(matches!(pushed.heads[0].1, PushedHead::Moved { .. }));
    assert!(pushed.transferred.pieces > 30);
    let again = push(&ada, &remote).await.unwrap();
    assert_eq!((again.heads[0].1.clone(), again.transferred.pieces), (PushedHead::UpToDate, 0));

    let bob = clone_of(&ada, 1_800_000_000_000).await;
    assert_eq!(
        bob.workspace.checkout(crate::CheckoutRequest::of(name("data")), &NoProgress).await.unwrap_err().code(),
        "versions.content_missing"
    );
    let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!((pulled.checked_out[0].written, pulled.behind.len()), (30, 0));
    assert_eq!(bob.read("data/7").unwrap(), "file 7");
    assert!(bob.status().await.is_clean());

    ada.write("data/1", "Ada's");
    ada.write("data/2", "Ada's");
    ada.commit("Ada's").await;
    push(&ada, &remote).await.unwrap();
    bob.write("data/2", "Bob's");
    bob.write("data/new", "Bob's");
    bob.commit("Bob's").await;
    let error = push(&bob, &remote).await.unwrap_err();
    assert_eq!(error.code(), "versions.diverged");

    let fetched = bob.workspace.fetch(&remote, &[], false, &NoProgress).await.unwrap();
    assert_eq!((fetched.diverged.len(), fetched.moved.len()), (1, 0));
    let outcome = bob.workspace.merge(request(None), &NoProgress).await.unwrap();
    assert!(matches!(&outcome, MergeOutcome::Conflicts { conflicts } if conflicts.len() == 1), "{outcome:?}");
    let outcome = bob.workspace.merge(request(Some(crate::Prefer::Ours)), &NoProgress).await.unwrap();
    assert!(matches!(outcome, MergeOutcome::Merged { .. }), "{outcome:?}");
    let pushed = push(&bob, &remote).await.unwrap();
    assert!(matches!(pushed.heads[0].1, PushedHead::Moved { .. }), "{pushed:?}");

    let behind = push(&ada, &remote).await.unwrap();
    assert!(matches!(behind.heads[0].1, PushedHead::Behind { .. }));
    let pulled = ada.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(pulled.behind.len(), 1, "the pointer is git's, and stays");
    assert_eq!(ada.read("data/2").unwrap(), "Ada's");
    let latest = PullOptions { to: PullTo::Latest, ..PullOptions::default() };
    ada.workspace.pull(&remote, &[], latest, &NoProgress).await.unwrap();
    assert_eq!(ada.read("data/1").unwrap(), "Ada's");
    assert_eq!(ada.read("data/2").unwrap(), "Bob's");
    assert_eq!(ada.read("data/new").unwrap(), "Bob's");
    assert_eq!(ada.read("data.dataset"), bob.read("data.dataset"));
}

/// The bytes that a command says it has moved and laid out.
#[derive(Default)]
pub(super) struct Count {
    planned: AtomicU64,
    moved: AtomicU64,
    laying_out: AtomicU64,
    laid_out: AtomicU64,
}

impl TransferProgress for Count {
    fn planned(&self, _: u64, bytes: u64) {
        self.planned.fetch_add(bytes, Ordering::Relaxed);
    }

    fn moved(&self, _: u64, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn laying_out(&self, _: u64, bytes: u64) {
        self.laying_out.fetch_add(bytes, Ordering::Relaxed);
    }

    fn laid_out(&self, _: u64, bytes: u64) {
        self.laid_out.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Count {
    pub(super) fn told(&self) -> [u64; 4] {
        [&self.planned, &self.moved, &self.laying_out, &self.laid_out].map(|count| count.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_pull_counts_what_travels_once_and_files_apart() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    // Compressed they are far smaller.
    for number in 0..20 {
        ada.write(&format!("data/{number}"), &format!("{number} hemp yarn ").repeat(1000));
    }
    ada.commit_data("first").await;
    let pushing = Count::default();
    let pushed = ada.workspace.push(&remote, &[], PushOptions::default(), &pushing).await.unwrap();
    let travelled = pushed.transferred.bytes;
    assert_eq!(pushing.told(), [travelled, travelled, 0, 0]);
    let bob = clone_of(&ada, 1_800_000_000_000).await;
    let pulling = Count::default();
    let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &pulling).await.unwrap();
    let files = pulled.checked_out[0].laid_out.bytes;
    assert_eq!(pulled.fetched.transferred.bytes, travelled);
    assert!(files > 20 * 12_000 && travelled < files / 4, "{files} {travelled}");
    assert_eq!(pulling.told(), [travelled, travelled, files, files]);
}

#[tokio::test]
async fn of_two_pushes_at_once_one_is_told() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    push(&ada, &remote).await.unwrap();
    let bob = clone_of(&ada, 1_800_000_000_000).await;
    bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    ada.write("data/a", "Ada's");
    ada.commit("Ada's").await;
    bob.write("data/a", "Bob's");
    bob.commit("Bob's").await;
    let (one, other) = tokio::join!(push(&ada, &remote), push(&bob, &remote));
    let refused =
        [&one, &other].into_iter().filter(|pushed| matches!(pushed, Err(VersionsError::Diverged { .. }))).count();
    assert_eq!(refused, 1, "{one:?} {other:?}");
    assert_eq!([one.is_ok(), other.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
}

#[tokio::test]
async fn a_pointer_is_enough_without_refs() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("data/a", "added, never committed");
    let added = ada.add("data").await;
    let pushed = push(&ada, &remote).await.unwrap();
    assert_eq!((pushed.uncommitted.len(), pushed.heads[0].1.clone()), (1, PushedHead::Nothing));
    assert!(remote.contains(&added.pointer.digest).await.unwrap());
    let bob = clone_of(&ada, 1_800_000_000_000).await;
    let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(pulled.checked_out[0].written, 1);
    assert_eq!(bob.read("data/a").unwrap(), "added, never committed");
}

#[tokio::test]
async fn a_push_says_of_a_fresh_clone_that_its_version_is_not_here() {
    let (ada, remote) = (Project::new().await, Store::open("memory:").await.unwrap());
    ada.write("data/a", "1");
    let version = ada.commit_data("first").await;
    push(&ada, &remote).await.unwrap();
    let bob = clone_of(&ada, 1_800_000_000_000).await;
    assert_eq!(push(&bob, &remote).await.unwrap().heads, [(name("data"), PushedHead::NotHere { version })]);
    bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(push(&bob, &remote).await.unwrap().heads, [(name("data"), PushedHead::UpToDate)]);
}

#[tokio::test]
async fn what_the_remote_lacks_is_named() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    let bob = clone_of(&ada, 1_800_000_000_000).await;
    let fetched = bob.workspace.fetch(&remote, &[], false, &NoProgress).await.unwrap();
    assert_eq!((fetched.missing.as_slice(), fetched.failed.len()), ([name("data")].as_slice(), 1));
    let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!((pulled.gone.len(), pulled.gone[0].error.code()), (1, "versions.content_missing"));
}

#[tokio::test]
async fn a_dataset_without_a_pointer_comes_by_name() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("raw/data/a", "1");
    ada.add("raw/data").await;
    ada.commit("first").await;
    push(&ada, &remote).await.unwrap();
    let bob = Project::new().await;
    let pulled = bob.workspace.pull(&remote, &[name("data")], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(pulled.checked_out[0].path, "raw/data");
    assert_eq!(bob.read("raw/data/a").unwrap(), "1");
    assert_eq!(bob.read("raw/data.dataset"), ada.read("raw/data.dataset"));
}

#[tokio::test]
async fn tags_travel_and_are_never_moved_silently() {
    let remote = Store::open("memory:").await.unwrap();
    let (data, tag) = (name("data"), TagName::new("train").unwrap());
    let ada = Project::new().await;
    ada.commit_tagged(&tag).await;
    assert_eq!(push(&ada, &remote).await.unwrap().tags, 1);
    let bob = clone_of(&ada, 1_800_000_000_000).await;
    let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(pulled.fetched.tags, 1);
    bob.write("data/a", "2");
    let second = bob.commit_data("second").await;
    bob.workspace.tag(&data, "latest", &tag, true).await.unwrap();
    let pushed = push(&bob, &remote).await.unwrap();
    assert_eq!((pushed.tags, pushed.refused_tags.len()), (0, 1));
    let moved = PushOptions { move_tags: true, ..PushOptions::default() };
    assert_eq!(bob.workspace.push(&remote, &[], moved, &NoProgress).await.unwrap().tags, 1);
    let fetched = ada.workspace.fetch(&remote, &[], true, &NoProgress).await.unwrap();
    assert_eq!((fetched.refused_tags.len(), fetched.refused_tags[0].remote), (1, second));
}

#[tokio::test]
async fn only_what_is_laid_out_is_fetched_unless_all_is_asked_for() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("data/a", "the first");
    ada.commit_data("first").await;
    let old = ada.workspace.resolve(&name("data"), "v1").await.unwrap().version.root;
    ada.write("data/a", "the second");
    ada.commit("second").await;
    push(&ada, &remote).await.unwrap();
    let bob = clone_of(&ada, 1_800_000_000_000).await;
    bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(bob.workspace.log(&name("data")).await.unwrap().len(), 2);
    assert!(!bob.store.contains(&old).await.unwrap());
    assert_eq!(bob.checkout("v1").await.unwrap_err().code(), "versions.content_missing");
    bob.workspace.fetch(&remote, &[], true, &NoProgress).await.unwrap();
    bob.checkout("v1").await.unwrap();
    assert_eq!(bob.read("data/a").unwrap(), "the first");
    let roots = bob.workspace.roots().await.unwrap();
    assert_eq!(roots.len(), 4, "two versions and two trees");
    assert_eq!(crate::store_roots(&remote).await.unwrap(), roots);
}

#[tokio::test]
async fn pulling_into_files_that_are_there() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.write("data/b", "1");
    ada.commit_data("first").await;
    push(&ada, &remote).await.unwrap();
    let bob = clone_of(&ada, 1_800_000_000_000).await;
    bob.write("data/a", "1");
    bob.write("data/b", "other");
    let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    let error = &pulled.gone[0].error;
    assert_eq!((pulled.checked_out.len(), error.code()), (0, "versions.would_overwrite"));
    assert!(error.to_string().contains("1 file"), "{error}");
    files::remove_file(&bob.path("data/b")).unwrap();
    let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(pulled.checked_out[0].written, 1);
}

#[tokio::test]
async fn a_conflict_in_one_pointer_keeps_nobody_from_pulling_the_others() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    for dataset in ["data", "other"] {
        ada.write(&format!("{dataset}/a"), dataset);
        ada.add(dataset).await;
    }
    ada.commit("first").await;
    push(&ada, &remote).await.unwrap();
    let bob = Project::at(1_800_000_000_000).await;
    let ours = ada.read("data.dataset").unwrap();
    let theirs = ours.replace("files 1", "files 2");
    bob.write("data.dataset", &conflicted(&ours, &theirs));
    bob.write("other.dataset", &ada.read("other.dataset").unwrap());
    for to in [PullTo::Pointer, PullTo::Latest] {
        let options = PullOptions { to, ..PullOptions::default() };
        let pulled = bob.workspace.pull(&remote, &[], options, &NoProgress).await.unwrap();
        let names: Vec<_> = pulled.checked_out.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((names.as_slice(), pulled.gone.len()), (["other"].as_slice(), 1));
        assert_eq!((pulled.gone[0].path.as_str(), pulled.gone[0].error.code()), ("data", "versions.pointer_conflict"));
        assert_eq!((bob.read("other/a").as_deref(), bob.read("data/a")), (Some("other"), None));
    }
    // Its name is known by both sides of the conflict, so what is to be merged has come.
    assert_eq!(bob.workspace.log(&name("data")).await.unwrap().len(), 1);
    let named = [name("data")];
    let pulled = bob.workspace.pull(&remote, &named, PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!((pulled.checked_out.len(), pulled.gone.len()), (0, 1));
    let named = [name("other")];
    let pulled = bob.workspace.pull(&remote, &named, PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!((pulled.checked_out.len(), pulled.gone.len()), (1, 0), "what nobody asked for is not told");
}
