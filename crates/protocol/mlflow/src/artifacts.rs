pub(crate) mod download;
pub(crate) mod proxied;
mod upload;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use ropewalk_tracking::ArtifactPath;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::request::{Parameters, required, run_id};
use crate::wire::FileInfo;
use crate::wire::run::artifact_uri;
use crate::{MlflowError, MlflowState};

/// `ListArtifacts`, and the parameters of `/get-artifact`.
#[derive(Debug, Deserialize)]
pub(crate) struct OfRun {
    run_id: Option<String>,
    run_uuid: Option<String>,
    path: Option<String>,
}

/// What lies in one folder of a run.
pub(crate) async fn list(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<OfRun>,
) -> Result<Json<Value>, MlflowError> {
    let run = state.tracking.run_info(run_id(message.run_id, message.run_uuid)?).await?;
    let folder = folder(message.path.as_deref().unwrap_or_default())?;
    let entries = state.tracking.artifact_list(run.id, folder.as_ref()).await?;
    let files: Vec<_> = entries.iter().map(FileInfo::of).collect();
    Ok(Json(json!({ "root_uri": artifact_uri(&run), "files": files })))
}

/// The bytes of an artifact, by run and path.
pub(crate) async fn get(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<OfRun>,
) -> Result<Response, MlflowError> {
    let run = run_id(message.run_id, message.run_uuid)?;
    let path = path(&required("path", message.path)?)?;
    let artifact = state.tracking.artifact_get(run, &path).await?;
    download::answer(&state, &artifact).await
}

fn path(text: &str) -> Result<ArtifactPath, MlflowError> {
    ArtifactPath::new(text).map_err(|error| MlflowError::invalid("path", &error))
}

/// A folder's path; clients end it with `/` or not, and the top is empty.
fn folder(text: &str) -> Result<Option<ArtifactPath>, MlflowError> {
    match text.strip_suffix('/').unwrap_or(text) {
        "" => Ok(None),
        text => path(text).map(Some),
    }
}
