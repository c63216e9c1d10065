//! `TraceInfoV3` and `TraceLocation` of `mlflow/protos/service.proto`.

use std::collections::BTreeMap;

use ropewalk_tracking::{TraceInfo, TraceState};
use ropewalk_types::{ExperimentId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::assessments::{AssessmentIn, AssessmentOut};
use super::time::{duration, duration_text, timestamp, timestamp_text};
use crate::MlflowError;
use crate::request::{experiment_id, required};

#[derive(Debug, Deserialize)]
pub(super) struct LocationIn {
    mlflow_experiment: Option<ExperimentLocationIn>,
}

#[derive(Debug, Deserialize)]
struct ExperimentLocationIn {
    experiment_id: Option<String>,
}

impl LocationIn {
    /// The experiment, if it is one and not a table of another vendor's.
    pub(super) fn experiment(&self) -> Result<Option<ExperimentId>, MlflowError> {
        let id = self.mlflow_experiment.as_ref().and_then(|location| location.experiment_id.as_deref());
        id.map(experiment_id).transpose()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct InfoIn {
    trace_id: Option<String>,
    client_request_id: Option<String>,
    trace_location: Option<LocationIn>,
    request_preview: Option<String>,
    response_preview: Option<String>,
    request_time: Option<String>,
    execution_duration: Option<String>,
    state: Option<Value>,
    trace_metadata: Option<BTreeMap<String, String>>,
    tags: Option<BTreeMap<String, String>>,
    assessments: Option<Vec<AssessmentIn>>,
}

impl InfoIn {
    /// The info; assessments without a time are made `now`.
    pub(super) fn info(self, now: Timestamp) -> Result<TraceInfo, MlflowError> {
        let id = required("trace_id", self.trace_id)?;
        let location = self.trace_location.as_ref().map_or(Ok(None), LocationIn::experiment)?;
        let experiment = location.ok_or(MlflowError::Missing("trace_location.mlflow_experiment.experiment_id"))?;
        let requested =
            self.request_time.as_deref().map_or(Ok(Timestamp(0)), |text| timestamp("request_time", text))?;
        let mut info = TraceInfo::new(id, experiment, requested);
        info.duration =
            self.execution_duration.as_deref().map(|text| duration("execution_duration", text)).transpose()?;
        info.state = self.state.as_ref().map_or(Ok(TraceState::Unspecified), state)?;
        info.client_request_id = self.client_request_id;
        info.request_preview = self.request_preview;
        info.response_preview = self.response_preview;
        info.metadata = self.trace_metadata.unwrap_or_default();
        info.tags = self.tags.unwrap_or_default();
        for assessment in self.assessments.unwrap_or_default() {
            info.assessments.push(assessment.assessment(&info.id, now)?);
        }
        Ok(info)
    }
}

/// ProtoJSON takes an enumeration's name or its number.
fn state(value: &Value) -> Result<TraceState, MlflowError> {
    let found = match value {
        Value::Null => Some(TraceState::Unspecified),
        Value::String(name) => TraceState::of(name),
        other => other.as_u64().and_then(|number| TraceState::ALL.get(usize::try_from(number).ok()?).copied()),
    };
    found.ok_or_else(|| MlflowError::invalid("state", &"use STATE_UNSPECIFIED, OK, ERROR or IN_PROGRESS"))
}

#[derive(Debug, Serialize)]
struct LocationOut {
    #[serde(rename = "type")]
    kind: &'static str,
    mlflow_experiment: ExperimentLocationOut,
}

#[derive(Debug, Serialize)]
struct ExperimentLocationOut {
    experiment_id: String,
}

#[derive(Debug, Serialize)]
pub(super) struct InfoOut<'a> {
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<&'a str>,
    trace_location: LocationOut,
    request_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_duration: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    trace_metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assessments: Vec<AssessmentOut<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_preview: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_preview: Option<&'a str>,
}

impl<'a> From<&'a TraceInfo> for InfoOut<'a> {
    fn from(info: &'a TraceInfo) -> Self {
        let experiment_id = info.experiment.to_string();
        Self {
            trace_id: &info.id,
            client_request_id: info.client_request_id.as_deref(),
            trace_location: LocationOut {
                kind: "MLFLOW_EXPERIMENT",
                mlflow_experiment: ExperimentLocationOut { experiment_id },
            },
            request_time: timestamp_text(info.requested),
            execution_duration: info.duration.map(duration_text),
            state: info.state.as_str(),
            trace_metadata: &info.metadata,
            assessments: info.assessments.iter().map(AssessmentOut::from).collect(),
            tags: &info.tags,
            request_preview: info.request_preview.as_deref(),
            response_preview: info.response_preview.as_deref(),
        }
    }
}

/// `TraceInfo` of version 2, which older clients read.
#[derive(Debug, Serialize)]
pub(super) struct OldInfoOut<'a> {
    request_id: &'a str,
    experiment_id: String,
    timestamp_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_time_ms: Option<i64>,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    request_metadata: Vec<PairOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<PairOut<'a>>,
}

#[derive(Debug, Serialize)]
struct PairOut<'a> {
    key: &'a str,
    value: &'a str,
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<PairOut<'_>> {
    map.iter().map(|(key, value)| PairOut { key, value }).collect()
}

impl<'a> From<&'a TraceInfo> for OldInfoOut<'a> {
    fn from(info: &'a TraceInfo) -> Self {
        Self {
            request_id: &info.id,
            experiment_id: info.experiment.to_string(),
            timestamp_ms: info.requested.0,
            execution_time_ms: info.duration,
            status: match info.state {
                TraceState::Unspecified => "TRACE_STATUS_UNSPECIFIED",
                state => state.as_str(),
            },
            request_metadata: pairs(&info.metadata),
            tags: pairs(&info.tags),
        }
    }
}
