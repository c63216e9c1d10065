//! Assessments of traces: `mlflow/protos/assessments.proto`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ropewalk_tracking::{Assessment, AssessmentFault, AssessmentUpdate, AssessmentValue};
use ropewalk_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::any::{Any, python_json};
use super::time::{timestamp, timestamp_text};
use crate::request::{LONG_MESSAGE_BYTES, Message, PathText};
use crate::{MlflowError, MlflowState};

type Answer = Result<Json<Value>, MlflowError>;

/// The kinds of sources, in the order of their numbers from 0.
static SOURCES: [&str; 4] = ["SOURCE_TYPE_UNSPECIFIED", "HUMAN", "LLM_JUDGE", "CODE"];
/// The one format in which a value is written into a text.
const JSON_FORMAT: &str = "JSON_FORMAT";

#[derive(Debug, Deserialize)]
pub(super) struct AssessmentIn {
    assessment_id: Option<String>,
    assessment_name: Option<String>,
    span_id: Option<String>,
    source: Option<SourceIn>,
    create_time: Option<String>,
    last_update_time: Option<String>,
    feedback: Option<FeedbackIn>,
    expectation: Option<ExpectationIn>,
    issue: Option<IssueIn>,
    rationale: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    overrides: Option<String>,
    valid: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct SourceIn {
    source_type: Option<Value>,
    source_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct FeedbackIn {
    #[serde(default)]
    value: Value,
    error: Option<AssessmentFault>,
}

#[derive(Debug, Deserialize)]
struct ExpectationIn {
    #[serde(default)]
    value: Value,
    serialized_value: Option<SerializedIn>,
}

#[derive(Debug, Deserialize)]
struct SerializedIn {
    serialization_format: Option<String>,
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
struct IssueIn {
    issue_name: Option<String>,
}

fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl AssessmentIn {
    /// The assessment of a trace; times that are not given are `now`.
    pub(super) fn assessment(self, trace: &str, now: Timestamp) -> Result<Assessment, MlflowError> {
        let value = self.value()?.ok_or(MlflowError::Missing("assessment.feedback"))?;
        let time =
            |parameter: &'static str, text: Option<&str>| text.map_or(Ok(now), |text| timestamp(parameter, text));
        let created = time("create_time", self.create_time.as_deref())?;
        let updated = time("last_update_time", self.last_update_time.as_deref())?;
        let (kind, source_id) = self.source.map_or((None, None), |source| (source.source_type, source.source_id));
        Ok(Assessment {
            id: self.assessment_id.unwrap_or_default(),
            trace: trace.to_owned(),
            name: self.assessment_name.unwrap_or_default(),
            value,
            source_kind: source_kind(kind.as_ref())?.to_owned(),
            source_id: some(source_id),
            span: some(self.span_id),
            created,
            updated,
            rationale: some(self.rationale),
            metadata: self.metadata.unwrap_or_default(),
            overrides: some(self.overrides),
            valid: self.valid.unwrap_or(true),
        })
    }

    fn value(&self) -> Result<Option<AssessmentValue>, MlflowError> {
        if let Some(feedback) = &self.feedback {
            let value = doubles(feedback.value.clone()).to_string();
            return Ok(Some(AssessmentValue::Feedback { value, error: feedback.error.clone() }));
        }
        if let Some(expectation) = &self.expectation {
            return expectation.json().map(|json| Some(AssessmentValue::Expectation(json)));
        }
        let name = |issue: &IssueIn| AssessmentValue::Issue(issue.issue_name.clone().unwrap_or_default());
        Ok(self.issue.as_ref().map(name))
    }
}

impl ExpectationIn {
    fn json(&self) -> Result<String, MlflowError> {
        let Some(serialized) = &self.serialized_value else { return Ok(doubles(self.value.clone()).to_string()) };
        let refuse = |reason: &str| MlflowError::invalid("expectation.serialized_value", &reason);
        if serialized.serialization_format.as_deref() != Some(JSON_FORMAT) {
            return Err(refuse("its format must be JSON_FORMAT"));
        }
        let text = serialized.value.as_deref().unwrap_or_default();
        let value: Any = serde_json::from_str(text).map_err(|error| refuse(&format!("it is not JSON: {error}")))?;
        Ok(python_json(&value))
    }
}

/// Numbers of a `google.protobuf.Value` are doubles, and are answered as such: 5 as 5.0.
fn doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(values) => values.into_iter().map(doubles).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, doubles(value))).collect(),
        other => other,
    }
}

fn source_kind(value: Option<&Value>) -> Result<&'static str, MlflowError> {
    let found = match value {
        None | Some(Value::Null) => SOURCES.first(),
        // An older name.
        Some(Value::String(name)) if name == "AI_JUDGE" => SOURCES.get(2),
        Some(Value::String(name)) => SOURCES.iter().find(|one| *one == name),
        Some(other) => other.as_u64().and_then(|number| SOURCES.get(usize::try_from(number).ok()?)),
    };
    let reason = || MlflowError::invalid("source.source_type", &"use HUMAN, LLM_JUDGE or CODE");
    found.copied().ok_or_else(reason)
}

#[derive(Debug, Serialize)]
pub(super) struct AssessmentOut<'a> {
    assessment_id: &'a str,
    assessment_name: &'a str,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    source: SourceOut<'a>,
    create_time: String,
    last_update_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback: Option<FeedbackOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expectation: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rationale: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overrides: Option<&'a str>,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    issue: Option<Value>,
}

