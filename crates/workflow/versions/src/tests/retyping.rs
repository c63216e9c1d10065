//! A folder that becomes a file, and a file that becomes a folder; pointers that cannot be read.

use ropewalk_store::{NoProgress, files};
use ropewalk_types::Diagnose as _;

use super::{Project, name};
use crate::{CommitOutcome, Kind, RestoreRequest, Side};

async fn committed(project: &Project, message: &str) -> Kind {
    let made = project.commit(message).await;
    assert!(matches!(made[0].outcome, CommitOutcome::Committed { beside: None, .. }), "{made:?}");
    let found = project.workspace.resolve(&name("data"), "latest").await.unwrap();
    found.version.kind
}

#[tokio::test]
async fn a_folder_becomes_a_file_and_a_folder_again() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.write("data/b", "2");
    ada.commit_data("a folder").await;
    files::remove_directory(&ada.path("data")).unwrap();
    ada.write("data", "one file");
    let status = ada.status().await;
    assert_eq!((status.added.len(), status.removed.len(), status.is_clean()), (1, 2, false));
    let diff = ada.workspace.diff(&name("data"), &Side::Pointer, &Side::Work).await.unwrap();
    assert_eq!((diff.added.len(), diff.removed.len()), (1, 2));
    assert_eq!(committed(&ada, "a file").await, Kind::File);
    assert!(ada.status().await.is_clean());

    // From a version of one kind to one of the other, where nothing is lost by it.
    ada.checkout("v1").await.unwrap();
    assert_eq!((ada.read("data/a").unwrap(), ada.status().await.is_clean()), ("1".to_owned(), true));
    ada.checkout("v2").await.unwrap();
    assert_eq!((ada.read("data").unwrap(), ada.status().await.is_clean()), ("one file".to_owned(), true));

    files::remove_file(&ada.path("data")).unwrap();
    ada.write("data/c", "3");
    assert_eq!(ada.status().await.added.len(), 1);
    assert_eq!(committed(&ada, "a folder again").await, Kind::Folder);
    assert!(ada.status().await.is_clean());
    ada.write("data/new", "never added");
    assert_eq!(ada.checkout("v2").await.unwrap_err().code(), "versions.would_overwrite");
    assert_eq!(ada.read("data/new").unwrap(), "never added");
}

#[tokio::test]
async fn what_became_another_kind_and_was_not_committed_is_not_lost() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("a folder").await;
    files::remove_directory(&ada.path("data")).unwrap();
    ada.write("data", "one file");
    let restore = RestoreRequest {
        name: name("data"),
        patterns: Vec::new(),
        version: None,
        mode: ropewalk_store::LinkMode::Auto,
        force: false,
    };
    for error in [
        ada.checkout("v1").await.unwrap_err(),
        ada.workspace.restore(restore, &NoProgress).await.unwrap_err(),
        ada.workspace.remove(&name("data"), false, false).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "versions.other_kind");
        assert_eq!(error.to_string(), "`data` is a file now, and was a folder");
    }
    assert_eq!(ada.read("data").unwrap(), "one file");
}

#[tokio::test]
async fn one_pointer_that_cannot_be_read_is_in_nobodys_way() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    let pointer = ada.read("data.dataset").unwrap();
    ada.write("other.dataset", &pointer.replace("kind folder", "kind nonsense"));
    let found = ada.workspace.datasets().await.unwrap();
    assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
    assert_eq!(ada.workspace.dataset(&name("data")).await.unwrap().path, "data");
    assert!(ada.workspace.dataset_if_tracked(&name("data")).await.unwrap().is_some());
    assert!(ada.workspace.dataset_if_tracked(&name("more")).await.unwrap().is_none());
    // It may be the one that is meant.
    assert_eq!(ada.workspace.dataset(&name("more")).await.unwrap_err().code(), "versions.pointer");
}
