use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use ropewalk_tracking::{ArtifactPath, TrackingError};
use ropewalk_types::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{download, folder, upload};
use crate::request::{Parameters, experiment_id};
use crate::wire::FileInfo;
use crate::{MlflowError, MlflowState};

/// `EXPERIMENT/RUN/artifacts/PATH`: what a run's artifact URI becomes under `/mlflow-artifacts/artifacts`.
struct ProxiedPath {
    run: RunId,
    /// None at the top of the run.
    path: Option<ArtifactPath>,
}

impl ProxiedPath {
    async fn find(state: &MlflowState, text: &str) -> Result<Self, MlflowError> {
        let mut parts = text.splitn(4, '/');
        let (Some(experiment), Some(run), Some("artifacts")) = (parts.next(), parts.next(), parts.next()) else {
            return Err(MlflowError::invalid("path", &"EXPERIMENT/RUN/artifacts/PATH is expected"));
        };
        let run: RunId = run.parse().map_err(|error| MlflowError::invalid("path", &error))?;
        let experiment = experiment_id(experiment)?;
        let path = folder(parts.next().unwrap_or_default())?;
        if state.tracking.run_info(run).await?.experiment != experiment {
            return Err(TrackingError::RunAbsent(run).into());
        }
        Ok(Self { run, path })
    }

    fn file(self) -> Result<(RunId, ArtifactPath), MlflowError> {
        match self.path {
            Some(path) => Ok((self.run, path)),
            None => Err(MlflowError::invalid("path", &"a path inside the run is expected")),
        }
    }
}

/// `ListArtifacts` of `mlflow_artifacts.proto`.
#[derive(Debug, Deserialize)]
pub(crate) struct List {
    path: Option<String>,
}

pub(crate) async fn list(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<List>,
) -> Result<Json<Value>, MlflowError> {
    let text = message.path.unwrap_or_default();
    let place = ProxiedPath::find(&state, text.trim_end_matches('/')).await?;
    let entries = state.tracking.artifact_list(place.run, place.path.as_ref()).await?;
    let files: Vec<_> = entries.iter().map(FileInfo::by_name).collect();
    Ok(Json(json!({ "files": files })))
}

pub(crate) async fn download(
    State(state): State<Arc<MlflowState>>,
    Path(text): Path<String>,
) -> Result<Response, MlflowError> {
    let (run, path) = ProxiedPath::find(&state, &text).await?.file()?;
    let artifact = state.tracking.artifact_get(run, &path).await?;
    download::answer(&state, &artifact).await
}

pub(crate) async fn upload(
    State(state): State<Arc<MlflowState>>,
    Path(text): Path<String>,
    body: Body,
) -> Result<Json<Value>, MlflowError> {
    let (run, path) = ProxiedPath::find(&state, &text).await?.file()?;
    let blob = upload::receive(&state, body).await?;
    state.tracking.artifact_put(run, path, blob.digest, blob.size).await?;
    Ok(Json(json!({})))
}

pub(crate) async fn delete(
    State(state): State<Arc<MlflowState>>,
    Path(text): Path<String>,
) -> Result<Json<Value>, MlflowError> {
    let place = ProxiedPath::find(&state, &text).await?;
    state.tracking.artifact_delete(place.run, place.path).await?;
    Ok(Json(json!({})))
}

#[cfg(test)]
mod tests {
    use axum::http::{StatusCode, header};
    use bytes::Bytes;
    use serde_json::json;

    use crate::testing::{Server, delete, get, post, put};

    const API: &str = "/api/2.0/mlflow-artifacts/artifacts";

    async fn server_with_run() -> (Server, String) {
        let server = Server::with(|state| state.artifact_bytes = 4 << 20).await;
        let create = post("/api/2.0/mlflow/runs/create", &json!({"experiment_id": "0", "start_time": 1}));
        let id = server.ok(create).await["run"]["info"]["run_id"].as_str().expect("id").to_owned();
        (server, id)
    }

