//! Coming from Git LFS.

use ropewalk_store::files;
use ropewalk_types::Diagnose as _;

use super::taking_over::{import, import_some};
use super::{Project, name};
use crate::{AddLinks, FileSource, ImportPlan};

/// Of `abc`.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// Of `a`.
const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

fn pointer(oid: &str, size: usize) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n")
}

fn keep(project: &Project, oid: &str, bytes: &str) {
    project.write(&format!(".git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]), bytes);
}

/// A repository whose index has a pointer for each of these files; the work tree has what Git LFS would lay out.
async fn checked_out(kept: &[(&str, &str, &str)]) -> Project {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    project.git(&["config", "filter.lfs.clean", "cat"]).await;
    project.write(".gitattributes", "*.lfs filter=lfs\n");
    for (path, oid, bytes) in kept {
        project.write(path, &pointer(oid, bytes.len()));
    }
    project.git(&["add", "."]).await;
    for (path, _, bytes) in kept {
        project.write(path, bytes);
    }
    project
}

async fn plan(project: &Project, path: &str) -> ImportPlan {
    project.workspace.lfs_plan(path.as_ref(), None, AddLinks::AsBefore, &[]).await.unwrap()
}

#[tokio::test]
async fn what_is_checked_out_is_held_against_the_pointer_in_git() {
    let files = [("data/a.lfs", A, "a"), ("data/deep/abc.lfs", ABC, "abc"), ("data/gone.lfs", A, "a")];
    let project = checked_out(&files).await;
    project.delete("data/gone.lfs");
    keep(&project, A, "a");
    for path in ["", "data"] {
        let plan = plan(&project, path).await;
        assert!(plan.is_whole() && plan.skipped.is_empty(), "{plan:?}");
        let files = &plan.outputs[0].files;
        let told: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.digest.clone())).collect();
        let sha256 = |oid: &str| format!("sha256:{oid}");
        assert_eq!(told, [("a.lfs", sha256(A)), ("deep/abc.lfs", sha256(ABC)), ("gone.lfs", sha256(A))]);
        assert!(files[..2].iter().all(|file| matches!(file.source, FileSource::WorkTree(_))), "{plan:?}");
        assert!(matches!(files[2].source, FileSource::Cache(_)), "{plan:?}");
    }
    let imported = import(&project, &plan(&project, "").await).await;
    assert_eq!((imported[0].files, imported[0].written, imported[0].changed.len()), (3, 1, 0));
    assert_eq!(project.read("data/gone.lfs").as_deref(), Some("a"), "git has it");
    assert!(project.status().await.is_clean());
}

#[tokio::test]
async fn what_was_changed_since_stays_a_change() {
    let project = checked_out(&[("data/abc.lfs", ABC, "abc"), ("data/b.lfs", A, "a")]).await;
    // Of the same size.
    project.write("data/abc.lfs", "xyz");
    let found = plan(&project, "").await;
    assert_eq!(found.outputs[0].missing, ["abc.lfs"], "its object is nowhere: {found:?}");
    keep(&project, ABC, "xyz");
    let found = plan(&project, "").await;
    let [damaged] = found.outputs[0].damaged.as_slice() else { panic!("{found:?}") };
    assert!(damaged.file == "abc.lfs" && damaged.place.ends_with(ABC) && damaged.expected.contains(ABC), "{damaged}");
    assert!(damaged.got.starts_with("sha256:") && !damaged.got.contains(ABC) && !found.is_whole(), "{found:?}");
    keep(&project, ABC, "abc");
    let imported = import(&project, &plan(&project, "").await).await;
    assert_eq!(imported[0].changed, ["abc.lfs"]);
    assert_eq!(project.read("data/abc.lfs").as_deref(), Some("xyz"));
    let status = project.status_of("data").await;
    assert_eq!((status.changed.len(), status.added.len(), status.removed.len()), (1, 0, 0), "{status:?}");
    let bytes = project.store.get_bytes(&ropewalk_types::Digest::of(b"abc")).await.unwrap();
    assert_eq!(bytes.as_ref(), b"abc", "the first version is what git had");
}

