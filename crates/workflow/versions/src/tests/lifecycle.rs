use ropewalk_store::{LinkMode, NoProgress, files};
use ropewalk_types::{Diagnose as _, TagName};

use super::{AUTHOR, Project, name};
use crate::{AddRequest, CheckoutRequest, CommitOutcome, Kind, Layout, PointerState, RestoreRequest, Selection, Side};

#[tokio::test]
async fn add_commit_change_and_back() {
    let project = Project::new().await;
    project.write("data/a.csv", "a");
    project.write("data/deep/b.csv", "bb");
    let added = project.add("data").await;
    assert_eq!((added.pointer.files, added.pointer.bytes, added.read, added.changed), (2, 3, 2, true));
    assert_eq!(project.read(".gitignore").unwrap(), "/data\n");
    assert!(matches!(added.pointer.state, PointerState::Added { base: None }));
    let again = project.add("data").await;
    assert!(!again.changed);

    let first = project.commit("first").await;
    assert!(matches!(first[0].outcome, CommitOutcome::Committed { beside: None, files: 2, bytes: 3, .. }));
    assert!(project.status().await.is_clean());
    assert!(matches!(project.commit("again").await[0].outcome, CommitOutcome::Unchanged { .. }));

    project.write("data/a.csv", "changed");
    project.write("data/new.csv", "n");
    project.delete("data/deep/b.csv");
    let status = project.status().await;
    assert_eq!((status.added.len(), status.changed.len(), status.removed.len()), (1, 1, 1));
    let second = project.commit("second").await;
    assert!(matches!(second[0].outcome, CommitOutcome::Committed { files: 2, .. }));

    let log = project.workspace.log(&name("data")).await.unwrap();
    let told: Vec<_> = log.iter().map(|entry| (entry.version.message.as_str(), entry.number, entry.head)).collect();
    assert_eq!(told, [("second", Some(2), true), ("first", Some(1), false)]);
    assert_eq!(log[0].version.parents, [log[1].digest]);
    assert_eq!(log[0].version.author, AUTHOR);

    let back = project.checkout("v1").await.unwrap();
    assert_eq!((back.written, back.removed), (2, 1));
    assert_eq!(project.read("data/a.csv").unwrap(), "a");
    assert_eq!(project.read("data/deep/b.csv").unwrap(), "bb");
    assert_eq!(project.read("data/new.csv"), None);
    assert!(project.status().await.is_clean());
    let forth = project.checkout("latest").await.unwrap();
    assert_eq!((forth.written, forth.removed), (2, 1));
    assert!(!files::exists(&project.path("data/deep")).unwrap(), "empty folders go");
}

#[tokio::test]
async fn status_of_an_unchanged_tree_opens_no_store_and_reads_no_file() {
    let project = Project::new().await;
    for number in 0..50 {
        project.write(&format!("data/{number}"), "x");
    }
    project.commit_data("first").await;
    // Whatever is young is read once, and then known.
    project.status().await;
    let blind = project.without_store();
    assert!(blind.status(&[]).await.unwrap()[0].is_clean());
    project.write("data/7", "y");
    assert_eq!(blind.status(&[]).await.unwrap()[0].changed.len(), 1);
}

#[tokio::test]
async fn a_lost_or_damaged_index_is_made_again() {
    let project = Project::new().await;
    project.write("data/a", "a");
    project.write("data/b", "b");
    project.commit_data("first").await;
    for damage in [None, Some(b"RWIX nonsense".as_slice())] {
        project.delete(".ropewalk/work/data.index");
        if let Some(damage) = damage {
            files::write_atomic(&project.path(".ropewalk/work/data.index"), damage).unwrap();
        }
        let status = project.status().await;
        assert!(status.is_clean(), "{status:?}");
        assert!(project.without_store().status(&[]).await.is_ok_and(|statuses| statuses[0].is_clean()));
        project.write("data/a", if damage.is_none() { "a" } else { "changed" });
    }
    project.delete(".ropewalk/work/data.index");
    let status = project.status().await;
    assert_eq!((status.changed.len(), status.added.len()), (1, 0));
}

/// Two versions of two files, of which the second changes `a`.
async fn changed_once() -> Project {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("data/b", "1");
    project.commit_data("first").await;
    project.write("data/a", "2");
    project.commit("second").await;
    project
}

