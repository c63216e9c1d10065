use std::sync::Arc;

use ropewalk_store::{LinkMode, NoProgress, StoreError, files};
use ropewalk_types::Diagnose as _;

use super::{AUTHOR, Project, name};
use crate::{
    AddLinks, CheckoutRequest, DvcRemote, DvcSurroundings, FileSource, ImportOutcome, ImportPlan, Imported, Kind,
};

pub(super) const A: &str = "0cc175b9c0f1b6a831c399e269772661";
pub(super) const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";

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

pub(super) fn md5(bytes: &[u8]) -> String {
    crate::import::md5_of(bytes)
}

/// Takes over what a plan has as whole, all of which must be so.
pub(super) async fn import(project: &Project, plan: &ImportPlan) -> Vec<Imported> {
    let ImportOutcome { imported, failed } = import_some(project, plan).await;
    assert!(failed.is_empty(), "{failed:?}");
    imported
}

pub(super) async fn import_some(project: &Project, plan: &ImportPlan) -> ImportOutcome {
    project.workspace.import(plan, AUTHOR, LinkMode::Auto, &NoProgress).await.unwrap()
}

/// A machine without settings of DVC, on which no object store is opened.
pub(super) fn no_remotes() -> DvcSurroundings {
    let open = Arc::new(|_: &DvcRemote| Err(StoreError::Interrupted));
    DvcSurroundings { settings: Vec::new(), home: None, open }
}

#[tokio::test]
async fn a_dvc_project_is_taken_over() {
    let project = dvc_project().await;
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
    assert!(plan.skipped.is_empty() && plan.is_whole(), "{plan:?}");
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

    let again = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
    assert_eq!((again.outputs.len(), again.skipped.len()), (0, 2));
    assert!(again.is_whole(), "what is a dataset already is nothing amiss: {again:?}");
}

#[tokio::test]
async fn what_a_killed_import_left_half_laid_out_is_not_passed_over() {
    let project = dvc_project().await;
    let plan = async || project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
    import(&project, &plan().await).await;
    // As a kill leaves it before the last file.
    project.write(".ropewalk/work/data.begun", &project.read("data.dataset").unwrap());
    project.delete("data/deep/b");
    let again = plan().await;
    assert_eq!((again.outputs.len(), again.skipped.len(), again.failed.len()), (0, 1, 1), "{again:?}");
    assert!(again.failed[0].hint.as_ref().unwrap().contains("`ropewalk data checkout data`"), "{again:?}");
    project.workspace.checkout(CheckoutRequest::of(name("data")), &NoProgress).await.unwrap();
    assert_eq!(project.read("data/deep/b").as_deref(), Some("b"));
    assert!(plan().await.is_whole());
}

#[tokio::test]
async fn changes_in_the_work_tree_stay_changes() {
    let project = dvc_project().await;
    project.write("data/a", "mine");
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
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
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
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
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
    let data = plan.outputs.iter().find(|output| output.path == "data").unwrap();
    let [damaged] = data.damaged.as_slice() else { panic!("{data:?}") };
    assert!(data.missing.is_empty() && damaged.file == "deep/b", "{data:?}");
    assert_eq!((&damaged.expected, &damaged.got), (&format!("md5:{B}"), &format!("md5:{}", md5(b"damaged"))));
    assert!(damaged.place.ends_with(&format!("remote/files/md5/{}/{}", &B[..2], &B[2..])), "{damaged}");
    assert!(data.hint.as_ref().unwrap().contains("dvc fetch"), "{data:?}");
    assert_eq!((plan.skipped.len(), plan.failed.len(), plan.is_whole()), (0, 2, false), "{plan:?}");
    let failed = |text: &str| plan.failed.iter().find(|failed| failed.reason.contains(text)).unwrap();
    assert!(failed("neither in the cache").hint.as_ref().unwrap().contains("dvc fetch"));
    assert!(failed("outside the project").path.ends_with("outside"));
    assert_eq!(import(&project, &plan).await.len(), 1, "half a dataset is none");

    let none = Project::new().await;
    let error = none.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap_err();
    assert_eq!(error.code(), "versions.import");
}

