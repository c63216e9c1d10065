//! What is wrong with one dataset of a remote is in no other's way, and a pointer is held against what it names.

use ropewalk_store::{LinkMode, NoProgress, RefName, Root, Store, Transferred, files};
use ropewalk_types::{Diagnose as _, Digest};

use super::remotes::Count;
use super::{AUTHOR, Project, name};
use crate::{
    CheckoutRequest, Fetched, PullOptions, PullTo, Pulled, PushOptions, PushedHead, RemoteOpener, RestoreRequest,
    Trail, VersionsError,
};

/// Two datasets, committed and pushed, and then a new version of `data` that nobody pushed.
async fn ahead() -> (Project, Store) {
    let (ada, remote) = (Project::new().await, Store::open("memory:").await.unwrap());
    for dataset in ["data", "other"] {
        ada.write(&format!("{dataset}/a"), dataset);
        ada.add(dataset).await;
    }
    ada.commit("first").await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    ada.write("data/a", "later");
    ada.commit("second").await;
    (ada, remote)
}

/// What `git clone` brings.
async fn clone_of(ada: &Project) -> Project {
    clone_into(ada, Store::open("memory:").await.unwrap())
}

/// The same, with this store.
fn clone_into(ada: &Project, store: Store) -> Project {
    let bob = Project::with_store(1_800_000_000_000, store);
    for dataset in ["data", "other"] {
        let pointer = format!("{dataset}.dataset");
        bob.write(&pointer, &ada.read(&pointer).unwrap());
    }
    bob
}

async fn pull(bob: &Project, remote: &Store) -> Result<Pulled, VersionsError> {
    bob.workspace.pull(remote, &[], PullOptions::default(), &NoProgress).await
}

async fn fetch(bob: &Project, remote: &Store) -> Fetched {
    bob.workspace.fetch(remote, &[], false, &NoProgress).await.unwrap()
}

/// Only `other` came, and `data` is said to be what is wrong.
fn assert_apart(bob: &Project, pulled: &Pulled, code: &str) -> String {
    let names: Vec<_> = pulled.checked_out.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["other"], "{pulled:?}");
    assert_eq!((bob.read("other/a").as_deref(), bob.read("data/a")), (Some("other"), None));
    let [problem] = pulled.gone.as_slice() else { panic!("{:?}", pulled.gone) };
    assert_eq!((problem.path.as_str(), problem.error.code()), ("data", code), "{}", problem.error);
    problem.error.to_string()
}

async fn set_head(remote: &Store, text: String) {
    set_ref(remote, "datasets/data/head", text).await;
}

async fn set_ref(remote: &Store, reference: &str, text: String) {
    let reference = RefName::new(reference).unwrap();
    let generation = remote.ref_get(&reference).await.unwrap().map(|found| found.generation);
    remote.ref_set(&reference, generation, text.into()).await.unwrap();
}

/// A store in a folder.
async fn on_disk() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file:{}", folder.path().display())).await.unwrap();
    (folder, store)
}

#[tokio::test]
async fn what_was_never_pushed_of_one_dataset_stops_no_other() {
    let (ada, remote) = ahead().await;
    let bob = clone_of(&ada).await;
    let fetched = fetch(&bob, &remote).await;
    assert_eq!((fetched.failed.len(), fetched.failed[0].path.as_str(), fetched.missing.len()), (1, "data", 0));
    assert!(bob.store.contains(&Digest::of(b"other")).await.unwrap(), "the other one came");
    let pulled = pull(&bob, &remote).await.unwrap();
    let said = assert_apart(&bob, &pulled, "versions.content_missing");
    let version = ada.workspace.resolve(&name("data"), "latest").await.unwrap().digest;
    assert!(said.starts_with(&format!("dataset `data`, version {}: ", version.short())), "{said}");
    let hint = pulled.gone[0].error.hint().unwrap();
    assert!(hint.contains("ropewalk push data") && !hint.contains("fetch --all"), "{hint}");
    // What is known there of it is known here, and a checkout says the same.
    assert_eq!(bob.workspace.log(&name("data")).await.unwrap().len(), 1);
    let error = bob.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap_err();
    assert!(error.to_string().starts_with("dataset `data`, version "), "{error}");
    assert!(!error.hint().unwrap().starts_with("fetch"), "{:?}", error.hint());
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    let pulled = pull(&bob, &remote).await.unwrap();
    assert!(pulled.gone.is_empty() && bob.read("data/a").as_deref() == Some("later"), "{pulled:?}");
}

