//! Versions and tags that were removed, here and elsewhere.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ropewalk_store::{CollectSettings, NoProgress, Root, Store};
use ropewalk_types::{Diagnose as _, Digest, TagName};

use super::merging::request;
use super::{Project, name};
use crate::{
    Act, CommitOutcome, Intent, MergeOutcome, PullOptions, PullTo, PushOptions, Side, Trail, VersionsError, Workspace,
    store_roots,
};

async fn push(project: &Project, remote: &Store) -> crate::Pushed {
    project.workspace.push(remote, &[name("data")], PushOptions::default(), &NoProgress).await.unwrap()
}

async fn fetch(project: &Project, remote: &Store) -> crate::Fetched {
    project.workspace.fetch(remote, &[name("data")], false, &NoProgress).await.unwrap()
}

async fn remove(project: &Project, spec: &str) -> Result<crate::RemovedVersion, VersionsError> {
    project.workspace.remove_version(&name("data"), spec, "ada", "asked to").await
}

pub(super) async fn root_of(project: &Project, spec: &str) -> Digest {
    project.workspace.recorded(&name("data"), spec).await.unwrap().version.root
}

/// Removes at once what `roots` do not need.
async fn collect(store: &Store, roots: &[Root]) {
    let settings = CollectSettings { grace: Duration::ZERO, dry_run: false, now: SystemTime::now() };
    store.collect(roots, &settings).await.unwrap();
    store.collect(roots, &settings).await.unwrap();
}

pub(super) async fn collect_here(project: &Project) {
    collect(&project.store, &project.workspace.roots().await.unwrap()).await;
}

/// What `git clone` brings of a project that was pushed, and a pull.
async fn clone_of(project: &Project, remote: &Store) -> Project {
    let clone = Project::at(1_800_000_000_000).await;
    clone.write("data.dataset", &project.read("data.dataset").unwrap());
    clone.workspace.pull(remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    clone
}

/// Three versions: `secret` is only in the second, which is removed.
pub(super) async fn with_a_hole() -> Project {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    ada.write("data/secret", "a name and a number");
    ada.commit("second").await;
    ada.delete("data/secret");
    ada.write("data/b", "2");
    ada.commit("third").await;
    remove(&ada, "v2").await.unwrap();
    ada
}

#[tokio::test]
async fn a_removed_version_is_told_of_and_not_read() {
    let ada = with_a_hole().await;
    let data = name("data");
    let log = ada.workspace.log(&data).await.unwrap();
    let removed = log[1].removed.as_ref().unwrap();
    assert_eq!((log[1].number, removed.who.as_str(), removed.why.as_str()), (Some(2), "ada", "asked to"));
    assert!(log[0].removed.is_none() && log[0].head && log[2].removed.is_none());
    let digest = log[1].digest.to_string();
    let root = log[1].version.root.to_string();
    for spec in ["v2", digest.as_str(), root.as_str(), &digest[..12]] {
        let errors = [
            ada.workspace.resolve(&data, spec).await.unwrap_err(),
            ada.checkout(spec).await.unwrap_err(),
            ada.workspace.file(&data, Some(spec), "secret").await.unwrap_err(),
            ada.workspace.list(&data, spec, &[]).await.unwrap_err(),
            ada.workspace.diff(&data, &Side::Version(spec.to_owned()), &Side::Work).await.unwrap_err(),
            ada.workspace.tag(&data, spec, &TagName::new("t").unwrap(), false).await.unwrap_err(),
            remove(&ada, spec).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.code(), "versions.removed", "{error}");
            let text = error.to_string();
            assert!(text.contains("by ada on 2023-11-14: asked to") && text.contains("`data`"), "{text}");
        }
    }
    let kept = ada.workspace.recorded(&data, "v2").await.unwrap();
    assert_eq!(kept.version.message, "second", "the version object stays");
}

