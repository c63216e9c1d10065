//! The namespace of artifacts as clients reach it: `mlflow-artifacts:/PATH` is `/mlflow-artifacts/artifacts/PATH`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use ropewalk_tracking::{ArtifactPath, ArtifactRoot, TrackingError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{download, folder, upload};
use crate::request::{Parameters, PathText};
use crate::wire::FileInfo;
use crate::{MlflowError, MlflowState};

/// A path that is not that of the whole namespace.
fn inner(text: &str) -> Result<ArtifactPath, MlflowError> {
    folder(text)?.ok_or_else(|| MlflowError::invalid("path", &"a path inside the namespace of artifacts is expected"))
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
    let folder = folder(message.path.as_deref().unwrap_or_default())?;
    let entries = state.tracking.artifact_entries(&ArtifactRoot::Top, folder.as_ref()).await?;
    let files: Vec<_> = entries.iter().map(FileInfo::by_name).collect();
    Ok(Json(json!({ "files": files })))
}

pub(crate) async fn download(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
    headers: HeaderMap,
) -> Result<Response, MlflowError> {
    let artifact = state.tracking.artifact_at(&ArtifactRoot::Top, &inner(&text)?).await?;
    download::answer(&state, &artifact, &headers).await
}

pub(crate) async fn upload(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
    body: Body,
) -> Result<Json<Value>, MlflowError> {
    // A name that ends with a slash is that of a folder, which has no bytes.
    let path = super::path(&text)?;
    let blob = upload::receive(&state, body).await?;
    state.tracking.artifact_record(&ArtifactRoot::Top, path, blob.digest, blob.size).await?;
    Ok(Json(json!({})))
}

/// What is not there is deleted, as for MLflow's own server.
pub(crate) async fn delete(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
) -> Result<Json<Value>, MlflowError> {
    match state.tracking.artifact_remove(&ArtifactRoot::Top, Some(inner(&text)?)).await {
        Ok(()) | Err(TrackingError::ArtifactAbsent { .. }) => Ok(Json(json!({}))),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{StatusCode, header};
    use bytes::Bytes;
    use serde_json::json;

    use crate::testing::{Server, delete, get, post, post_bytes, put};

    const API: &str = "/api/2.0/mlflow-artifacts/artifacts";

    async fn server_with_run() -> (Server, String) {
        let server = Server::with(|state| state.artifact_bytes = 4 << 20).await;
        let run = server.run().await;
        (server, run)
    }

    #[tokio::test]
    async fn small_and_large_artifacts_come_back_byte_for_byte() {
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
        for path in ["x/", "x//y", "%2e%2e/x", "x/%252e%252e/y", "x%ff"] {
            server.refuses(put(&format!("{API}/{path}"), Bytes::new()), 400, "INVALID_PARAMETER_VALUE").await;
        }
        for path in ["..", "%2e%2e", "a/%252e%252e", "a%00", "/a"] {
            server.refuses(get(&format!("{API}?path={path}")), 400, "INVALID_PARAMETER_VALUE").await;
        }
        assert_eq!(server.ok(get(API)).await["files"], json!([]));
    }

    #[tokio::test]
    async fn the_namespace_is_one_for_runs_models_traces_and_everything() {
        let (server, run) = server_with_run().await;
        let model = "0/models/m-0123/artifacts/MLmodel";
        for path in ["bench/x.bin", model, "0/traces/tr-1/artifacts/traces.json", &format!("0/{run}/artifacts/a")] {
            server.ok(put(&format!("{API}/{path}"), Bytes::from(path.to_owned()))).await;
            assert_eq!(server.bytes(get(&format!("/ajax-api/2.0/mlflow-artifacts/artifacts/{path}"))).await, path);
        }
        let names = async |path: &str| {
            let listing = server.ok(get(&format!("{API}?path={path}"))).await;
            let files = listing["files"].as_array().expect("files").clone();
            files.iter().map(|file| file["path"].as_str().expect("path").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("").await, ["0", "bench"]);
        assert_eq!(names("0/").await, [run.as_str(), "models", "traces"]);
        let of_run = server.ok(get(&format!("/api/2.0/mlflow/artifacts/list?run_id={run}"))).await;
        assert_eq!(
            of_run["files"],
            json!([{"path": "a", "is_dir": false, "file_size": format!("0/{run}/artifacts/a").len()}])
        );
        server.ok(delete(&format!("{API}/0/models/m-0123/artifacts/"))).await;
        server.ok(delete(&format!("{API}/0/models/m-0123/artifacts"))).await;
        server.refuses(get(&format!("{API}/{model}")), 404, "RESOURCE_DOES_NOT_EXIST").await;
        assert_eq!(names("0").await, [run.as_str(), "traces"]);
    }

    #[tokio::test]
    async fn a_file_is_no_folder_and_a_deleted_run_takes_nothing() {
        let (server, run) = server_with_run().await;
        let at = |path: &str| format!("{API}/0/{run}/artifacts/{path}");
        server.ok(put(&at("d/file"), Bytes::from_static(b"1"))).await;
        for path in ["d", "d/file/x", "d/file/x/y"] {
            let message = server.refuses(put(&at(path), Bytes::new()), 400, "INVALID_PARAMETER_VALUE").await;
            assert!(message.contains("is a f"), "{message}");
        }
        let message = server.refuses(get(&at("d")), 400, "INVALID_PARAMETER_VALUE").await;
        assert!(message.contains("folder"), "{message}");
        let by_page = format!("/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=d/page.json");
        server.ok(post_bytes(&by_page, Bytes::from_static(b"{}"))).await;
        assert_eq!(server.bytes(get(&at("d/page.json"))).await, "{}");
        server.ok(post("/api/2.0/mlflow/runs/delete", &json!({"run_id": run}))).await;
        server.refuses(put(&at("late"), Bytes::new()), 400, "INVALID_PARAMETER_VALUE").await;
        server.refuses(post_bytes(&by_page, Bytes::new()), 400, "INVALID_PARAMETER_VALUE").await;
        assert_eq!(server.bytes(get(&at("d/file"))).await, "1");
    }

    #[tokio::test]
    async fn ranges_and_unchanged_bytes() {
        let (server, run) = server_with_run().await;
        let bytes: Bytes = (0..3_000_000).map(|n: usize| (n * 7 % 253) as u8).collect::<Vec<_>>().into();
        let path = format!("{API}/0/{run}/artifacts/m.html");
        server.ok(put(&path, bytes.clone())).await;
        let ask = async |name: header::HeaderName, value: &str| {
            let mut request = get(&path);
            request.headers_mut().insert(name, value.parse().expect("value"));
            let response = server.raw(request).await;
            let (parts, body) = response.into_parts();
            (parts.status, parts.headers, axum::body::to_bytes(body, usize::MAX).await.expect("body"))
        };
        let (status, headers, part) = ask(header::RANGE, "bytes=1000000-2499999").await;
        assert_eq!(status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(headers[header::CONTENT_RANGE], "bytes 1000000-2499999/3000000");
        assert_eq!(headers[header::CONTENT_LENGTH], "1500000");
        assert_eq!(headers[header::CONTENT_TYPE], "text/html");
        assert_eq!(headers[header::ACCEPT_RANGES], "bytes");
        assert!(part == bytes.slice(1_000_000..2_500_000));
        let tag = headers[header::ETAG].to_str().expect("tag").to_owned();
        let (status, _, body) = ask(header::IF_NONE_MATCH, &tag).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        let (status, headers, _) = ask(header::RANGE, "bytes=3000000-").await;
        assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(headers[header::CONTENT_RANGE], "bytes */3000000");
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
    }
}