#[tokio::test]
async fn a_dataset_that_cannot_be_had_stays_as_it_was() {
    let (ada, remote) = ahead().await;
    let bob = Project::at(1_800_000_000_000).await;
    let named = [name("data"), name("other")];
    bob.workspace.pull(&remote, &named, PullOptions::default(), &NoProgress).await.unwrap();
    let before = bob.read("data.dataset").unwrap();
    assert_eq!(bob.read("data/a").as_deref(), Some("data"));
    files::remove_directory(&ada.path("data")).unwrap();
    ada.write("data", "a file now");
    ada.commit("third").await;
    bob.write("data.dataset", &ada.read("data.dataset").unwrap());
    let options = PullOptions { force: true, ..PullOptions::default() };
    let pulled = bob.workspace.pull(&remote, &[], options, &NoProgress).await.unwrap();
    assert_eq!((pulled.gone.len(), bob.read("data/a").as_deref()), (1, Some("data")));
    bob.write("data.dataset", &before);
    assert!(bob.status_of("data").await.is_clean());
}

#[tokio::test]
async fn a_ref_of_one_dataset_that_is_garbage_stops_no_other() {
    let (ada, remote) = ahead().await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    set_head(&remote, "\u{1}nothing".to_owned()).await;
    let bob = clone_of(&ada).await;
    let said = assert_apart(&bob, &pull(&bob, &remote).await.unwrap(), "store.malformed");
    assert!(said.starts_with("dataset `data`: ") && said.contains("datasets/data/head"), "{said}");
    let fetched = fetch(&bob, &remote).await;
    assert!(fetched.failed[0].error.hint().unwrap().contains("data verify --remote NAME --heal"));
    // One that names no version is no better, and is not taken over.
    set_head(&remote, Digest::of(b"nowhere").to_string()).await;
    let pulled = pull(&bob, &remote).await.unwrap();
    assert_eq!(pulled.gone.len(), 1, "{pulled:?}");
    assert!(pulled.gone[0].error.to_string().contains(&Digest::of(b"nowhere").to_string()), "{pulled:?}");
    assert_eq!(bob.workspace.log(&name("data")).await.unwrap().len(), 0);
    assert_eq!(bob.read("data/a").as_deref(), Some("later"), "what the pointer names is whole, and came");
}

#[tokio::test]
async fn the_latest_of_others_comes_where_one_has_none() {
    let (ada, remote) = ahead().await;
    let bob = clone_of(&ada).await;
    let fresh = ada.read("data.dataset").unwrap().replace("name data", "name fresh").replace("path data", "path fresh");
    bob.write("fresh.dataset", &fresh);
    let latest = PullOptions { to: PullTo::Latest, ..PullOptions::default() };
    let pulled = bob.workspace.pull(&remote, &[], latest, &NoProgress).await.unwrap();
    assert_eq!((bob.read("data/a").as_deref(), bob.read("other/a").as_deref()), (Some("data"), Some("other")));
    let [problem] = pulled.gone.as_slice() else { panic!("{:?}", pulled.gone) };
    assert_eq!((problem.path.as_str(), problem.error.code()), ("fresh", "versions.unknown_version"));
}

