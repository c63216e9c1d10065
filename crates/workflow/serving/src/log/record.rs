use std::str::FromStr;

use ropewalk_catalog::{CatalogError, FromRow, FromValue, Row};
use ropewalk_inference::TensorData;
use ropewalk_types::{ModelName, PredictionId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Answered, ServingError, json};

/// One answered request, as the catalogue keeps it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PredictionRecord {
    /// Its id.
    pub prediction: PredictionId,
    /// The client's own name for the request.
    pub request: Option<String>,
    /// The model that answered.
    pub model: ModelName,
    /// The version that answered.
    pub version: u64,
    /// When the request came in.
    pub at: Timestamp,
    /// Waiting for a turn and evaluation, in microseconds.
    pub latency_us: u64,
    /// Rows of the request.
    pub rows: u64,
    /// A column for each input, spelled as [`json`](crate::json) says: one entry for each row.
    pub inputs: Map<String, Value>,
    /// A column for each output of the model, also those that the client did not ask for.
    pub outputs: Map<String, Value>,
}

/// An answer as it is bound to the statement.
#[derive(Debug)]
pub(super) struct EncodedAnswer {
    pub(super) prediction: PredictionId,
    pub(super) request: Option<String>,
    pub(super) model: ModelName,
    pub(super) version: u64,
    pub(super) latency_us: u64,
    pub(super) rows: usize,
    pub(super) inputs: String,
    pub(super) outputs: String,
}

impl Answered {
    /// Bytes that the answer holds in memory, about.
    pub(crate) fn weight(&self) -> usize {
        self.inputs.iter().chain(&self.outputs).map(|named| 64 + named.name.len() + size(&named.tensor.data)).sum()
    }

    pub(super) fn encode(self) -> EncodedAnswer {
        EncodedAnswer {
            inputs: json::columns(&self.inputs),
            outputs: json::columns(&self.outputs),
            prediction: self.prediction,
            request: self.request,
            model: self.model,
            version: self.version,
            latency_us: self.latency_us,
            rows: self.rows,
        }
    }
}

fn size(data: &TensorData) -> usize {
    match data {
        TensorData::Bytes(values) => values.iter().map(|value| size_of_val(value) + value.len()).sum(),
        other => other.len() * other.element_type().size().unwrap_or(1),
    }
}

impl PredictionRecord {
    /// Reads a row of `SELECT id, request_id, model, version, at, latency_us, rows, inputs, outputs`.
    pub(super) fn from_row(row: &Row<'_>) -> Result<Self, ServingError> {
        let id: String = get(row, "id", "?")?;
        Ok(Self {
            prediction: parse(&id, &id)?,
            request: get(row, "request_id", &id)?,
            model: parse(&get::<String>(row, "model", &id)?, &id)?,
            version: whole(row, "version", &id)?,
            at: Timestamp(get(row, "at", &id)?),
            latency_us: whole(row, "latency_us", &id)?,
            rows: whole(row, "rows", &id)?,
            inputs: object(row, "inputs", &id)?,
            outputs: object(row, "outputs", &id)?,
        })
    }
}

/// A record as it was read, damaged or not.
pub(super) struct RecordRow(pub(super) Result<PredictionRecord, ServingError>);

impl FromRow for RecordRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self(PredictionRecord::from_row(row)))
    }
}

fn damaged(id: &str, problem: String) -> ServingError {
    ServingError::DamagedRecord { prediction: id.to_owned(), problem }
}

fn get<T>(row: &Row<'_>, column: &str, id: &str) -> Result<T, ServingError>
where
    T: for<'r> FromValue<'r>,
{
    row.named(column).map_err(|problem| damaged(id, problem.to_string()))
}

fn parse<T: FromStr<Err: ToString>>(text: &str, id: &str) -> Result<T, ServingError> {
    text.parse().map_err(|problem: T::Err| damaged(id, problem.to_string()))
}

fn whole(row: &Row<'_>, column: &str, id: &str) -> Result<u64, ServingError> {
    u64::try_from(get::<i64>(row, column, id)?).map_err(|_| damaged(id, format!("`{column}` is negative")))
}

fn object(row: &Row<'_>, column: &str, id: &str) -> Result<Map<String, Value>, ServingError> {
    serde_json::from_str(&get::<String>(row, column, id)?)
        .map_err(|problem| damaged(id, format!("`{column}`: {problem}")))
}
