//! Refs that name what nobody has, let go.

use std::collections::BTreeSet;
use std::sync::Arc;

use ropewalk_store::{NoProgress, RefName, Root, Store};
use ropewalk_types::{Diagnose as _, Digest, TagName};

use super::damaged::{examine, point, pushed, spoil, told};
use super::{Project, name};
use crate::history::refs;
use crate::index::{Index, IndexHead};
use crate::pointer::PointerState;
use crate::{Act, CommitOutcome, GiveUp, LetGo, PullOptions, PushOptions, Trail, VersionsError};

fn tag(text: &str) -> TagName {
    TagName::new(text).unwrap()
}

/// Lets go of what neither `store` nor `others` have; what became of what named it.
async fn give_up(ada: &Project, store: &Store, others: &[&Store]) -> Vec<LetGo> {
    let job = GiveUp { store, others, own: others.is_empty() };
    let released = ada.workspace.give_up(job).await.unwrap();
    assert!(released.failed.is_empty(), "{:?}", released.failed);
    released.given_up.into_iter().map(|one| one.what).collect()
}

/// Notes this version as the one of which the data was laid out.
fn laid_out_as(ada: &Project, version: Digest) {
    let path = ada.workspace.index_path(&name("data"));
    let index = Index::load(&path).unwrap().unwrap();
    let head = IndexHead { state: PointerState::Committed { version }, ..index.head.clone() };
    index.with_head(head).save(&path).unwrap();
}

#[tokio::test]
async fn refs_to_what_nobody_has_are_let_go() {
    let (ada, remote, [first, second]) = pushed().await;
    let nowhere = Digest::of(b"nowhere");
    assert_eq!(give_up(&ada, &ada.store, &[]).await, [], "all is there");
    point(&ada.store, "datasets/data/head", &nowhere).await;
    point(&ada.store, "datasets/data/tags/lost", &nowhere).await;
    point(&ada.store, &format!("datasets/data/tips/{nowhere}"), &nowhere).await;
    spoil(&ada.store, "datasets/data/tags/spoilt").await;
    let let_go = give_up(&ada, &ada.store, &[]).await;
    let tags = [LetGo::Tag(tag("lost")), LetGo::Tag(tag("spoilt"))];
    assert_eq!(let_go, [&tags[..], &[LetGo::Head(Some(second)), LetGo::Tip]].concat());
    let left = refs(&ada.store, &name("data")).await.unwrap();
    assert_eq!((left.head.map(|head| head.version), left.tags.len(), left.tips.len()), (Some(second), 1, 0));
    assert!(left.untagged.is_empty(), "who has it keeps the tag");
    // What another store has is not lost, however far this one is behind.
    let bare = Store::open("memory:").await.unwrap();
    point(&bare, "datasets/data/head", &second).await;
    assert_eq!(give_up(&ada, &bare, &[&remote]).await, []);
    assert_eq!(examine(&bare, &[], &[]).await.versions.len(), 1);
    // What lies behind a version that is there has no ref.
    ada.store.copy_to(&bare, &[Root::Blob(second)], &NoProgress).await.unwrap();
    let fresh = Store::open("memory:").await.unwrap();
    assert_eq!(give_up(&ada, &bare, &[&fresh]).await, []);
    assert_eq!(told(&examine(&bare, &[], &[]).await.versions), [(second, None, true), (first, None, false)]);
}

#[tokio::test]
async fn a_version_that_only_later_ones_know_of_is_removed_by_its_digest() {
    let (ada, _, [first, second]) = pushed().await;
    ada.write("data/c", "3");
    let third = ada.commit_data("third").await;
    let bare = Store::open("memory:").await.unwrap();
    for version in [first, second, third] {
        point(&bare, "datasets/data/head", &version).await;
    }
    ada.store.copy_to(&bare, &[Root::Blob(first), Root::Blob(third)], &NoProgress).await.unwrap();
    let bob = Project::with_store(1_800_000_000_000, bare);
    let remove = |spec: String| {
        let workspace = bob.workspace.clone();
        async move { workspace.remove_version(&name("data"), &spec, "bob", "nobody has it").await }
    };
    let unknown = remove(Digest::of(b"other").short()).await.unwrap_err();
    assert_eq!(unknown.code(), "versions.unknown_version");
    let removed = remove(second.short()).await.unwrap();
    assert_eq!((removed.version, removed.content), (second, None));
    // What came before it is not out of reach.
    assert_eq!(refs(&bob.store, &name("data")).await.unwrap().tips, BTreeSet::from([first]));
    let left = told(&examine(&bob.store, &[], &[]).await.versions);
    assert_eq!(left, [(third, None, true), (first, Some(1), true)]);
}