#[tokio::test]
async fn uncommitted_changes_are_not_overwritten() {
    let project = changed_once().await;
    project.write("data/a", "mine");
    project.write("data/untracked", "mine");
    let error = project.checkout("v1").await.unwrap_err();
    assert_eq!(error.code(), "versions.would_overwrite");
    assert!(error.to_string().contains("`a`"), "{error}");
    assert_eq!(project.read("data/a").unwrap(), "mine");

    let request = CheckoutRequest { version: Some("v1".to_owned()), force: true, ..CheckoutRequest::of(name("data")) };
    project.workspace.checkout(request, &NoProgress).await.unwrap();
    assert_eq!(project.read("data/a").unwrap(), "1");
    assert_eq!(project.read("data/untracked").unwrap(), "mine", "new files stay");

    project.add("data").await;
    let error = project.checkout("latest").await.unwrap_err();
    assert_eq!(error.code(), "versions.uncommitted");
}

#[tokio::test]
async fn a_change_that_the_version_does_not_touch_is_carried_along() {
    let project = changed_once().await;
    project.write("data/b", "mine");
    let back = project.checkout("v1").await.unwrap();
    assert_eq!(back.kept, ["b"]);
    assert_eq!((project.read("data/a").unwrap(), project.read("data/b").unwrap()), ("1".to_owned(), "mine".to_owned()));
    let status = project.status().await;
    assert_eq!(status.changed.len(), 1);
    let request = RestoreRequest {
        name: name("data"),
        patterns: vec!["b".to_owned()],
        version: None,
        mode: LinkMode::Auto,
        force: false,
    };
    let restored = project.workspace.restore(request, &NoProgress).await.unwrap();
    assert_eq!(restored.written, ["b"]);
    assert!(project.status().await.is_clean());
}

#[tokio::test]
async fn restoring_from_a_version_leaves_the_pointer() {
    let project = Project::new().await;
    project.write("data/a", "1");
    let first = project.commit_data("first").await;
    project.write("data/a", "2");
    project.write("data/b", "2");
    project.commit("second").await;
    let request = RestoreRequest {
        name: name("data"),
        patterns: Vec::new(),
        version: Some(first.to_string()),
        mode: LinkMode::Copy,
        force: false,
    };
    let restored = project.workspace.restore(request, &NoProgress).await.unwrap();
    assert_eq!((restored.written, restored.removed), (vec!["a".to_owned()], vec!["b".to_owned()]));
    let status = project.status().await;
    assert_eq!((status.changed.len(), status.removed.len()), (1, 1));
    project.commit("third is the first").await;
    let log = project.workspace.log(&name("data")).await.unwrap();
    assert_eq!(log[0].version.root, log[2].version.root);
    let request = RestoreRequest {
        name: name("data"),
        patterns: vec!["nothing".to_owned()],
        version: None,
        mode: LinkMode::Auto,
        force: false,
    };
    assert_eq!(project.workspace.restore(request, &NoProgress).await.unwrap_err().code(), "versions.unknown_file");
}

#[tokio::test]
async fn a_partial_work_tree_is_no_deletion() {
    let project = Project::new().await;
    for path in ["a/1", "a/2", "b/1"] {
        project.write(&format!("data/{path}"), path);
    }
    project.commit_data("first").await;
    let partial = project.checkout_only(&["a"]).await.unwrap();
    assert_eq!((partial.removed, partial.left_out), (1, 1));
    assert_eq!(project.read("data/b/1"), None);
    let status = project.status().await;
    assert!(status.is_clean(), "{status:?}");
    assert_eq!(status.selection, Some(vec!["a".to_owned()]));

    project.write("data/a/1", "changed");
    project.commit("second").await;
    let files = project.workspace.list(&name("data"), "latest", &[]).await.unwrap();
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a/1", "a/2", "b/1"]);

    let also = Selection::Also(vec!["**/1".to_owned()]);
    let request = CheckoutRequest { selection: also, ..CheckoutRequest::of(name("data")) };
    assert_eq!(project.workspace.checkout(request, &NoProgress).await.unwrap().written, 1);
    let request = CheckoutRequest { selection: Selection::Everything, ..CheckoutRequest::of(name("data")) };
    project.workspace.checkout(request, &NoProgress).await.unwrap();
    assert_eq!(project.status().await.selection, None);
}

