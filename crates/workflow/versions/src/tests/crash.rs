//! Operations that end in their middle, as when the process is killed: a dropped future goes no further.

use std::future::Future;
use std::task::Poll;

use ropewalk_store::{LinkMode, NoProgress, Store};
use ropewalk_types::{Diagnose as _, Digest};

use super::merging::request;
use super::{AUTHOR, Project, name};
use crate::{
    AddRequest, CheckoutRequest, CommitOutcome, Committed, PullOptions, PushOptions, RestoreRequest, Selection,
};

/// Lets a future wake up `times` times at most and drops it; says whether it had ended.
async fn dropped_after<F: Future>(times: usize, future: F) -> bool {
    let (mut future, mut left) = (Box::pin(future), times);
    std::future::poll_fn(|context| match left.checked_sub(1) {
        None => Poll::Ready(false),
        Some(less) => {
            left = less;
            future.as_mut().poll(context).map(|_| true)
        }
    })
    .await
}

#[tokio::test]
async fn add_and_commit_again() {
    for times in (1..90).step_by(3) {
        let project = Project::new().await;
        for number in 0..5 {
            project.write(&format!("data/{number}"), &format!("{times} {number}"));
        }
        let add = project.workspace.add(AddRequest { path: "data".into(), name: None, ..AddRequest::default() });
        let ended = dropped_after(times, add).await;
        project.add("data").await;
        let commit = project.workspace.commit(&[], "first", AUTHOR);
        dropped_after(times, commit).await;
        project.commit("first").await;
        assert!(project.status().await.is_clean(), "{times}");
        let log = project.workspace.log(&name("data")).await.unwrap();
        assert_eq!(log.len(), 1, "{times}: a commit that was killed is not made twice");
        if ended {
            return;
        }
    }
}

#[tokio::test]
async fn checkout_again() {
    let project = Project::new().await;
    for number in 0..5 {
        project.write(&format!("data/{number}"), "1");
    }
    project.commit_data("first").await;
    for number in 2..8 {
        project.write(&format!("data/{number}"), "2");
    }
    project.delete("data/0");
    project.commit("second").await;
    for times in (1..90).step_by(3) {
        let version = if times % 2 == 0 { "v2" } else { "v1" };
        let request = CheckoutRequest { version: Some(version.to_owned()), ..CheckoutRequest::of(name("data")) };
        let ended = dropped_after(times, project.workspace.checkout(request.clone(), &NoProgress)).await;
        project.workspace.checkout(request, &NoProgress).await.unwrap();
        let expected = if version == "v2" { ("2", None) } else { ("1", Some("1")) };
        assert_eq!(
            (project.read("data/3").as_deref(), project.read("data/0").as_deref()),
            (Some(expected.0), expected.1)
        );
        assert!(project.status().await.is_clean(), "{times}");
        if ended && times > 4 {
            return;
        }
    }
}

#[tokio::test]
async fn checkout_in_part_again_where_only_a_remote_knows_the_rest() {
    let (ada, remote) = (Project::new().await, Store::open("memory:").await.unwrap());
    ada.write("data/other", "1");
    for number in 0..5 {
        ada.write(&format!("data/n{number}"), "1");
    }
    ada.commit_data("first").await;
    let first = ada.read("data.dataset").unwrap();
    for number in 2..8 {
        ada.write(&format!("data/n{number}"), "2");
    }
    ada.delete("data/n0");
    ada.commit("second").await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    for times in (1..300).step_by(3) {
        let bob = Project::at(1_800_000_000_000).await;
        bob.write("data.dataset", &first);
        let workspace = bob.with_remote(&remote);
        let selection = Selection::Only(vec!["n*".to_owned()]);
        let request = |version: &str| {
            let (version, selection) = (Some(version.to_owned()), selection.clone());
            CheckoutRequest { version, selection, ..CheckoutRequest::of(name("data")) }
        };
        workspace.checkout(request("v1"), &NoProgress).await.unwrap();
        let ended = dropped_after(times, workspace.checkout(request("v2"), &NoProgress)).await;
        // What of it was written is known, though its tree is not here.
        workspace.checkout(request("v1"), &NoProgress).await.unwrap_or_else(|error| panic!("{times}: {error}"));
        let read = |path: &str| bob.read(path);
        assert_eq!((read("data/n0").as_deref(), read("data/n3").as_deref()), (Some("1"), Some("1")), "{times}");
        assert_eq!((read("data/n7"), read("data/other")), (None, None), "{times}");
        if ended {
            return;
        }
    }
    panic!("it never came to its end");
}

