//! Spans, as they come: one by one or in batches, before or after their trace's info.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ropewalk_catalog::{CatalogError, Connection, FromRow, Row, Value, query, rows_insert};
use ropewalk_types::{ExperimentId, Timestamp};

use super::preview::{Side, preview};
use super::usage::{COST, Measure, Node, TOKENS};
use super::used::{self, Before};
use super::{
    FINALIZED, SESSION, SPAN_BATCH, SPANS_HERE, SPANS_TAG, TRACE_ARTIFACT_TAG, TRACE_METADATA_CHARACTERS,
    TRACE_TAG_CHARACTERS, TraceError, TraceInfo, TraceState, USER, read, start,
};
use crate::TrackingError;
use crate::limits::{cut, key_check};

/// Attributes that make tags of the trace, by this beginning of their keys.
const TAG_ATTRIBUTE: &str = "mlflow.traceTag.";
/// Attributes of a resource that say nothing about the trace, by the beginning of their keys.
const PASSED_OVER: [&str; 2] = ["telemetry.sdk.", "mlflow."];
const NANOS: i64 = 1_000_000;

/// How a span ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanStatus {
    /// Nothing was said.
    #[default]
    Unset,
    /// Well.
    Ok,
    /// With an error.
    Error,
}

impl SpanStatus {
    /// OpenTelemetry's name, without `STATUS_CODE_`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "UNSET",
            Self::Ok => "OK",
            Self::Error => "ERROR",
        }
    }
}

/// A span that has come.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSpan {
    /// The trace's id, `tr-` and 32 hexadecimal digits.
    pub trace: String,
    /// Its id, 16 hexadecimal digits, unique in the trace.
    pub id: String,
    /// The span that it lies in; none for a root.
    pub parent: Option<String>,
    /// What it is named.
    pub name: String,
    /// How it ended.
    pub status: SpanStatus,
    /// When it began, in nanoseconds since 1970.
    pub start: i64,
    /// When it ended, likewise; none while it goes on.
    pub end: Option<i64>,
    /// Its attributes, with their values as JSON.
    pub attributes: Vec<(String, String)>,
    /// The span as MLflow writes it down: JSON, attributes with their values as JSON texts.
    pub content: String,
    /// What is known of the process that it was made in, as texts.
    pub resource: Arc<Vec<(String, String)>>,
}

impl NewSpan {
    pub(super) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

pub(super) async fn log(
    connection: &mut Connection,
    experiment: ExperimentId,
    spans: Vec<NewSpan>,
) -> Result<Vec<String>, TrackingError> {
    let (count, limit) = (spans.len(), SPAN_BATCH);
    if count > limit {
        return Err(TraceError::TooMany { kind: "spans", count, limit }.into());
    }
    let mut by_trace: BTreeMap<String, BTreeMap<String, NewSpan>> = BTreeMap::new();
    for span in spans {
        by_trace.entry(span.trace.clone()).or_default().insert(span.id.clone(), span);
    }
    let mut rooted = Vec::new();
    for (trace, spans) in by_trace {
        start::id_check(&trace)?;
        if spans.values().any(|span| span.parent.is_none()) {
            rooted.push(trace.clone());
        }
        trace_log(connection, experiment, trace, spans.into_values().collect()).await?;
    }
    Ok(rooted)
}

/// What is known of a trace already.
struct Known {
    number: i64,
    requested: i64,
    duration: Option<i64>,
    state: String,
    request_preview: Option<String>,
    response_preview: Option<String>,
    finalized: bool,
}

impl FromRow for Known {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self {
            number: row.get(0)?,
            requested: row.get(1)?,
            duration: row.get(2)?,
            state: row.get(3)?,
            request_preview: row.get(4)?,
            response_preview: row.get(5)?,
            finalized: row.get(6)?,
        })
    }
}

