use std::collections::{BTreeMap, HashMap};

use ropewalk_catalog::{CatalogError, Connection, FromRow, Query, Row, Value, query};
use ropewalk_types::{ExperimentId, Timestamp};

use super::{
    Assessment, SIZE_STATS, SPANS_HERE, SPANS_TAG, TRACE_PAGE, Trace, TraceError, TraceInfo, TraceState, assessment,
};
use crate::{TrackingError, rows};

/// What [`TraceRow`] reads, of a table `trace t`.
pub(super) const COLUMNS: &str = "t.number, t.id, t.experiment_id, t.requested_at, t.duration, t.state, \
                                  t.client_request_id, t.request_preview, t.response_preview";

/// Lists in statements are of few lengths, so that few texts of statements are kept prepared.
const LENGTHS: [usize; 4] = [1, 16, 128, 512];

/// Placeholders for a list, with the last value repeated up to one of the [`LENGTHS`].
pub(super) struct Places(usize);

impl Places {
    /// For a list that is not longer than the longest of the [`LENGTHS`].
    pub(super) fn of(count: usize) -> Self {
        Self(LENGTHS.into_iter().find(|length| *length >= count).unwrap_or(count))
    }

    /// `$2, $3` for two places from the second on.
    pub(super) fn text(&self, first: usize) -> String {
        let mut text = String::with_capacity(self.0 * 5);
        rows::list(&mut text, first, self.0);
        text
    }

    /// Binds the list, and its last value for the places that are left.
    pub(super) fn bind(&self, query: Query, values: Vec<Value>) -> Query {
        let missing = self.0.saturating_sub(values.len());
        let last = values.last().cloned().unwrap_or(Value::Integer(None));
        values.into_iter().chain(std::iter::repeat_n(last, missing)).fold(query, ropewalk_catalog::Query::bind)
    }
}

/// Texts to bind.
pub(super) fn texts(texts: &[String]) -> Vec<Value> {
    texts.iter().map(Value::from).collect()
}

/// A row of `trace`.
pub(super) struct TraceRow {
    number: i64,
    id: String,
    experiment: i64,
    requested: i64,
    duration: Option<i64>,
    state: String,
    client_request_id: Option<String>,
    request_preview: Option<String>,
    response_preview: Option<String>,
}

impl FromRow for TraceRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self {
            number: row.get(0)?,
            id: row.get(1)?,
            experiment: row.get(2)?,
            requested: row.get(3)?,
            duration: row.get(4)?,
            state: row.get(5)?,
            client_request_id: row.get(6)?,
            request_preview: row.get(7)?,
            response_preview: row.get(8)?,
        })
    }
}

/// The state of this name in a row.
pub(super) fn state(name: &str) -> Result<TraceState, TrackingError> {
    let damaged = || TrackingError::Damaged { table: "trace", value: name.to_owned(), expected: "trace state" };
    TraceState::of(name).ok_or_else(damaged)
}

pub(super) async fn number(connection: &mut Connection, trace: &str) -> Result<Option<i64>, TrackingError> {
    Ok(query("SELECT number FROM trace WHERE id = $1").bind(trace).fetch_optional(connection).await?)
}

pub(super) async fn number_of(connection: &mut Connection, trace: &str) -> Result<i64, TrackingError> {
    number(connection, trace).await?.ok_or_else(|| TraceError::Absent(trace.to_owned()).into())
}

pub(super) async fn info(connection: &mut Connection, trace: &str) -> Result<TraceInfo, TrackingError> {
    Ok(numbered(connection, trace).await?.1)
}

async fn numbered(connection: &mut Connection, trace: &str) -> Result<(i64, TraceInfo), TrackingError> {
    let absent = || TraceError::Absent(trace.to_owned());
    let select = format!("SELECT {COLUMNS} FROM trace t WHERE t.id = $1");
    let row: TraceRow = query(select).bind(trace).fetch_optional(connection).await?.ok_or_else(absent)?;
    let number = row.number;
    let info = infos(connection, vec![row]).await?.pop().ok_or_else(absent)?;
    Ok((number, info))
}

