use ropewalk_catalog::{Catalog, MigrationSet};
use ropewalk_types::ExperimentId;

use super::*;
use crate::testing::{tracking, tracking_with_run};
use crate::{DEFAULT_EXPERIMENT, ErrorKind, MIGRATIONS};

fn path(text: &str) -> ArtifactPath {
    ArtifactPath::new(text).expect("path")
}

async fn write(tracking: &Tracking, run: RunId, paths: &[&str]) {
    for text in paths {
        tracking.artifact_write(run, path(text), Bytes::from((*text).to_owned())).await.expect("written");
    }
}

fn shown(entries: &[ArtifactEntry]) -> Vec<String> {
    let show = |entry: &ArtifactEntry| match entry {
        ArtifactEntry::File(file) => file.path.to_string(),
        ArtifactEntry::Folder(path) => format!("{path}/"),
    };
    entries.iter().map(show).collect()
}

async fn listed(tracking: &Tracking, run: RunId, folder: Option<&str>) -> Vec<String> {
    let folder = folder.map(path);
    shown(&tracking.artifact_list(run, folder.as_ref()).await.expect("listed"))
}

async fn below(tracking: &Tracking, folder: &str) -> Vec<String> {
    shown(&tracking.artifact_entries(&ArtifactRoot::Top, Some(&path(folder))).await.expect("listed"))
}

#[tokio::test]
async fn bytes_come_back_and_listings_are_one_level() {
    let (tracking, run) = tracking_with_run().await;
    write(&tracking, run, &["model/model.onnx", "a.txt", "model/data/x", "model/data/y"]).await;
    assert_eq!(listed(&tracking, run, None).await, ["a.txt", "model/"]);
    assert_eq!(listed(&tracking, run, Some("model")).await, ["model/data/", "model/model.onnx"]);
    assert!(listed(&tracking, run, Some("absent")).await.is_empty());
    assert!(listed(&tracking, run, Some("a.txt")).await.is_empty());
    assert_eq!(tracking.artifact_read(run, &path("model/data/x")).await.expect("bytes"), "model/data/x");
    let folder = tracking.artifact_get(run, &path("model")).await;
    assert!(matches!(folder, Err(TrackingError::ArtifactIsFolder { .. })));
    let absent = tracking.artifact_get(run, &path("model/x")).await;
    assert!(matches!(absent, Err(TrackingError::ArtifactAbsent { .. })));
    let other = "0123456789abcdef0123456789abcdef".parse().expect("run");
    let absent = tracking.artifact_list(other, None).await;
    assert!(matches!(absent, Err(TrackingError::RunAbsent(_))));
}

#[tokio::test]
async fn a_second_write_replaces() {
    let (tracking, run) = tracking_with_run().await;
    write(&tracking, run, &["a"]).await;
    let artifact = tracking.artifact_write(run, path("a"), Bytes::from_static(b"new")).await.expect("written");
    assert_eq!(artifact.size, 3);
    assert_eq!(tracking.artifact_read(run, &path("a")).await.expect("bytes"), "new");
    assert_eq!(listed(&tracking, run, None).await, ["a"]);
}

#[tokio::test]
async fn a_file_and_a_folder_never_share_a_path() {
    let (tracking, run) = tracking_with_run().await;
    write(&tracking, run, &["file", "folder/x"]).await;
    for (text, in_the_way) in [("file/x", "file"), ("file/y/z", "file"), ("folder", "folder")] {
        let error = tracking.artifact_write(run, path(text), Bytes::new()).await.expect_err(text);
        assert!(matches!(error, TrackingError::ArtifactInTheWay { .. }), "{text}");
        assert!(error.to_string().contains(&format!("/artifacts/{in_the_way}` is a {in_the_way}")), "{error}");
    }
    let top = tracking.artifact_store(&ArtifactRoot::Top, path("0"), Bytes::new()).await;
    assert!(matches!(top, Err(TrackingError::ArtifactInTheWay { .. })));
    assert_eq!(listed(&tracking, run, None).await, ["file", "folder/"]);
}

