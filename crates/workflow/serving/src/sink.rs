use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_inference::{NamedTensor, TensorData};
use ropewalk_types::{ModelName, PredictionId};
use serde::Serialize;

use crate::ServingError;

/// One answered request, for those who keep or watch answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Its id.
    pub prediction: PredictionId,
    /// The client's own name for the request.
    pub request: Option<String>,
    /// The name of the key with which the client came.
    pub client: Option<Arc<str>>,
    /// The model that answered.
    pub model: ModelName,
    /// The version that answered.
    pub version: u64,
    /// Waiting for a turn and evaluation, in microseconds.
    pub latency_us: u64,
    /// Rows of the request.
    pub rows: usize,
    /// What was asked.
    pub inputs: Vec<NamedTensor>,
    /// What was answered: all outputs of the model, also those that the client did not ask for.
    pub outputs: Vec<NamedTensor>,
}

impl Answered {
    /// Bytes of its tensors, about.
    pub fn payload_bytes(&self) -> usize {
        let named = self.inputs.iter().chain(&self.outputs);
        named.map(|named| 64 + named.name.len() + size(&named.tensor.data)).sum()
    }
}

fn size(data: &TensorData) -> usize {
    match data {
        TensorData::Bytes(values) => values.iter().map(|value| size_of_val(value) + value.len()).sum(),
        other => other.len() * other.element_type().size().unwrap_or(1),
    }
}

/// Whether a prediction is in a sample of this share, from 0 to 1. Its id decides, so that all who ask decide alike.
pub fn in_sample(prediction: PredictionId, share: f64) -> bool {
    // The lowest 53 bits are random in a UUID of version 7, and are all that a double can tell apart.
    let place = (prediction.bits() as u64 & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64;
    place < share
}

/// What a sink has done with the answers that it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkCounts {
    /// Records that survive the end of the process.
    pub logged: u64,
    /// Records on their way there.
    pub logging: u64,
    /// Records given up because there was no room for them.
    pub lost: u64,
    /// Whether records cannot be written, or what was written not be put in order, at this moment.
    pub failing: bool,
}

/// Takes a record of every answered request.
pub trait PredictionSink: Send + Sync + Debug {
    /// Whether a record of this answer is wanted; where it is not, none is made and no tensor copied for it.
    fn wants(&self, model: &ModelName, version: u64, prediction: PredictionId) -> bool {
        let _ = (model, version, prediction);
        true
    }

    /// Takes one record. Never waits and never fails: what there is no room for is given up and counted.
    fn record(&self, answered: Answered);

    /// What has been done so far.
    fn counts(&self) -> SinkCounts;

    /// Waits until every record that was taken before this call survives the end of the process.
    fn flush(&self) -> BoxFuture<'_, Result<(), ServingError>>;

    /// As [`flush`](Self::flush), and takes no more.
    fn close(&self) -> BoxFuture<'_, Result<(), ServingError>>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPredictionLog;

impl PredictionSink for NoPredictionLog {
    fn wants(&self, _model: &ModelName, _version: u64, _prediction: PredictionId) -> bool {
        false
    }

    fn record(&self, _answered: Answered) {}

    fn counts(&self) -> SinkCounts {
        SinkCounts::default()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        self.flush()
    }
}