#[tokio::test]
async fn the_content_of_a_removed_version_is_collected_and_the_rest_stays() {
    let ada = with_a_hole().await;
    let secret = Digest::of(b"a name and a number");
    assert!(ada.store.contains(&secret).await.unwrap());
    collect_here(&ada).await;
    assert!(!ada.store.contains(&secret).await.unwrap());
    assert!(!ada.store.contains(&root_of(&ada, "v2").await).await.unwrap());
    ada.checkout("v1").await.unwrap();
    ada.checkout("v3").await.unwrap();
    assert_eq!((ada.read("data/a").unwrap(), ada.read("data/b").unwrap()), ("1".to_owned(), "2".to_owned()));
    assert!(ada.store.missing(&ada.workspace.laid_out().await.unwrap()).await.unwrap().is_empty());
    assert_eq!(ada.workspace.removed_contents().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_another_version_or_the_work_tree_needs_is_not_collected() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    ada.write("data/a", "2");
    ada.commit("second").await;
    ada.write("data/a", "1");
    ada.commit("as at first").await;
    let root = root_of(&ada, "v1").await;
    assert_eq!(root, root_of(&ada, "v3").await);
    remove(&ada, "v1").await.unwrap();
    collect_here(&ada).await;
    assert!(ada.store.contains(&root).await.unwrap(), "the third version has the same");
    assert!(ada.workspace.removed_contents().await.unwrap().is_empty());
    // By the digest of its content, the one that is there is meant.
    let found = ada.workspace.resolve(&name("data"), &root.to_string()).await.unwrap();
    assert_eq!(found.version.message, "as at first");
}

#[tokio::test]
async fn what_an_old_commit_of_git_names_is_no_reason_to_keep_it() {
    let ada = Project::new().await;
    ada.git(&["init", "-q"]).await;
    for (text, message) in [("a name and a number", "first"), ("nothing of note", "second")] {
        ada.write("data/a", text);
        // Also as it was added, before it was a version.
        ada.add("data").await;
        ada.git(&["add", "data.dataset"]).await;
        ada.git(&["commit", "-q", "-m", "added"]).await;
        ada.commit(message).await;
        ada.git(&["commit", "-q", "-a", "-m", message]).await;
    }
    ada.write("other/a", "only added");
    ada.add("other").await;
    ada.git(&["add", "other.dataset"]).await;
    ada.git(&["commit", "-q", "-m", "added only"]).await;
    ada.workspace.remove(&name("other"), false, true).await.unwrap();
    remove(&ada, "v1").await.unwrap();
    collect_here(&ada).await;
    let kept = async |text: &str| ada.store.contains(&Digest::of(text.as_bytes())).await.unwrap();
    assert!(!kept("a name and a number").await);
    assert!(kept("nothing of note").await && kept("only added").await, "what git names else is kept");
}

#[tokio::test]
async fn a_version_that_is_in_use_stays() {
    let ada = Project::new().await;
    let (data, tag) = (name("data"), TagName::new("train").unwrap());
    ada.commit_tagged(&tag).await;
    ada.write("data/a", "2");
    ada.commit("second").await;
    let tagged = remove(&ada, "v1").await.unwrap_err();
    assert_eq!(tagged.code(), "versions.tagged");
    assert!(tagged.hint().unwrap().contains("data tag data train --delete"), "{:?}", tagged.hint());
    let held = remove(&ada, "latest").await.unwrap_err();
    assert_eq!(held.code(), "versions.in_work_tree");
    assert!(held.hint().unwrap().contains("data checkout data@VERSION"), "{:?}", held.hint());
    for (who, why) in [("", "asked to"), ("ada", " ")] {
        let error = ada.workspace.remove_version(&data, "v1", who, why).await.unwrap_err();
        assert_eq!(error.code(), "versions.no_reason");
    }
    let found = ada.workspace.unremovable(&data, &[root_of(&ada, "v1").await]).await.unwrap();
    assert!(found.is_empty(), "a content is no version");
    let versions: Vec<_> = ada.workspace.log(&data).await.unwrap().into_iter().map(|entry| entry.digest).collect();
    assert_eq!(ada.workspace.unremovable(&data, &versions).await.unwrap().len(), 2);
    ada.workspace.tag_remove(&data, &tag).await.unwrap();
    remove(&ada, "v1").await.unwrap();
    // A pointer that git has changed back, with other files laid out.
    let pointer = ada.read("data.dataset").unwrap();
    ada.checkout("v2").await.unwrap();
    ada.write("data/a", "3");
    ada.commit("third").await;
    ada.write("data.dataset", &pointer);
    assert_eq!(remove(&ada, "v2").await.unwrap_err().code(), "versions.in_work_tree", "the pointer names it");
    assert_eq!(remove(&ada, "v3").await.unwrap_err().code(), "versions.in_work_tree", "it is laid out");
}

#[tokio::test]
async fn after_the_head_was_removed_the_latest_is_the_one_before_and_work_goes_on() {
    let remote = Store::open("memory:").await.unwrap();
    let (ada, data) = (Project::new().await, name("data"));
    ada.write("data/a", "1");
    let first = ada.commit_data("first").await;
    ada.write("data/a", "secret");
    let second = ada.commit_data("second").await;
    ada.checkout("v1").await.unwrap();
    remove(&ada, "v2").await.unwrap();
    assert_eq!(ada.workspace.resolve(&data, "latest").await.unwrap().digest, first);
    let log = ada.workspace.log(&data).await.unwrap();
    assert_eq!(log.iter().map(|entry| entry.head).collect::<Vec<_>>(), [false, true]);
    push(&ada, &remote).await;
    let bob = Project::at(1_800_000_000_000).await;
    let latest = PullOptions { to: PullTo::Latest, ..PullOptions::default() };
    bob.workspace.pull(&remote, std::slice::from_ref(&data), latest, &NoProgress).await.unwrap();
    assert_eq!(bob.read("data/a").unwrap(), "1");
    // The next version comes after the removed one, so that the head only moves forward.
    ada.write("data/a", "2");
    let committed = ada.commit("third").await;
    let CommitOutcome::Committed { version, beside: None, .. } = committed[0].outcome else { panic!("{committed:?}") };
    let third = ada.workspace.resolve(&data, "latest").await.unwrap();
    assert_eq!((third.digest, third.version.parents), (version, vec![first, second]));
    assert_eq!(ada.workspace.log(&data).await.unwrap()[0].number, Some(3));
    push(&ada, &remote).await;
    assert_eq!(fetch(&bob, &remote).await.moved, [(data.clone(), version)]);
    // All of it.
    let only = Project::new().await;
    only.write("data/a", "1");
    only.commit_data("first").await;
    only.write("data/a", "2");
    only.add("data").await;
    remove(&only, "v1").await.unwrap();
    assert_eq!(only.workspace.resolve(&data, "latest").await.unwrap_err().code(), "versions.removed");
    only.commit("second").await;
    assert_eq!(only.workspace.resolve(&data, "latest").await.unwrap().version.message, "second");
}

#[tokio::test]
async fn content_that_comes_back_is_a_new_version() {
    let (ada, data) = (Project::new().await, name("data"));
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    ada.write("data/a", "2");
    let second = ada.commit_data("second").await;
    ada.write("data/a", "3");
    ada.add("data").await;
    remove(&ada, "v2").await.unwrap();
    ada.write("data/a", "2");
    assert_eq!(ada.add("data").await.pointer.version(), None, "the version with that content is gone");
    let committed = ada.commit("again").await;
    let CommitOutcome::Committed { version, .. } = committed[0].outcome else { panic!("{committed:?}") };
    assert_ne!(version, second);
    collect_here(&ada).await;
    assert_eq!(ada.workspace.file(&data, Some("v3"), "a").await.unwrap().0.digest, Digest::of(b"2"));
}

#[tokio::test]
async fn a_removal_travels_and_nothing_fails_for_what_is_gone() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    ada.write("data/secret", "a name and a number");
    ada.commit("second").await;
    push(&ada, &remote).await;
    let bob = clone_of(&ada, &remote).await;
    let secret = Digest::of(b"a name and a number");
    assert!(bob.store.contains(&secret).await.unwrap() && remote.contains(&secret).await.unwrap());
    ada.delete("data/secret");
    ada.commit("third").await;
    remove(&ada, "v2").await.unwrap();
    collect_here(&ada).await;
    let pushed = push(&ada, &remote).await;
    assert_eq!(pushed.removed.len(), 1);
    collect(&remote, &store_roots(&remote).await.unwrap()).await;
    assert!(!remote.contains(&secret).await.unwrap(), "its bytes are gone there too");
    assert_eq!(push(&ada, &remote).await.removed.len(), 0);

    let fetched = fetch(&bob, &remote).await;
    assert_eq!((fetched.removed.len(), fetched.moved.len()), (1, 1));
    assert_eq!(bob.workspace.resolve(&name("data"), "v2").await.unwrap_err().code(), "versions.removed");
    // Bob's pointer names it still: a pull lays out nothing of it, and says so.
    let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!((pulled.checked_out.len(), pulled.gone.len()), (0, 1));
    assert_eq!(pulled.gone[0].error.code(), "versions.removed");
    bob.write("data.dataset", &ada.read("data.dataset").unwrap());
    bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    collect_here(&bob).await;
    assert!(!bob.store.contains(&secret).await.unwrap());
    bob.write("data/b", "Bob's");
    bob.commit("fourth").await;
    push(&bob, &remote).await;

    let carol = clone_of(&bob, &remote).await;
    carol.workspace.fetch(&remote, &[], true, &NoProgress).await.unwrap();
    assert_eq!(carol.workspace.log(&name("data")).await.unwrap().len(), 4);
    assert!(!carol.store.contains(&secret).await.unwrap());
    // Into a store that never had any of it.
    let other = Store::open("memory:").await.unwrap();
    assert_eq!(push(&carol, &other).await.removed.len(), 1);
}

