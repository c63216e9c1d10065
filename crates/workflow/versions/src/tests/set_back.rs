//! A pointer that git set back, while the work tree holds files that were added and are in no version.

use ropewalk_store::{LinkMode, NoProgress, Store};
use ropewalk_types::Diagnose as _;

use super::removing::collect_here;
use super::{Project, name};
use crate::{CheckoutRequest, PullOptions, PushOptions, RestoreRequest, Selection};

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
    let pulled = workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(pulled.gone[0].error.code(), "versions.would_overwrite");
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
async fn what_a_restore_laid_out_is_no_change_later() {
    let project = Project::new().await;
    for path in ["data/a", "data/b"] {
        project.write(path, "1");
    }
    project.commit_data("first").await;
    let first = project.read("data.dataset").unwrap();
    for path in ["data/a", "data/b", "data/new"] {
        project.write(path, "2");
    }
    project.commit("second").await;
    let second = project.read("data.dataset").unwrap();
    // As `git checkout` of an older commit does.
    project.write("data.dataset", &first);
    let part = RestoreRequest { patterns: vec!["a".to_owned()], ..restore(false) };
    let error = project.workspace.restore(part, &NoProgress).await.unwrap_err();
    assert_eq!((error.code(), project.read("data/a").unwrap()), ("versions.outdated", "2".to_owned()));
    project.workspace.restore(restore(false), &NoProgress).await.unwrap();
    assert_eq!((project.read("data/a").unwrap(), project.read("data/new")), ("1".to_owned(), None));
    assert!(project.status().await.is_clean());
    // Back, where a commit would have made the first version anew.
    project.write("data.dataset", &second);
    project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
    assert_eq!((project.read("data/a").unwrap(), project.read("data/new").unwrap()), ("2".into(), "2".into()));
    assert!(project.status().await.is_clean());
    project.commit("nothing").await;
    assert_eq!(project.workspace.log(&name("data")).await.unwrap().len(), 2);
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

async fn git_commit(project: &Project) {
    project.git(&["add", "data.dataset"]).await;
    project.git(&["commit", "-q", "-m", "data"]).await;
}

#[tokio::test]
async fn what_a_commit_of_git_names_comes_back_and_may_go() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.write("data/a", "1");
    project.commit_data("first").await;
    git_commit(&project).await;
    project.git(&["checkout", "-q", "-b", "topic"]).await;
    project.write("data/new", "precious");
    project.add("data").await;
    git_commit(&project).await;
    project.git(&["checkout", "-q", "-"]).await;
    let made = project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
    assert_eq!((made.removed, project.read("data/new")), (1, None));
    collect_here(&project).await;
    project.git(&["checkout", "-q", "topic"]).await;
    project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
    assert_eq!(project.read("data/new").unwrap(), "precious");
    project.git(&["checkout", "-q", "-"]).await;
    project.workspace.restore(restore(false), &NoProgress).await.unwrap();
    assert_eq!(project.read("data/new"), None);
}

#[tokio::test]
async fn what_a_colleague_added_goes_on_and_one_with_changes_is_in_nobodys_way() {
    let remote = Store::open("memory:").await.unwrap();
    let (ada, bob) = (Project::new().await, Project::at(1_800_000_000_000).await);
    bob.git(&["init", "-q"]).await;
    let mut pulled = Vec::new();
    for text in ["1", "2"] {
        for dataset in ["changed", "data"] {
            ada.write(&format!("{dataset}/a"), text);
            ada.add(dataset).await;
            let pointer = format!("{dataset}.dataset");
            bob.write(&pointer, &ada.read(&pointer).unwrap());
            bob.git(&["add", &pointer]).await;
        }
        bob.git(&["commit", "-q", "-m", text]).await;
        ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
        pulled.push(bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap());
        bob.write("changed/a", "bob's");
    }
    assert!(pulled[0].gone.is_empty(), "{:?}", pulled[0].gone);
    let [problem] = pulled[1].gone.as_slice() else { panic!("{:?}", pulled[1].gone) };
    assert_eq!((problem.path.as_str(), problem.error.code()), ("changed", "versions.would_overwrite"));
    assert_eq!((bob.read("data/a").unwrap(), bob.read("changed/a").unwrap()), ("2".to_owned(), "bob's".to_owned()));
}

#[tokio::test]
async fn what_was_added_and_is_a_version_elsewhere_may_go() {
    let remote = Store::open("memory:").await.unwrap();
    let (ada, bob) = (Project::new().await, Project::at(1_800_000_000_000).await);
    ada.write("data/a", "1");
    ada.write("data/b", "1");
    ada.add("data").await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    bob.write("data.dataset", &ada.read("data.dataset").unwrap());
    // The whole of it is in the remote only.
    let part =
        CheckoutRequest { selection: Selection::Only(vec!["a".to_owned()]), ..CheckoutRequest::of(name("data")) };
    bob.with_remote(&remote).checkout(part, &NoProgress).await.unwrap();
    ada.commit("first").await;
    let first = ada.read("data.dataset").unwrap();
    ada.write("data/a", "2");
    ada.commit("second").await;
    ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
    // As git lays the pointer of the first version out, while its files were added only when they came.
    bob.write("data.dataset", &first);
    let second = CheckoutRequest { version: Some("v2".to_owned()), ..CheckoutRequest::of(name("data")) };
    bob.with_remote(&remote).checkout(second, &NoProgress).await.unwrap();
    assert_eq!(bob.read("data/a").unwrap(), "2");
}
