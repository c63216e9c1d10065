//! Stores whose refs or version objects are damaged: what they need is told, and refs are set again.

use ropewalk_store::{NoProgress, RefName, Root, Store};
use ropewalk_types::{Diagnose as _, Digest, TagName, Timestamp};

use super::{Project, name};
use crate::{Examined, NeededVersion, PushOptions, store_examine};

const NOW: Timestamp = Timestamp(1_900_000_000_000);

/// Two versions, the first with a tag; and a remote to which both were pushed.
pub(super) async fn pushed() -> (Project, Store, [Digest; 2]) {
    let (ada, remote) = (Project::new().await, Store::open("memory:").await.unwrap());
    ada.write("data/a", "1");
    let first = ada.commit_data("first").await;
    ada.workspace.tag(&name("data"), "v1", &TagName::new("t").unwrap(), false).await.unwrap();
    ada.write("data/b", "2");
    let second = ada.commit_data("second").await;
    push(&ada, &remote).await;
    (ada, remote, [first, second])
}

pub(super) async fn push(ada: &Project, remote: &Store) -> crate::Pushed {
    ada.workspace.push(remote, &[], PushOptions::default(), &NoProgress).await.unwrap()
}

/// Writes what no ref holds as its next generation.
pub(super) async fn spoil(store: &Store, reference: &str) {
    let reference = RefName::new(reference).unwrap();
    let generation = store.ref_get(&reference).await.unwrap().map(|found| found.generation);
    store.ref_set(&reference, generation, "\u{1}nothing".into()).await.unwrap();
}

/// Lets a ref name a version.
pub(super) async fn point(store: &Store, reference: &str, version: &Digest) {
    let reference = RefName::new(reference).unwrap();
    let generation = store.ref_get(&reference).await.unwrap().map(|found| found.generation);
    store.ref_set(&reference, generation, format!("{version}\n").into()).await.unwrap();
}

pub(super) async fn examine(store: &Store, others: &[&Store], pointed: &[Digest]) -> Examined {
    let pointed: Vec<_> = pointed.iter().map(|version| (name("data"), *version)).collect();
    store_examine(store, others, &pointed, NOW).await.unwrap()
}

/// The versions with their numbers, and whether their content is known.
pub(super) fn told(versions: &[NeededVersion]) -> Vec<(Digest, Option<u64>, bool)> {
    let mut told: Vec<_> = versions.iter().map(|one| (one.digest, one.number, one.content.is_some())).collect();
    told.sort_by_key(|(_, number, _)| *number);
    told
}

#[tokio::test]
async fn a_damaged_head_is_told_and_set_to_the_furthest_version_that_is_known() {
    let (ada, remote, [first, second]) = pushed().await;
    spoil(&ada.store, "datasets/data/head").await;
    let error = ada.workspace.log(&name("data")).await.unwrap_err();
    assert_eq!(error.code(), "store.malformed");
    assert!(error.hint().unwrap().contains("data verify"), "{error}");
    // From its generation before, from the remote, or from a pointer, whichever is furthest.
    let fresh = Store::open("memory:").await.unwrap();
    for (others, pointed) in [(vec![], vec![]), (vec![&remote], vec![first]), (vec![&fresh], vec![second, first])] {
        let mut found = examine(&ada.store, &others, &pointed).await;
        assert_eq!(told(&found.versions), [(first, Some(1), true), (second, Some(2), true)]);
        let [head] = found.refs.as_mut_slice() else { panic!("{:?}", found.refs) };
        assert_eq!((head.name.as_str(), head.is_known(), head.healed), ("datasets/data/head", true, false));
    }
    let mut found = examine(&ada.store, &[&remote], &[]).await;
    found.refs[0].repair(&ada.store).await.unwrap();
    assert!(found.refs[0].healed);
    let log = ada.workspace.log(&name("data")).await.unwrap();
    assert_eq!((log.len(), log[0].digest, log[0].head), (2, second, true));
    assert!(examine(&ada.store, &[], &[]).await.refs.is_empty());
}