#[tokio::test]
async fn what_somebody_mends_meanwhile_is_left_alone() {
    let (ada, _, [first, second]) = pushed().await;
    let (bob, nowhere) = (Project::new().await, Digest::of(b"nowhere"));
    bob.write("data/a", "Bob's");
    let bobs = bob.commit_data("Bob's").await;
    let tip = format!("datasets/data/tips/{bobs}");
    point(&ada.store, "datasets/data/head", &nowhere).await;
    point(&ada.store, "datasets/data/tags/lost", &nowhere).await;
    point(&ada.store, &tip, &bobs).await;
    // The trail hears of it after it was judged, and before it is done.
    let (store, theirs) = (ada.store.clone(), bob.store.clone());
    let trail: Trail = Arc::new(move |intent| {
        let (store, theirs) = (store.clone(), theirs.clone());
        Box::pin(async move {
            let Act::GiveUp { what, .. } = intent.act else { return Ok(()) };
            if what.contains("the latest version is") {
                point(&store, "datasets/data/head", &first).await;
            } else if what.contains("the tag") {
                point(&store, "datasets/data/tags/lost", &second).await;
            } else {
                theirs.copy_to(&store, &[Root::Blob(bobs)], &NoProgress).await?;
            }
            Ok(())
        })
    });
    let job = GiveUp { store: &ada.store, others: &[], own: true };
    let released = ada.workspace.clone().with_trail(trail).give_up(job).await.unwrap();
    assert!(released.given_up.is_empty() && released.failed.is_empty(), "{released:?}");
    let left = refs(&ada.store, &name("data")).await.unwrap();
    assert_eq!((left.head.map(|head| head.version), left.tags[&tag("lost")].version), (Some(first), second));
    assert!(left.tips.contains(&bobs), "{left:?}");
}

#[tokio::test]
async fn the_head_goes_back_along_its_own_line_and_other_lines_stay() {
    let (ada, _, [_, second]) = pushed().await;
    ada.checkout("v1").await.unwrap();
    ada.write("data/a", "another way");
    let third = ada.commit_data("beside").await;
    let (nowhere, fresh) = (Digest::of(b"nowhere"), Store::open("memory:").await.unwrap());
    point(&ada.store, "datasets/data/head", &nowhere).await;
    assert_eq!(give_up(&ada, &ada.store, &[&fresh]).await, [LetGo::Head(Some(second))], "the tip is newer");
    let left = refs(&ada.store, &name("data")).await.unwrap();
    assert_eq!(left.tips, BTreeSet::from([third]));
    // Only the pointer knows of the other line.
    let tip = RefName::new(format!("datasets/data/tips/{third}")).unwrap();
    assert!(crate::history::ref_remove(&ada.store, &tip).await.unwrap());
    point(&ada.store, "datasets/data/head", &nowhere).await;
    assert_eq!(give_up(&ada, &ada.store, &[]).await, [LetGo::Head(Some(third))]);
    let left = refs(&ada.store, &name("data")).await.unwrap();
    assert_eq!((left.head.map(|head| head.version), left.tips), (Some(third), BTreeSet::from([second])));
}

#[tokio::test]
async fn what_a_pointer_named_and_nobody_has_is_committed_again() {
    let (ada, _, [_, second]) = pushed().await;
    let nowhere = Digest::of(b"nowhere");
    point(&ada.store, "datasets/data/head", &nowhere).await;
    let before = ada.read("data.dataset").unwrap().replace(&second.to_string(), &nowhere.to_string());
    ada.write("data.dataset", &before);
    laid_out_as(&ada, nowhere);
    let pointer = LetGo::Pointer("data".to_owned());
    assert_eq!(give_up(&ada, &ada.store, &[]).await, [LetGo::Head(Some(second)), pointer.clone()]);
    // Killed after the head was set, it goes on from there.
    ada.write("data.dataset", &before);
    laid_out_as(&ada, nowhere);
    assert!(ada.workspace.points_nowhere(&ada.store).await.unwrap());
    assert_eq!(give_up(&ada, &ada.store, &[]).await, [pointer]);
    assert!(!ada.workspace.points_nowhere(&ada.store).await.unwrap());
    let committed = ada.commit("again").await;
    let CommitOutcome::Committed { version, .. } = committed[0].outcome else { panic!("{committed:?}") };
    let log = ada.workspace.log(&name("data")).await.unwrap();
    assert_eq!((log.len(), log[0].digest, log[0].version.parents.as_slice()), (3, version, &[second][..]));
}