#[tokio::test]
async fn a_single_file_is_a_dataset_too() {
    let project = Project::new().await;
    project.write("raw/flights.csv", "1");
    project.write("raw/other.csv", "not this");
    let added = project.add("raw/flights.csv").await;
    assert_eq!((added.pointer.kind, added.pointer.files), (Kind::File, 1));
    assert_eq!(project.read("raw/.gitignore").unwrap(), "/flights.csv\n");
    project.commit("first").await;
    project.write("raw/flights.csv", "22");
    assert_eq!(project.status().await.changed.len(), 1);
    project.commit("second").await;
    let request = CheckoutRequest { version: Some("v1".to_owned()), ..CheckoutRequest::of(name("flights.csv")) };
    project.workspace.checkout(request, &NoProgress).await.unwrap();
    assert_eq!(project.read("raw/flights.csv").unwrap(), "1");
    assert!(project.status().await.is_clean());
    let file = project.workspace.file(&name("flights.csv"), Some("v2"), "").await.unwrap().0;
    assert_eq!((file.path.as_str(), file.size), ("flights.csv", 2));
    let removed = project.workspace.remove(&name("flights.csv"), false, false).await.unwrap();
    assert!(removed.files_removed);
    assert_eq!(project.read("raw/flights.csv"), None);
    assert_eq!(project.read("raw/.gitignore"), None);
    assert!(project.read("raw/other.csv").is_some());
}

#[tokio::test]
async fn differences_between_any_two_sides() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("data/old", "moved");
    project.commit_data("first").await;
    files::rename(&project.path("data/old"), &project.path("data/new")).unwrap();
    project.write("data/a", "22");
    let data = name("data");
    let work = project.workspace.diff(&data, &Side::Committed, &Side::Work).await.unwrap();
    assert_eq!((work.moved.len(), work.changed.len(), work.added.len(), work.removed.len()), (1, 1, 0, 0));
    project.commit("second").await;
    let versions =
        project.workspace.diff(&data, &Side::Version("v1".into()), &Side::Version("v2".into())).await.unwrap();
    assert_eq!(versions, work);
    assert!(project.workspace.diff(&data, &Side::Pointer, &Side::Work).await.unwrap().is_empty());
}

#[tokio::test]
async fn versions_have_many_names() {
    let project = Project::new().await;
    project.write("data/a", "1");
    let first = project.commit_data("first").await;
    project.write("data/a", "2");
    project.commit("second").await;
    let (data, workspace) = (name("data"), &project.workspace);
    let tag = TagName::new("train").unwrap();
    assert_eq!(workspace.tag(&data, "v1", &tag, false).await.unwrap(), first);
    let root = workspace.resolve(&data, "v1").await.unwrap().version.root;
    for spec in ["v1", "train", &first.short(), &first.to_string(), &root.short()[..8]] {
        assert_eq!(workspace.resolve(&data, spec).await.unwrap().digest, first, "{spec}");
    }
    for bad in ["v0", "v3", "abc", "0000", "no-such-tag", ""] {
        assert_eq!(workspace.resolve(&data, bad).await.unwrap_err().code(), "versions.unknown_version", "{bad}");
    }
    assert_eq!(workspace.tag(&data, "latest", &tag, false).await.unwrap_err().code(), "versions.tag_exists");
    workspace.tag(&data, "latest", &tag, true).await.unwrap();
    assert_ne!(workspace.tags(&data).await.unwrap()[&tag], first);
    workspace.tag_remove(&data, &tag).await.unwrap();
    assert_eq!(workspace.tag_remove(&data, &tag).await.unwrap_err().code(), "versions.unknown_tag");
    assert_eq!(workspace.locate("data/x/y".as_ref()).await.unwrap(), (data.clone(), Some("x/y".to_owned())));
    assert_eq!(workspace.locate("data.dataset".as_ref()).await.unwrap(), (data.clone(), None));
    let file = workspace.file(&data, Some("v1"), "a").await.unwrap().0;
    assert_eq!(project.store.get_bytes(&file.digest).await.unwrap().as_ref(), b"1");
    let unknown = workspace.file(&data, Some("v1"), "b").await.unwrap_err();
    assert_eq!(unknown.code(), "versions.unknown_file");
    assert!(unknown.hint().unwrap().contains("at its top are `a`"), "{:?}", unknown.hint());
    assert_eq!(workspace.file(&data, Some("v1"), "").await.unwrap_err().code(), "versions.which_file");
    let now = workspace.file(&data, None, "a").await.unwrap().0;
    assert_eq!(project.store.get_bytes(&now.digest).await.unwrap().as_ref(), b"2");
}