#[tokio::test]
async fn a_broken_pointer_keeps_no_others_from_being_taken_over() {
    let project = checked_out(&[("images/a.lfs", A, "a"), ("sounds/abc.lfs", ABC, "abc")]).await;
    project.write("images/a.lfs", &pointer("none", 1));
    let found = plan(&project, "").await;
    assert_eq!(found.outputs.iter().map(|output| output.path.as_str()).collect::<Vec<_>>(), ["sounds"], "{found:?}");
    let [failed] = found.failed.as_slice() else { panic!("{found:?}") };
    assert_eq!((failed.path.as_str(), failed.line), ("images", Some(2)));
    assert!(failed.reason.contains("images/a.lfs`, line 2"), "{failed:?}");
    assert_eq!(import(&project, &found).await.len(), 1);
}

#[tokio::test]
async fn a_checkout_that_changes_under_an_import_is_not_stored() {
    let project = checked_out(&[("data/abc.lfs", ABC, "abc")]).await;
    let plan = plan(&project, "").await;
    project.write("data/abc.lfs", "xyz");
    let outcome = import_some(&project, &plan).await;
    assert_eq!((outcome.imported.len(), outcome.failed.len()), (0, 1), "{outcome:?}");
    assert!(!files::exists(&project.path("data.dataset")).unwrap());
}

#[tokio::test]
async fn a_folder_that_git_alone_has_is_laid_out() {
    let project = checked_out(&[("sparse/abc.lfs", ABC, "abc"), ("top.lfs", A, "a")]).await;
    keep(&project, ABC, "abc");
    keep(&project, A, "a");
    files::remove_directory(&project.path("sparse")).unwrap();
    project.delete("top.lfs");
    let imported = import(&project, &plan(&project, "").await).await;
    assert_eq!(imported.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["sparse", "top.lfs"]);
    assert_eq!(project.read("sparse/abc.lfs").as_deref(), Some("abc"));
    assert_eq!(project.read("top.lfs").as_deref(), Some("a"));
    assert!(project.workspace.status(&[name("sparse")]).await.unwrap()[0].is_clean());
}

#[tokio::test]
async fn git_lfs_is_taken_over() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    let oid = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let pointer = |size| format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n");
    project.write(&format!(".git/lfs/objects/ba/78/{oid}"), "abc");
    project.write("data/big", &pointer(3));
    project.write("data/plain", "plain");
    let plan = project.workspace.lfs_plan("data".as_ref(), None, AddLinks::AsBefore, &[]).await.unwrap();
    assert_eq!(plan.outputs[0].files.iter().map(|file| file.stands_in).collect::<Vec<_>>(), [true, false]);
    let imported = import(&project, &plan).await;
    assert_eq!((imported[0].files, imported[0].bytes), (2, 8));
    assert_eq!(project.read("data/big").unwrap(), "abc");
    assert!(project.status().await.is_clean());

    project.write("other/wrong", &pointer(4));
    let plan = project.workspace.lfs_plan("other".as_ref(), None, AddLinks::AsBefore, &[]).await.unwrap();
    let [damaged] = plan.outputs[0].damaged.as_slice() else { panic!("{plan:?}") };
    assert!(damaged.file == "wrong" && damaged.expected.contains("4 bytes") && damaged.got.contains("3 bytes"));
    assert!(plan.outputs[0].hint.as_ref().unwrap().contains("git lfs fetch") && !plan.is_whole(), "{plan:?}");
}

