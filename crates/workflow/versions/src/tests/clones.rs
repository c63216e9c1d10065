//! What `git clone` brings is the pointers: everything else is the remote's.

use ropewalk_store::{NoProgress, Root, Store};
use ropewalk_types::{Diagnose as _, TagName};

use super::{AUTHOR, Project, name};
use crate::{
    AddRequest, CheckoutRequest, PullOptions, PushOptions, RemoteOpener, RestoreRequest, Selection, VersionsError,
    Workspace,
};

const FILES: usize = 40;
const SIZE: usize = 50_000;

/// Bytes that no compression makes smaller, so that what travels can be told.
fn noise(seed: usize) -> String {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut bytes = vec![0; SIZE];
    reader.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(b' ' + byte % 95)).collect()
}

/// A remote with two versions of many files.
async fn pushed() -> (Project, Store) {
    let (remote, ada) = (Store::open("memory:").await.unwrap(), Project::new().await);
    for number in 0..FILES {
        ada.write(&format!("data/{}/{number}", number % 4), &noise(number));
    }
    ada.commit_data("first").await;
    ada.workspace.tag(&name("data"), "v1", &TagName::new("train").unwrap(), false).await.unwrap();
    ada.write("data/1/1", "changed");
    ada.commit("second").await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    (ada, remote)
}

/// A clone that knows of the remote, and its datasets there.
pub(super) async fn clone_of(project: &Project, remote: &Store) -> (Project, Workspace) {
    let clone = Project::at(1_800_000_000_000).await;
    clone.write("data.dataset", &project.read("data.dataset").unwrap());
    let workspace = clone.with_remote(remote);
    (clone, workspace)
}

/// Bytes that the store of a project holds.
async fn stored(project: &Project, workspace: &Workspace) -> u64 {
    let files = workspace.list(&name("data"), "latest", &[]).await.unwrap();
    let mut roots = Vec::new();
    for file in files {
        if project.store.contains(&file.digest).await.unwrap() {
            roots.push(Root::Blob(file.digest));
        }
    }
    project.store.usage(&[roots]).await.unwrap()[0].stored
}

#[tokio::test]
async fn one_file_is_read_from_the_remote_and_nothing_is_brought() {
    let (ada, remote) = pushed().await;
    let (bob, workspace) = clone_of(&ada, &remote).await;
    let data = name("data");
    let first = workspace.clone();
    let digest = ada.workspace.resolve(&data, "v2").await.unwrap().digest.to_string();
    for (spec, text) in [
        (None, "changed".to_owned()),
        (Some("latest"), "changed".to_owned()),
        (Some("v1"), noise(1)),
        (Some("train"), noise(1)),
        (Some(digest.as_str()), "changed".to_owned()),
    ] {
        let (file, store) = first.file(&data, spec, "1/1").await.unwrap();
        assert_eq!(store.get_bytes(&file.digest).await.unwrap(), text.as_bytes(), "{spec:?}");
        assert!(!bob.store.contains(&file.digest).await.unwrap());
    }
    assert!(bob.store.ref_list("").await.unwrap().is_empty(), "not even a ref is noted");
    let unknown = first.file(&data, Some("v9"), "1/1").await.unwrap_err();
    assert_eq!(unknown.code(), "versions.unknown_version");
    let unknown = first.file(&data, None, "1/9999").await.unwrap_err();
    assert!(unknown.hint().unwrap().contains("`0/`, `1/`"), "{:?}", unknown.hint());
    let alone = bob.workspace.file(&data, None, "1/1").await.unwrap_err();
    assert_eq!(alone.code(), "store.not_found", "without a remote: {alone}");
}

#[tokio::test]
async fn a_part_brings_that_part() {
    let (ada, remote) = pushed().await;
    let (bob, workspace) = clone_of(&ada, &remote).await;
    let data = name("data");
    let only = |version: Option<&str>, patterns: &[&str]| CheckoutRequest {
        version: version.map(str::to_owned),
        selection: Selection::Only(patterns.iter().map(|&pattern| pattern.to_owned()).collect()),
        ..CheckoutRequest::of(data.clone())
    };
    let made = workspace.checkout(only(None, &["2/2", "3/7"]), &NoProgress).await.unwrap();
    assert_eq!((made.written, made.left_out), (2, (FILES - 2) as u64));
    assert_eq!(bob.read("data/2/2").unwrap(), noise(2));
    let here = stored(&bob, &workspace).await;
    assert!((2 * SIZE as u64 / 2..3 * SIZE as u64).contains(&here), "{here} bytes");
    let root = ada.workspace.resolve(&data, "v2").await.unwrap().version.root;
    assert!(!bob.store.contains(&root).await.unwrap(), "a tree that is visible is whole");
    // The history is there, and what is laid out is known.
    assert_eq!(bob.workspace.log(&data).await.unwrap().len(), 2);
    assert!(bob.status().await.is_clean());
    let roots = bob.workspace.roots().await.unwrap();
    assert!(
        roots.iter().all(|root| matches!(root, Root::Blob(_))),
        "versions, and nothing that is not whole: {roots:?}"
    );
    assert_eq!(roots.len(), 4, "two versions and two files");
    assert!(bob.store.missing(&bob.workspace.laid_out().await.unwrap()).await.unwrap().is_empty());

    // A new version needs what was left out.
    bob.write("data/2/2", "Bob's");
    let request = AddRequest { path: "data".into(), name: None, ..AddRequest::default() };
    let error = bob.workspace.add(request.clone()).await.unwrap_err();
    assert_eq!(error.code(), "versions.laid_out_in_part");
    let restore = RestoreRequest {
        name: data.clone(),
        patterns: vec!["2/2".to_owned()],
        version: None,
        mode: ropewalk_store::LinkMode::Auto,
        force: false,
    };
    workspace.restore(restore, &NoProgress).await.unwrap();
    assert_eq!(bob.read("data/2/2").unwrap(), noise(2));
    bob.write("data/2/2", "Bob's");
    bob.workspace.fetch(&remote, &[], false, &NoProgress).await.unwrap();
    bob.workspace.add(request).await.unwrap();
    bob.commit("Bob's").await;
    assert_eq!(bob.workspace.log(&data).await.unwrap()[0].number, Some(3));
    assert_eq!(bob.workspace.list(&data, "latest", &[]).await.unwrap().len(), FILES);
    bob.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
}