#[tokio::test]
async fn a_head_that_was_never_anything_else_comes_from_where_its_version_is() {
    let (ada, remote, [_, second]) = pushed().await;
    let bob = Store::open("memory:").await.unwrap();
    spoil(&bob, "datasets/data/head").await;
    let found = examine(&bob, &[], &[]).await;
    assert!(found.versions.is_empty() && !found.refs[0].is_known(), "{found:?}");
    let mut found = examine(&bob, &[&remote], &[]).await;
    assert_eq!(found.versions.len(), 2);
    found.refs[0].repair(&bob).await.unwrap();
    assert!(!found.refs[0].healed, "what a ref names is there before the ref is");
    ada.store.copy_to(&bob, &[Root::Blob(second)], &NoProgress).await.unwrap();
    found.refs[0].repair(&bob).await.unwrap();
    assert!(found.refs[0].healed);
}

#[tokio::test]
async fn every_kind_of_ref_is_set_again() {
    let (ada, remote, [first, _]) = pushed().await;
    let (data, other) = (name("data"), TagName::new("u").unwrap());
    ada.write("data/c", "3");
    ada.commit("third").await;
    ada.workspace.remove_version(&data, "v2", "ada", "asked to").await.unwrap();
    ada.workspace.tag(&data, "v1", &other, false).await.unwrap();
    ada.workspace.tag_remove(&data, &other).await.unwrap();
    push(&ada, &remote).await;
    let tip = format!("datasets/data/tips/{first}");
    ada.store.ref_set(&RefName::new(tip.as_str()).unwrap(), None, format!("{first}\n").into()).await.unwrap();
    let before = crate::history::refs(&ada.store, &data).await.unwrap();
    let names = ada.store.ref_list("datasets/data/").await.unwrap();
    assert_eq!(names.len(), 5, "a head, a tag, a tip, a tombstone, a count of deletions: {names:?}");
    for name in &names {
        spoil(&ada.store, name.as_str()).await;
    }
    let mut found = examine(&ada.store, &[&remote], &[]).await;
    assert_eq!(found.refs.iter().map(|one| one.name.clone()).collect::<Vec<_>>(), names);
    assert_eq!(found.versions.len(), 3);
    assert!(found.versions.iter().any(|one| one.number == Some(2) && one.content.is_none()), "it was removed");
    for one in &mut found.refs {
        one.repair(&ada.store).await.unwrap();
        assert!(one.healed, "{one:?}");
    }
    let after = crate::history::refs(&ada.store, &data).await.unwrap();
    assert_eq!((after.head.unwrap().version, &after.tags), (before.head.unwrap().version, &before.tags));
    assert_eq!((after.tips, after.removed), (before.tips, before.removed));
    // What is damaged came after the count that can be read, and was more.
    assert_eq!((before.untagged[&other], after.untagged[&other]), (1, 2));
}

#[tokio::test]
async fn a_lost_count_of_deletions_is_never_less_than_it_was() {
    let (ada, _, [first, _]) = pushed().await;
    let (data, tag) = (name("data"), TagName::new("t").unwrap());
    // A deletion of which the tag itself was not yet removed, on a machine that is the only one to know of it.
    let untagged = "datasets/data/untagged/t";
    spoil(&ada.store, untagged).await;
    let mut found = examine(&ada.store, &[], &[]).await;
    assert!(found.refs[0].is_known() && found.refs[0].name.as_str() == untagged, "{:?}", found.refs);
    found.refs[0].repair(&ada.store).await.unwrap();
    let after = crate::history::refs(&ada.store, &data).await.unwrap();
    assert_eq!((after.untagged[&tag], after.tags.len()), (1, 0), "it was deleted");
    // A tag that was set since says how often it had been deleted.
    let late = RefName::new("datasets/data/tags/t").unwrap();
    let generation = ada.store.ref_get(&late).await.unwrap().map(|found| found.generation);
    ada.store.ref_set(&late, generation, format!("{first} 4\n").into()).await.unwrap();
    spoil(&ada.store, untagged).await;
    let mut found = examine(&ada.store, &[], &[]).await;
    found.refs[0].repair(&ada.store).await.unwrap();
    let after = crate::history::refs(&ada.store, &data).await.unwrap();
    assert_eq!((after.untagged[&tag], after.tags[&tag].version), (4, first));
}

#[tokio::test]
async fn versions_behind_one_that_is_lost_are_needed_too() {
    let (ada, _, [first, second]) = pushed().await;
    let bare = Store::open("memory:").await.unwrap();
    let head = RefName::new("datasets/data/head").unwrap();
    bare.ref_set(&head, None, format!("{second}\n").into()).await.unwrap();
    assert_eq!(told(&examine(&bare, &[], &[]).await.versions), [(second, None, false)]);
    let found = examine(&bare, &[&ada.store], &[]).await;
    assert_eq!(told(&found.versions), [(first, Some(1), true), (second, Some(2), true)]);
    assert!(found.versions.iter().all(|one| one.named == (one.digest == second)));
}

