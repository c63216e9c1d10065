use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::id;
use crate::artifacts::{download_from, list_under};
use crate::request::{Parameters, PathText, required};
use crate::wire::FileInfo;
use crate::{MlflowError, MlflowState};

/// `ListLoggedModelArtifacts`, beside the path.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    artifact_directory_path: Option<String>,
}

/// What lies in one folder of a logged model, with paths inside it.
pub(super) async fn list(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
    Parameters(message): Parameters<List>,
) -> Result<Json<Value>, MlflowError> {
    let uri = state.tracking.logged_model_get(id(&text)?, false).await?.artifact_uri;
    let entries = list_under(&state, &uri, message.artifact_directory_path.as_deref()).await?;
    let mut answer = json!({ "root_uri": uri });
    if !entries.is_empty() {
        let files: Vec<FileInfo<'_>> = entries.iter().map(FileInfo::of).collect();
        answer["files"] = json!(files);
    }
    Ok(Json(answer))
}

/// Of `/logged-models/{model_id}/artifacts/files`, which MLflow's pages ask.
#[derive(Debug, Deserialize)]
pub(super) struct Download {
    artifact_file_path: Option<String>,
}

/// The bytes of a file of a logged model.
pub(super) async fn download(
    State(state): State<Arc<MlflowState>>,
    PathText(text): PathText,
    Parameters(message): Parameters<Download>,
    headers: HeaderMap,
) -> Result<Response, MlflowError> {
    let path = required("artifact_file_path", message.artifact_file_path)?;
    let uri = state.tracking.logged_model_get(id(&text)?, false).await?.artifact_uri;
    download_from(&state, &uri, &path, &headers).await
}