#[tokio::test]
async fn what_was_removed_in_part_is_no_version() {
    for times in (1..300).step_by(3) {
        let project = Project::new().await;
        for number in 0..5 {
            project.write(&format!("data/{number}"), "1");
        }
        project.commit_data("first").await;
        project.delete("data/0");
        project.delete("data/1");
        project.commit("second").await;
        project.checkout("v1").await.unwrap();
        let ended = dropped_after(times, project.checkout("v2")).await;
        match project.workspace.commit(&[], "a part", AUTHOR).await {
            Ok(committed) => {
                let unchanged = matches!(committed[0].outcome, CommitOutcome::Unchanged { .. });
                assert!(unchanged, "{times}: {committed:?}");
            }
            Err(error) => assert_eq!(error.code(), "versions.unfinished", "{times}"),
        }
        project.checkout("v2").await.unwrap();
        assert!(project.status().await.is_clean() && project.read("data/1").is_none(), "{times}");
        if ended {
            return;
        }
    }
    panic!("it never came to its end");
}

/// Five files that were committed, and changed since.
async fn five_changed() -> Project {
    let project = Project::new().await;
    for number in 0..5 {
        project.write(&format!("data/{number}"), "1");
    }
    project.commit_data("first").await;
    for number in 0..5 {
        project.write(&format!("data/{number}"), "mine");
    }
    project
}

#[tokio::test]
async fn what_was_restored_in_part_is_no_version() {
    for times in (1..300).step_by(3) {
        let project = five_changed().await;
        let (patterns, mode) = (Vec::new(), LinkMode::Auto);
        let request = RestoreRequest { name: name("data"), patterns, version: None, mode, force: false };
        let ended = dropped_after(times, project.workspace.restore(request.clone(), &NoProgress)).await;
        match project.workspace.commit(&[], "a part", AUTHOR).await {
            Ok(committed) => match committed.as_slice() {
                [Committed { outcome: CommitOutcome::Committed { version, .. }, .. }] => {
                    let made = project.workspace.recorded(&name("data"), &version.to_string()).await.unwrap();
                    let files = project.store.tree_files(&made.version.root).await.unwrap();
                    assert!(files.iter().all(|file| file.digest == Digest::of(b"mine")), "{times}: {files:?}");
                }
                _ => assert!(project.status().await.is_clean(), "{times}: {committed:?}"),
            },
            Err(error) => {
                assert_eq!(error.code(), "versions.unfinished", "{times}");
                project.workspace.restore(request, &NoProgress).await.unwrap();
                assert!(matches!(project.commit("nothing").await[0].outcome, CommitOutcome::Unchanged { .. }));
            }
        }
        if ended {
            return;
        }
    }
    panic!("it never came to its end");
}

#[tokio::test]
async fn a_restore_of_a_part_is_finished_by_the_same_command() {
    for times in (1..300).step_by(3) {
        let project = five_changed().await;
        let patterns = ["0", "1", "2", "3"].map(str::to_owned).to_vec();
        let (mode, version) = (LinkMode::Auto, None);
        let request = RestoreRequest { name: name("data"), patterns, version, mode, force: false };
        let ended = dropped_after(times, project.workspace.restore(request.clone(), &NoProgress)).await;
        project.workspace.restore(request, &NoProgress).await.unwrap();
        project.commit("what is left").await;
        let read: Vec<_> = (0..5).map(|number| project.read(&format!("data/{number}")).unwrap()).collect();
        assert_eq!(read, ["1", "1", "1", "1", "mine"], "{times}");
        if ended {
            return;
        }
    }
    panic!("it never came to its end");
}

#[tokio::test]
async fn merge_again() {
    for times in (1..400).step_by(7) {
        let project = Project::new().await;
        for number in 0..5 {
            project.write(&format!("data/{number}"), "1");
        }
        project.commit_data("first").await;
        project.write("data/0", "theirs");
        project.write("data/new", "theirs");
        project.commit("theirs").await;
        project.checkout("v1").await.unwrap();
        project.write("data/4", "ours");
        project.commit("ours").await;
        let merge = || project.workspace.merge(request(None), &NoProgress);
        let ended = dropped_after(times, merge()).await;
        merge().await.unwrap();
        let read = |path: &str| project.read(path).unwrap();
        assert_eq!([read("data/0"), read("data/new"), read("data/4")], ["theirs", "theirs", "ours"], "{times}");
        assert!(project.status().await.is_clean(), "{times}");
        let log = project.workspace.log(&name("data")).await.unwrap();
        assert_eq!(log.len(), 4, "{times}: a merge that was killed is not made twice");
        if ended {
            return;
        }
    }
}

#[tokio::test]
async fn push_and_pull_again() {
    for times in (1..90).step_by(3) {
        let remote = Store::open("memory:").await.unwrap();
        let ada = Project::new().await;
        for number in 0..5 {
            ada.write(&format!("data/{number}"), &format!("{number}"));
        }
        ada.commit_data("first").await;
        let push = || ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress);
        let pushed = dropped_after(times, push()).await;
        push().await.unwrap();
        let bob = Project::new().await;
        bob.write("data.dataset", &ada.read("data.dataset").unwrap());
        let pull = || bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress);
        let pulled = dropped_after(times, pull()).await;
        pull().await.unwrap();
        assert!(bob.status().await.is_clean(), "{times}");
        assert!(matches!(bob.commit("nothing").await[0].outcome, CommitOutcome::Unchanged { .. }));
        if pushed && pulled {
            return;
        }
    }
}
