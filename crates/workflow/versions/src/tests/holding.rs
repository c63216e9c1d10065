//! Which datasets files of the work tree belong to.

#[cfg(unix)]
use ropewalk_store::files;
use ropewalk_types::Diagnose as _;

use super::removing::root_of;
use super::{Project, name};
use crate::Holder;
use crate::index::{Index, Stat};
#[cfg(unix)]
use crate::{AddLinks, AddRequest};

async fn holders(project: &Project, paths: &[&str]) -> Vec<Holder> {
    project.workspace.holders(paths.iter().map(|path| project.path(path)).collect()).await.unwrap()
}

#[tokio::test]
async fn files_belong_to_the_dataset_that_they_lie_in() {
    let ada = Project::new().await;
    ada.write("data/deep/a", "1");
    ada.write("data/b", "1");
    ada.write("beside", "1");
    ada.write("data-not/a", "1");
    let version = ada.commit_data("first").await;
    let content = root_of(&ada, "v1").await;
    let first = Holder { name: name("data"), content, file: None, version: Some(version), differs: false };
    assert_eq!(holders(&ada, &["data/deep/a", "data/b", "beside", "data-not/a"]).await, std::slice::from_ref(&first));
    assert!(holders(&ada, &["beside", "data-not/a"]).await.is_empty());
    let without_store = ada.without_store();
    assert_eq!(
        without_store.holders(vec![ada.path("data/b")]).await.unwrap(),
        std::slice::from_ref(&first),
        "metadata is enough"
    );

    ada.write("data/b", "2");
    ada.write("data/c", "1");
    let changed = Holder { differs: true, ..first.clone() };
    assert_eq!(holders(&ada, &["data/deep/a"]).await, std::slice::from_ref(&first), "this one is as it was");
    assert_eq!(holders(&ada, &["data/b"]).await, std::slice::from_ref(&changed));
    assert_eq!(holders(&ada, &["data/deep/a", "data/c"]).await, [changed]);
    ada.add("data").await;
    let added = holders(&ada, &["data/b", "data/c"]).await;
    assert_eq!((added[0].version, added[0].differs), (None, false));
    assert_ne!(added[0].content, first.content);

    ada.write("data.dataset", "# A dataset kept by Ropewalk\nnonsense");
    let error = ada.workspace.holders(vec![ada.path("data/b")]).await.unwrap_err();
    assert!(error.to_string().contains("data.dataset"), "{error}");
    assert!(holders(&ada, &["beside"]).await.is_empty(), "it is in nobody else's way");
}

#[tokio::test]
async fn a_single_file_is_a_dataset_too() {
    let ada = Project::new().await;
    ada.write("tables/one.csv", "1");
    ada.write("tables/two.csv", "2");
    ada.add("tables/one.csv").await;
    let found = holders(&ada, &["tables/one.csv", "tables/two.csv"]).await;
    assert_eq!((found.len(), found[0].name.as_str(), found[0].differs), (1, "one.csv", false), "{found:?}");
    let file = found[0].file.as_ref().unwrap();
    assert_eq!((file.path.as_str(), file.digest, file.size, file.executable), ("one.csv", found[0].content, 1, false));
    ada.write("tables/one.csv", "3");
    assert!(holders(&ada, &["tables/one.csv"]).await[0].differs);
}

#[cfg(unix)]
#[tokio::test]
async fn what_links_lead_to_belongs_where_it_lies() {
    let ada = Project::new().await;
    ada.write("data/deep/a", "1");
    ada.commit_data("first").await;
    std::os::unix::fs::symlink(ada.path("data/deep"), ada.path("link")).unwrap();
    std::os::unix::fs::symlink(ada.path("data/deep/a"), ada.path("a")).unwrap();
    for path in ["link/a", "a", "./data/../data/deep/a"] {
        let found = holders(&ada, &[path]).await;
        assert_eq!((found.len(), found[0].differs), (1, false), "{path}: {found:?}");
    }
    // Nobody can say of data with links that it is a version; whose it is, is known.
    std::os::unix::fs::symlink(ada.path("a"), ada.path("data/link")).unwrap();
    let found = holders(&ada, &["data/deep/a"]).await;
    assert_eq!((found[0].name.as_str(), found[0].differs), ("data", true));
}