#[tokio::test]
async fn a_line_that_began_before_the_removal_is_merged() {
    let remote = Store::open("memory:").await.unwrap();
    let (ada, data) = (Project::new().await, name("data"));
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    push(&ada, &remote).await;
    let bob = clone_of(&ada, &remote).await;
    ada.write("data/secret", "a name and a number");
    let second = ada.commit_data("second").await;
    push(&ada, &remote).await;
    ada.checkout("v1").await.unwrap();
    remove(&ada, "v2").await.unwrap();
    push(&ada, &remote).await;
    collect(&remote, &store_roots(&remote).await.unwrap()).await;

    bob.write("data/b", "Bob's");
    let bobs = bob.commit_data("Bob's").await;
    let refused = bob.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap_err();
    assert_eq!(refused.code(), "versions.diverged");
    fetch(&bob, &remote).await;
    let outcome = bob.workspace.merge(request(None), &NoProgress).await.unwrap();
    let MergeOutcome::Merged { version, .. } = outcome else { panic!("{outcome:?}") };
    let merged = bob.workspace.resolve(&data, &version.to_string()).await.unwrap().version;
    assert_eq!(merged.parents, [bobs, second]);
    assert_eq!((bob.read("data/b").unwrap(), bob.read("data/secret")), ("Bob's".to_owned(), None));
    push(&bob, &remote).await;
    // Whoever has that already has nothing left to merge.
    fetch(&ada, &remote).await;
    let outcome = ada.workspace.merge(request(None), &NoProgress).await.unwrap();
    assert!(matches!(outcome, MergeOutcome::FastForward { .. }), "{outcome:?}");
    let outcome = ada.workspace.merge(request(None), &NoProgress).await.unwrap();
    assert!(matches!(outcome, MergeOutcome::UpToDate { .. }), "{outcome:?}");
}