#[tokio::test]
async fn everything_of_git_lfs_is_found() {
    let project = Project::new().await;
    project.git(&["init", "-q"]).await;
    let oid = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 3\n");
    project.write(&format!(".git/lfs/objects/ba/78/{oid}"), "abc");
    for path in ["images/deep/a.bin", "images/b.bin", "labels/c.bin", "top.bin", "code/d.bin", ".cache/e.bin"] {
        project.write(path, &pointer);
    }
    project.write("images/.gitattributes", "");
    project.write("code/train.py", "1");
    // What Git LFS has laid out is no pointer, and known by the attribute.
    project.write(".gitattributes", "*.lfs filter=lfs\n");
    project.git(&["config", "filter.lfs.clean", "cat"]).await;
    project.write("sounds/f.lfs", "abc");
    project.git(&["add", "."]).await;
    for path in ["", ".", project.root().to_str().unwrap()] {
        let plan = project.workspace.lfs_plan(path.as_ref(), None, AddLinks::AsBefore, &[]).await.unwrap();
        let told: Vec<_> = plan.outputs.iter().map(|output| (output.path.as_str(), output.files.len())).collect();
        assert_eq!(told, [("images", 3), ("labels", 1), ("sounds", 1), ("top.bin", 1)], "{plan:?}");
        assert_eq!(plan.skipped.iter().map(|skipped| skipped.path.as_str()).collect::<Vec<_>>(), ["code"]);
        assert!(plan.skipped[0].reason.contains("code/train.py"), "{plan:?}");
    }
    let plan = project.workspace.lfs_plan("".as_ref(), None, AddLinks::AsBefore, &[]).await.unwrap();
    import(&project, &plan).await;
    assert_eq!(project.read("images/deep/a.bin").unwrap(), "abc");
    assert_eq!(project.read("top.bin").unwrap(), "abc");
    let again = project.workspace.lfs_plan("".as_ref(), None, AddLinks::AsBefore, &[]).await.unwrap();
    assert_eq!((again.outputs.len(), again.skipped.len()), (0, 1), "{again:?}");
}

#[tokio::test]
async fn no_name_of_another_is_taken() {
    let project = checked_out(&[("data/a.lfs", A, "a"), ("top.lfs", ABC, "abc")]).await;
    let others = [name("data"), name("top.lfs")];
    for (path, expected) in [("", ["data-2", "top.lfs-2"].as_slice()), ("data", ["data-2"].as_slice())] {
        let plan = project.workspace.lfs_plan(path.as_ref(), None, AddLinks::AsBefore, &others).await.unwrap();
        let names: Vec<_> = plan.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn what_git_still_has_of_datasets_is_found() {
    let project = checked_out(&[("data/a.lfs", A, "a"), ("database/b.lfs", A, "a"), ("top.lfs", ABC, "abc")]).await;
    assert!(project.workspace.lfs_left().await.unwrap().is_empty(), "none is a dataset yet");
    // As after an import that was killed before git was told to forget them.
    import(&project, &plan(&project, "").await).await;
    assert_eq!(project.workspace.lfs_left().await.unwrap(), ["data", "database", "top.lfs"]);
    project.git(&["rm", "-r", "-f", "-q", "--cached", "data"]).await;
    assert_eq!(project.workspace.lfs_left().await.unwrap(), ["database", "top.lfs"]);
}

#[tokio::test]
async fn what_a_killed_import_left_half_laid_out_is_told() {
    let project = checked_out(&[("data/a.lfs", A, "a"), ("data/abc.lfs", ABC, "abc")]).await;
    import(&project, &plan(&project, "").await).await;
    assert!(plan(&project, "").await.is_whole());
    project.write(".ropewalk/work/data.begun", &project.read("data.dataset").unwrap());
    let again = plan(&project, "").await;
    assert_eq!((again.outputs.len(), again.failed.len()), (0, 1), "{again:?}");
    assert!(again.failed[0].hint.as_ref().unwrap().contains("`ropewalk data checkout data`"), "{again:?}");
    let one = project.workspace.lfs_plan("data".as_ref(), None, AddLinks::AsBefore, &[]).await.unwrap_err();
    assert_eq!(one.code(), "versions.unfinished");
}