#[tokio::test]
async fn what_is_deleted_takes_its_empty_folders_along_and_nothing_else() {
    let (tracking, run) = tracking_with_run().await;
    write(&tracking, run, &["a/b/c/1", "a/b/2", "a/b.c", "a/b0", "a/bc", "z"]).await;
    tracking.artifact_delete(run, Some(path("a/b/c/1"))).await.expect("file");
    assert_eq!(listed(&tracking, run, Some("a/b")).await, ["a/b/2"]);
    write(&tracking, run, &["a/b/d/e/3"]).await;
    tracking.artifact_delete(run, Some(path("a/b"))).await.expect("folder");
    assert_eq!(listed(&tracking, run, Some("a")).await, ["a/b.c", "a/b0", "a/bc"]);
    assert!(listed(&tracking, run, Some("a/b/d/e")).await.is_empty());
    let again = tracking.artifact_delete(run, Some(path("a/b"))).await;
    assert!(matches!(again, Err(TrackingError::ArtifactAbsent { .. })));
    tracking.artifact_delete(run, None).await.expect("all");
    tracking.artifact_delete(run, None).await.expect("of nothing, all");
    let top = tracking.artifact_entries(&ArtifactRoot::Top, None).await.expect("listed");
    assert_eq!(top, []);
    assert!(tracking.artifact_remove(&ArtifactRoot::Top, None).await.is_err());
}

#[tokio::test]
async fn all_roots_share_one_namespace() {
    let (tracking, run) = tracking_with_run().await;
    let experiment = DEFAULT_EXPERIMENT;
    let roots = [
        (ArtifactRoot::Run { experiment, run }, format!("0/{run}/artifacts")),
        (ArtifactRoot::Model { experiment, model: "m-1".to_owned() }, "0/models/m-1/artifacts".to_owned()),
        (ArtifactRoot::Trace { experiment, trace: "tr-1".to_owned() }, "0/traces/tr-1/artifacts".to_owned()),
        (ArtifactRoot::At(path("any/where")), "any/where".to_owned()),
    ];
    for (root, folder) in &roots {
        let artifact = tracking.artifact_store(root, path("d/x"), Bytes::from(folder.clone())).await.expect("stored");
        assert_eq!(artifact.path, path("d/x"));
        let whole = path(&format!("{folder}/d/x"));
        let found = tracking.artifact_at(&ArtifactRoot::Top, &whole).await.expect("found");
        assert_eq!((found.digest, &found.path), (artifact.digest, &whole));
        assert_eq!(below(&tracking, folder).await, [format!("{folder}/d/")]);
        assert_eq!(tracking.artifact_bytes(root, &path("d/x")).await.expect("bytes"), folder.as_str());
        let home = ArtifactHome::of_uri(&root.uri(None)).expect("uri");
        assert_eq!(home, ArtifactHome::Here(ArtifactRoot::At(path(folder))));
    }
    assert_eq!(tracking.artifact_digests().await.expect("digests").len(), roots.len());
    assert_eq!(listed(&tracking, run, None).await, ["d/"]);
    tracking.artifact_remove(&roots[1].0, None).await.expect("removed");
    assert_eq!(below(&tracking, "0").await, [format!("0/{run}/"), "0/traces/".to_owned()]);
}

#[tokio::test]
async fn a_deleted_run_takes_no_artifact_by_any_way() {
    let (tracking, run) = tracking_with_run().await;
    write(&tracking, run, &["a"]).await;
    tracking.run_delete(run).await.expect("deleted");
    let whole = path(&format!("0/{run}/artifacts/b"));
    for error in [
        tracking.artifact_write(run, path("b"), Bytes::new()).await,
        tracking.artifact_store(&ArtifactRoot::Top, whole, Bytes::new()).await,
        tracking
            .artifact_store(&ArtifactRoot::Run { experiment: ExperimentId(0), run }, path("c/d"), Bytes::new())
            .await,
    ] {
        assert!(matches!(error, Err(TrackingError::RunDeleted(_))), "{error:?}");
    }
    assert_eq!(listed(&tracking, run, None).await, ["a"], "it is still read");
    // What only looks like the folder of the run is any folder.
    let elsewhere = path(&format!("1/{run}/artifacts/b"));
    tracking.artifact_store(&ArtifactRoot::Top, elsewhere, Bytes::new()).await.expect("stored");
    // Deleting goes on: whoever collects the garbage of deleted runs does so.
    let whole = path(&format!("0/{run}/artifacts/a"));
    tracking.artifact_remove(&ArtifactRoot::Top, Some(whole)).await.expect("removed");
    assert!(listed(&tracking, run, None).await.is_empty());
}