async fn trace_log(
    connection: &mut Connection,
    experiment: ExperimentId,
    trace: String,
    spans: Vec<NewSpan>,
) -> Result<(), TrackingError> {
    let select = "SELECT number, requested_at, duration, state, request_preview, response_preview, finalized \
                  FROM trace WHERE id = $1";
    let known: Option<Known> = query(select).bind(&trace).fetch_optional(connection).await?;
    let mut tags = BTreeMap::from([(SPANS_TAG.to_owned(), SPANS_HERE.to_owned())]);
    let new = known.is_none();
    let number = if let Some(known) = &known {
        update(connection, known, &spans).await?;
        known.number
    } else {
        let uri = start::artifact_uri(connection, experiment, &trace).await?;
        tags.insert(TRACE_ARTIFACT_TAG.to_owned(), uri);
        start::insert(connection, &first_info(experiment, trace, &spans), false).await?
    };
    tags.extend(told_tags(&spans));
    start::tags_put(connection, number, tags).await?;
    let metadata = told_metadata(connection, number, new, &spans).await?;
    start::metadata_put(connection, number, metadata).await?;
    put(connection, number, new, spans).await
}

/// Writes spans of a trace, each in place of one with its id unless the trace is `new`; no two have the same.
pub(super) async fn put(
    connection: &mut Connection,
    number: i64,
    new: bool,
    spans: Vec<NewSpan>,
) -> Result<(), TrackingError> {
    used::put(connection, number, new, &spans).await?;
    let rows: Vec<[Value; 9]> = spans.into_iter().map(|span| row(number, span)).collect();
    let head = "INSERT INTO trace_span (trace, id, parent, name, kind, status, started_at, ended_at, content)";
    let tail = "ON CONFLICT (trace, id) DO UPDATE SET parent = excluded.parent, name = excluded.name, \
                kind = excluded.kind, status = excluded.status, started_at = excluded.started_at, \
                ended_at = excluded.ended_at, content = excluded.content";
    rows_insert(connection, head, rows, tail).await?;
    Ok(())
}

fn row(number: i64, span: NewSpan) -> [Value; 9] {
    let kind = span.attribute("mlflow.spanType").map(plain);
    [
        number.into(),
        span.id.into(),
        span.parent.into(),
        span.name.into(),
        kind.into(),
        span.status.as_str().into(),
        span.start.into(),
        span.end.into(),
        span.content.into(),
    ]
}

/// A JSON text's text, and of all other JSON its spelling.
fn plain(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
}

/// A trace as its first spans tell it.
fn first_info(experiment: ExperimentId, trace: String, spans: &[NewSpan]) -> TraceInfo {
    let begin = begin(spans);
    let root = root(spans);
    let mut info = TraceInfo::new(trace, experiment, Timestamp(begin));
    info.duration = end(spans).map(|end| end.saturating_sub(begin));
    info.state = root.map_or(TraceState::InProgress, state);
    info.request_preview = root.and_then(|root| shown(root, Side::Request));
    info.response_preview = root.and_then(|root| shown(root, Side::Response));
    info
}

fn root(spans: &[NewSpan]) -> Option<&NewSpan> {
    spans.iter().find(|span| span.parent.is_none())
}

/// In milliseconds, as all times of traces.
fn begin(spans: &[NewSpan]) -> i64 {
    spans.iter().map(|span| span.start.div_euclid(NANOS)).min().unwrap_or_default()
}

fn end(spans: &[NewSpan]) -> Option<i64> {
    spans.iter().filter_map(|span| span.end).map(|end| end.div_euclid(NANOS)).max()
}

fn state(root: &NewSpan) -> TraceState {
    match root.status {
        SpanStatus::Error => TraceState::Error,
        SpanStatus::Ok | SpanStatus::Unset => TraceState::Ok,
    }
}

fn shown(root: &NewSpan, side: Side) -> Option<String> {
    let key = match side {
        Side::Request => "mlflow.spanInputs",
        Side::Response => "mlflow.spanOutputs",
    };
    root.attribute(key).filter(|text| !text.is_empty()).map(|text| preview(text, side))
}

/// Widens a trace by spans: it begins with the first and ends with the last, unless the client has said when.
async fn update(connection: &mut Connection, known: &Known, spans: &[NewSpan]) -> Result<(), TrackingError> {
    let (requested, duration) = if known.finalized {
        (known.requested, known.duration)
    } else {
        let requested = known.requested.min(begin(spans));
        let ended = known.duration.map(|duration| known.requested.saturating_add(duration));
        (requested, ended.max(end(spans)).map(|ended| ended.saturating_sub(requested)))
    };
    let root = root(spans);
    let mut now = read::state(&known.state)?;
    if let (Some(root), TraceState::InProgress | TraceState::Unspecified) = (root, now) {
        now = state(root);
    }
    let told = |known: &Option<String>, side: Side| known.clone().or_else(|| root.and_then(|root| shown(root, side)));
    let update = "UPDATE trace SET requested_at = $2, duration = $3, state = $4, request_preview = $5, \
                  response_preview = $6 WHERE number = $1";
    query(update)
        .bind(known.number)
        .bind(requested)
        .bind(duration)
        .bind(now.as_str())
        .bind(told(&known.request_preview, Side::Request))
        .bind(told(&known.response_preview, Side::Response))
        .execute(connection)
        .await?;
    Ok(())
}