#[tokio::test]
async fn a_pointer_that_does_not_fit_its_version_is_laid_out_by_nobody() {
    let (ada, remote) = ahead().await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    let good = ada.read("data.dataset").unwrap();
    let first = ada.workspace.resolve(&name("data"), "v1").await.unwrap().digest;
    let second = ada.workspace.resolve(&name("data"), "v2").await.unwrap().digest;
    let [first, second] = [first, second].map(|one| format!("version {one}"));
    for (from, to, says) in [
        ("files 1", "files 99".to_owned(), "`files` is 99, expected 1 in version"),
        ("bytes 5", "bytes 7".to_owned(), "`bytes` is 7, expected 5 in version"),
        (second.as_str(), first, "`digest` is "),
    ] {
        let wrong = good.replace(from, &to);
        assert_ne!(wrong, good, "{from}");
        let bob = clone_of(&ada).await;
        bob.write("data.dataset", &wrong);
        let said = assert_apart(&bob, &pull(&bob, &remote).await.unwrap(), "versions.unfit");
        assert!(said.contains("data.dataset") && said.contains(says), "{said}");
        let error = bob.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap_err();
        assert_eq!(error.code(), "versions.unfit", "{error}");
        assert!(error.hint().unwrap().contains("git checkout -- data.dataset"));
        assert_eq!(bob.read("data.dataset").unwrap(), wrong, "it stays as it was");
        // A version that is named lays out what it has, and writes the pointer anew.
        bob.checkout("v2").await.unwrap();
        assert_eq!(
            (bob.read("data.dataset").unwrap(), bob.read("data/a").unwrap()),
            (good.clone(), "later".to_owned())
        );
    }
}

#[tokio::test]
async fn where_only_the_content_of_a_version_is_here_its_files_tell() {
    let (ada, remote) = ahead().await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    let version = ada.workspace.resolve(&name("data"), "v2").await.unwrap().digest;
    let bob = clone_of(&ada).await;
    pull(&bob, &remote).await.unwrap();
    // As after a revert that came by git alone.
    let good = ada.read("data.dataset").unwrap();
    let unknown = good.replace(&version.to_string(), &Digest::of(b"nowhere").to_string());
    assert_ne!(unknown, good);
    bob.write("data.dataset", &unknown);
    let unreachable: RemoteOpener = std::sync::Arc::new(|| Box::pin(async { Err(VersionsError::Interrupted) }));
    let of = || CheckoutRequest::of(name("data"));
    for workspace in [bob.workspace.clone(), bob.workspace.clone().with_remote(unreachable)] {
        workspace.checkout(of(), &NoProgress).await.unwrap();
        assert_eq!((bob.read("data.dataset"), bob.read("data/a").as_deref()), (Some(unknown.clone()), Some("later")));
        for (from, to) in [("files 1", "files 99"), ("bytes 5", "bytes 7")] {
            bob.write("data.dataset", &unknown.replace(from, to));
            let error = workspace.checkout(of(), &NoProgress).await.unwrap_err();
            assert!(
                error.code() == "versions.unfit" && error.to_string().contains(&format!("is {}", &to[6..])),
                "{error}"
            );
        }
        bob.write("data.dataset", &unknown);
    }
    // A remote that is asked says that there is no such version.
    let pulled = pull(&bob, &remote).await.unwrap();
    let [problem] = pulled.gone.as_slice() else { panic!("{:?}", pulled.gone) };
    assert_eq!(problem.error.code(), "versions.unfit");
}

#[tokio::test]
async fn a_status_says_what_does_not_fit_without_the_store() {
    let (ada, _remote) = ahead().await;
    let good = ada.read("data.dataset").unwrap();
    let workspace = ada.without_store();
    for (from, to) in [("files 1", "files 99"), ("bytes 5", "bytes 4")] {
        ada.write("data.dataset", &good.replace(from, to));
        let each = workspace.status_each(&[]).await.unwrap();
        let [Err(problem), Ok(other)] = each.as_slice() else { panic!("{each:?}") };
        assert_eq!((problem.error.code(), other.is_clean()), ("versions.unfit", true));
        assert!(problem.error.to_string().contains(&format!("is {}", &to[6..])), "{}", problem.error);
    }
    ada.write("data.dataset", &good);
    assert!(workspace.status(&[]).await.unwrap().iter().all(crate::Status::is_clean));
}