#[tokio::test]
async fn a_pointer_of_what_was_never_fetched_is_left_alone() {
    let (ada, _, _) = pushed().await;
    let bob = Project::new().await;
    let pointer = ada.read("data.dataset").unwrap();
    bob.write("data.dataset", &pointer);
    assert_eq!(give_up(&bob, &bob.store, &[]).await, []);
    assert_eq!(bob.read("data.dataset").unwrap(), pointer);
}

#[tokio::test]
async fn a_pointer_to_what_a_colleague_has_not_pushed_is_left_alone() {
    let (ada, _, _) = pushed().await;
    let (bob, remote) = (Project::at(1_800_000_000_000).await, Store::open("memory:").await.unwrap());
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    bob.write("data.dataset", &ada.read("data.dataset").unwrap());
    bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    ada.write("data/a", "not pushed");
    let third = ada.commit_data("third").await;
    let pointer = ada.read("data.dataset").unwrap();
    bob.write("data.dataset", &pointer);
    assert!(!bob.workspace.points_nowhere(&bob.store).await.unwrap());
    let job = GiveUp { store: &bob.store, others: &[&remote], own: true };
    let released = bob.workspace.give_up(job).await.unwrap();
    assert!(released.given_up.is_empty() && released.failed.is_empty(), "{released:?}");
    assert_eq!((released.left, bob.read("data.dataset").unwrap()), (vec![(name("data"), third)], pointer));
}

#[tokio::test]
async fn a_pointer_to_what_a_colleague_has_not_pushed_stays_though_its_files_are_here() {
    let (ada, _, _) = pushed().await;
    let (bob, remote) = (Project::at(1_800_000_000_000).await, Store::open("memory:").await.unwrap());
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    bob.write("data.dataset", &ada.read("data.dataset").unwrap());
    bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    for project in [&ada, &bob] {
        project.write("data/a", "the same");
    }
    bob.add("data").await;
    let third = ada.commit_data("third").await;
    let pointer = ada.read("data.dataset").unwrap();
    bob.write("data.dataset", &pointer);
    let root = bob.workspace.pointers().await.unwrap()[0].digest;
    assert!(bob.store.contains(&root).await.unwrap());
    assert!(!bob.workspace.points_nowhere(&bob.store).await.unwrap());
    let job = GiveUp { store: &bob.store, others: &[&remote], own: true };
    let released = bob.workspace.give_up(job).await.unwrap();
    assert!(released.given_up.is_empty() && released.failed.is_empty(), "{released:?}");
    assert_eq!((released.left, bob.read("data.dataset").unwrap()), (vec![(name("data"), third)], pointer));
}

#[tokio::test]
async fn an_error_at_one_dataset_does_not_lose_what_was_done_to_another() {
    let (ada, _, [_, second]) = pushed().await;
    let nowhere = Digest::of(b"nowhere");
    point(&ada.store, "datasets/data/head", &nowhere).await;
    point(&ada.store, "datasets/zebra/tags/lost", &nowhere).await;
    let trail: Trail = Arc::new(|intent| {
        let refused = intent.name == name("zebra");
        Box::pin(async move { if refused { Err(VersionsError::Interrupted) } else { Ok(()) } })
    });
    let job = GiveUp { store: &ada.store, others: &[], own: true };
    let released = ada.workspace.clone().with_trail(trail).give_up(job).await.unwrap();
    assert_eq!((released.given_up.len(), &released.given_up[0].what), (1, &LetGo::Head(Some(second))));
    assert!(released.failed.len() == 1 && released.failed[0].0 == name("zebra"), "{released:?}");
}

#[tokio::test]
async fn a_push_names_a_head_of_the_remote_that_leads_nowhere() {
    let (ada, remote, _) = pushed().await;
    point(&remote, "datasets/data/head", &Digest::of(b"nowhere")).await;
    let options = PushOptions { remote: "origin".to_owned(), ..PushOptions::default() };
    let error = ada.workspace.push(&remote, &[], options, &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.lost_head");
    let hint = error.hint().unwrap();
    assert!(hint.contains("ropewalk data verify --remote origin --heal --give-up"), "{hint}");
}
