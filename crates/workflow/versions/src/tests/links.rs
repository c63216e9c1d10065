//! Symbolic links in data: refused, skipped, followed.

use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use ropewalk_store::files::{self, EntryKind};
use ropewalk_store::{LinkMode, NoProgress, Store};
use ropewalk_types::Diagnose as _;

use super::taking_over::{dvc_project, import, no_remotes};
use super::{Project, name};
use crate::{
    Act, AddLinks, AddRequest, Added, Intent, Links, PullOptions, PushOptions, RestoreRequest, Trail, VersionsError,
};

async fn add(project: &Project, links: AddLinks) -> Result<Added, VersionsError> {
    project.workspace.add(AddRequest { path: "data".into(), links, ..AddRequest::default() }).await
}

fn link(project: &Project, target: &str, path: &str) {
    let path = project.path(path);
    files::create_directories(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

#[tokio::test]
async fn all_are_named_and_nothing_is_stored() {
    let project = Project::new().await;
    project.write("data/a", "1");
    for number in 0..25 {
        link(&project, "a", &format!("data/deep/link{number:02}"));
    }
    let error = project.try_add("data").await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.code(), "versions.links");
    assert!(text.contains("holds 25 symbolic links") && text.contains("`deep/link00`, `deep/link01`"), "{text}");
    assert!(text.contains("`deep/link19`, …") && !text.contains("link20"), "{text}");
    assert!(error.hint().unwrap().contains("--skip-links"));
    assert_eq!(project.read("data.dataset"), None);
}

#[tokio::test]
async fn what_is_skipped_stays_skipped() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("elsewhere/x", "2");
    link(&project, "../elsewhere", "data/folder");
    link(&project, "nowhere", "data/gone");
    let added = add(&project, AddLinks::Skip).await.unwrap();
    assert_eq!(added.skipped_links, ["folder", "gone"]);
    assert_eq!((added.pointer.files, added.pointer.links), (1, Links::Skipped));
    assert!(project.read("data.dataset").unwrap().contains("\nlinks skipped\n"));
    project.commit("without links").await;
    assert!(project.status().await.is_clean());
    link(&project, "a", "data/another");
    project.write("data/b", "3");
    let added = project.add("data").await;
    assert_eq!(added.skipped_links, ["another", "folder", "gone"]);
    assert_eq!(added.pointer.files, 2);
    project.commit("with b").await;
    assert!(project.status().await.is_clean());
    project.checkout("v1").await.unwrap();
    assert_eq!(project.read("data/b"), None);
    assert_eq!(files::kind(&project.path("data/another")).unwrap(), Some(EntryKind::Symlink));

    link(&project, "a", "data/b");
    let error = project.checkout("v2").await.unwrap_err();
    assert_eq!(error.code(), "versions.links_in_the_way", "{error}");
    assert!(error.to_string().contains("`b`"), "{error}");
    project.delete("data/b");
    project.checkout("v2").await.unwrap();
    assert!(project.status_of("data").await.is_clean());
}

#[tokio::test]
async fn what_lies_where_one_dataset_belongs_keeps_no_other_from_a_pull() {
    let (ada, bob) = (Project::new().await, Project::at(1_800_000_000_000).await);
    let remote = Store::open("memory:").await.unwrap();
    for (round, code) in ["", "versions.links", "versions.other_kind", "versions.untrackable"].into_iter().enumerate() {
        for dataset in ["data", "other"] {
            ada.write(&format!("{dataset}/a"), &round.to_string());
            ada.add(dataset).await;
        }
        ada.commit("another").await;
        ada.workspace.push(&remote, &[], PushOptions::default(), &NoProgress).await.unwrap();
        for pointer in ["data.dataset", "other.dataset"] {
            bob.write(pointer, &ada.read(pointer).unwrap());
        }
        let (data, aside, before) = (bob.path("data"), bob.path("aside"), bob.read("data/a"));
        match round {
            1 => link(&bob, "a", "data/link"),
            2 => {
                files::rename_directory(&data, &aside).unwrap();
                bob.write("data", "a file");
            }
            3 => {
                files::rename_directory(&data, &aside).unwrap();
                link(&bob, "aside", "data");
            }
            _ => {}
        }
        let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
        let gone: Vec<_> = pulled.gone.iter().map(|one| (one.path.as_str(), one.error.code())).collect();
        assert_eq!(gone, if round == 0 { Vec::new() } else { vec![("data", code)] }, "{pulled:?}");
        assert_eq!(bob.read("other/a"), Some(round.to_string()));
        if round == 1 {
            assert_eq!(bob.read("data/a"), before);
            bob.delete("data/link");
        } else if round > 1 {
            bob.delete("data");
            files::rename_directory(&aside, &data).unwrap();
        }
        let pulled = bob.workspace.pull(&remote, &[], PullOptions::default(), &NoProgress).await.unwrap();
        assert_eq!((pulled.gone.len(), bob.read("data/a")), (0, Some(round.to_string())), "{pulled:?}");
    }
}