#[tokio::test]
async fn files_that_cannot_be_read_keep_no_others_from_being_taken_over() {
    let project = dvc_project().await;
    project.write("bad.dvc", "outs:\n- md5: {a: b}\n  path: x\n");
    files::write_atomic(&project.path("bytes.dvc"), b"outs:\n- md5: \xff\n").unwrap();
    let lock = format!("schema: '2.0'\nstages:\n  x:\n    cmd: x\n    outs:\n    - path: a\n      md5: {A}\n");
    project.write("other/dvc.lock", &lock);
    project.write("other/dvc.yaml", "stages: 3\n");
    project.write("stage/dvc.lock", "schema: '2.0'\nstages:\n  x: 3\n");
    for folder in ["", ".", "other/.."] {
        let plan = project.workspace.dvc_plan(folder.as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
        let told: Vec<_> = plan.outputs.iter().map(|output| output.declared_in.as_str()).collect();
        assert_eq!(told, ["data.dvc", "old/table.csv.dvc"], "{plan:?}");
        let bad: Vec<_> = plan.failed.iter().map(|failed| failed.path.as_str()).collect();
        assert_eq!(bad, ["bad.dvc", "bytes.dvc", "other/dvc.lock", "stage/dvc.lock"], "{plan:?}");
        for (failed, file) in plan.failed.iter().zip(["bad.dvc", "bytes.dvc", "other/dvc.yaml", "stage/dvc.lock"]) {
            let line = failed.line.unwrap_or_else(|| panic!("{failed:?}"));
            assert!(failed.reason.starts_with(&format!("cannot read `{file}`, line {line}: ")), "{failed:?}");
            assert!(!failed.reason.contains('\n') && !failed.reason.contains("error:"), "{failed:?}");
            assert!(failed.hint.as_ref().unwrap().contains("from git"), "{failed:?}");
        }
        assert_eq!(plan.failed[1].line, Some(2), "{plan:?}");
    }
    let plan = plan_of(&project).await;
    assert!(!plan.is_whole());
    assert_eq!(import(&project, &plan).await.len(), 2);
}

#[tokio::test]
async fn what_is_damaged_in_the_cache_is_taken_from_a_remote() {
    let project = dvc_project().await;
    let object = |storage: &str, md5: &str| format!("{storage}/files/md5/{}/{}", &md5[..2], &md5[2..]);
    project.write(&object(".dvc/cache", A), "z");
    let damaged = plan_of(&project).await.outputs.remove(0).damaged;
    assert_eq!(damaged.iter().map(|damaged| damaged.file.as_str()).collect::<Vec<_>>(), ["a"], "{damaged:?}");
    project.write(&object("remote", A), "y");
    let damaged = plan_of(&project).await.outputs.remove(0).damaged;
    assert_eq!(damaged.iter().map(|damaged| damaged.file.as_str()).collect::<Vec<_>>(), ["a", "a"], "{damaged:?}");
    project.write(&object("remote", A), "a");
    let plan = plan_of(&project).await;
    assert!(plan.is_whole() && matches!(plan.outputs[0].files[0].source, FileSource::Remote(_)), "{plan:?}");

    let declared = project.read("data.dvc").unwrap();
    let list = declared.split("md5: ").nth(1).unwrap().split('\n').next().unwrap();
    let whole = project.read(&object(".dvc/cache", list)).unwrap();
    project.write(&object(".dvc/cache", list), "[]");
    let told = plan_of(&project).await;
    let reason = refusal(&told, "data.dvc");
    assert!(reason.contains("is damaged") && reason.contains(&format!("got md5:{}", md5(b"[]"))), "{reason}");
    project.write(&object("remote", list), &whole);
    import(&project, &plan_of(&project).await).await;
    assert_eq!(project.read("data/a").as_deref(), Some("a"));
}

#[tokio::test]
async fn no_name_of_another_is_taken() {
    let project = dvc_project().await;
    let others = [name("data"), name("table.csv"), name("old-table.csv")];
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &others).await.unwrap();
    let names: Vec<_> = plan.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["data-2", "old-table.csv-2"]);
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
        let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
        assert_eq!((plan.outputs.len(), plan.failed.len()), (0, 1), "{path}");
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
        let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
        assert_eq!(plan.outputs.iter().map(|output| output.path.as_str()).collect::<Vec<_>>(), [expected], "{plan:?}");
    }
}

#[tokio::test]
async fn bytes_that_changed_after_they_were_verified_are_not_stored() {
    let project = dvc_project().await;
    let plan = project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap();
    // Of the same size.
    project.write(&format!(".dvc/cache/files/md5/{}/{}", &A[..2], &A[2..]), "z");
    let outcome = import_some(&project, &plan).await;
    assert_eq!(outcome.imported.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["old/table.csv"]);
    assert_eq!(outcome.failed.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["data"]);
    assert!(outcome.failed[0].reason.contains("changed while"), "{outcome:?}");
    assert_eq!((project.read("data.dataset"), project.read("data/a")), (None, None));
}