#[tokio::test]
async fn the_experiment_decides_where_the_artifacts_of_its_runs_lie() {
    let (tracking, run) = tracking_with_run().await;
    let locate = async |location: &'static str| {
        let update = "UPDATE experiment SET artifact_location = $1 WHERE id = 0";
        let located: Result<u64> = tracking
            .catalog
            .write(move |connection| {
                Box::pin(async move { Ok(ropewalk_catalog::query(update).bind(location).execute(connection).await?) })
            })
            .await;
        located.expect("located");
    };
    locate("mlflow-artifacts:/team/a").await;
    write(&tracking, run, &["x"]).await;
    assert_eq!(below(&tracking, &format!("team/a/{run}/artifacts")).await, [format!("team/a/{run}/artifacts/x")]);
    let home = tracking.artifact_home(run).await.expect("home");
    assert_eq!(home, ArtifactHome::Here(ArtifactRoot::At(path(&format!("team/a/{run}/artifacts")))));
    locate("s3://bucket/a").await;
    let home = tracking.artifact_home(run).await.expect("home");
    assert_eq!(home, ArtifactHome::Elsewhere(format!("s3://bucket/a/{run}/artifacts")));
    let error = tracking.artifact_list(run, None).await.expect_err("not ours");
    assert_eq!((error.kind(), error.to_string().contains("s3://bucket/a")), (ErrorKind::Invalid, true), "{error}");
}

#[tokio::test]
async fn bytes_that_the_store_lacks_are_not_recorded() {
    let (tracking, run) = tracking_with_run().await;
    let result = tracking.artifact_put(run, path("a"), Digest::of(b"nowhere"), 7).await;
    assert!(matches!(result, Err(TrackingError::ArtifactBytesAbsent { .. })));
}

#[tokio::test]
async fn the_longest_paths_fit() {
    let tracking = tracking().await;
    let long = path(&"ü".repeat(512));
    let root = ArtifactRoot::At(long.clone());
    tracking.artifact_store(&root, long.clone(), Bytes::new()).await.expect("stored");
    assert_eq!(tracking.artifact_at(&root, &long).await.expect("found").size, 0);
}

#[tokio::test]
async fn artifacts_of_the_first_schema_are_found_where_clients_look() {
    let directory = tempfile::tempdir().expect("directory");
    let url = format!("sqlite:{}", directory.path().join("catalog.db").display());
    let old = MigrationSet { owner: MIGRATIONS.owner, steps: &MIGRATIONS.steps[..1] };
    let before = Catalog::open(&url, &[old]).await.expect("the first schema");
    let run: RunId = "0123456789abcdef0123456789abcdef".parse().expect("run");
    let digest = Digest::of(b"bytes");
    let rows = format!(
        "INSERT INTO run (id, experiment_id, name, user_name, status, started_at) VALUES ('{run}', 0, 'n', 'u', 'FINISHED', 5);
         INSERT INTO run_artifact (run_id, path, folder, digest, size, created_at)
             VALUES ('{run}', 'ä.txt', '', '{digest}', 5, 7), ('{run}', 'mü/d/x', 'mü/d', '{digest}', 5, 7);
         INSERT INTO run_artifact_folder (run_id, path, folder) VALUES ('{run}', 'mü', ''), ('{run}', 'mü/d', 'mü');"
    );
    let written: Result<()> = before
        .write(move |connection| {
            Box::pin(async move { Ok(ropewalk_catalog::execute_script(connection, &rows).await?) })
        })
        .await;
    written.expect("rows of the first schema");
    before.close().await;
    let catalog = Catalog::open(&url, &[MIGRATIONS]).await.expect("brought up to date");
    let store = ropewalk_store::Store::open("memory:").await.expect("store");
    let tracking = Tracking::new(catalog, store, std::sync::Arc::new(ropewalk_types::ManualAmbient::default()));
    assert_eq!(listed(&tracking, run, None).await, ["mü/", "ä.txt"]);
    assert_eq!(listed(&tracking, run, Some("mü")).await, ["mü/d/"]);
    let artifact = tracking.artifact_get(run, &path("mü/d/x")).await.expect("artifact");
    assert_eq!(artifact, Artifact { path: path("mü/d/x"), digest, size: 5, created: Timestamp(7) });
    assert_eq!(below(&tracking, "0").await, [format!("0/{run}/")]);
    assert_eq!(below(&tracking, &format!("0/{run}")).await, [format!("0/{run}/artifacts/")]);
    let top = tracking.artifact_entries(&ArtifactRoot::Top, None).await.expect("listed");
    assert_eq!(shown(&top), ["0/"]);
    tracking.artifact_delete(run, None).await.expect("deleted");
    assert!(tracking.artifact_digests().await.expect("digests").is_empty());
}
