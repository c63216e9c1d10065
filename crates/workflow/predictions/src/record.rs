use ropewalk_types::{ModelName, PredictionId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::PredictionsError;

/// One answered request, as the log keeps it.
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
    /// The moment in its id: not before the request came in, and not after it was answered. It is that of the arrival where a
    /// share of a route was drawn by the id, and that of the answer else.
    pub at: Timestamp,
    /// Waiting for a turn and evaluation, in microseconds.
    pub latency_us: u64,
    /// Rows of the request.
    pub rows: u64,
    /// A column for each input, spelled as [`json`](ropewalk_serving::json) says: one entry for each row. One that is left
    /// out by name is `null`.
    pub inputs: Map<String, Value>,
    /// A column for each output of the model, also those that the client did not ask for.
    pub outputs: Map<String, Value>,
    /// The name of the key with which the client came.
    pub client: Option<String>,
    /// Whether inputs and outputs were too large to be written: there are none then.
    pub cut: bool,
}

/// A record as it lies in journals and segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) prediction: PredictionId,
    pub(crate) request: Option<String>,
    pub(crate) model: String,
    pub(crate) version: u64,
    pub(crate) latency_us: u64,
    pub(crate) rows: u64,
    /// A JSON object of columns; absent where it was too large.
    pub(crate) inputs: Option<String>,
    pub(crate) outputs: Option<String>,
    pub(crate) client: Option<String>,
}

impl StoredRecord {
    /// Bytes of its texts.
    pub(crate) fn text(&self) -> usize {
        let texts = [&self.request, &self.inputs, &self.outputs, &self.client];
        texts.into_iter().flatten().map(String::len).sum::<usize>() + self.model.len()
    }
}

impl TryFrom<StoredRecord> for PredictionRecord {
    type Error = PredictionsError;

    fn try_from(stored: StoredRecord) -> Result<Self, PredictionsError> {
        let id = stored.prediction;
        let damaged = |problem: String| PredictionsError::DamagedRecord { prediction: id.to_string(), problem };
        let object = |column: &str, text: Option<&String>| match text {
            None => Ok(Map::new()),
            Some(text) => serde_json::from_str(text).map_err(|problem| damaged(format!("`{column}`: {problem}"))),
        };
        Ok(Self {
            inputs: object("inputs", stored.inputs.as_ref())?,
            outputs: object("outputs", stored.outputs.as_ref())?,
            cut: stored.inputs.is_none() && stored.outputs.is_none(),
            prediction: id,
            request: stored.request,
            model: stored.model.parse().map_err(|problem| damaged(format!("`model`: {problem}")))?,
            version: stored.version,
            at: Timestamp(id.millis()),
            latency_us: stored.latency_us,
            rows: stored.rows,
            client: stored.client,
        })
    }
}
