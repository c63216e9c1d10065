use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_inference::NamedTensor;
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

/// What a sink has done with the answers that it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkCounts {
    /// Records that survive the end of the process.
    pub logged: u64,
    /// Records on their way there.
    pub logging: u64,
    /// Records given up because there was no room for them.
    pub lost: u64,
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