async fn plan_of(project: &Project) -> ImportPlan {
    project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &no_remotes(), &[]).await.unwrap()
}

/// Why an output of a plan was refused, by the file that declares it.
fn refusal<'a>(plan: &'a ImportPlan, declared_in: &str) -> &'a str {
    let failed = plan.failed.iter().find(|failed| failed.declared_in == declared_in);
    failed.map_or("", |failed| failed.reason.as_str())
}

#[tokio::test]
async fn outputs_that_lie_within_datasets_or_each_other_are_refused() {
    let project = dvc_project().await;
    let out = |path: &str| format!("outs:\n- md5: {A}\n  hash: md5\n  path: {path}\n");
    project.write("data/x.csv.dvc", &out("x.csv"));
    project.write("twice.dvc", &format!("wdir: old\n{}", out("table.csv")));
    // Begins like another, and lies beside it.
    project.write("database.dvc", &out("database"));
    let plan = plan_of(&project).await;
    assert_eq!((plan.outputs.len(), plan.failed.len()), (3, 2), "{plan:?}");
    assert!(plan.outputs.iter().any(|output| output.path == "database"), "{plan:?}");
    let within = plan.failed.iter().filter(|failed| failed.reason.contains("one lies within the other"));
    let twice = plan.failed.iter().filter(|failed| failed.reason.contains("declared twice"));
    assert_eq!((within.count(), twice.count()), (1, 1), "{plan:?}");

    project.delete("data/x.csv.dvc");
    import(&project, &plan_of(&project).await).await;
    project.write("data/x.csv.dvc", &out("x.csv"));
    project.write("old.dvc", &out("old"));
    let plan = plan_of(&project).await;
    assert_eq!((plan.outputs.len(), plan.failed.len()), (0, 2), "{plan:?}");
    assert!(refusal(&plan, "data/x.csv.dvc").contains("`data` is tracked already"), "{plan:?}");
    assert!(refusal(&plan, "old.dvc").contains("`old/table.csv` is tracked already"), "{plan:?}");
    assert!(plan.failed[0].hint.as_ref().unwrap().contains("keep one"), "{plan:?}");
}

#[tokio::test]
async fn what_is_left_to_git_is_passed_over() {
    let project = Project::new().await;
    project.write(".dvc/config", "");
    let stage = "    cmd: x\n    outs:\n    - model\n    metrics:\n    - scores.json:\n        cache: false\n";
    project.write("dvc.yaml", &format!("stages:\n  train:\n{stage}"));
    let out = |path: &str| format!("    - path: {path}\n      hash: md5\n      md5: {A}\n      size: 1\n");
    let outs = [out("model"), out("scores.json")].concat();
    project.write("dvc.lock", &format!("schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n{outs}"));
    project.write("notes.dvc", &format!("outs:\n- md5: {A}\n  hash: md5\n  path: notes\n  cache: false\n"));
    project.write("model", "a");
    // Edited since, so that its bytes are nowhere.
    project.write("scores.json", "b");
    let plan = plan_of(&project).await;
    assert_eq!(plan.outputs.iter().map(|output| output.path.as_str()).collect::<Vec<_>>(), ["model"]);
    assert_eq!(plan.skipped.iter().map(|skipped| skipped.path.as_str()).collect::<Vec<_>>(), ["scores.json", "notes"]);
    assert!(plan.is_whole() && plan.skipped[0].reason.contains("git keeps it"), "{plan:?}");
}

#[tokio::test]
async fn what_was_done_before_a_failure_is_told_and_the_rest_goes_on_later() {
    let project = dvc_project().await;
    project.write("z.dvc", &format!("outs:\n- md5: {A}\n  hash: md5\n  path: z\n"));
    // A folder lies where the pointer belongs.
    project.write("old/table.csv.dataset/x", "");
    let plan = plan_of(&project).await;
    let outcome = import_some(&project, &plan).await;
    assert_eq!(outcome.imported.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["data"]);
    assert_eq!(outcome.failed.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["old/table.csv", "z"]);
    assert!(outcome.failed[0].reason.contains("table.csv.dataset"), "{outcome:?}");
    assert!(outcome.failed[1].reason.contains("not tried"), "{outcome:?}");

    files::remove_directory(&project.path("old/table.csv.dataset")).unwrap();
    let plan = plan_of(&project).await;
    let imported = import(&project, &plan).await;
    assert_eq!(imported.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["old/table.csv", "z"]);
    assert_eq!(project.read("z").as_deref(), Some("a"));
}