pub(super) async fn get(connection: &mut Connection, trace: &str, partial: bool) -> Result<Trace, TrackingError> {
    let (number, info) = numbered(connection, trace).await?;
    if info.tags.get(SPANS_TAG).is_none_or(|place| place != SPANS_HERE) {
        return Err(TraceError::SpansElsewhere(info.id).into());
    }
    let spans = spans(connection, &[number]).await?.remove(&number).unwrap_or_default();
    let expected = expected_spans(&info);
    if !partial && spans.len() < expected {
        return Err(TraceError::Unfinished { trace: info.id, found: spans.len(), expected }.into());
    }
    Ok(Trace { info, spans })
}

/// How many spans the client said that there are; at least one.
fn expected_spans(info: &TraceInfo) -> usize {
    let stats: Option<serde_json::Value> =
        info.metadata.get(SIZE_STATS).and_then(|stats| serde_json::from_str(stats).ok());
    let count = stats.as_ref().and_then(|stats| stats.get("num_spans")).and_then(serde_json::Value::as_u64);
    count.map_or(1, |count| usize::try_from(count).unwrap_or(usize::MAX)).max(1)
}

pub(super) async fn by_ids(
    connection: &mut Connection,
    traces: &[String],
    experiments: Option<&[ExperimentId]>,
) -> Result<Vec<TraceInfo>, TrackingError> {
    let rows = rows_by_ids(connection, traces, experiments).await?;
    infos(connection, rows).await
}

/// In the order of `traces`, each once.
async fn rows_by_ids(
    connection: &mut Connection,
    traces: &[String],
    experiments: Option<&[ExperimentId]>,
) -> Result<Vec<TraceRow>, TrackingError> {
    count_check(traces)?;
    if traces.is_empty() {
        return Ok(Vec::new());
    }
    let places = Places::of(traces.len());
    let select = format!("SELECT {COLUMNS} FROM trace t WHERE t.id IN ({})", places.text(1));
    let found: Vec<TraceRow> = places.bind(query(select), texts(traces)).fetch_all(connection).await?;
    let wanted = |row: &TraceRow| experiments.is_none_or(|wanted| wanted.contains(&ExperimentId(row.experiment)));
    let mut by_id: HashMap<String, TraceRow> =
        found.into_iter().filter(wanted).map(|row| (row.id.clone(), row)).collect();
    Ok(traces.iter().filter_map(|id| by_id.remove(id)).collect())
}

fn count_check(traces: &[String]) -> Result<(), TraceError> {
    match (traces.len(), TRACE_PAGE) {
        (count, limit) if count > limit => Err(TraceError::TooMany { kind: "trace ids", count, limit }),
        _ => Ok(()),
    }
}

/// How many bytes the spans of traces have; those of a trace that is not there have none.
pub(super) async fn bytes(connection: &mut Connection, traces: &[String]) -> Result<u64, TrackingError> {
    count_check(traces)?;
    if traces.is_empty() {
        return Ok(0);
    }
    let places = Places::of(traces.len());
    // Both databases know the length of a long text without reading it.
    let select = format!(
        "SELECT COALESCE(CAST(SUM(OCTET_LENGTH(s.content)) AS BIGINT), 0) FROM trace_span s \
         WHERE s.trace IN (SELECT t.number FROM trace t WHERE t.id IN ({}))",
        places.text(1)
    );
    let bytes: i64 = places.bind(query(select), texts(traces)).fetch_one(connection).await?;
    Ok(bytes.unsigned_abs())
}

pub(super) async fn whole(
    connection: &mut Connection,
    traces: &[String],
    experiments: Option<&[ExperimentId]>,
) -> Result<Vec<Trace>, TrackingError> {
    let rows = rows_by_ids(connection, traces, experiments).await?;
    let numbers: Vec<i64> = rows.iter().map(|row| row.number).collect();
    let infos = infos(connection, rows).await?;
    let mut all = spans(connection, &numbers).await?;
    let trace = |(number, info): (&i64, TraceInfo)| {
        let spans = all.remove(number).unwrap_or_default();
        (spans.len() >= expected_spans(&info)).then_some(Trace { info, spans })
    };
    Ok(numbers.iter().zip(infos).filter_map(trace).collect())
}