/// The tags that spans make: of their resource, and of the root's attributes, which count more.
///
/// What could not be a tag's key is passed over: the span keeps it.
fn told_tags(spans: &[NewSpan]) -> BTreeMap<String, String> {
    let resource = spans.iter().map(|span| &span.resource).find(|resource| !resource.is_empty());
    let of_resource = resource
        .into_iter()
        .flat_map(|resource| resource.iter())
        .filter(|(key, _)| !PASSED_OVER.iter().any(|beginning| key.starts_with(beginning)))
        .map(|(key, value)| (key.as_str(), value.clone()));
    let of_root = root(spans)
        .into_iter()
        .flat_map(|root| &root.attributes)
        .filter_map(|(key, value)| Some((key.strip_prefix(TAG_ATTRIBUTE)?, plain(value))))
        .filter(|(key, _)| *key != SPANS_TAG && *key != TRACE_ARTIFACT_TAG);
    of_resource
        .chain(of_root)
        .filter(|(key, _)| key_check("tag key", key).is_ok())
        .map(|(key, value)| (key.to_owned(), cut(&value, TRACE_TAG_CHARACTERS).0.to_owned()))
        .collect()
}

/// The metadata that spans make, without what the trace has and keeps.
async fn told_metadata(
    connection: &mut Connection,
    number: i64,
    new: bool,
    spans: &[NewSpan],
) -> Result<BTreeMap<String, String>, TrackingError> {
    let first = |keys: &[&str]| spans.iter().find_map(|span| keys.iter().find_map(|key| span.attribute(key)));
    let texts = [(SESSION, first(&["session.id", "gen_ai.conversation.id"])), (USER, first(&["user.id"]))];
    let has = |measure: &Measure| spans.iter().any(|span| span.attribute(measure.attribute).is_some());
    let mut measures: Vec<Measure> = [TOKENS, COST].into_iter().filter(|measure| has(measure)).collect();
    let mut metadata = BTreeMap::new();
    if measures.is_empty() && texts.iter().all(|(_, value)| value.is_none()) {
        return Ok(metadata);
    }
    let there = if new { HashMap::new() } else { kept(connection, number).await? };
    for (key, value) in texts {
        if let Some(value) = value.filter(|_| !there.contains_key(key)) {
            metadata.insert(key.to_owned(), cut(&plain(value), TRACE_METADATA_CHARACTERS).0.to_owned());
        }
    }
    measures.retain(|measure| !(there.contains_key(FINALIZED) && there.contains_key(measure.metadata)));
    if measures.is_empty() {
        return Ok(metadata);
    }
    let before = if new { Before::default() } else { Before::read(connection, number).await? };
    for measure in measures {
        let mut nodes = before.nodes(measure.attribute);
        for span in spans {
            let used = span.attribute(measure.attribute).and_then(Measure::object);
            nodes.insert(span.id.clone(), Node { id: span.id.clone(), parent: span.parent.clone(), used });
        }
        let nodes: Vec<Node> = nodes.into_values().collect();
        if let Some(sum) = measure.sum(&nodes) {
            metadata.insert(measure.metadata.to_owned(), sum);
        }
    }
    Ok(metadata)
}

async fn kept(connection: &mut Connection, number: i64) -> Result<HashMap<String, String>, TrackingError> {
    let select = "SELECT key, value FROM trace_metadata WHERE trace = $1 AND key IN ($2, $3, $4, $5, $6)";
    let rows: Vec<(String, String)> = query(select)
        .bind(number)
        .bind(SESSION)
        .bind(USER)
        .bind(TOKENS.metadata)
        .bind(COST.metadata)
        .bind(FINALIZED)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().collect())
}