#[tokio::test]
async fn paths_that_cannot_be_tracked() {
    let project = Project::new().await;
    project.write("data/inner/a", "1");
    project.write("other/a", "1");
    project.write("hidden/.git/config", "1");
    project.add("data").await;
    for bad in ["data/inner", "../x", "nothing", ".ropewalk", ".", "hidden"] {
        assert_eq!(project.try_add(bad).await.unwrap_err().code(), "versions.untrackable", "{bad}");
    }
    let taken = AddRequest { path: "other".into(), name: Some(name("data")), ..AddRequest::default() };
    assert_eq!(project.workspace.add(taken).await.unwrap_err().code(), "versions.name_taken");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc", project.path("link")).unwrap();
        assert_eq!(project.try_add("link").await.unwrap_err().code(), "versions.untrackable");
        project.write("linked/a", "1");
        std::os::unix::fs::symlink("/etc/passwd", project.path("linked/b")).unwrap();
        assert_eq!(project.try_add("linked").await.unwrap_err().code(), "versions.links");
    }
    let unknown = project.workspace.status(&[name("nope")]).await.unwrap_err();
    assert_eq!(unknown.code(), "versions.unknown_dataset");
    assert!(unknown.hint().unwrap().contains("data"));
}

#[tokio::test]
async fn missing_data_is_said_to_be_missing_and_comes_back() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.commit_data("first").await;
    files::remove_directory(&project.path("data")).unwrap();
    assert_eq!(project.status().await.layout, Layout::Missing);
    assert!(
        matches!(project.commit("nothing").await[0].outcome, CommitOutcome::Unchanged { .. }),
        "that is no deletion"
    );
    let back = project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
    assert_eq!(back.written, 1);
    assert!(project.status().await.is_clean());
}

#[tokio::test]
async fn a_pointer_that_git_changed_is_followed() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.commit_data("first").await;
    let old = project.read("data.dataset").unwrap();
    project.write("data/a", "2");
    project.commit("second").await;
    // `git checkout` of an older commit.
    project.write("data.dataset", &old);
    assert!(matches!(project.status().await.layout, Layout::Outdated { .. }));
    assert_eq!(project.try_add("data").await.unwrap_err().code(), "versions.outdated");
    project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
    assert_eq!(project.read("data/a").unwrap(), "1");
    assert!(project.status().await.is_clean());
}

#[tokio::test]
async fn a_removed_dataset_can_be_forgotten() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.commit_data("first").await;
    assert_eq!(project.workspace.forget(&name("data")).await.unwrap_err().code(), "versions.untrackable");
    project.write("data/a", "mine");
    assert_eq!(
        project.workspace.remove(&name("data"), false, false).await.unwrap_err().code(),
        "versions.would_overwrite"
    );
    project.workspace.remove(&name("data"), true, false).await.unwrap();
    assert_eq!(project.read("data/a").unwrap(), "mine");
    assert_eq!(project.workspace.names().await.unwrap(), [name("data")]);
    assert!(!project.workspace.roots().await.unwrap().is_empty());
    assert_eq!(project.workspace.forget(&name("data")).await.unwrap(), 1);
    assert!(project.workspace.names().await.unwrap().is_empty());
    assert!(project.workspace.roots().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_pattern_that_fits_nothing_changes_nothing() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("data/deep/b", "1");
    project.write("other/x", "1");
    project.commit_data("first").await;
    project.add("other").await;
    for wrong in ["nope", "deep/*.csv", "data/a"] {
        let error = project.checkout_only(&["a", wrong]).await.unwrap_err();
        assert_eq!(error.code(), "versions.unknown_file");
        assert!(error.to_string().contains(&format!("no file `{wrong}`")), "{error}");
        assert!(error.hint().unwrap().contains("at its top are `a`, `deep/`"), "{:?}", error.hint());
        assert!(project.read("data/a").is_some() && project.read("data/deep/b").is_some(), "{wrong}");
    }
    assert_eq!(project.status_of("data").await.selection, None);
    let error = project.checkout_only(&["other"]).await.unwrap_err();
    assert!(error.hint().unwrap().contains("a dataset of its own"), "{:?}", error.hint());
    // What was chosen before may fit nothing of another version.
    project.checkout_only(&["deep"]).await.unwrap();
    project.delete("data/deep/b");
    project.commit("no b").await;
    project.checkout("latest").await.unwrap();
}

