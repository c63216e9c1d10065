//! Content that a collector removes while the project's own handle of the store still knows it.

use std::time::{Duration, SystemTime};

use ropewalk_store::{CollectSettings, Store};
use ropewalk_types::Digest;

use super::Project;
use super::taking_over::{dvc_project_in, import, no_remotes};
use crate::AddLinks;

/// Removes everything, as another process would that knows of nobody who needs it.
async fn collect_all(url: &str) {
    let other = Store::open(url).await.unwrap();
    let grace = Duration::from_hours(1);
    for hours in [2, 4] {
        let now = SystemTime::now() + hours * grace;
        other.collect(&[], &CollectSettings { now, grace, dry_run: false }).await.unwrap();
    }
}

async fn holds(url: &str, digest: &Digest) -> bool {
    Store::open(url).await.unwrap().contains(digest).await.unwrap()
}

#[tokio::test]
async fn an_addition_that_relied_on_what_is_gone_writes_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().display());
    let project = Project::with_store(0, Store::open(&url).await.unwrap());
    for number in 0..3 {
        project.write(&format!("data/{number}"), &format!("{number}"));
    }
    project.add("data").await;
    collect_all(&url).await;
    assert!(!holds(&url, &Digest::of(b"0")).await);
    // Of the files only the new one is read, and of the others the store is believed to have them.
    project.write("data/new", "new");
    let added = project.add("data").await;
    assert_eq!((added.pointer.files, added.read), (4, 4));
    for bytes in [b"0".as_slice(), b"1", b"2", b"new"] {
        assert!(holds(&url, &Digest::of(bytes)).await);
    }
    project.commit("first").await;
    // Now only the commit of a new version finds it out.
    collect_all(&url).await;
    project.write("data/0", "another");
    project.commit("second").await;
    assert!(holds(&url, &Digest::of(b"1")).await);
    assert!(project.status_of("data").await.is_clean());
}

#[tokio::test]
async fn an_import_that_relied_on_what_is_gone_writes_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().display());
    let project = dvc_project_in(Project::with_store(0, Store::open(&url).await.unwrap()));
    for bytes in ["a", "b"] {
        project.store.put_bytes(bytes.into()).await.unwrap();
    }
    collect_all(&url).await;
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
    import(&project, &plan).await;
    assert!(holds(&url, &Digest::of(b"a")).await && holds(&url, &Digest::of(b"b")).await);
    assert!(project.status_of("data").await.is_clean());
}
