//! What comes from another store is told before it is to be seen.

use std::sync::{Arc, Mutex};

use ropewalk_store::{NoProgress, Store, StoreError};
use ropewalk_types::{Digest, TagName};

use super::{Project, name};
use crate::{Act, Intent, PushOptions, Trail, VersionsError, Workspace};

/// What a trail heard, each with the names of the refs that were there by then.
type Heard = Arc<Mutex<Vec<(Intent, Vec<String>)>>>;

fn watched(project: &Project, heard: &Heard) -> Workspace {
    let (store, heard) = (project.store.clone(), Arc::clone(heard));
    let trail: Trail = Arc::new(move |intent: Intent| {
        let (store, heard) = (store.clone(), Arc::clone(&heard));
        Box::pin(async move {
            let refs = store.ref_list("datasets/data/").await?.into_iter().map(|name| name.to_string()).collect();
            heard.lock().unwrap().push((intent, refs));
            Ok(())
        })
    });
    project.workspace.clone().with_trail(trail)
}

async fn push(project: &Project, remote: &Store) {
    project.workspace.push(remote, &[name("data")], PushOptions::default(), &NoProgress).await.unwrap();
}

/// Somebody with two versions of `data`, and somebody else who has their pointer and nothing more.
async fn two(remote: &Store) -> (Project, Project, Digest) {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    let first = ada.commit_data("first").await;
    ada.write("data/a", "2");
    ada.commit_data("second").await;
    push(&ada, remote).await;
    let bob = Project::at(1_800_000_000_000).await;
    bob.write("data.dataset", &ada.read("data.dataset").unwrap());
    (ada, bob, first)
}

#[tokio::test]
async fn tags_deletions_and_removals_are_told_before_they_are_here() {
    let remote = Store::open("memory:").await.unwrap();
    let (ada, bob, first) = two(&remote).await;
    let (data, tag) = (name("data"), TagName::new("t").unwrap());
    let heard = Heard::default();
    let workspace = watched(&bob, &heard);
    let fetch = async || {
        workspace.fetch(&remote, &[name("data")], false, &NoProgress).await.unwrap();
        heard.lock().unwrap().drain(..).collect::<Vec<_>>()
    };
    let adopted = |act, by: Option<&str>| {
        let (by, place) = (by.map(str::to_owned), remote.place().to_owned());
        Intent { name: name("data"), version: Some(first), act: Act::Adopt { act: Box::new(act), by, place } }
    };
    assert!(fetch().await.is_empty());
    let (set, deleted) = ("datasets/data/tags/t".to_owned(), "datasets/data/untagged/t".to_owned());
    let removed = format!("datasets/data/removed/{first}");

    ada.workspace.tag(&data, "v1", &tag, false).await.unwrap();
    push(&ada, &remote).await;
    let told = fetch().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, adopted(Act::Tag { tag: "t".to_owned() }, None));
    assert!(!told[0].1.contains(&set), "{told:?}");
    assert!(fetch().await.is_empty(), "nothing is new");

    ada.workspace.tag_remove(&data, &tag).await.unwrap();
    push(&ada, &remote).await;
    let told = fetch().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, adopted(Act::Untag { tag: "t".to_owned() }, None));
    assert!(told[0].1.contains(&set) && !told[0].1.contains(&deleted), "{told:?}");
    assert!(workspace.tags(&data).await.unwrap().is_empty());

    ada.workspace.remove_version(&data, "v1", "ada", "asked to").await.unwrap();
    push(&ada, &remote).await;
    let told = fetch().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, adopted(Act::Remove { why: "asked to".to_owned() }, Some("ada")));
    assert!(!told[0].1.contains(&removed), "{told:?}");
    assert!(bob.store.ref_list("datasets/data/removed/").await.unwrap().iter().any(|one| one.as_str() == removed));
}

#[tokio::test]
async fn what_cannot_be_told_does_not_come() {
    let remote = Store::open("memory:").await.unwrap();
    let (ada, bob, _) = two(&remote).await;
    let (data, tag) = (name("data"), TagName::new("t").unwrap());
    bob.workspace.fetch(&remote, &[name("data")], false, &NoProgress).await.unwrap();
    let trail: Trail = Arc::new(|_| Box::pin(async { Err(VersionsError::Trail(Box::new(StoreError::Interrupted))) }));
    let deaf = bob.workspace.clone().with_trail(trail);
    let fetch = async || deaf.fetch(&remote, &[name("data")], false, &NoProgress).await.unwrap_err().to_string();

    ada.workspace.tag(&data, "v1", &tag, false).await.unwrap();
    push(&ada, &remote).await;
    assert!(fetch().await.ends_with("nothing was done"));
    assert!(bob.workspace.tags(&data).await.unwrap().is_empty());

    bob.workspace.fetch(&remote, &[name("data")], false, &NoProgress).await.unwrap();
    ada.workspace.tag_remove(&data, &tag).await.unwrap();
    push(&ada, &remote).await;
    fetch().await;
    assert_eq!(bob.workspace.tags(&data).await.unwrap().len(), 1, "a deletion that was not told did not begin");

    bob.workspace.fetch(&remote, &[name("data")], false, &NoProgress).await.unwrap();
    ada.workspace.remove_version(&data, "v1", "ada", "asked to").await.unwrap();
    push(&ada, &remote).await;
    fetch().await;
    let log = bob.workspace.log(&data).await.unwrap();
    assert!(log.iter().all(|entry| entry.removed.is_none()), "{log:?}");
}