#[tokio::test]
async fn the_whole_comes_without_a_pull_too() {
    let (ada, remote) = pushed().await;
    let (bob, workspace) = clone_of(&ada, &remote).await;
    let all = |version: Option<&str>| CheckoutRequest {
        version: version.map(str::to_owned),
        selection: Selection::Everything,
        ..CheckoutRequest::of(name("data"))
    };
    let made = workspace.checkout(all(Some("train")), &NoProgress).await.unwrap();
    assert_eq!(made.written, FILES as u64);
    assert_eq!(bob.read("data/1/1").unwrap(), noise(1));
    // Now that it is whole here, it needs no remote.
    bob.workspace.checkout(all(Some("v1")), &NoProgress).await.unwrap();
    let error = bob.workspace.checkout(all(Some("v2")), &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.content_missing");
    let diff = workspace
        .diff(&name("data"), &crate::Side::Version("v1".into()), &crate::Side::Version("v2".into()))
        .await
        .unwrap();
    assert_eq!(diff.changed.len(), 1);
}

#[tokio::test]
async fn a_part_of_another_version_and_then_all() {
    let (ada, remote) = pushed().await;
    let (bob, workspace) = clone_of(&ada, &remote).await;
    let selection = Selection::Only(vec!["1".to_owned()]);
    let request = CheckoutRequest { version: Some("v1".to_owned()), selection, ..CheckoutRequest::of(name("data")) };
    assert_eq!(workspace.checkout(request, &NoProgress).await.unwrap().written, (FILES / 4) as u64);
    let options = PullOptions { selection: Selection::Everything, ..PullOptions::default() };
    bob.workspace.pull(&remote, &[], options, &NoProgress).await.unwrap();
    assert_eq!(bob.read("data/1/1").unwrap(), noise(1), "the pointer names v1 now");
    assert_eq!(bob.read("data/3/3").unwrap(), noise(3));
    assert!(bob.status().await.is_clean());
}

#[tokio::test]
async fn a_remote_that_is_not_there_is_named() {
    let (ada, remote) = pushed().await;
    let (bob, _) = clone_of(&ada, &remote).await;
    let opener: RemoteOpener = std::sync::Arc::new(|| {
        Box::pin(async {
            Err(VersionsError::RemoteMissing { name: "origin".to_owned(), url: "file:/nowhere".to_owned() })
        })
    });
    let workspace = bob.workspace.clone().with_remote(opener);
    let error = workspace.file(&name("data"), None, "1/1").await.unwrap_err();
    assert!(error.to_string().contains("file:/nowhere"), "{error}");
    assert!(error.hint().unwrap().contains("ropewalk push"), "{:?}", error.hint());
    assert!(workspace.status(&[]).await.is_ok(), "a status asks no remote");
}

#[tokio::test]
async fn what_was_never_laid_out_is_not_committed_away() {
    let (ada, remote) = pushed().await;
    let (bob, workspace) = clone_of(&ada, &remote).await;
    bob.write("data/new", "Bob's");
    let error = workspace.commit(&[], "one file", AUTHOR).await.unwrap_err();
    assert_eq!(error.code(), "versions.not_laid_out");
    assert!(error.hint().unwrap().contains("`ropewalk pull`"), "{:?}", error.hint());
    // The same with the content in the store and not in the work tree.
    bob.workspace.fetch(&remote, &[], false, &NoProgress).await.unwrap();
    assert_eq!(bob.try_add("data").await.unwrap_err().code(), "versions.not_laid_out");
    bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    bob.commit("one more").await;
    let files = bob.workspace.list(&name("data"), "latest", &[]).await.unwrap();
    assert_eq!(files.len(), FILES + 1);

    // All is here, and only what Ropewalk knew of it was lost.
    bob.delete(".ropewalk/work/data.index");
    bob.write("data/newer", "Bob's");
    bob.commit("two more").await;
    assert_eq!(bob.workspace.list(&name("data"), "latest", &[]).await.unwrap().len(), FILES + 2);
    bob.delete(".ropewalk/work/data.index");
    bob.delete("data/newer");
    assert_eq!(bob.try_add("data").await.unwrap_err().code(), "versions.not_laid_out");
    let request = AddRequest { path: "data".into(), force: true, ..AddRequest::default() };
    assert_eq!(bob.workspace.add(request).await.unwrap().pointer.files, (FILES + 1) as u64);
}

#[tokio::test]
async fn whole_data_of_which_nothing_else_is_left_is_taken_in_again() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.write("data/b", "22");
    ada.commit_data("first").await;
    // As after `rm -r .ropewalk`, without a remote.
    let again = Project::at(1_800_000_000_000).await;
    again.write("data.dataset", &ada.read("data.dataset").unwrap());
    again.write("data/a", "1");
    assert_eq!(again.try_add("data").await.unwrap_err().code(), "versions.not_laid_out");
    again.write("data/b", "22");
    assert!(!again.try_add("data").await.unwrap().changed);
}