#[derive(Debug, Serialize)]
struct SourceOut<'a> {
    source_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct FeedbackOut<'a> {
    value: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FaultOut<'a>>,
}

#[derive(Debug, Serialize)]
struct FaultOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack_trace: Option<&'a str>,
}

impl<'a> From<&'a AssessmentFault> for FaultOut<'a> {
    fn from(fault: &'a AssessmentFault) -> Self {
        Self {
            error_code: fault.code.as_deref(),
            error_message: fault.message.as_deref(),
            stack_trace: fault.stack_trace.as_deref(),
        }
    }
}

/// A text is given as such, what has members as JSON in a text.
fn expectation(json: &str) -> Value {
    match parsed(json) {
        Value::Array(_) | Value::Object(_) => {
            json!({ "serialized_value": { "serialization_format": JSON_FORMAT, "value": json } })
        }
        value => json!({ "value": doubles(value) }),
    }
}

/// What is not JSON, if that ever was stored, is shown as a text.
fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))
}

impl<'a> From<&'a Assessment> for AssessmentOut<'a> {
    fn from(assessment: &'a Assessment) -> Self {
        let (mut feedback, mut expected, mut issue) = (None, None, None);
        match &assessment.value {
            AssessmentValue::Feedback { value, error } => {
                feedback = Some(FeedbackOut { value: parsed(value), error: error.as_ref().map(FaultOut::from) });
            }
            AssessmentValue::Expectation(json) => expected = Some(expectation(json)),
            AssessmentValue::Issue(name) => issue = Some(json!({ "issue_name": name })),
        }
        Self {
            assessment_id: &assessment.id,
            assessment_name: &assessment.name,
            trace_id: &assessment.trace,
            span_id: assessment.span.as_deref(),
            source: SourceOut { source_type: &assessment.source_kind, source_id: assessment.source_id.as_deref() },
            create_time: timestamp_text(assessment.created),
            last_update_time: timestamp_text(assessment.updated),
            feedback,
            expectation: expected,
            rationale: assessment.rationale.as_deref(),
            metadata: &assessment.metadata,
            overrides: assessment.overrides.as_deref(),
            valid: assessment.valid,
            issue,
        }
    }
}

fn answer(assessment: &Assessment) -> Json<Value> {
    Json(json!({ "assessment": AssessmentOut::from(assessment) }))
}

/// `CreateAssessment`.
#[derive(Debug, Deserialize)]
pub(super) struct Create {
    assessment: Option<AssessmentIn>,
}

pub(super) async fn create(
    State(state): State<Arc<MlflowState>>,
    PathText(trace): PathText,
    Message(message): Message<Create, LONG_MESSAGE_BYTES>,
) -> Answer {
    let assessment = message.assessment.ok_or(MlflowError::Missing("assessment"))?;
    let assessment = assessment.assessment(&trace, state.tracking.ambient().now())?;
    Ok(answer(&state.tracking.assessment_create(assessment).await?))
}

pub(super) async fn get(
    State(state): State<Arc<MlflowState>>,
    PathText((trace, id)): PathText<(String, String)>,
) -> Answer {
    Ok(answer(&state.tracking.assessment_get(&trace, &id).await?))
}

/// `UpdateAssessment`.
#[derive(Debug, Deserialize)]
pub(super) struct Update {
    assessment: Option<AssessmentIn>,
    update_mask: Option<Mask>,
}

/// `google.protobuf.FieldMask`: in ProtoJSON a text of names in camel case.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Mask {
    Text(String),
    Paths { paths: Vec<String> },
}

impl Mask {
    fn paths(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => text.split(',').map(str::trim).filter(|path| !path.is_empty()).collect(),
            Self::Paths { paths } => paths.iter().map(String::as_str).collect(),
        }
    }
}

pub(super) async fn update(
    State(state): State<Arc<MlflowState>>,
    PathText((trace, id)): PathText<(String, String)>,
    Message(message): Message<Update, LONG_MESSAGE_BYTES>,
) -> Answer {
    let assessment = message.assessment.ok_or(MlflowError::Missing("assessment"))?;
    let mask = message.update_mask.ok_or(MlflowError::Missing("update_mask"))?;
    let mut update = AssessmentUpdate::default();
    for path in mask.paths() {
        match path {
            "assessmentName" | "assessment_name" => update.name = assessment.assessment_name.clone(),
            "feedback" | "expectation" => update.value = assessment.value()?,
            "rationale" => update.rationale = Some(assessment.rationale.clone().unwrap_or_default()),
            "metadata" => update.metadata = Some(assessment.metadata.clone().unwrap_or_default()),
            "valid" => update.valid = assessment.valid,
            other => {
                let reason = format!("there is no field '{}' that can be changed", other.escape_debug());
                return Err(MlflowError::invalid("update_mask", &reason));
            }
        }
    }
    Ok(answer(&state.tracking.assessment_update(&trace, &id, update).await?))
}

pub(super) async fn delete(
    State(state): State<Arc<MlflowState>>,
    PathText((trace, id)): PathText<(String, String)>,
) -> Answer {
    state.tracking.assessment_delete(&trace, &id).await?;
    Ok(Json(json!({})))
}