#[tokio::test]
async fn content_that_was_added_is_held_against_its_files() {
    let (ada, remote) = (Project::new().await, Store::open("memory:").await.unwrap());
    ada.write("data/a", "1");
    let added = ada.add("data").await;
    ada.store.copy_to(&remote, &[Root::Tree(added.pointer.digest)], &NoProgress).await.unwrap();
    let bob = Project::at(1_800_000_000_000).await;
    bob.write("data.dataset", &ada.read("data.dataset").unwrap().replace("files 1", "files 2"));
    let pulled = pull(&bob, &remote).await.unwrap();
    assert_eq!((pulled.gone[0].error.code(), bob.read("data/a")), ("versions.unfit", None));
}

/// Only `other` was pushed, and `data` is said to be what is wrong.
async fn assert_other_pushed(ada: &Project, remote: &Store, code: &str) {
    let pushed = ada.workspace.push(remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    let [problem] = pushed.failed.as_slice() else { panic!("{:?}", pushed.failed) };
    assert_eq!((problem.path.as_str(), problem.error.code()), ("data", code), "{}", problem.error);
    let [(other, PushedHead::Moved { version })] = pushed.heads.as_slice() else { panic!("{:?}", pushed.heads) };
    assert_eq!(other.as_str(), "other");
    let head = crate::history::refs(remote, other).await.unwrap().head.unwrap();
    assert_eq!(head.version, *version);
    let latest = ada.workspace.resolve(other, "latest").await.unwrap();
    assert_eq!(latest.digest, *version);
    assert!(remote.contains(&latest.version.root).await.unwrap());
}

#[tokio::test]
async fn a_head_that_leads_nowhere_keeps_no_other_dataset_from_being_pushed() {
    let (ada, remote) = ahead().await;
    set_head(&remote, format!("{}\n", Digest::of(b"nowhere"))).await;
    ada.write("other/a", "later");
    ada.commit("third").await;
    assert_other_pushed(&ada, &remote, "versions.lost_head").await;
}

#[tokio::test]
async fn what_is_damaged_here_of_one_dataset_keeps_no_other_from_being_pushed() {
    let (folder, store) = on_disk().await;
    let (ada, remote) = (Project::with_store(1_700_000_000_000, store), Store::open("memory:").await.unwrap());
    ada.write("data/a", "data");
    ada.add("data").await;
    let of_data = files::list(&folder.path().join("packs")).unwrap();
    assert!(!of_data.is_empty());
    ada.write("other/a", "other");
    ada.add("other").await;
    ada.commit("first").await;
    for pack in of_data {
        files::write_atomic(&pack.path, b"cut").unwrap();
    }
    assert_other_pushed(&ada, &remote, "store.damaged").await;
    assert!(crate::history::refs(&remote, &name("data")).await.unwrap().head.is_none(), "no ref of it was moved");
}

#[tokio::test]
async fn a_commit_ends_where_nothing_more_can_be_done_and_tells_what_it_made() {
    let ada = Project::new().await;
    for dataset in ["data", "other", "third"] {
        ada.write(&format!("{dataset}/a"), dataset);
        ada.add(dataset).await;
    }
    let before = ada.read("third.dataset");
    let trail: Trail = std::sync::Arc::new(|intent| {
        let refused = intent.name == name("other");
        Box::pin(async move { if refused { Err(VersionsError::Interrupted) } else { Ok(()) } })
    });
    let workspace = ada.workspace.clone().with_trail(trail);
    let committed = workspace.commit_each(&[], "first", AUTHOR).await.unwrap();
    let [Ok(made)] = committed.each.as_slice() else { panic!("{committed:?}") };
    assert_eq!(made.name.as_str(), "data");
    assert!(matches!(committed.stopped, Some(VersionsError::Interrupted)), "{committed:?}");
    assert_eq!(ada.read("third.dataset"), before);
}

#[tokio::test]
async fn what_concerns_all_stops_at_once() {
    let (ada, remote) = ahead().await;
    // Nothing can be written to the store of this clone.
    let (folder, store) = on_disk().await;
    let (bob, packs) = (clone_into(&ada, store), folder.path().join("packs"));
    files::remove_directory(&packs).unwrap();
    files::write_atomic(&packs, b"in the way").unwrap();
    let error = pull(&bob, &remote).await.unwrap_err();
    assert!(!error.concerns_one() && error.to_string().contains("packs"), "{error}");
    assert_eq!(bob.read("other/a"), None);
}

#[tokio::test]
async fn a_tag_of_a_version_that_is_lost_bars_nothing_but_itself() {
    let (ada, remote) = ahead().await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    let nowhere = format!("{}\n", Digest::of(b"nowhere"));
    set_ref(&remote, "datasets/data/tags/dead", nowhere.clone()).await;

    let bob = clone_of(&ada).await;
    let (patterns, version, mode) = (Vec::new(), None, LinkMode::Auto);
    let request = RestoreRequest { name: name("data"), patterns, version, mode, force: false };
    bob.with_remote(&remote).restore(request, &NoProgress).await.unwrap();
    assert_eq!(bob.read("data/a").as_deref(), Some("later"));

    let bob = clone_of(&ada).await;
    let of = |spec: &str| CheckoutRequest { version: Some(spec.to_owned()), ..CheckoutRequest::of(name("data")) };
    bob.with_remote(&remote).checkout(of("v1"), &NoProgress).await.unwrap();
    assert_eq!(bob.read("data/a").as_deref(), Some("data"));
    let error = bob.with_remote(&remote).checkout(of("dead"), &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.lost", "what was asked for is what is lost: {error}");
    let error = bob.with_remote(&remote).checkout(of("dread"), &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.unknown_version", "{error}");

    let latest = || PullOptions { to: PullTo::Latest, ..PullOptions::default() };
    let fresh = Project::at(1_800_000_000_000).await;
    for (bob, names) in [(clone_of(&ada).await, Vec::new()), (fresh, vec![name("data")])] {
        let pulled = bob.workspace.pull(&remote, &names, latest(), &NoProgress).await.unwrap();
        assert_eq!(bob.read("data/a").as_deref(), Some("later"));
        let [problem] = pulled.gone.as_slice() else { panic!("{:?}", pulled.gone) };
        assert_eq!((problem.path.as_str(), problem.error.code()), ("data", "versions.lost"), "it is told");
    }
    // Of a head that is lost, nobody can have the latest version.
    set_head(&remote, nowhere).await;
    let bob = clone_of(&ada).await;
    let pulled = bob.workspace.pull(&remote, &[], latest(), &NoProgress).await.unwrap();
    assert_apart(&bob, &pulled, "versions.lost");
}

#[tokio::test]
async fn what_moves_beside_something_damaged_is_counted_once() {
    let ((folder, remote), ada) = (on_disk().await, Project::new().await);
    let datasets = ["data", "a", "b", "c", "d", "e", "f"];
    let packs = || files::list(&folder.path().join("packs")).unwrap();
    let mut first = Vec::new();
    for dataset in datasets {
        // Each in a pack of its own.
        ada.write(dataset, &format!("the file {dataset}"));
        ada.add(dataset).await;
        ada.workspace.push(&remote, &[name(dataset)], PushOptions::default(), &NoProgress).await.unwrap();
        if dataset == "data" {
            first = packs();
        }
    }
    ada.commit("first").await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    for pack in &first {
        files::write_atomic(&pack.path, b"cut").unwrap();
    }
    let (bob, count) = (Project::at(1_800_000_000_000).await, Count::default());
    let names = datasets.map(name);
    let fetched = bob.workspace.fetch(&remote, &names, false, &count).await.unwrap();
    let [problem] = fetched.failed.as_slice() else { panic!("{:?}", fetched.failed) };
    assert_eq!((problem.path.as_str(), problem.error.code()), ("data", "store.damaged"));
    // Seven versions and six files.
    let Transferred { pieces, bytes, present } = fetched.transferred;
    assert_eq!((pieces, bytes, present), (13, count.told()[1], 0));
    for dataset in &datasets[1..] {
        let file = format!("the file {dataset}");
        assert!(bob.store.contains(&Digest::of(file.as_bytes())).await.unwrap(), "{dataset}");
    }
    let again = bob.workspace.fetch(&remote, &names, false, &NoProgress).await.unwrap();
    assert_eq!((again.failed.len(), again.transferred.pieces), (1, 0));
}