#[tokio::test]
async fn what_another_version_laid_out_is_that_version() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    let first = ada.commit_data("first").await;
    let pointer = ada.read("data.dataset").unwrap();
    ada.write("data/a", "2");
    let second = ada.commit_data("second").await;
    // As `git checkout` of an older commit leaves it.
    ada.write("data.dataset", &pointer);
    let found = holders(&ada, &["data/a"]).await;
    assert_eq!((found[0].version, found[0].differs), (Some(second), false));
    ada.checkout("v1").await.unwrap();
    let found = holders(&ada, &["data/a"]).await;
    assert_eq!((found[0].version, found[0].differs), (Some(first), false));
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_was_moved_and_linked_is_held_by_its_name() {
    let ada = Project::new().await;
    ada.write("data/deep/a", "1");
    let version = ada.commit_data("first").await;
    let elsewhere = tempfile::tempdir().unwrap();
    for place in [ada.path("moved"), elsewhere.path().join("data")] {
        files::rename(&ada.path("data"), &place).unwrap();
        std::os::unix::fs::symlink(&place, ada.path("data")).unwrap();
        let found = holders(&ada, &["data/deep/a"]).await;
        assert_eq!(found.len(), 1, "{}: {found:?}", place.display());
        // Whose it is, is known; what a link leads to is not what was laid out here.
        assert_eq!((found[0].name.as_str(), found[0].version, found[0].differs), ("data", Some(version), true));
        files::remove_file(&ada.path("data")).unwrap();
        files::rename(&place, &ada.path("data")).unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_link_in_data_leads_to_belongs_to_both() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.write("other/x", "1");
    std::os::unix::fs::symlink(ada.path("other"), ada.path("data/link")).unwrap();
    for path in ["data", "other"] {
        let request = AddRequest { path: path.into(), links: AddLinks::Skip, ..AddRequest::default() };
        ada.workspace.add(request).await.unwrap();
    }
    let found = holders(&ada, &["data/link/x"]).await;
    let told: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.differs)).collect();
    assert_eq!(told, [("data", true), ("other", false)], "no version of `data` has what the link leads to");
    assert_eq!(holders(&ada, &["data/a"]).await.len(), 1);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_in_nobodys_way() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    let version = ada.commit_data("first").await;
    ada.delete(".ropewalk/work/data.index");
    let found = ada.without_store().holders(vec![ada.path("data/a")]).await.unwrap();
    assert_eq!((found[0].version, found[0].differs), (Some(version), true), "nobody can say that it is that version");
}

// Not every system has such names.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_can_be_no_data_is_in_nobodys_way() {
    use std::os::unix::ffi::OsStrExt as _;

    let ada = Project::new().await;
    ada.write("data/a", "1");
    let version = ada.commit_data("first").await;
    let socket = ada.path("data/socket");
    let no_text = ada.path("data").join(std::ffi::OsStr::from_bytes(b"\xff"));
    for path in [ada.path("data/.git"), no_text, socket.clone()] {
        if path == socket {
            std::os::unix::net::UnixListener::bind(&path).unwrap();
        } else {
            files::write_new(&path, b"", false).unwrap();
        }
        let found = holders(&ada, &["data/a"]).await;
        let Holder { name, version: known, differs, .. } = &found[0];
        assert_eq!((name.as_str(), *known, *differs), ("data", Some(version), true), "{}", path.display());
        files::remove_file(&path).unwrap();
        assert!(!holders(&ada, &["data/a"]).await[0].differs);
    }
}