#[tokio::test]
async fn a_restoration_leaves_links_that_are_in_the_way() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("data/b", "2");
    project.write("elsewhere", "the user's");
    link(&project, "a", "data/link");
    add(&project, AddLinks::Skip).await.unwrap();
    project.commit("without links").await;
    project.delete("data/b");
    link(&project, "../elsewhere", "data/b");
    let request =
        RestoreRequest { name: name("data"), patterns: Vec::new(), version: None, mode: LinkMode::Auto, force: false };
    let error = project.workspace.restore(request.clone(), &NoProgress).await.unwrap_err();
    assert_eq!(error.code(), "versions.links_in_the_way", "{error}");
    assert_eq!(files::kind(&project.path("data/b")).unwrap(), Some(EntryKind::Symlink));
    project.delete("data/b");
    project.workspace.restore(request, &NoProgress).await.unwrap();
    assert_eq!(project.read("data/b").as_deref(), Some("2"));
}

#[tokio::test]
async fn the_trail_hears_of_what_becomes_of_links() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.add("data").await;
    let heard = Arc::new(Mutex::new(0));
    let count = Arc::clone(&heard);
    let trail: Trail = Arc::new(move |intent: Intent| {
        *count.lock().unwrap() += u32::from(matches!(intent.act, Act::Add { .. }));
        Box::pin(async { Ok(()) })
    });
    let workspace = project.workspace.clone().with_trail(trail);
    for (links, times) in [(AddLinks::AsBefore, 0), (AddLinks::Skip, 1), (AddLinks::Skip, 1), (AddLinks::Follow, 2)] {
        let added = workspace.add(AddRequest { path: "data".into(), links, ..AddRequest::default() }).await.unwrap();
        assert!(!added.changed);
        assert_eq!(*heard.lock().unwrap(), times, "{links:?}");
    }
}

#[tokio::test]
async fn what_a_killed_command_left_is_no_data() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("data/.tmp#12000000000/half", "2");
    link(&project, "a", "data/.tmp#12000000001");
    assert_eq!(project.add("data").await.pointer.files, 1);
}

#[tokio::test]
async fn what_they_point_to_takes_their_place() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("shared/deep/x", "22");
    project.write("shared/y", "333");
    link(&project, "../y", "shared/deep/z");
    link(&project, "a", "data/file");
    link(&project, "../../shared", "data/sub/folder");
    let added = add(&project, AddLinks::Follow).await.unwrap();
    assert_eq!(added.followed_links, ["file", "sub/folder"]);
    assert_eq!((added.pointer.files, added.pointer.bytes, added.pointer.links), (5, 10, Links::Refused));
    for (path, text) in
        [("file", "1"), ("sub/folder/deep/x", "22"), ("sub/folder/deep/z", "333"), ("sub/folder/y", "333")]
    {
        assert_eq!(project.read(&format!("data/{path}")).as_deref(), Some(text), "{path}");
        assert_eq!(files::kind(&project.path(&format!("data/{path}"))).unwrap(), Some(EntryKind::File), "{path}");
    }
    project.commit("plain files").await;
    assert!(project.status_of("data").await.is_clean());
    project.write("data/file", "changed");
    project.write("shared/y", "what it was copied from is another file");
    let status = project.status_of("data").await;
    assert_eq!((status.changed.len(), status.added.len()), (1, 0));
    assert_eq!(project.read("data/sub/folder/y").as_deref(), Some("333"));
}

