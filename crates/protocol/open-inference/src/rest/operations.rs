use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::model::check;
use super::route::Route;
use crate::settings::{check_log, check_trace_json, log_json, trace_json};
use crate::{EXTENSIONS, OpenInference, ProtocolError, SERVER, repository};

/// The request of the repository's index; its body may be empty, and other keys are those of later versions.
#[derive(Debug, Default, Deserialize)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

/// The request to load or unload a model.
#[derive(Debug, Default, Deserialize)]
struct ControlRequest {
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Answers what is asked of the server and not of a model.
pub(super) async fn answer(server: &OpenInference, route: &Route<'_>, body: &[u8]) -> Result<Response, ProtocolError> {
    match route {
        Route::Live => super::json(&json!({ "live": true })),
        Route::Ready => {
            check(server.host.readiness())?;
            super::json(&json!({ "ready": true }))
        }
        Route::Index => index(server, body).await,
        Route::Load(model) => load(server, model, body).await,
        Route::Unload(model) => unload(server, model, body).await,
        Route::Trace => {
            check_trace_json(&read_or_default(body)?)?;
            super::json(&trace_json())
        }
        Route::Logging => {
            let settings: Map<String, Value> = read_or_default(body)?;
            settings.iter().try_for_each(|(name, value)| check_log(name, value))?;
            super::json(&log_json())
        }
        Route::MemoryStatus { region: None, .. } => super::json(&json!([])),
        Route::MemoryStatus { kind, region: Some(region) } => {
            Err(ProtocolError::UnknownRegion { kind, region: region.to_string() })
        }
        Route::MemoryRegister { kind } => Err(ProtocolError::SharedMemory { kind }),
        // As with Triton, a region that is not there is forgotten already.
        Route::MemoryUnregister => Ok(super::empty()),
        Route::ServerMetadata | Route::Model { .. } | Route::AllStatistics => {
            super::json(&json!({ "name": SERVER, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS }))
        }
    }
}

fn read_or_default<T: Default + DeserializeOwned>(body: &[u8]) -> Result<T, ProtocolError> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|problem| ProtocolError::malformed(&problem))
}

async fn index(server: &OpenInference, body: &[u8]) -> Result<Response, ProtocolError> {
    let wanted: IndexRequest = read_or_default(body)?;
    let entries = repository::index(server, wanted.ready).await?;
    let entry = |entry: &repository::IndexEntry| {
        json!({
            "name": entry.name, "version": entry.version_text(), "state": entry.state.as_str(), "reason": entry.reason,
        })
    };
    super::json(&entries.iter().map(entry).collect::<Vec<_>>())
}

async fn load(server: &OpenInference, model: &str, body: &[u8]) -> Result<Response, ProtocolError> {
    let request: ControlRequest = read_or_default(body)?;
    repository::load(server, model, request.parameters.keys().map(String::as_str)).await?;
    Ok(super::empty())
}

async fn unload(server: &OpenInference, model: &str, body: &[u8]) -> Result<Response, ProtocolError> {
    let request: ControlRequest = read_or_default(body)?;
    let dependents = match request.parameters.get("unload_dependents") {
        None => false,
        Some(Value::Bool(dependents)) => *dependents,
        Some(other) => {
            return Err(crate::context::wrong("unload_dependents", format!("true or false is expected, not {other}")));
        }
    };
    repository::unload(server, model, dependents).await?;
    Ok(super::empty())
}