#[tokio::test]
async fn files_that_nobody_asks_for_are_not_read() {
    let ada = Project::new().await;
    ada.write("data/big", "1");
    ada.write("data/small", "1");
    ada.commit_data("first").await;
    let index = || Index::load(&ada.path(".ropewalk/work/data.index")).unwrap().unwrap();
    // What is as young as the index is not known by its metadata yet.
    while index().iter().any(|entry| entry.stat.youngest() >= index().head.settled) {
        ada.status().await;
    }
    let stat = |path: &str| -> Stat { index().iter().find(|entry| entry.path == path).unwrap().stat };
    let before = (stat("big"), stat("small"));
    ada.write("data/big", "changed");
    ada.write("data/small", "1");
    let found = holders(&ada, &["data/small"]).await;
    assert!(!found[0].differs);
    assert_ne!(stat("small"), before.1, "it was read, and is as it was");
    assert_eq!(stat("big"), before.0, "one that was read and has changed is known to be no such file");
    assert!(holders(&ada, &["data/big"]).await[0].differs);
    assert_ne!(stat("big"), before.0);
    assert_eq!(ada.status().await.changed.len(), 1, "`data status` reads them all");
}

#[cfg(unix)]
#[tokio::test]
async fn data_that_was_moved_is_held_by_every_way_to_it() {
    use std::os::unix::fs::symlink;

    let ada = Project::new().await;
    ada.write("data/deep/a", "1");
    ada.write("one.csv", "1");
    let version = ada.commit_data("first").await;
    ada.add("one.csv").await;
    symlink("data", ada.path("alias")).unwrap();
    symlink(ada.path("alias"), ada.path("again")).unwrap();
    symlink("one.csv", ada.path("alias.csv")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let beside = format!("../{}", elsewhere.path().file_name().unwrap().display());
    for place in ["moved", &beside] {
        let away = ada.path(place);
        files::write_atomic(&away.join("mark"), b"").unwrap();
        for data in ["data", "one.csv"] {
            files::rename(&ada.path(data), &away.join(data)).unwrap();
            symlink(away.join(data), ada.path(data)).unwrap();
        }
        symlink(away.join("data/deep/a"), ada.path("file")).unwrap();
        let lies = format!("{place}/data/deep/a");
        // What `..` behind a link means is where the link leads.
        for path in ["alias/deep/a", "again/deep/a", "again/deep/../deep/a", "file", &lies] {
            let found = holders(&ada, &[path]).await;
            let told: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.version, one.differs)).collect();
            assert_eq!(told, [("data", Some(version), true)], "{path} in {place}");
        }
        for path in ["alias.csv", "one.csv", &format!("{place}/one.csv")] {
            let found = holders(&ada, &[path]).await;
            let told: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(told, ["one.csv"], "{path} in {place}");
        }
        assert!(holders(&ada, &[&format!("{place}/mark")]).await.is_empty(), "it only lies beside");
        files::remove_file(&ada.path("file")).unwrap();
        for data in ["data", "one.csv"] {
            files::remove_file(&ada.path(data)).unwrap();
            files::rename(&away.join(data), &ada.path(data)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_pointer_that_lost_its_beginning_is_a_damaged_one() {
    let ada = Project::new().await;
    ada.write("data/a", "1");
    ada.commit_data("first").await;
    // Nobody's, as far as anybody can tell.
    ada.write("other/a", "1");
    ada.write("other.dataset", "");
    for text in ["", "\n", "garbage", "name data\n"] {
        ada.write("data.dataset", text);
        let error = ada.workspace.holders(vec![ada.path("data/a")]).await.unwrap_err();
        assert_eq!(error.code(), "versions.pointer", "{text}: {error}");
        assert!(error.hint().unwrap().contains("git checkout -- "), "{text}");
        let statuses = ada.workspace.status_each(&[]).await.unwrap();
        assert!(matches!(statuses.as_slice(), [Err(problem)] if problem.path == "data"), "{text}: {statuses:?}");
        assert_eq!(ada.try_add("data").await.unwrap_err().code(), "versions.pointer", "{text}");
        assert!(holders(&ada, &["other/a"]).await.is_empty());
    }
}