#[tokio::test]
async fn links_that_cannot_be_followed_change_nothing() {
    let project = Project::new().await;
    let outside = tempfile::tempdir().unwrap();
    files::write_atomic(&outside.path().join("o"), b"out").unwrap();
    project.write("data/a", "1");
    link(&project, "a", "data/good");
    link(&project, "nowhere", "data/gone");
    link(&project, "..", "data/sub/cycle");
    link(&project, outside.path().to_str().unwrap(), "data/outside");
    project.write("one/x", "1");
    link(&project, "../two", "one/to_two");
    link(&project, "../one", "two/to_one");
    link(&project, "../one", "data/pair");
    let error = add(&project, AddLinks::Follow).await.unwrap_err();
    assert_eq!(error.code(), "versions.links_not_followed");
    let text = error.to_string();
    for part in [
        "cannot follow 4 symbolic links",
        "`gone`: nothing is there",
        "`sub/cycle`: it leads to a folder in which it lies itself",
        "`outside`: it leads out of the project",
        "`pair`: by `to_two` in it: by `to_one` in it: it leads to a folder in which it lies itself",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(files::kind(&project.path("data/good")).unwrap(), Some(EntryKind::Symlink));
    for path in ["data/gone", "data/sub/cycle", "data/pair"] {
        project.delete(path);
    }
    let added = add(&project, AddLinks::FollowAnywhere).await.unwrap();
    assert_eq!(added.followed_links, ["good", "outside"]);
    assert_eq!(project.read("data/outside/o").as_deref(), Some("out"));
    let status = project.status_of("data").await;
    assert!(status.added.is_empty() && status.changed.is_empty() && status.removed.is_empty(), "{status:?}");
}

#[tokio::test]
async fn imports_from_git_lfs_leave_links_out_or_follow_them() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    let oid = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 3\n");
    project.write(&format!(".git/lfs/objects/ba/78/{oid}"), "abc");
    project.write("elsewhere/x", "1");
    for folder in ["one", "two"] {
        project.write(&format!("{folder}/big"), &pointer);
        link(&project, "../../elsewhere", &format!("{folder}/sub/folder"));
    }
    let plan = async |folder: &str, links| project.workspace.lfs_plan(folder.as_ref(), None, links, &[]).await;
    assert_eq!(plan("one", AddLinks::AsBefore).await.unwrap_err().code(), "versions.links");
    let all = plan("", AddLinks::AsBefore).await.unwrap();
    assert_eq!((all.outputs.len(), all.failed.len()), (0, 2), "{all:?}");
    let hint = all.failed[0].hint.as_ref().unwrap();
    assert!(all.failed[0].reason.contains("`sub/folder`") && hint.contains("--skip-links"), "{all:?}");

    let skipping = plan("one", AddLinks::Skip).await.unwrap();
    assert_eq!(
        (skipping.outputs[0].files.len(), skipping.outputs[0].links.as_slice()),
        (1, ["sub/folder".to_owned()].as_slice())
    );
    assert!(project.workspace.import_follow(&skipping).await.unwrap().is_empty());
    import(&project, &skipping).await;
    assert!(project.read("one.dataset").unwrap().contains("\nlinks skipped\n"));
    assert!(project.status_of("one").await.is_clean());
    assert_eq!(files::kind(&project.path("one/sub/folder")).unwrap(), Some(EntryKind::Symlink));

    let following = plan("two", AddLinks::Follow).await.unwrap();
    assert_eq!(
        files::kind(&project.path("two/sub/folder")).unwrap(),
        Some(EntryKind::Symlink),
        "a plan changes nothing"
    );
    assert_eq!(project.workspace.import_follow(&following).await.unwrap(), ["two/sub/folder"]);
    import(&project, &plan("two", AddLinks::Follow).await.unwrap()).await;
    assert_eq!(project.read("two/sub/folder/x").as_deref(), Some("1"));
    let two = project.status_of("two").await;
    assert_eq!((two.pointer.files, two.pointer.links, two.is_clean()), (2, Links::Refused, true));
}

#[tokio::test]
async fn imports_from_dvc_take_links_into_its_cache_for_what_they_are() {
    let project = dvc_project().await;
    // One that stands for a file leads out of the project, the other is the user's.
    let cache = tempfile::tempdir().unwrap();
    files::write_atomic(&cache.path().join("a"), b"a").unwrap();
    link(&project, cache.path().join("a").to_str().unwrap(), "data/a");
    project.write("elsewhere", "22");
    link(&project, "../elsewhere", "data/mine");
    let plan = async |links| project.workspace.dvc_plan("".as_ref(), links, &no_remotes(), &[]).await.unwrap();
    let refused = plan(AddLinks::AsBefore).await;
    assert_eq!((refused.outputs.len(), refused.failed.len()), (1, 1), "{refused:?}");
    let reason = &refused.failed[0].reason;
    assert!(reason.contains("holds a symbolic link") && reason.contains("`mine`"), "{reason}");
    assert_eq!(plan(AddLinks::Skip).await.outputs[0].links, ["mine"]);
    assert_eq!(project.workspace.import_follow(&plan(AddLinks::Follow).await).await.unwrap(), ["data/mine"]);
    import(&project, &plan(AddLinks::Follow).await).await;
    assert_eq!((project.read("data/a").as_deref(), project.read("data/mine").as_deref()), (Some("a"), Some("22")));
    assert_eq!(files::kind(&project.path("data/a")).unwrap(), Some(EntryKind::File));
    let added = project.status_of("data").await.added;
    assert_eq!(added.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["mine"], "DVC did not keep it");
}