#[tokio::test]
async fn a_version_says_why_it_was_made() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.add("data").await;
    for empty in ["", " \n"] {
        let error = project.workspace.commit(&[], empty, AUTHOR).await.unwrap_err();
        assert_eq!(error.code(), "versions.no_message");
    }
    assert!(project.workspace.log(&name("data")).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_one_dataset_is_said_beside_the_others() {
    let project = Project::new().await;
    for path in ["data/a", "moved/a", "torn/a", "twice/a"] {
        project.write(path, "1");
    }
    for path in ["data", "moved", "torn", "twice"] {
        project.add(path).await;
    }
    project.commit("first").await;
    files::rename(&project.path("moved.dataset"), &project.path("renamed.dataset")).unwrap();
    let torn = project.read("torn.dataset").unwrap();
    project.write("torn.dataset", &torn[..torn.len() / 2]);
    let twice = project.read("twice.dataset").unwrap().replace("path twice", "path zz");
    project.write("zz.dataset", &twice);
    project.write("zz/a", "1");
    // Files of other tools: beside, and inside of what is tracked already and of what is only then.
    project.write("model.dataset", "nobody's");
    project.write("data/inner.dataset", "data");
    project.write("fresh/inner.dataset", "data");
    project.add("fresh").await;
    let each = project.workspace.status_each(&[]).await.unwrap();
    let told: Vec<_> = each
        .iter()
        .map(|one| match one {
            Ok(status) => (status.path.as_str(), "fine"),
            Err(problem) => (problem.path.as_str(), problem.error.code()),
        })
        .collect();
    let expected = [
        ("data", "fine"),
        ("fresh", "fine"),
        ("renamed", "versions.pointer_moved"),
        ("torn", "versions.pointer"),
        ("twice", "fine"),
        ("zz", "versions.name_taken"),
    ];
    assert_eq!(told, expected);
    assert_eq!(each[0].as_ref().unwrap().added.len(), 1, "a file of data like any other");
    project.write("model/a", "1");
    let error = project.try_add("model").await.unwrap_err();
    assert_eq!(error.code(), "versions.not_a_pointer");
    assert_eq!(project.read("model.dataset").unwrap(), "nobody's");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/passwd", project.path("data/link")).unwrap();
        let each = project.workspace.status_each(&[]).await.unwrap();
        assert_eq!(each[0].as_ref().unwrap_err().error.code(), "versions.links");
        assert!(each[1].is_ok());
    }
}

#[tokio::test]
async fn what_killed_checkouts_left_is_removed() {
    let project = Project::new().await;
    project.write("data/a", "1");
    project.write("data/deep/b", "1");
    project.commit_data("first").await;
    let restore = || RestoreRequest {
        name: name("data"),
        patterns: Vec::new(),
        version: None,
        mode: LinkMode::Auto,
        force: false,
    };
    for again in [true, false] {
        project.write("data/.tmp#1234000000001", "half a file");
        project.write("data/deep/.tmp#77000000000", "half a file");
        project.write("data/.tmp#mine", "not one of ours");
        if again {
            project.checkout("latest").await.unwrap();
        } else {
            project.workspace.restore(restore(), &NoProgress).await.unwrap();
        }
        assert_eq!((project.read("data/.tmp#1234000000001"), project.read("data/deep/.tmp#77000000000")), (None, None));
        assert!(project.read("data/.tmp#mine").is_some());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn linked_files_become_files_of_their_own() {
    use std::os::unix::fs::MetadataExt as _;
    let project = Project::new().await;
    let large = "x".repeat(2 << 20);
    project.write("data/large", &large);
    project.write("data/small", "1");
    project.commit_data("first").await;
    files::remove_directory(&project.path("data")).unwrap();
    let request = |mode| CheckoutRequest { mode, ..CheckoutRequest::of(name("data")) };
    project.workspace.checkout(request(LinkMode::Hardlink), &NoProgress).await.unwrap();
    let look = || files::open(&project.path("data/large")).unwrap().metadata().unwrap();
    assert!(look().nlink() > 1 && look().permissions().readonly());
    let made = project.workspace.checkout(request(LinkMode::Copy), &NoProgress).await.unwrap();
    assert_eq!((made.written, made.laid_out.copied), (1, 1));
    assert!(look().nlink() == 1 && !look().permissions().readonly());
    assert_eq!(files::read(&project.path("data/large")).unwrap(), large.as_bytes());
    let again = project.workspace.checkout(request(LinkMode::Copy), &NoProgress).await.unwrap();
    assert_eq!(again.written, 0);
}
