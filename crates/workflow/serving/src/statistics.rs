use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ropewalk_types::ModelName;
use serde::Serialize;

use crate::{Fault, ServingError, SinkCounts};

/// Upper bounds of the latency buckets, in microseconds; one more bucket holds what is slower than the last.
const BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// Everything that a host has counted since it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostStatistics {
    /// One entry for each loaded version.
    pub models: Vec<ModelStatistics>,
    /// What became of the records of answers.
    pub log: SinkCounts,
}

/// What one version of a model has done since it was loaded.
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
    /// Requests not taken because too many were waiting or the log was broken.
    pub unavailable: u64,
    /// Requests that failed on our side.
    pub failed: u64,
    /// Rows of the answered requests.
    pub rows: u64,
    /// Latency of the answered requests: waiting for a turn and evaluation.
    pub latency: LatencyHistogram,
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

/// The counters of one version.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    answered: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    failed: AtomicU64,
    rows: AtomicU64,
    sum_us: AtomicU64,
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
}

impl Counters {
    pub(crate) fn count_answer(&self, rows: usize, latency: Duration) {
        let micros = micros(latency);
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
        if let Some(bucket) = self.buckets.get(BOUNDS_US.partition_point(|bound| *bound < micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_error(&self, error: &ServingError) {
        let counter = match error.fault() {
            Fault::Request | Fault::NotFound | Fault::TooLarge => &self.refused,
            Fault::Unavailable => &self.unavailable,
            Fault::Server => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, model: ModelName, version: u64) -> ModelStatistics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ModelStatistics {
            model,
            version,
            answered: load(&self.answered),
            refused: load(&self.refused),
            unavailable: load(&self.unavailable),
            failed: load(&self.failed),
            rows: load(&self.rows),
            latency: LatencyHistogram {
                bounds_us: BOUNDS_US.to_vec(),
                counts: self.buckets.iter().map(load).collect(),
                sum_us: load(&self.sum_us),
            },
        }
    }
}

/// Whole microseconds; what does not fit in 64 bits would be half a million years.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_bucket_that_bounds_it() {
        let counters = Counters::default();
        for micros in [1, 100, 101, 10_000_000, 10_000_001] {
            counters.count_answer(2, Duration::from_micros(micros));
        }
        let read = counters.read(ModelName::new("m").unwrap(), 1);
        let counts = &read.latency.counts;
        assert_eq!((counts[0], counts[1], counts[14], counts[15]), (2, 1, 1, 1));
        assert_eq!((read.answered, read.rows, read.latency.sum_us), (5, 10, 20_000_203));
    }
}
