//! Assessments of traces, after MLflow's `Assessment` (`mlflow/protos/assessments.proto`).

use std::collections::BTreeMap;

use ropewalk_catalog::{CatalogError, Connection, FromRow, Query, Row, query};
use ropewalk_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{TraceError, read};
use crate::TrackingError;
use crate::limits::{KEY_CHARACTERS, name_error};

/// Longest id of an assessment.
const ID_CHARACTERS: usize = 64;

/// What somebody or something thinks of a trace, or of one of its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Its id, unique in the trace; an empty one is to be given.
    pub id: String,
    /// The trace.
    pub trace: String,
    /// What it is about, such as `correctness`.
    pub name: String,
    /// What it says.
    pub value: AssessmentValue,
    /// Who says it: `HUMAN`, `LLM_JUDGE`, `CODE` or `SOURCE_TYPE_UNSPECIFIED`.
    pub source_kind: String,
    /// Which one of them.
    pub source_id: Option<String>,
    /// The span that it is about.
    pub span: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed.
    pub updated: Timestamp,
    /// Why.
    pub rationale: Option<String>,
    /// More about it.
    pub metadata: BTreeMap<String, String>,
    /// The assessment that it stands in for.
    pub overrides: Option<String>,
    /// Whether no other one stands in for it.
    pub valid: bool,
}

/// What an assessment says.
#[derive(Clone, Debug, PartialEq)]
pub enum AssessmentValue {
    /// How good something is.
    Feedback {
        /// JSON.
        value: String,
        /// Why there is no value.
        error: Option<AssessmentFault>,
    },
    /// What should have come out, as JSON.
    Expectation(String),
    /// The name of an issue, which the trace shows.
    Issue(String),
}

/// Why feedback could not be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssessmentFault {
    /// A name of the fault.
    #[serde(rename = "error_code")]
    pub code: Option<String>,
    /// What happened.
    #[serde(rename = "error_message")]
    pub message: Option<String>,
    /// Where it happened.
    pub stack_trace: Option<String>,
}

/// What is to change about an assessment; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssessmentUpdate {
    /// Its name.
    pub name: Option<String>,
    /// What it says, of the kind that it is.
    pub value: Option<AssessmentValue>,
    /// Why.
    pub rationale: Option<String>,
    /// More about it, added to what there is.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Whether it counts.
    pub valid: Option<bool>,
}

impl AssessmentValue {
    /// `feedback`, `expectation` or `issue`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Feedback { .. } => "feedback",
            Self::Expectation(_) => "expectation",
            Self::Issue(_) => "issue",
        }
    }

    /// As it is stored: JSON.
    fn json(&self) -> String {
        match self {
            Self::Feedback { value, .. } | Self::Expectation(value) => value.clone(),
            Self::Issue(name) => serde_json::json!({ "issue_name": name }).to_string(),
        }
    }

    /// The value, if it is a finite number.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Feedback { value, .. } | Self::Expectation(value) => {
                let parsed: serde_json::Value = serde_json::from_str(value).ok()?;
                parsed.as_f64().filter(|number| number.is_finite())
            }
            Self::Issue(_) => None,
        }
    }

    fn error_json(&self) -> Option<String> {
        match self {
            Self::Feedback { error: Some(error), .. } => serde_json::to_string(error).ok(),
            _ => None,
        }
    }
}

/// What [`AssessmentRow`] reads.
pub(super) const COLUMNS: &str = "trace, id, name, kind, value, error, source_kind, source_id, span_id, created_at, \
                                  updated_at, rationale, metadata, overrides, valid";

/// A row of `trace_assessment`.
pub(super) struct AssessmentRow {
    pub(super) trace: i64,
    id: String,
    name: String,
    kind: String,
    value: String,
    error: Option<String>,
    source_kind: String,
    source_id: Option<String>,
    span: Option<String>,
    created: i64,
    updated: i64,
    rationale: Option<String>,
    metadata: String,
    overrides: Option<String>,
    valid: bool,
}

