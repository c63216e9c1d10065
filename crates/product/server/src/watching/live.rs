use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringBuilder};
use ropewalk_data::AuditAction;
use ropewalk_predictions::{PredictionFilter, PredictionRecord, PredictionScan};
use ropewalk_registry::ModelVersion;
use ropewalk_types::{ElementType, TensorSpec, Timestamp};
use serde_json::{Value, json};

use super::{SCORE, nothing_answered};
use crate::asking::PREDICTIONS;
use crate::{OpenProject, ServerError};

/// Records that are read at once.
const PAGE: usize = 1000;

/// What a version was asked and what it answered.
pub(super) struct Live {
    /// The inputs as columns, and the score in the column [`SCORE`].
    pub(super) batches: Vec<RecordBatch>,
    /// The same rows for the comparison with labels.
    pub(super) rows: Vec<Row>,
    /// When the first request came.
    pub(super) from: Option<Timestamp>,
    /// When the last request came.
    pub(super) to: Option<Timestamp>,
}

/// One answered row.
pub(super) struct Row {
    /// The request's own id; with `#` and the row's number where a request has several.
    pub(super) request: Option<String>,
    pub(super) at: Timestamp,
    pub(super) score: f64,
}

impl OpenProject {
    /// A version's answers, oldest first.
    async fn answers(&self, version: &ModelVersion) -> Result<PredictionScan, ServerError> {
        let model = Some((version.name.clone(), Some(version.version)));
        let filter = PredictionFilter { model, ..PredictionFilter::default() };
        Ok(self.predictions().scan(&filter, None).await?)
    }

    /// How many requests a version answered.
    pub(super) async fn answer_count(&self, version: &ModelVersion) -> Result<u64, ServerError> {
        let mut scan = self.answers(version).await?;
        let mut count = 0;
        loop {
            let page = scan.page(PAGE).await?;
            count += page.records.len() as u64;
            if page.next.is_none() {
                return Ok(count);
            }
        }
    }

    /// What a version was asked and what it answered. Of the records themselves no more than a page is held.
    pub(super) async fn live(&self, version: &ModelVersion, score: &str) -> Result<Live, ServerError> {
        let details = json!({ "log": PREDICTIONS, "what": "monitor", "model": version.uri() });
        self.audit_predictions(AuditAction::Read, details).await?;
        let mut live = Live { batches: Vec::new(), rows: Vec::new(), from: None, to: None };
        let mut scan = self.answers(version).await?;
        loop {
            let page = scan.page(PAGE).await?;
            live.take(page.records, version, score)?;
            if page.next.is_none() {
                break;
            }
        }
        if live.from.is_none() { Err(nothing_answered(version)) } else { Ok(live) }
    }
}

impl Live {
    fn take(
        &mut self,
        mut records: Vec<PredictionRecord>,
        version: &ModelVersion,
        score: &str,
    ) -> Result<(), ServerError> {
        // Of what was too large to be logged nothing is known that could be compared.
        records.retain(|record| !record.cut);
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        (self.from, self.to) = (self.from.or(Some(first.at)), Some(last.at));
        let scores: Vec<Vec<f64>> = records.iter().map(|record| scores(record, score)).collect();
        self.batches.push(batch(&records, &version.content()?.signature.inputs, &scores)?);
        for (record, scores) in records.iter().zip(scores) {
            self.rows.extend(rows(record, &scores));
        }
        Ok(())
    }
}

fn rows<'a>(record: &'a PredictionRecord, scores: &'a [f64]) -> impl Iterator<Item = Row> + 'a {
    scores.iter().enumerate().map(move |(position, score)| {
        let several = scores.len() > 1;
        let request = record.request.as_ref().map(|id| if several { format!("{id}#{position}") } else { id.clone() });
        Row { request, at: record.at, score: *score }
    })
}

/// The last element of each row of the output that scores; a row without one has NaN, which is counted as refused.
fn scores(record: &PredictionRecord, output: &str) -> Vec<f64> {
    let rows = record.outputs.get(output).and_then(Value::as_array);
    let last = |row: &Value| match row {
        Value::Array(elements) => elements.last().and_then(Value::as_f64),
        single => single.as_f64(),
    };
    match rows {
        Some(rows) => rows.iter().map(|row| last(row).unwrap_or(f64::NAN)).collect(),
        None => vec![f64::NAN; usize::try_from(record.rows).unwrap_or_default()],
    }
}

/// The inputs of some records as a table: texts as text, all else as numbers.
fn batch(records: &[PredictionRecord], inputs: &[TensorSpec], scores: &[Vec<f64>]) -> Result<RecordBatch, ServerError> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::with_capacity(inputs.len() + 1);
    // What is redacted is not missing: it is not there to be compared.
    let redacted =
        |input: &&TensorSpec| records.iter().all(|record| record.inputs.get(&input.name) == Some(&Value::Null));
    for input in inputs.iter().filter(|input| !redacted(input)) {
        let cells = records.iter().flat_map(|record| cells(record, &input.name));
        let column: ArrayRef = if input.datatype == ElementType::Bytes {
            let mut builder = StringBuilder::new();
            cells.for_each(|cell| builder.append_option(cell.and_then(Value::as_str)));
            Arc::new(builder.finish())
        } else {
            let mut builder = Float64Builder::new();
            cells.for_each(|cell| builder.append_option(cell.and_then(number)));
            Arc::new(builder.finish())
        };
        columns.push((input.name.clone(), column));
    }
    let mut builder = Float64Builder::new();
    scores.iter().flatten().for_each(|score| builder.append_value(*score));
    columns.push((SCORE.to_owned(), Arc::new(builder.finish())));
    RecordBatch::try_from_iter(columns).map_err(|error| ServerError::Serve(error.to_string()))
}

/// The cells of a column, one for each row of the request; a row of one element is that element.
fn cells<'a>(record: &'a PredictionRecord, name: &str) -> impl Iterator<Item = Option<&'a Value>> {
    let column = record.inputs.get(name).and_then(Value::as_array);
    let rows = usize::try_from(record.rows).unwrap_or_default();
    (0..rows).map(move |row| match column.and_then(|column| column.get(row)) {
        Some(Value::Array(elements)) => elements.first(),
        cell => cell,
    })
}

fn number(cell: &Value) -> Option<f64> {
    match cell {
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        other => other.as_f64(),
    }
}
