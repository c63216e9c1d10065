use ropewalk_store::{LinkMode, NoProgress, Store};
use ropewalk_types::{Diagnose as _, Digest};

use super::clones::clone_of;
use super::{AUTHOR, Project, name};
use crate::{
    CheckoutRequest, CommitOutcome, ConflictKind, MergeOutcome, MergeRequest, Prefer, PullOptions, PushOptions,
};

pub(super) fn request(prefer: Option<Prefer>) -> MergeRequest {
    MergeRequest {
        name: name("data"),
        theirs: None,
        base: None,
        prefer,
        message: String::new(),
        author: AUTHOR.to_owned(),
        mode: LinkMode::Auto,
    }
}

/// Two lines from one version, as two branches of git make them: the pointers of ours and theirs.
async fn branches(project: &Project, ours: &[(&str, &str)], theirs: &[(&str, &str)]) -> (String, String) {
    project.write("data/a", "1");
    project.write("data/b", "1");
    project.commit_data("first").await;
    let first = project.read("data.dataset").unwrap();
    let mut pointers = Vec::new();
    for (branch, changes) in [("theirs", theirs), ("ours", ours)] {
        project.write("data.dataset", &first);
        project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
        for (path, text) in changes {
            project.write(&format!("data/{path}"), text);
        }
        let committed = project.commit(branch).await;
        let CommitOutcome::Committed { beside, .. } = committed[0].outcome else { panic!("{committed:?}") };
        assert_eq!(beside.is_some(), branch == "ours", "the second line stands beside the head");
        pointers.push(project.read("data.dataset").unwrap());
    }
    (pointers.remove(1), pointers.remove(0))
}

/// What git leaves of a pointer that both changed.
pub(super) fn conflicted(ours: &str, theirs: &str) -> String {
    let lines = ours.lines().zip(theirs.lines()).map(|(ours, theirs)| {
        if ours == theirs {
            format!("{ours}\n")
        } else {
            format!("<<<<<<< HEAD\n{ours}\n=======\n{theirs}\n>>>>>>> topic\n")
        }
    });
    lines.collect()
}

