//! The ways past the server, to the storage itself: parts of an upload and signed URLs.
//!
//! They are for a storage in which an artifact is one object. Ours holds chunks that many artifacts share, so that nothing
//! but this server can put one together (docs/adr/016-artifact-bodies.md). The answers are those of MLflow 3.17.2 with a
//! storage that cannot; a client goes on through the server when it finds the beginning of the message that it knows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ropewalk_tracking::{ArtifactHome, TrackingError};
use serde::Deserialize;
use serde_json::Value;

use super::path;
use crate::request::{Message, PathText, required, run_id};
use crate::wire::number::Int64;
use crate::{MlflowError, MlflowState};

/// Signed URLs live at most seven days, in seconds.
const LONGEST: i64 = 604_800;

/// `mlflow-artifacts/mpu/create`, `complete` and `abort`.
pub(crate) async fn multipart_upload(PathText(text): PathText) -> Result<Json<Value>, MlflowError> {
    path(text.trim_end_matches('/'))?;
    Err(MlflowError::NotImplemented("Multipart upload is not supported for the current artifact repository"))
}

/// `mlflow-artifacts/presigned`.
pub(crate) async fn multipart_download(PathText(text): PathText) -> Result<Json<Value>, MlflowError> {
    path(&text)?;
    Err(MlflowError::NotImplemented("Multipart download is not supported for the current artifact repository"))
}

/// `CreatePresignedUploadUrl` and `CreatePresignedDownloadUrl`.
#[derive(Debug, Deserialize)]
pub(crate) struct Presigned {
    run_id: Option<String>,
    model_id: Option<String>,
    path: Option<String>,
    expiration: Option<Int64>,
}

pub(crate) async fn presigned_upload(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<Presigned>,
) -> Result<Json<Value>, MlflowError> {
    path(&required("path", message.path)?)?;
    let given = |id: Option<String>| id.filter(|id| !id.is_empty());
    match (given(message.run_id), given(message.model_id)) {
        (Some(run), None) => refuse(&state, run, "Presigned upload is not supported").await,
        (None, Some(_)) => Err(proxied("Presigned upload is not supported")),
        _ => Err(MlflowError::invalid("run_id", &"exactly one of run_id and model_id must be given")),
    }
}

pub(crate) async fn presigned_download(
    State(state): State<Arc<MlflowState>>,
    Message(message): Message<Presigned>,
) -> Result<Json<Value>, MlflowError> {
    let run = required("run_id", message.run_id)?;
    path(&required("path", message.path)?)?;
    if let Some(Int64(seconds)) = message.expiration
        && !(1..=LONGEST).contains(&seconds)
    {
        let reason = format!("{seconds} is not between 1 and {LONGEST} seconds");
        return Err(MlflowError::invalid("expiration", &reason));
    }
    refuse(&state, run, "Presigned download is not supported").await
}

async fn refuse(state: &MlflowState, run: String, what: &'static str) -> Result<Json<Value>, MlflowError> {
    let run = run_id(Some(run), None)?;
    Err(match state.tracking.artifact_home(run).await? {
        ArtifactHome::Here(_) => proxied(what),
        ArtifactHome::Elsewhere(uri) => TrackingError::ArtifactsElsewhere { run, uri }.into(),
    })
}

fn proxied(what: &'static str) -> MlflowError {
    let what = format!("{what} for artifacts that go through this server (mlflow-artifacts)");
    MlflowError::Unsupported { parameter: "run_id", what }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{Server, get, post};

    #[tokio::test]
    async fn ways_past_the_server_are_refused_as_clients_know_it() {
        let server = Server::new().await;
        for step in ["create", "complete", "abort"] {
            for prefix in ["/api", "/ajax-api"] {
                let message = json!({"path": "x.bin", "num_parts": 2, "upload_id": "1", "parts": []});
                let request = post(&format!("{prefix}/2.0/mlflow-artifacts/mpu/{step}/0/a/artifacts"), &message);
                let message = server.refuses(request, 501, "NOT_IMPLEMENTED").await;
                // `_UnsupportedMultipartUploadException.MESSAGE`: by this a client knows to go on with one request.
                assert!(message.starts_with("Multipart upload is not supported for the current artifact repository"));
            }
        }
        server.refuses(get("/api/2.0/mlflow-artifacts/presigned/a/b"), 501, "NOT_IMPLEMENTED").await;
        let info = server.ok(get("/api/3.0/mlflow/server-info")).await;
        assert_eq!(
            (&info["multipart_uploads_enabled"], &info["multipart_downloads_enabled"]),
            (&json!(false), &json!(false))
        );
    }

    #[tokio::test]
    async fn signed_urls_are_refused_after_their_parameters_were_looked_at() {
        let server = Server::new().await;
        let create = post("/api/2.0/mlflow/runs/create", &json!({"experiment_id": "0", "start_time": 1}));
        let run = server.ok(create).await["run"]["info"]["run_id"].clone();
        let absent = "0123456789abcdef0123456789abcdef";
        let invalid = (400, "INVALID_PARAMETER_VALUE");
        let no_run = (404, "RESOURCE_DOES_NOT_EXIST");
        for (what, message, (status, code)) in [
            ("upload", json!({"run_id": run, "path": "a"}), invalid),
            ("upload", json!({"run_id": absent, "path": "a"}), no_run),
            ("upload", json!({"run_id": run, "model_id": "m-1", "path": "a"}), invalid),
            ("upload", json!({"path": "a"}), invalid),
            ("upload", json!({"run_id": run}), invalid),
            ("upload", json!({"run_id": run, "path": "../a"}), invalid),
            ("upload", json!({"model_id": "m-1", "path": "a"}), invalid),
            ("download", json!({"run_id": run, "path": "a"}), invalid),
            ("download", json!({"run_id": run, "path": "a", "expiration": 0}), invalid),
            ("download", json!({"run_id": absent, "path": "a", "expiration": "900"}), no_run),
        ] {
            server
                .refuses(post(&format!("/api/2.0/mlflow/artifacts/presigned-{what}-url"), &message), status, code)
                .await;
        }
    }
}