#[tokio::test]
async fn a_push_sends_again_what_the_remote_no_longer_shows() {
    let (ada, _, [_, second]) = pushed().await;
    let bare = Store::open("memory:").await.unwrap();
    let head = RefName::new("datasets/data/head").unwrap();
    bare.ref_set(&head, None, format!("{second}\n").into()).await.unwrap();
    let sent = push(&ada, &bare).await.transferred.pieces;
    assert!(sent > 0);
    let content = ada.workspace.recorded(&name("data"), "v2").await.unwrap().version.root;
    assert!(bare.contains(&second).await.unwrap() && bare.contains(&content).await.unwrap());
    assert_eq!(push(&ada, &bare).await.transferred.pieces, 0);
}

#[tokio::test]
async fn a_remote_whose_head_leads_nowhere_is_not_collected() {
    let (_ada, remote, [_, second]) = pushed().await;
    assert!(!crate::store_roots(&remote).await.unwrap().is_empty());
    let head = RefName::new("datasets/data/head").unwrap();
    let found = remote.ref_get(&head).await.unwrap().unwrap();
    let nowhere = Digest::of(b"nowhere");
    let text = String::from_utf8(found.bytes.to_vec()).unwrap().replace(&second.to_string(), &nowhere.to_string());
    remote.ref_set(&head, Some(found.generation), text.into()).await.unwrap();
    let error = crate::store_roots(&remote).await.unwrap_err();
    assert!(error.to_string().contains(&nowhere.to_string()) && error.to_string().contains("`data`"), "{error}");
    assert!(error.hint().unwrap().contains("data verify"), "{error}");
}

#[tokio::test]
async fn a_fetch_takes_over_no_ref_whose_version_the_remote_has_lost() {
    let (_ada, remote, [first, _]) = pushed().await;
    let nowhere = Digest::of(b"nowhere");
    point(&remote, "datasets/data/head", &nowhere).await;
    let bob = Project::new().await;
    let fetched = bob.workspace.fetch(&remote, &[name("data")], false, &NoProgress).await.unwrap();
    let [problem] = fetched.failed.as_slice() else { panic!("{:?}", fetched.failed) };
    let crate::VersionsError::LostVersion(lost) = &*problem.error else { panic!("{problem:?}") };
    assert_eq!((&lost.name, lost.version, fetched.tags), (&name("data"), nowhere, 1));
    let refs = crate::history::refs(&bob.store, &name("data")).await.unwrap();
    assert!(refs.head.is_none() && refs.named().eq([first]), "{refs:?}");
}

#[tokio::test]
async fn a_head_of_which_nothing_is_left_is_missed_by_the_pointer() {
    let (ada, remote, [first, second]) = pushed().await;
    // A store that has all but the refs.
    let bare = Store::open("memory:").await.unwrap();
    ada.store.copy_to(&bare, &[Root::Blob(first), Root::Blob(second)], &NoProgress).await.unwrap();
    for (others, pointed) in [(vec![], second), (vec![&remote], first)] {
        let found = examine(&bare, &others, &[pointed]).await;
        let [head] = found.refs.as_slice() else { panic!("{:?}", found.refs) };
        assert_eq!((head.name.as_str(), head.is_known()), ("datasets/data/head", true));
        assert_eq!(found.versions.len(), 2);
    }
    assert!(examine(&bare, &[], &[]).await.refs.is_empty(), "nothing says that there was one");
    let fresh = Store::open("memory:").await.unwrap();
    assert!(examine(&fresh, &[&remote], &[second]).await.refs.is_empty(), "it was never fetched");
    let mut found = examine(&bare, &[], &[second]).await;
    found.refs[0].repair(&bare).await.unwrap();
    assert!(found.refs[0].healed);
    assert_eq!(crate::history::refs(&bare, &name("data")).await.unwrap().head.unwrap().version, second);
    assert!(examine(&bare, &[], &[second]).await.refs.is_empty());
    // One that was forgotten is not missed.
    crate::history::forget(&bare, &name("data")).await.unwrap();
    assert!(examine(&bare, &[], &[second]).await.refs.is_empty());
}