impl FromRow for AssessmentRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self {
            trace: row.get(0)?,
            id: row.get(1)?,
            name: row.get(2)?,
            kind: row.get(3)?,
            value: row.get(4)?,
            error: row.get(5)?,
            source_kind: row.get(6)?,
            source_id: row.get(7)?,
            span: row.get(8)?,
            created: row.get(9)?,
            updated: row.get(10)?,
            rationale: row.get(11)?,
            metadata: row.get(12)?,
            overrides: row.get(13)?,
            valid: row.get(14)?,
        })
    }
}

impl AssessmentRow {
    /// The assessment of the trace with the id `trace`.
    pub(super) fn assessment(self, trace: &str) -> Result<Assessment, TrackingError> {
        let damaged = |value: &str, expected: &'static str| TrackingError::Damaged {
            table: "trace_assessment",
            value: value.to_owned(),
            expected,
        };
        let fault = |text: &str| serde_json::from_str(text).map_err(|_| damaged(text, "fault of a feedback"));
        let value = match self.kind.as_str() {
            "feedback" => {
                AssessmentValue::Feedback { value: self.value, error: self.error.as_deref().map(fault).transpose()? }
            }
            "expectation" => AssessmentValue::Expectation(self.value),
            "issue" => AssessmentValue::Issue(issue_name(&self.value)),
            other => return Err(damaged(other, "kind of assessment")),
        };
        let metadata = serde_json::from_str(&self.metadata).map_err(|_| damaged(&self.metadata, "map of texts"))?;
        Ok(Assessment {
            id: self.id,
            trace: trace.to_owned(),
            name: self.name,
            value,
            source_kind: self.source_kind,
            source_id: self.source_id,
            span: self.span,
            created: Timestamp(self.created),
            updated: Timestamp(self.updated),
            rationale: self.rationale,
            metadata,
            overrides: self.overrides,
            valid: self.valid,
        })
    }
}

fn issue_name(json: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(json).ok();
    let name = parsed.as_ref().and_then(|value| value.get("issue_name")).and_then(serde_json::Value::as_str);
    name.unwrap_or_default().to_owned()
}

fn check(assessment: &Assessment) -> Result<(), TrackingError> {
    let longest = |kind: &'static str, text: &str, limit: usize| {
        if text.chars().count() > limit {
            return Err(name_error(kind, text, &format!("at most {limit} characters are allowed")));
        }
        Ok(())
    };
    longest("assessment id", &assessment.id, ID_CHARACTERS)?;
    longest("assessment name", &assessment.name, KEY_CHARACTERS)?;
    longest("source of an assessment", assessment.source_id.as_deref().unwrap_or_default(), KEY_CHARACTERS)?;
    longest("span id", assessment.span.as_deref().unwrap_or_default(), ID_CHARACTERS)
}

fn insert(number: i64, assessment: &Assessment, conflict: &str) -> Query {
    let insert = format!(
        "INSERT INTO trace_assessment (trace, id, name, kind, value, number, error, source_kind, source_id, span_id, \
         created_at, updated_at, rationale, metadata, overrides, valid) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
         ON CONFLICT (trace, id) DO {conflict}"
    );
    query(insert)
        .bind(number)
        .bind(&assessment.id)
        .bind(&assessment.name)
        .bind(assessment.value.kind())
        .bind(assessment.value.json())
        .bind(assessment.value.number())
        .bind(assessment.value.error_json())
        .bind(&assessment.source_kind)
        .bind(assessment.source_id.as_deref())
        .bind(assessment.span.as_deref())
        .bind(assessment.created.0)
        .bind(assessment.updated.0)
        .bind(assessment.rationale.as_deref())
        .bind(metadata_json(&assessment.metadata))
        .bind(assessment.overrides.as_deref())
        .bind(assessment.valid)
}

fn metadata_json(metadata: &BTreeMap<String, String>) -> String {
    let object = metadata.iter().map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str())));
    serde_json::Value::Object(object.collect()).to_string()
}

