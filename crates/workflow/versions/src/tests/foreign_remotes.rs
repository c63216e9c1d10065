//! Remotes of DVC that are no folders of this machine; a folder stands for the object store.

use std::sync::Arc;

use ropewalk_store::{BackendOptions, ForeignObjects, StoreError, files};

use super::taking_over::{A, B, import, import_some, md5};
use super::{Project, name};
use crate::{AddLinks, DvcRemote, DvcSurroundings, FileSource, ImportPlan};

/// A machine from which `s3://BUCKET` is the folder BUCKET of the project, and no other object store can be opened.
fn surroundings(project: &Project) -> DvcSurroundings {
    let root = project.root().to_owned();
    let open = Arc::new(move |remote: &DvcRemote| match remote.store_url().strip_prefix("s3://") {
        Some(path) => ForeignObjects::open(&format!("file:{}", root.join(path).display()), &BackendOptions::default()),
        None => Err(StoreError::Interrupted),
    });
    DvcSurroundings { settings: vec![project.path("global/config")], home: None, open }
}

async fn plan(project: &Project) -> ImportPlan {
    let surroundings = surroundings(project);
    project.workspace.dvc_plan("".as_ref(), AddLinks::AsBefore, &surroundings, &[]).await.unwrap()
}

/// A project whose bytes are in a remote only: a small and a large file of DVC 3 in a folder, a file of DVC 2.
async fn project(large: &str) -> Project {
    let project = Project::new().await;
    project.write("global/config", "['remote \"far\"']\nurl = s3://bucket/dvc\n");
    project.write(".dvc/config", "[core]\nremote = far\n");
    let hash = md5(large.as_bytes());
    let list = format!(r#"[{{"md5": "{A}", "relpath": "a"}}, {{"md5": "{hash}", "relpath": "deep/large"}}]"#);
    let listed = md5(list.as_bytes());
    object(&project, "files/md5", &format!("{listed}.dir"), &list);
    object(&project, "files/md5", A, "a");
    object(&project, "files/md5", &hash, large);
    project.write("data.dvc", &format!("outs:\n- md5: {listed}.dir\n  hash: md5\n  path: data\n"));
    let old = md5(b"x\ny\n");
    object(&project, "", &old, "x\r\ny\r\n");
    project.write("old.csv.dvc", &format!("outs:\n- md5: {old}\n  path: old.csv\n"));
    project
}

fn object(project: &Project, layout: &str, md5: &str, text: &str) {
    project.write(&format!("bucket/dvc/{layout}/{}/{}", &md5[..2], &md5[2..]), text);
}

/// More than is held in memory as a whole, and more than one part of a transfer.
fn large() -> String {
    "0123456789abcdef".repeat(600_000)
}

#[tokio::test]
async fn objects_of_both_layouts_are_taken_over() {
    let large = large();
    let project = project(&large).await;
    let found = plan(&project).await;
    assert!(found.is_whole() && found.skipped.is_empty(), "{found:?}");
    let sources: Vec<_> = found.outputs.iter().flat_map(|output| &output.files).map(|file| &file.source).collect();
    assert!(sources.iter().all(|source| matches!(source, FileSource::RemoteObject(_))), "{sources:?}");
    let told = serde_json::to_value(sources[0]).unwrap();
    assert_eq!(told["from"], "remote_object");
    assert!(told["path"].as_str().unwrap().ends_with(&format!("bucket/dvc/files/md5/{}/{}", &A[..2], &A[2..])));

    let imported = import(&project, &found).await;
    assert_eq!(imported.iter().map(|one| one.written).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(project.read("data/a").as_deref(), Some("a"));
    assert!(files::read(&project.path("data/deep/large")).unwrap() == large.as_bytes());
    assert_eq!(project.read("old.csv").as_deref(), Some("x\r\ny\r\n"));
    let statuses = project.workspace.status(&[name("data"), name("old.csv")]).await.unwrap();
    assert!(statuses.iter().all(crate::Status::is_clean), "{statuses:?}");
}

#[tokio::test]
async fn damaged_objects_are_not_stored() {
    let large = large();
    let hash = md5(large.as_bytes());
    let mut flipped = large.clone().into_bytes();
    *flipped.last_mut().unwrap() ^= 1;
    let flipped = std::str::from_utf8(&flipped).unwrap();
    for (md5, damaged) in [(A, "z"), (hash.as_str(), flipped), (A, "longer"), (hash.as_str(), "short")] {
        let project = project(&large).await;
        object(&project, "files/md5", md5, damaged);
        let outcome = import_some(&project, &plan(&project).await).await;
        assert_eq!(outcome.imported.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["old.csv"]);
        let [failed] = outcome.failed.as_slice() else { panic!("{outcome:?}") };
        assert!(failed.path == "data" && failed.reason.contains(&md5[2..]), "{failed:?}");
        let got = self::md5(damaged.as_bytes());
        assert!(failed.reason.contains(&format!("damaged, or was replaced: expected md5:{md5}, got md5:{got}")));
        assert!(failed.hint.as_ref().unwrap().contains("dvc fetch"), "{failed:?}");
        assert!(!files::exists(&project.path("data.dataset")).unwrap());
    }
}

#[tokio::test]
async fn what_is_damaged_in_one_remote_is_taken_from_another() {
    let large = large();
    let hash = md5(large.as_bytes());
    let project = project(&large).await;
    project.write(".dvc/config", "[core]\nremote = far\n['remote \"spare\"']\nurl = s3://spare/dvc\n");
    let spare = |md5: &str, text: &str| project.write(&format!("spare/dvc/{}/{}", &md5[..2], &md5[2..]), text);
    let flipped = format!("x{}", &large[1..]);
    object(&project, "files/md5", A, "z");
    object(&project, "files/md5", &hash, &flipped);
    spare(A, "a");
    spare(&hash, &flipped);
    let outcome = import_some(&project, &plan(&project).await).await;
    assert_eq!(outcome.imported.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["old.csv"]);
    assert!(outcome.failed[0].reason.contains(&hash[2..]), "damaged in both: {outcome:?}");

    // By the other layout in the same remote, where both are.
    object(&project, "", &hash, &large);
    let imported = import(&project, &plan(&project).await).await;
    assert_eq!(imported.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["data"]);
    assert_eq!(project.read("data/a").as_deref(), Some("a"));
    assert!(files::read(&project.path("data/deep/large")).unwrap() == large.as_bytes());
}

#[tokio::test]
async fn a_damaged_list_is_not_believed() {
    let project = project("large").await;
    let list = format!(r#"[{{"md5": "{B}", "relpath": "b"}}]"#);
    let declared = project.read("data.dvc").unwrap();
    let md5 = declared.split("md5: ").nth(1).unwrap().split('\n').next().unwrap();
    object(&project, "files/md5", md5, &list);
    let plan = plan(&project).await;
    let [failed] = plan.failed.as_slice() else { panic!("{plan:?}") };
    assert!(failed.path.ends_with("data") && failed.reason.contains(md5), "{failed:?}");
    assert!(failed.hint.as_ref().unwrap().contains("is damaged"), "{failed:?}");
}

#[tokio::test]
async fn remotes_that_cannot_be_read_are_named() {
    let project = project("large").await;
    let config = "[core]\nremote = box\n['remote \"box\"']\nurl = ssh://me:hush@host/x\npassword = hush\n\
                  ['remote \"far\"']\nurl = gs://bucket/y\n";
    project.write(".dvc/config", config);
    let plan = plan(&project).await;
    assert!(!plan.is_whole());
    let hint = plan.failed[0].hint.as_ref().unwrap();
    assert!(hint.contains("dvc fetch") && hint.contains("`box` (ssh://host/x)") && hint.contains("`far`"), "{hint}");
    assert!(!hint.contains("hush"), "{hint}");
    assert_eq!(plan.outputs[0].missing, ["old.csv"]);
    assert_eq!(plan.outputs[0].hint.as_ref(), Some(hint));
}