    #[tokio::test]
    async fn small_and_spooled_artifacts_come_back_byte_for_byte() {
        let (server, run) = server_with_run().await;
        for size in [0, 1, 1 << 20, (3 << 20) + 17] {
            let bytes: Bytes = (0..size).map(|n: usize| (n % 251) as u8).collect::<Vec<_>>().into();
            let path = format!("{API}/0/{run}/artifacts/deep/file.bin");
            server.ok(put(&path, bytes.clone())).await;
            let response = server.raw(get(&path)).await;
            assert_eq!(response.status(), StatusCode::OK);
            let headers = response.headers().clone();
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[header::CONTENT_LENGTH], size.to_string());
            assert!(headers[header::CONTENT_DISPOSITION].to_str().expect("text").starts_with("attachment"));
            let back = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("body");
            assert!(back == bytes, "{size} bytes");
            let by_run = server.raw(get(&format!("/get-artifact?run_id={run}&path=deep/file.bin"))).await;
            assert!(axum::body::to_bytes(by_run.into_body(), usize::MAX).await.expect("body") == bytes);
        }
        assert!(server.spool_is_empty());
    }

    #[tokio::test]
    async fn listings_are_one_level_by_name_or_by_path() {
        let (server, run) = server_with_run().await;
        for path in ["a.txt", "model/m.onnx", "model/data/x"] {
            server.ok(put(&format!("{API}/0/{run}/artifacts/{path}"), Bytes::from_static(b"12345"))).await;
        }
        let by_name = server.ok(get(&format!("{API}?path=0/{run}/artifacts/model"))).await;
        let names = json!([{"path": "data", "is_dir": true}, {"path": "m.onnx", "is_dir": false, "file_size": 5}]);
        assert_eq!(by_name["files"], names);
        let list = format!("/api/2.0/mlflow/artifacts/list?run_id={run}");
        let top = server.ok(get(&list)).await;
        assert_eq!(top["root_uri"], format!("mlflow-artifacts:/0/{run}/artifacts"));
        assert_eq!(top["files"][0]["path"], "a.txt");
        let inner = server.ok(get(&format!("{list}&path=model/"))).await;
        assert_eq!(inner["files"][1]["path"], "model/m.onnx");
        server.ok(delete(&format!("{API}/0/{run}/artifacts/model"))).await;
        assert_eq!(server.ok(get(&list)).await["files"].as_array().expect("files").len(), 1);
        server.refuses(get(&format!("{API}/0/{run}/artifacts/model/m.onnx")), 404, "RESOURCE_DOES_NOT_EXIST").await;
    }

    #[tokio::test]
    async fn hostile_paths_are_refused_in_every_spelling() {
        let (server, run) = server_with_run().await;
        let hostile = [
            "..%2fx",
            "a/../b",
            "%2e%2e/x",
            "%252e%252e/x",
            "%25252e%25252e/x",
            "a%5cb",
            "a//b",
            "a%00",
            "%2fetc/passwd",
            "a%23b",
            ".",
            "c:/x",
        ];
        for path in hostile {
            let request = put(&format!("{API}/0/{run}/artifacts/{path}"), Bytes::new());
            server.refuses(request, 400, "INVALID_PARAMETER_VALUE").await;
            let request = get(&format!("/get-artifact?run_id={run}&path={path}"));
            server.refuses(request, 400, "INVALID_PARAMETER_VALUE").await;
        }
        for path in ["x", "0", "0/x", &format!("0/{run}"), &format!("0/{run}/other/x"), &format!("x/{run}/artifacts/x")]
        {
            let request = put(&format!("{API}/{path}"), Bytes::new());
            server.refuses(request, 400, "INVALID_PARAMETER_VALUE").await;
        }
        let elsewhere = put(&format!("{API}/1/{run}/artifacts/x"), Bytes::new());
        server.refuses(elsewhere, 404, "RESOURCE_DOES_NOT_EXIST").await;
        assert!(server.spool_is_empty());
    }

    #[tokio::test]
    async fn an_artifact_that_is_too_large_or_breaks_off_leaves_nothing() {
        let (server, run) = server_with_run().await;
        let path = format!("{API}/0/{run}/artifacts/large");
        let request = put(&path, vec![0; (4 << 20) + 1].into());
        server.refuses(request, 400, "INVALID_PARAMETER_VALUE").await;
        let pieces = [Ok(Bytes::from(vec![0; 2 << 20])), Err(std::io::Error::other("gone"))];
        let mut broken = put(&path, Bytes::new());
        *broken.body_mut() = axum::body::Body::from_stream(futures::stream::iter(pieces));
        server.refuses(broken, 400, "BAD_REQUEST").await;
        server.refuses(get(&path), 404, "RESOURCE_DOES_NOT_EXIST").await;
        assert!(server.spool_is_empty());
    }
}
