use ropewalk_store::{LinkMode, NoProgress, files};
use ropewalk_types::Diagnose as _;

use super::{AUTHOR, Project, name};
use crate::{AddLinks, FileSource, Imported, Kind};

const A: &str = "0cc175b9c0f1b6a831c399e269772661";
const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";

/// A project of DVC 3 with a folder (list in the cache, one file there, one in a remote) and a file of DVC 2.
pub(super) async fn dvc_project() -> Project {
    dvc_project_in(Project::new().await)
}

pub(super) fn dvc_project_in(project: Project) -> Project {
    project.write(".dvc/config", "[core]\n    remote = shared\n['remote \"shared\"']\n    url = ../remote\n");
    let list = format!(r#"[{{"md5": "{A}", "relpath": "a"}}, {{"md5": "{B}", "relpath": "deep/b"}}]"#);
    let md5 = md5(list.as_bytes());
    project.write(&format!(".dvc/cache/files/md5/{}/{}.dir", &md5[..2], &md5[2..]), &list);
    project.write(&format!(".dvc/cache/files/md5/{}/{}", &A[..2], &A[2..]), "a");
    project.write(&format!("remote/files/md5/{}/{}", &B[..2], &B[2..]), "b");
    let outs = format!("outs:\n- md5: {md5}.dir\n  size: 2\n  nfiles: 2\n  hash: md5\n  path: data\n");
    project.write("data.dvc", &outs);
    let old = self::md5(b"x\ny\n");
    project.write("old/table.csv", "x\r\ny\r\n");
    project.write("old/table.csv.dvc", &format!("wdir: ..\nouts:\n- md5: {old}\n  size: 6\n  path: old/table.csv\n"));
    project
}

fn md5(bytes: &[u8]) -> String {
    crate::import::md5_of(bytes)
}

pub(super) async fn import(project: &Project, plan: &crate::ImportPlan) -> Vec<Imported> {
    project.workspace.import(plan, AUTHOR, LinkMode::Auto, &NoProgress).await.unwrap()
}

#[tokio::test]
async fn a_dvc_project_is_taken_over() {
    let project = dvc_project().await;
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap();
    assert!(plan.skipped.is_empty(), "{plan:?}");
    let told: Vec<_> =
        plan.outputs.iter().map(|output| (output.path.as_str(), output.kind, output.files.len())).collect();
    assert_eq!(told, [("data", Kind::Folder, 2), ("old/table.csv", Kind::File, 1)]);
    assert!(matches!(plan.outputs[0].files[0].source, FileSource::Cache(_)));
    assert!(matches!(plan.outputs[0].files[1].source, FileSource::Remote(_)));
    assert!(
        matches!(plan.outputs[1].files[0].source, FileSource::WorkTree(_)),
        "the MD5 of DVC 2 is that of Unix text"
    );

    let imported = import(&project, &plan).await;
    assert_eq!((imported[0].written, imported[1].written), (2, 0));
    assert_eq!(project.read("data/deep/b").unwrap(), "b");
    assert_eq!(project.read("old/table.csv").unwrap(), "x\r\ny\r\n");
    let statuses = project.workspace.status(&[]).await.unwrap();
    assert!(statuses.iter().all(crate::Status::is_clean), "{statuses:?}");

    let again = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap();
    assert_eq!((again.outputs.len(), again.skipped.len()), (0, 2));
}

#[tokio::test]
async fn changes_in_the_work_tree_stay_changes() {
    let project = dvc_project().await;
    project.write("data/a", "mine");
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap();
    let imported = import(&project, &plan).await;
    assert_eq!(imported[0].changed, ["a"]);
    assert_eq!(project.read("data/a").unwrap(), "mine");
    let statuses = project.workspace.status(&[name("data")]).await.unwrap();
    assert_eq!(statuses[0].changed.len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn links_into_the_cache_become_files() {
    let project = dvc_project().await;
    let cached = project.path(&format!(".dvc/cache/files/md5/{}/{}", &A[..2], &A[2..]));
    files::create_directories(&project.path("data")).unwrap();
    std::os::unix::fs::symlink(&cached, project.path("data/a")).unwrap();
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap();
    assert!(plan.outputs[0].files[0].stands_in);
    import(&project, &plan).await;
    assert_eq!(files::kind(&project.path("data/a")).unwrap(), Some(files::EntryKind::File));
    assert_eq!(files::read(&cached).unwrap(), b"a");
}

#[tokio::test]
async fn what_cannot_be_found_or_read_is_said() {
    let project = dvc_project().await;
    // Damaged in the only place where it is.
    project.write(&format!("remote/files/md5/{}/{}", &B[..2], &B[2..]), "damaged");
    project.write("lost.dvc", &format!("outs:\n- md5: {}.dir\n  hash: md5\n  path: lost\n", md5(b"lost")));
    project.write("out.dvc", &format!("outs:\n- md5: {A}\n  hash: md5\n  path: ../../outside\n"));
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap();
    let data = plan.outputs.iter().find(|output| output.path == "data").unwrap();
    assert_eq!(data.missing, ["deep/b"]);
    assert_eq!(plan.skipped.len(), 2, "{plan:?}");
    assert!(plan.skipped.iter().any(|skipped| skipped.reason.contains("neither in the cache")));
    assert!(plan.skipped.iter().any(|skipped| skipped.reason.contains("outside the project")));
    assert_eq!(import(&project, &plan).await.len(), 1, "half a dataset is none");

    project.write("bad.dvc", "outs: [");
    let error = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap_err();
    assert_eq!(error.code(), "versions.foreign");
    let none = Project::new().await;
    assert_eq!(none.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap_err().code(), "versions.foreign");
}

#[tokio::test]
async fn hostile_lists_are_refused() {
    for path in ["../x", "/etc/passwd", "a//b", "a/../../b", ".git/config", "a\\\\b"] {
        let project = Project::new().await;
        let list = format!(r#"[{{"md5": "{A}", "relpath": "{path}"}}]"#);
        let md5 = md5(list.as_bytes());
        project.write(".dvc/config", "");
        project.write(&format!(".dvc/cache/files/md5/{}/{}.dir", &md5[..2], &md5[2..]), &list);
        project.write("data.dvc", &format!("outs:\n- md5: {md5}.dir\n  hash: md5\n  path: data\n"));
        let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap();
        assert_eq!((plan.outputs.len(), plan.skipped.len()), (0, 1), "{path}");
    }
}

#[tokio::test]
async fn locks_of_both_schemas_and_working_folders() {
    for (lock, expected) in [
        (
            format!(
                "schema: '2.0'\nstages:\n  make@1:\n    cmd: x\n    outs:\n    - path: a\n      hash: md5\n      md5: {A}\n      size: 1\n"
            ),
            "sub/a",
        ),
        (format!("prepare:\n  cmd: x\n  outs:\n  - path: a\n    md5: {A}\n"), "a"),
    ] {
        let project = Project::new().await;
        project.write(".dvc/config", "");
        project.write("dvc.yaml", "stages:\n  make:\n    foreach: [1]\n    do:\n      wdir: sub\n      cmd: x\n");
        project.write("dvc.lock", &lock);
        project.write(expected, "a");
        let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore).await.unwrap();
        assert_eq!(plan.outputs.iter().map(|output| output.path.as_str()).collect::<Vec<_>>(), [expected], "{plan:?}");
    }
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
    let plan = project.workspace.lfs_plan("data".as_ref(), None, AddLinks::AsBefore).await.unwrap();
    assert_eq!(plan.outputs[0].files.iter().map(|file| file.stands_in).collect::<Vec<_>>(), [true, false]);
    let imported = import(&project, &plan).await;
    assert_eq!((imported[0].files, imported[0].bytes), (2, 8));
    assert_eq!(project.read("data/big").unwrap(), "abc");
    assert!(project.status().await.is_clean());

    project.write("other/wrong", &pointer(4));
    let plan = project.workspace.lfs_plan("other".as_ref(), None, AddLinks::AsBefore).await.unwrap();
    assert_eq!(plan.outputs[0].missing, ["wrong"]);
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
        let plan = project.workspace.lfs_plan(path.as_ref(), None, AddLinks::AsBefore).await.unwrap();
        let told: Vec<_> = plan.outputs.iter().map(|output| (output.path.as_str(), output.files.len())).collect();
        assert_eq!(told, [("images", 3), ("labels", 1), ("sounds", 1), ("top.bin", 1)], "{plan:?}");
        assert_eq!(plan.skipped.iter().map(|skipped| skipped.path.as_str()).collect::<Vec<_>>(), ["code"]);
        assert!(plan.skipped[0].reason.contains("code/train.py"), "{plan:?}");
    }
    let plan = project.workspace.lfs_plan("".as_ref(), None, AddLinks::AsBefore).await.unwrap();
    import(&project, &plan).await;
    assert_eq!(project.read("images/deep/a.bin").unwrap(), "abc");
    assert_eq!(project.read("top.bin").unwrap(), "abc");
    let again = project.workspace.lfs_plan("".as_ref(), None, AddLinks::AsBefore).await.unwrap();
    assert_eq!((again.outputs.len(), again.skipped.len()), (0, 1), "{again:?}");
}