/// Writes an assessment that came with its trace, in place of one with its id.
pub(super) async fn put(
    connection: &mut Connection,
    number: i64,
    assessment: &Assessment,
) -> Result<(), TrackingError> {
    check(assessment)?;
    let conflict = "UPDATE SET name = excluded.name, kind = excluded.kind, value = excluded.value, \
                    number = excluded.number, error = excluded.error, source_kind = excluded.source_kind, \
                    source_id = excluded.source_id, span_id = excluded.span_id, updated_at = excluded.updated_at, \
                    rationale = excluded.rationale, metadata = excluded.metadata, overrides = excluded.overrides, \
                    valid = excluded.valid";
    insert(number, assessment, conflict).execute(connection).await?;
    Ok(())
}

pub(super) async fn create(
    connection: &mut Connection,
    mut assessment: Assessment,
) -> Result<Assessment, TrackingError> {
    check(&assessment)?;
    let number = read::number_of(connection, &assessment.trace).await?;
    assessment.valid = true;
    if let Some(overridden) = &assessment.overrides
        && valid_set(connection, number, overridden, false).await? == 0
    {
        return Err(absent(&assessment.trace, overridden));
    }
    if insert(number, &assessment, "NOTHING").execute(connection).await? == 0 {
        return Err(TraceError::AssessmentExists { trace: assessment.trace, assessment: assessment.id }.into());
    }
    Ok(assessment)
}

fn absent(trace: &str, assessment: &str) -> TrackingError {
    TraceError::AssessmentAbsent { trace: trace.to_owned(), assessment: assessment.to_owned() }.into()
}

async fn valid_set(connection: &mut Connection, number: i64, id: &str, valid: bool) -> Result<u64, TrackingError> {
    let update = "UPDATE trace_assessment SET valid = $3 WHERE trace = $1 AND id = $2";
    Ok(query(update).bind(number).bind(id).bind(valid).execute(connection).await?)
}

pub(super) async fn get(connection: &mut Connection, trace: &str, id: &str) -> Result<Assessment, TrackingError> {
    let number = read::number_of(connection, trace).await?;
    read_one(connection, number, trace, id).await?.ok_or_else(|| absent(trace, id))
}

async fn read_one(
    connection: &mut Connection,
    number: i64,
    trace: &str,
    id: &str,
) -> Result<Option<Assessment>, TrackingError> {
    let select = format!("SELECT {COLUMNS} FROM trace_assessment WHERE trace = $1 AND id = $2");
    let row: Option<AssessmentRow> = query(select).bind(number).bind(id).fetch_optional(connection).await?;
    row.map(|row| row.assessment(trace)).transpose()
}

pub(super) async fn update(
    connection: &mut Connection,
    trace: &str,
    id: &str,
    update: AssessmentUpdate,
    at: Timestamp,
) -> Result<Assessment, TrackingError> {
    let number = read::number_of(connection, trace).await?;
    let found = read_one(connection, number, trace, id).await?;
    let mut assessment = found.ok_or_else(|| absent(trace, id))?;
    if let Some(value) = update.value {
        let (kind, given) = (assessment.value.kind(), value.kind());
        if kind != given {
            return Err(TraceError::AssessmentKind { assessment: id.to_owned(), kind, given }.into());
        }
        assessment.value = value;
    }
    if let Some(name) = update.name {
        assessment.name = name;
    }
    if update.rationale.is_some() {
        assessment.rationale = update.rationale;
    }
    assessment.metadata.extend(update.metadata.unwrap_or_default());
    assessment.valid = update.valid.unwrap_or(assessment.valid);
    assessment.updated = at;
    put(connection, number, &assessment).await?;
    Ok(assessment)
}

pub(super) async fn delete(connection: &mut Connection, trace: &str, id: &str) -> Result<(), TrackingError> {
    let Some(number) = read::number(connection, trace).await? else { return Ok(()) };
    let Some(assessment) = read_one(connection, number, trace, id).await? else { return Ok(()) };
    if let Some(overridden) = &assessment.overrides {
        valid_set(connection, number, overridden, true).await?;
    }
    let delete = "DELETE FROM trace_assessment WHERE trace = $1 AND id = $2";
    query(delete).bind(number).bind(id).execute(connection).await?;
    Ok(())
}