/// The contents of the spans of traces, roots first, then by their start.
async fn spans(connection: &mut Connection, numbers: &[i64]) -> Result<HashMap<i64, Vec<String>>, TrackingError> {
    let mut spans: HashMap<i64, Vec<String>> = HashMap::new();
    for part in numbers.chunks(TRACE_PAGE) {
        let places = Places::of(part.len());
        let select = format!(
            "SELECT trace, content FROM trace_span WHERE trace IN ({}) \
             ORDER BY trace, CASE WHEN parent IS NULL THEN 0 ELSE 1 END, started_at, id",
            places.text(1)
        );
        let found: Vec<(i64, String)> = places.bind(query(select), numbers_of(part)).fetch_all(connection).await?;
        for (number, content) in found {
            spans.entry(number).or_default().push(content);
        }
    }
    Ok(spans)
}

fn numbers_of(numbers: &[i64]) -> Vec<Value> {
    numbers.iter().map(|number| Value::from(*number)).collect()
}

/// Fills in tags, metadata and assessments.
pub(super) async fn infos(connection: &mut Connection, rows: Vec<TraceRow>) -> Result<Vec<TraceInfo>, TrackingError> {
    let numbers: Vec<i64> = rows.iter().map(|row| row.number).collect();
    let mut tags = pairs(connection, "trace_tag", &numbers).await?;
    let mut metadata = pairs(connection, "trace_metadata", &numbers).await?;
    let mut assessments = assessments(connection, &rows).await?;
    let info = |row: TraceRow| -> Result<TraceInfo, TrackingError> {
        Ok(TraceInfo {
            experiment: ExperimentId(row.experiment),
            requested: Timestamp(row.requested),
            duration: row.duration,
            state: state(&row.state)?,
            client_request_id: row.client_request_id,
            request_preview: row.request_preview,
            response_preview: row.response_preview,
            metadata: metadata.remove(&row.number).unwrap_or_default(),
            tags: tags.remove(&row.number).unwrap_or_default(),
            assessments: assessments.remove(&row.number).unwrap_or_default(),
            id: row.id,
        })
    };
    rows.into_iter().map(info).collect()
}

type Pairs = HashMap<i64, BTreeMap<String, String>>;

async fn pairs(connection: &mut Connection, table: &str, numbers: &[i64]) -> Result<Pairs, TrackingError> {
    let mut pairs = Pairs::new();
    for part in numbers.chunks(TRACE_PAGE) {
        let places = Places::of(part.len());
        let select = format!("SELECT trace, key, value FROM {table} WHERE trace IN ({})", places.text(1));
        let found: Vec<(i64, String, String)> =
            places.bind(query(select), numbers_of(part)).fetch_all(connection).await?;
        for (number, key, value) in found {
            pairs.entry(number).or_default().insert(key, value);
        }
    }
    Ok(pairs)
}

async fn assessments(
    connection: &mut Connection,
    rows: &[TraceRow],
) -> Result<HashMap<i64, Vec<Assessment>>, TrackingError> {
    let ids: HashMap<i64, &str> = rows.iter().map(|row| (row.number, row.id.as_str())).collect();
    let numbers: Vec<i64> = rows.iter().map(|row| row.number).collect();
    let mut assessments: HashMap<i64, Vec<Assessment>> = HashMap::new();
    for part in numbers.chunks(TRACE_PAGE) {
        let places = Places::of(part.len());
        let select = format!(
            "SELECT {} FROM trace_assessment WHERE trace IN ({}) ORDER BY trace, created_at, id",
            assessment::COLUMNS,
            places.text(1)
        );
        let found: Vec<assessment::AssessmentRow> =
            places.bind(query(select), numbers_of(part)).fetch_all(connection).await?;
        for row in found {
            let trace = ids.get(&row.trace).copied().unwrap_or_default();
            assessments.entry(row.trace).or_default().push(row.assessment(trace)?);
        }
    }
    Ok(assessments)
}
