mod counters;

use ropewalk_types::ModelName;
use serde::Serialize;

use crate::{RoutingStatistics, SinkCounts};
pub(crate) use counters::{Answer, Counters, micros};

/// Everything that a host has counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostStatistics {
    /// One entry for each loaded version.
    pub models: Vec<ModelStatistics>,
    /// What became of the records of answers.
    pub log: SinkCounts,
    /// Requests inside at this moment: evaluated or waiting.
    pub requests: u64,
    /// Bytes of their inputs.
    pub request_bytes: u64,
    /// Requests that were refused because the whole host was full or draining.
    pub refused: u64,
    /// What routes did.
    pub routing: RoutingStatistics,
}

/// What one version of a model has done since it was first loaded; a version that is replaced counts on.
///
/// Terms are those of Triton's statistics extension ("Statistics Response JSON Object"). There is no cache of answers,
/// so its two counters are 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelStatistics {
    /// The model.
    pub model: ModelName,
    /// Its version.
    pub version: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests that were the caller's mistake.
    pub refused: u64,
    /// Requests not taken or not evaluated in time: the queue was full, the deadline passed, no worker was up.
    pub unavailable: u64,
    /// Requests that failed on our side.
    pub failed: u64,
    /// Rows of the answered requests.
    pub rows: u64,
    /// Latency of the answered requests: waiting for a turn and evaluation.
    pub latency: LatencyHistogram,
    /// Inferences of the answered requests: each row is one, or each request where a model has no batches.
    pub inference_count: u64,
    /// Evaluations: a batch is one.
    pub execution_count: u64,
    /// When a request was last answered, in milliseconds since the Unix epoch; 0 for never.
    pub last_inference_ms: u64,
    /// Answered requests, from their arrival to their answer.
    pub success: Elapsed,
    /// Requests that were not answered, from their arrival to the error.
    pub fail: Elapsed,
    /// Waiting for a turn, of the answered requests.
    pub queue: Elapsed,
    /// Reading requests and joining them into batches.
    pub compute_input: Elapsed,
    /// Evaluation; each request of a batch counts all of it.
    pub compute_infer: Elapsed,
    /// Splitting batches and writing answers.
    pub compute_output: Elapsed,
    /// Requests that were not answered, by reason.
    pub failures: FailureCounts,
    /// Evaluations by the rows of their batch, ascending.
    pub batches: Vec<BatchStatistics>,
    /// Batches that failed, so that each of their requests was evaluated by itself.
    pub unjoined: u64,
    /// Requests that wait for their turn at this moment.
    pub pending: u64,
}

/// How often something was done, and how long all of it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Elapsed {
    /// How often.
    pub count: u64,
    /// Nanoseconds in sum.
    pub ns: u64,
}

/// Requests that were not answered, by the reasons of Triton's `nv_inference_request_failure`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailureCounts {
    /// `REJECTED`: the queue was full, or the deadline passed.
    pub rejected: u64,
    /// `CANCELED`: the client went away. These are in no other count.
    pub canceled: u64,
    /// `BACKEND`: the engine failed or was not up.
    pub backend: u64,
    /// `OTHER`: the request was wrong.
    pub other: u64,
}

impl FailureCounts {
    /// The reasons as Triton spells them, with their counts.
    pub fn by_reason(&self) -> [(&'static str, u64); 4] {
        [("REJECTED", self.rejected), ("CANCELED", self.canceled), ("BACKEND", self.backend), ("OTHER", self.other)]
    }
}

/// Evaluations of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchStatistics {
    /// Rows of the batch; above 64 the next power of two.
    pub batch_size: u64,
    /// Evaluations of that size, and their joining.
    pub compute_input: Elapsed,
    /// Their evaluation.
    pub compute_infer: Elapsed,
    /// Their splitting.
    pub compute_output: Elapsed,
}

/// Latencies in buckets, as Prometheus wants them, but each bucket counted for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LatencyHistogram {
    /// Upper bounds of all buckets but the last, in microseconds.
    pub bounds_us: Vec<u64>,
    /// Latencies in each bucket: one more than there are bounds.
    pub counts: Vec<u64>,
    /// Sum of all latencies, in microseconds.
    pub sum_us: u64,
}
