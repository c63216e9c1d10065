//! How clients before MLflow 3 record a trace: its info at the start and again at the end; its spans are an artifact.

use axum::Json;
use axum::extract::State;
use ropewalk_tracking::{TraceInfo, TraceState};
use ropewalk_types::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::info::OldInfoOut;
use super::{Answer, States};
use crate::MlflowError;
use crate::request::{Message, PathText, experiment_id, required};
use crate::wire::KeyValue;
use crate::wire::number::Int64;

/// `StartTrace`.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    experiment_id: Option<String>,
    timestamp_ms: Option<Int64>,
    request_metadata: Option<Vec<KeyValue>>,
    tags: Option<Vec<KeyValue>>,
}

pub(super) async fn start(State(state): State<States>, Message(message): Message<Start>) -> Answer {
    let experiment = experiment_id(&required("experiment_id", message.experiment_id)?)?;
    let Int64(requested) = message.timestamp_ms.ok_or(MlflowError::Missing("timestamp_ms"))?;
    let id = format!("{:032x}", state.tracking.ambient().random());
    let mut info = TraceInfo::new(id, experiment, Timestamp(requested));
    info.state = TraceState::InProgress;
    info.metadata.extend(pairs(message.request_metadata));
    info.tags.extend(pairs(message.tags));
    let info = state.tracking.trace_start(info).await?;
    Ok(Json(json!({ "trace_info": OldInfoOut::from(&info) })))
}

/// `EndTrace`.
#[derive(Debug, Deserialize)]
pub(super) struct End {
    timestamp_ms: Option<Int64>,
    status: Option<String>,
    request_metadata: Option<Vec<KeyValue>>,
    tags: Option<Vec<KeyValue>>,
}

pub(super) async fn end(
    State(state): State<States>,
    PathText(trace): PathText,
    Message(message): Message<End>,
) -> Answer {
    let Int64(ended) = message.timestamp_ms.ok_or(MlflowError::Missing("timestamp_ms"))?;
    let status = match required("status", message.status)?.as_str() {
        "TRACE_STATUS_UNSPECIFIED" => TraceState::Unspecified,
        name => TraceState::of(name)
            .ok_or_else(|| MlflowError::invalid("status", &"use TRACE_STATUS_UNSPECIFIED, OK, ERROR or IN_PROGRESS"))?,
    };
    let mut info = state.tracking.trace_info(&trace).await?;
    info.duration = Some(ended.saturating_sub(info.requested.0));
    info.state = status;
    // What is there already stays: only what came with the end is written.
    info.assessments.clear();
    info.metadata = pairs(message.request_metadata).collect();
    info.tags = pairs(message.tags).collect();
    let info = state.tracking.trace_start(info).await?;
    Ok(Json(json!({ "trace_info": OldInfoOut::from(&info) })))
}

fn pairs(given: Option<Vec<KeyValue>>) -> impl Iterator<Item = (String, String)> {
    let given = given.unwrap_or_default().into_iter();
    given.filter_map(|pair| Some((pair.key.filter(|key| !key.is_empty())?, pair.value.unwrap_or_default())))
}