#[tokio::test]
async fn two_lines_become_one() {
    let project = Project::new().await;
    branches(&project, &[("a", "ours")], &[("b", "theirs"), ("c", "new")]).await;
    let outcome = project.workspace.merge(request(None), &NoProgress).await.unwrap();
    let MergeOutcome::Merged { version, base: Some(_), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(project.read("data/a").unwrap(), "ours");
    assert_eq!(project.read("data/b").unwrap(), "theirs");
    assert_eq!(project.read("data/c").unwrap(), "new");
    assert!(project.status().await.is_clean());
    let log = project.workspace.log(&name("data")).await.unwrap();
    assert_eq!((log[0].digest, log[0].head, log[0].version.parents.len()), (version, true, 2));
    assert_eq!(project.store.ref_list("datasets/data/tips/").await.unwrap(), [], "nothing stands beside the head now");
    let again = project.workspace.merge(request(None), &NoProgress).await.unwrap();
    assert!(matches!(again, MergeOutcome::UpToDate { .. }), "{again:?}");
}

#[tokio::test]
async fn conflicts_are_listed_and_can_be_decided() {
    let project = Project::new().await;
    branches(&project, &[("a", "ours")], &[("a", "theirs")]).await;
    let outcome = project.workspace.merge(request(None), &NoProgress).await.unwrap();
    let MergeOutcome::Conflicts { conflicts } = outcome else { panic!("{outcome:?}") };
    assert_eq!((conflicts.len(), conflicts[0].path.as_str(), conflicts[0].kind), (1, "a", ConflictKind::BothChanged));
    assert_eq!(project.read("data/a").unwrap(), "ours");
    let decided = project.workspace.merge(request(Some(Prefer::Theirs)), &NoProgress).await.unwrap();
    assert!(matches!(decided, MergeOutcome::Merged { .. }), "{decided:?}");
    assert_eq!(project.read("data/a").unwrap(), "theirs");
}

#[tokio::test]
async fn a_conflict_of_git_is_merged_through_its_pointer() {
    let project = Project::new().await;
    let (ours, theirs) = branches(&project, &[("a", "ours")], &[("b", "theirs")]).await;
    project.write("data.dataset", &conflicted(&ours, &theirs));
    let error = project.workspace.status(&[]).await.unwrap_err();
    assert_eq!(error.code(), "versions.pointer_conflict");
    let path = "data.dataset".as_ref();
    let outcome = project.workspace.merge_pointer(path, None, AUTHOR, LinkMode::Auto, &NoProgress).await.unwrap();
    assert!(matches!(outcome, MergeOutcome::Merged { base: Some(_), .. }), "{outcome:?}");
    assert_eq!(project.read("data/a").unwrap(), "ours");
    assert_eq!(project.read("data/b").unwrap(), "theirs");
    assert!(project.status().await.is_clean());
    let error = project.workspace.merge_pointer(path, None, AUTHOR, LinkMode::Auto, &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.no_conflict");
}

#[tokio::test]
async fn a_merge_that_was_killed_before_it_laid_anything_out_is_not_made_twice() {
    let project = Project::new().await;
    let (ours, theirs) = branches(&project, &[("a", "ours")], &[("b", "theirs")]).await;
    let mut made = Vec::new();
    for _ in 0..2 {
        // As it was when the version had been made and nothing else.
        project.write("data.dataset", &ours);
        project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
        project.write("data.dataset", &conflicted(&ours, &theirs));
        let path = "data.dataset".as_ref();
        let outcome = project.workspace.merge_pointer(path, None, AUTHOR, LinkMode::Auto, &NoProgress).await.unwrap();
        let MergeOutcome::Merged { version, .. } = outcome else { panic!("{outcome:?}") };
        made.push(version);
        assert_eq!(project.read("data/b").unwrap(), "theirs");
        assert!(project.status().await.is_clean());
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(project.workspace.log(&name("data")).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_later_version_is_simply_taken() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.commit_data("first").await;
    project.write("data/a", "2");
    project.commit("second").await;
    project.checkout("v1").await.unwrap();
    let outcome = project.workspace.merge(request(None), &NoProgress).await.unwrap();
    assert!(matches!(outcome, MergeOutcome::FastForward { .. }), "{outcome:?}");
    assert_eq!(project.read("data/a").unwrap(), "2");
}

#[tokio::test]
async fn a_merge_that_cannot_be_laid_out_makes_no_version() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("data/b", "1");
    project.commit_data("first").await;
    project.write("data/b", "theirs");
    project.commit("theirs").await;
    let theirs = project.read("data.dataset").unwrap();
    project.checkout("v1").await.unwrap();
    project.write("data/a", "ours");
    project.add("data").await;
    let ours = project.read("data.dataset").unwrap();
    let before = crate::history::refs(&project.store, &name("data")).await.unwrap();
    project.write("data.dataset", &conflicted(&ours, &theirs));
    let path = "data.dataset".as_ref();
    let error = project.workspace.merge_pointer(path, None, AUTHOR, LinkMode::Auto, &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.unmergeable");
    let after = crate::history::refs(&project.store, &name("data")).await.unwrap();
    assert_eq!((after.head.map(|head| head.version), after.tips), (before.head.map(|head| head.version), before.tips));
    assert_eq!(project.read("data/a").unwrap(), "ours");
}

#[tokio::test]
async fn changes_in_the_work_tree_come_first() {
    let project = Project::new().await;
    branches(&project, &[("a", "ours")], &[("b", "theirs")]).await;
    project.write("data/b", "mine");
    let error = project.workspace.merge(request(None), &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.unmergeable");
    assert!(error.to_string().contains("changes to 1 file") && error.to_string().contains("`b`"), "{error}");
    assert!(error.hint().unwrap().contains("restore data"), "{:?}", error.hint());
    project.add("data").await;
    let error = project.workspace.merge(request(None), &NoProgress).await.unwrap_err();
    assert!(!error.hint().unwrap().contains("--force"), "{:?}", error.hint());
}

#[tokio::test]
async fn a_number_never_changes_its_meaning() {
    let project = Project::new().await;
    branches(&project, &[("a", "ours")], &[("b", "theirs")]).await;
    let data = name("data");
    let first = project.workspace.resolve(&data, "v1").await.unwrap().digest;
    // Both lines have a second version.
    let ambiguous = project.workspace.resolve(&data, "v2").await.unwrap_err();
    assert_eq!(ambiguous.code(), "versions.ambiguous_version");
    let log = project.workspace.log(&data).await.unwrap();
    let second: Vec<_> = log.iter().filter(|entry| entry.number == Some(2)).collect();
    assert_eq!(second.len(), 2);
    for entry in second {
        assert!(ambiguous.to_string().contains(&entry.digest.short()), "{ambiguous}");
        assert!(ambiguous.to_string().contains(&format!("by {AUTHOR} ({})", entry.version.message)), "{ambiguous}");
    }
    project.workspace.merge(request(None), &NoProgress).await.unwrap();
    project.write("data/a", "later");
    project.commit("later").await;
    let log = project.workspace.log(&data).await.unwrap();
    let numbers: Vec<_> = log.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [Some(4), Some(3), Some(2), Some(2), Some(1)]);
    assert_eq!(project.workspace.resolve(&data, "v1").await.unwrap().digest, first);
    assert_eq!(project.workspace.resolve(&data, "v3").await.unwrap().digest, log[1].digest, "the merge");
    assert_eq!(project.workspace.resolve(&data, "v2").await.unwrap_err().code(), "versions.ambiguous_version");
    let beyond = project.workspace.resolve(&data, "v5").await.unwrap_err();
    assert!(beyond.to_string().contains("the largest number is v4"), "{beyond}");
}

#[tokio::test]
async fn the_newest_of_a_line_beside_ours_is_taken_with_what_only_the_remote_has() {
    let remote = Store::open("memory:").await.unwrap();
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.write("data/b", "1");
    ada.commit_data("first").await;
    let push = || ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress);
    push().await.unwrap();
    let (bob, workspace) = clone_of(&ada, &remote).await;
    let pull = || workspace.pull(&remote, &[], PullOptions::default(), &NoProgress);
    pull().await.unwrap();
    bob.write("data/b", "Bob's");
    bob.commit("Bob's").await;
    for text in ["2", "3"] {
        ada.write("data/a", text);
        ada.commit(text).await;
        push().await.unwrap();
        assert_eq!(pull().await.unwrap().fetched.diverged.len(), 1);
    }
    let outcome = workspace.merge(request(None), &NoProgress).await.unwrap();
    assert!(matches!(outcome, MergeOutcome::Merged { .. }), "{outcome:?}");
    assert_eq!((bob.read("data/a").unwrap(), bob.read("data/b").unwrap()), ("3".to_owned(), "Bob's".to_owned()));
    assert!(bob.status().await.is_clean());
}

#[tokio::test]
async fn lines_that_were_merged_into_each_other_never_lose_a_side_unsaid() {
    let project = Project::new().await;
    project.write("data/f", "base");
    project.commit_data("first").await;
    let merge = |theirs: Digest, prefer| {
        let request = MergeRequest { theirs: Some(theirs.to_string()), ..request(prefer) };
        project.workspace.merge(request, &NoProgress)
    };
    let mut lines = Vec::new();
    for text in ["A", "B"] {
        project.checkout("v1").await.unwrap();
        project.write("data/f", text);
        project.commit(text).await;
        lines.push(project.status().await.pointer.version().unwrap());
    }
    let (a, b) = (lines[0], lines[1]);
    merge(a, Some(Prefer::Ours)).await.unwrap();
    let both = project.status().await.pointer.version().unwrap();
    assert_eq!(project.read("data/f").unwrap(), "B");
    project.checkout(&a.to_string()).await.unwrap();
    merge(b, Some(Prefer::Ours)).await.unwrap();
    assert_eq!(project.read("data/f").unwrap(), "A");

    let outcome = merge(both, None).await.unwrap();
    let MergeOutcome::Conflicts { conflicts } = outcome else { panic!("{outcome:?}") };
    assert_eq!((conflicts.len(), conflicts[0].path.as_str(), conflicts[0].kind), (1, "f", ConflictKind::BothChanged));
    assert_eq!(project.read("data/f").unwrap(), "A");
    merge(both, Some(Prefer::Theirs)).await.unwrap();
    assert_eq!(project.read("data/f").unwrap(), "B");
}
