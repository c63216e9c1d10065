pub(crate) mod direct;
pub(crate) mod download;
pub(crate) mod proxied;
mod upload;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use ropewalk_tracking::{ArtifactEntry, ArtifactHome, ArtifactPath, ArtifactRoot, TrackingError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::request::{Parameters, required, run_id};
use crate::wire::FileInfo;
use crate::wire::run::artifact_uri;
use crate::{MlflowError, MlflowState};

/// `ListArtifacts`, and the parameters of `/get-artifact` and `upload-artifact`.
///
/// A listing is never cut, so that there is no `page_token` that could come back.
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
    let uri = artifact_uri(&run);
    let entries = list_under(&state, &uri, message.path.as_deref()).await?;
    let files: Vec<_> = entries.iter().map(FileInfo::of).collect();
    Ok(Json(json!({ "root_uri": uri, "files": files })))
}

/// The bytes of an artifact, by run and path.
pub(crate) async fn get(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<OfRun>,
    headers: HeaderMap,
) -> Result<Response, MlflowError> {
    let run = run_id(message.run_id, message.run_uuid)?;
    let path = path(&required("path", message.path)?)?;
    let artifact = state.tracking.artifact_get(run, &path).await?;
    download::answer(&state, &artifact, &headers).await
}

/// Puts an artifact into a run: what MLflow's page does, which names the run and not where its artifacts lie.
pub(crate) async fn put(
    State(state): State<Arc<MlflowState>>,
    Parameters(message): Parameters<OfRun>,
    body: Body,
) -> Result<Json<Value>, MlflowError> {
    let run = run_id(message.run_id, message.run_uuid)?;
    let path = path(&required("path", message.path)?)?;
    let blob = upload::receive(&state, body).await?;
    state.tracking.artifact_put(run, path, blob.digest, blob.size).await?;
    Ok(Json(json!({})))
}

/// The answer of a download of what lies at `path` under an artifact URI.
pub(crate) async fn download_from(
    state: &MlflowState,
    uri: &str,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response, MlflowError> {
    let path = self::path(path)?;
    let artifact = state.tracking.artifact_at(&here(uri)?, &path).await?;
    download::answer(state, &artifact, headers).await
}

/// What lies in one folder, or at the top, under an artifact URI.
pub(crate) async fn list_under(
    state: &MlflowState,
    uri: &str,
    path: Option<&str>,
) -> Result<Vec<ArtifactEntry>, MlflowError> {
    let folder = folder(path.unwrap_or_default())?;
    Ok(state.tracking.artifact_entries(&here(uri)?, folder.as_ref()).await?)
}

fn here(uri: &str) -> Result<ArtifactRoot, MlflowError> {
    match ArtifactHome::of_uri(uri).map_err(TrackingError::from)? {
        ArtifactHome::Here(root) => Ok(root),
        ArtifactHome::Elsewhere(uri) => {
            let what = format!("the artifacts lie at '{uri}', which this server neither reads nor writes");
            Err(MlflowError::Unsupported { parameter: "path", what })
        }
    }
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