#[tokio::test]
async fn without_the_version_that_both_came_from_every_difference_is_a_conflict() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.write("data/b", "1");
    ada.commit_data("first").await;
    push(&ada, &remote).await;
    let bob = clone_of(&ada, &remote).await;
    ada.write("data/a", "Ada's");
    ada.commit("Ada's").await;
    push(&ada, &remote).await;
    bob.delete("data/b");
    bob.commit("Bob's").await;
    fetch(&bob, &remote).await;
    remove(&bob, "v1").await.unwrap();
    collect_here(&bob).await;
    let outcome = bob.workspace.merge(request(None), &NoProgress).await.unwrap();
    let MergeOutcome::Conflicts { conflicts } = outcome else { panic!("{outcome:?}") };
    assert_eq!(conflicts.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["a", "b"], "nothing comes back");
    let outcome = bob.workspace.merge(request(Some(crate::Prefer::Theirs)), &NoProgress).await.unwrap();
    assert!(matches!(outcome, MergeOutcome::Merged { .. }), "{outcome:?}");
    assert_eq!((bob.read("data/a").unwrap(), bob.read("data/b").unwrap()), ("Ada's".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn a_tag_there_keeps_a_version_there_and_is_said_to() {
    let remote = Store::open("memory:").await.unwrap();
    let (data, tag) = (name("data"), TagName::new("train").unwrap());
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    ada.write("data/a", "2");
    ada.commit("second").await;
    push(&ada, &remote).await;
    let bob = clone_of(&ada, &remote).await;
    bob.workspace.tag(&data, "v1", &tag, false).await.unwrap();
    push(&bob, &remote).await;
    remove(&ada, "v1").await.unwrap();
    let pushed = push(&ada, &remote).await;
    assert_eq!(
        (pushed.removed.len(), pushed.refused_removals[0].tags.as_slice()),
        (0, ["train".to_owned()].as_slice())
    );
    let fetched = fetch(&ada, &remote).await;
    assert_eq!((fetched.tags, fetched.refused_tags.len()), (0, 1), "not on a version that was removed here");
    bob.workspace.tag_remove(&data, &tag).await.unwrap();
    assert_eq!(push(&bob, &remote).await.deleted_tags, [(data, tag)]);
    assert_eq!(push(&ada, &remote).await.removed.len(), 1);
    assert_eq!(fetch(&bob, &remote).await.removed.len(), 1);
}

#[tokio::test]
async fn a_tag_that_was_deleted_does_not_come_back() {
    let remote = Store::open("memory:").await.unwrap();
    let (data, tag) = (name("data"), TagName::new("train").unwrap());
    let ada = Project::new().await;
    ada.commit_tagged(&tag).await;
    push(&ada, &remote).await;
    let bob = clone_of(&ada, &remote).await;
    let tags = async |project: &Project| project.workspace.tags(&data).await.unwrap().len();
    assert_eq!(tags(&bob).await, 1);
    ada.workspace.tag_remove(&data, &tag).await.unwrap();
    assert_eq!(ada.workspace.tag_remove(&data, &tag).await.unwrap_err().code(), "versions.unknown_tag");
    assert_eq!((fetch(&ada, &remote).await.tags, tags(&ada).await), (0, 0), "not by a fetch before the push");
    let deleted = [(data.clone(), tag.clone())];
    assert_eq!(push(&ada, &remote).await.deleted_tags, deleted);
    // Bob had it, and has not heard: neither does his push bring it back.
    assert_eq!((push(&bob, &remote).await.tags, fetch(&ada, &remote).await.tags), (0, 0));
    assert_eq!((fetch(&bob, &remote).await.deleted_tags.as_slice(), tags(&bob).await), (deleted.as_slice(), 0));
    bob.workspace.tag(&data, "v1", &tag, false).await.unwrap();
    assert_eq!(push(&bob, &remote).await.tags, 1);
    assert_eq!((fetch(&ada, &remote).await.tags, tags(&ada).await), (1, 1), "it was set anew");
}

#[tokio::test]
async fn whole_files_leave_the_cache_unless_they_are_laid_out() {
    let ada = Project::new().await;
    let large = |letter: &str| letter.repeat(2 << 20);
    ada.write("data/a", &large("a"));
    ada.write("data/b", &large("b"));
    ada.commit_data("first").await;
    ada.delete("data/b");
    ada.commit("second").await;
    let cached = async |text: String| ada.store.cached_file(&Digest::of(text.as_bytes())).await.unwrap();
    let (a, b) = (cached(large("a")).await, cached(large("b")).await);
    remove(&ada, "v1").await.unwrap();
    let there = |path: &std::path::Path| ropewalk_store::files::exists(path).unwrap();
    assert!(there(&a) && !there(&b));
}

/// A workspace that tells what it is about to do, and what had happened by then.
fn watched(project: &Project, heads: Arc<Mutex<Vec<(Act, bool)>>>) -> Workspace {
    let store = project.store.clone();
    let trail: Trail = Arc::new(move |intent: Intent| {
        let (store, heads) = (store.clone(), Arc::clone(&heads));
        Box::pin(async move {
            let named = match intent.version {
                Some(version) => {
                    let refs = store.ref_list("datasets/").await?;
                    let mut named = false;
                    for one in refs {
                        let value = store.ref_get(&one).await?.unwrap();
                        named |= value.bytes.starts_with(version.to_string().as_bytes());
                    }
                    named
                }
                None => false,
            };
            heads.lock().unwrap().push((intent.act, named));
            Ok(())
        })
    });
    project.workspace.clone().with_trail(trail)
}

#[tokio::test]
async fn the_trail_hears_of_it_before_it_is_to_be_seen() {
    let ada = Project::new().await;
    let (data, tag) = (name("data"), TagName::new("train").unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let workspace = watched(&ada, Arc::clone(&heard));
    let acts = || heard.lock().unwrap().drain(..).collect::<Vec<_>>();
    ada.write("data/a", "1");
    ada.add("data").await;
    workspace.commit(&[], "first", "Ada").await.unwrap();
    let (message, files, bytes) = ("first".to_owned(), 1, 1);
    assert_eq!(acts(), [(Act::Commit { message, files, bytes }, false)], "no ref named it yet");
    workspace.commit(&[], "nothing new", "Ada").await.unwrap();
    assert_eq!(acts(), []);
    workspace.tag(&data, "v1", &tag, false).await.unwrap();
    let remote = Store::open("memory:").await.unwrap();
    let options = PushOptions { remote: "origin".to_owned(), ..PushOptions::default() };
    workspace.push(&remote, &[], options.clone(), &NoProgress).await.unwrap();
    workspace.push(&remote, &[], options, &NoProgress).await.unwrap();
    let (tag, remote) = ("train".to_owned(), "origin".to_owned());
    assert_eq!(acts().into_iter().map(|(act, _)| act).collect::<Vec<_>>(), [Act::Tag { tag }, Act::Push { remote }]);
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let ada = Project::new().await;
    let (data, tag) = (name("data"), TagName::new("train").unwrap());
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    ada.write("data/a", "2");
    ada.add("data").await;
    let trail: Trail =
        Arc::new(|_| Box::pin(async { Err(VersionsError::Trail(Box::new(ropewalk_store::StoreError::Interrupted))) }));
    let workspace = ada.workspace.clone().with_trail(trail);
    let remote = Store::open("memory:").await.unwrap();
    for error in [
        workspace.commit(&[], "second", "Ada").await.unwrap_err(),
        workspace.tag(&data, "v1", &tag, false).await.unwrap_err(),
        workspace.remove_version(&data, "v1", "ada", "asked to").await.unwrap_err(),
        workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap_err(),
        workspace.remove(&data, false, true).await.unwrap_err(),
    ] {
        assert!(error.to_string().ends_with("nothing was done"), "{error}");
    }
    let log = ada.workspace.log(&data).await.unwrap();
    assert_eq!((log.len(), log[0].tags.len(), log[0].removed.is_none()), (1, 0, true));
    assert!(remote.ref_list("").await.unwrap().is_empty() && ada.read("data/a").is_some());
}
