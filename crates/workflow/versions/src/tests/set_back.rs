//! A pointer that git set back, while the work tree holds files that were added and are in no version.

use ropewalk_store::{LinkMode, NoProgress, Store};
use ropewalk_types::Diagnose as _;

use super::{Project, name};
use crate::{CheckoutRequest, PullOptions, PushOptions, RestoreRequest};

fn restore(force: bool) -> RestoreRequest {
    RestoreRequest { name: name("data"), patterns: Vec::new(), version: None, mode: LinkMode::Auto, force }
}

/// One version; then `a` was changed, `new` made, both added, and the pointer set back. Gives the pointer too.
async fn set_back() -> (Project, String) {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("data/b", "1");
    project.commit_data("first").await;
    let first = project.read("data.dataset").unwrap();
    added_again(&project, &first).await;
    (project, first)
}

async fn added_again(project: &Project, first: &str) {
    project.write("data/a", "2");
    project.write("data/new", "precious");
    project.add("data").await;
    project.write("data.dataset", first);
}

#[tokio::test]
async fn what_was_added_and_is_in_no_version_is_not_taken_away() {
    let (project, _) = set_back().await;
    let remote = Store::open("memory:").await.unwrap();
    project.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    let workspace = &project.workspace;
    for error in [
        workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap_err(),
        workspace.restore(restore(false), &NoProgress).await.unwrap_err(),
        workspace.remove(&name("data"), false, false).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "versions.would_overwrite");
        let said = error.to_string();
        assert!(said.contains("2 files") && said.contains("`a`, `new`"), "{said}");
    }
    // Whether it is an error of all or of this dataset, its files stay.
    drop(workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await);
    assert_eq!((project.read("data/a").unwrap(), project.read("data/new").unwrap()), ("2".into(), "precious".into()));

    project.commit("kept").await;
    project.checkout("v1").await.unwrap();
    assert_eq!(project.read("data/new"), None);
    project.checkout("latest").await.unwrap();
    assert_eq!(project.read("data/new").unwrap(), "precious");
}

#[tokio::test]
async fn what_a_version_has_may_go() {
    let (project, first) = set_back().await;
    project.commit("second").await;
    project.checkout("v1").await.unwrap();
    added_again(&project, &first).await;
    let made = project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
    assert_eq!((made.written, made.removed), (1, 1));
    added_again(&project, &first).await;
    let restored = project.workspace.restore(restore(false), &NoProgress).await.unwrap();
    assert_eq!((restored.written, restored.removed), (vec!["a".to_owned()], vec!["new".to_owned()]));
}

#[tokio::test]
async fn force_gives_it_up() {
    for restored in [true, false] {
        let (project, _) = set_back().await;
        if restored {
            project.workspace.restore(restore(true), &NoProgress).await.unwrap();
        } else {
            let request = CheckoutRequest { force: true, ..CheckoutRequest::of(name("data")) };
            project.workspace.checkout(request, &NoProgress).await.unwrap();
        }
        assert_eq!((project.read("data/a").unwrap(), project.read("data/new")), ("1".to_owned(), None));
    }
}

#[tokio::test]
async fn a_single_file_is_not_overwritten() {
    let project = Project::new().await;
    project.write("data", "one");
    project.commit_data("first").await;
    let first = project.read("data.dataset").unwrap();
    project.write("data", "two");
    project.add("data").await;
    project.write("data.dataset", &first);
    let error = project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.would_overwrite");
    let error = project.workspace.restore(restore(false), &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.would_overwrite");
    assert_eq!(project.read("data").unwrap(), "two");
}

#[tokio::test]
async fn what_a_killed_checkout_wrote_is_not_kept_from_the_next() {
    let (project, first) = set_back().await;
    // As a forced checkout leaves it that was killed when it had written one file and a half.
    project.write(".ropewalk/work/data.begun", &first);
    project.write("data/a", "1");
    project.write("data/b", "");
    project.delete("data/new");
    let made = project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
    assert_eq!((made.written, project.read("data/b").unwrap()), (1, "1".to_owned()));
    assert!(project.status().await.is_clean());
}
