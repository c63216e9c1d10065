use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::Failed;

/// The longest time that is told apart, in microseconds; longer ones count as this.
const LONGEST_US: u64 = 600_000_000;
/// Digits of a time that are right.
const DIGITS: u8 = 3;

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the percentiles")]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What an endpoint did under load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// Clients at once.
    pub concurrency: usize,
    /// Requests a second that were due, where that was given.
    pub rate: Option<f64>,
    /// Different requests that were sent in turn.
    pub requests: usize,
    /// Seconds before those that were measured.
    pub warm_up_seconds: f64,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Requests that were answered.
    pub answered: u64,
    /// Answers a second.
    pub per_second: f64,
    /// Rows of answers a second.
    pub rows_per_second: f64,
    /// Of answers: from when a request was due, where a rate was given, and else from when it was sent.
    pub latency_ms: Latency,
    /// Of answers from when a request was really sent, where a rate was given: what the server alone took.
    pub from_send_ms: Option<Latency>,
    /// How much later than due a request was sent although its client was free, where a rate was given: what this generator
    /// adds by itself.
    pub lateness_ms: Option<Latency>,
    /// Requests that were not answered, by status of HTTP or gRPC, `connection` or `timeout`.
    pub errors: BTreeMap<String, u64>,
    /// What was said with the first error of each status.
    pub said: BTreeMap<String, String>,
    /// Requests that were due and that no client was free to send.
    pub unsent: u64,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// Times as they are counted.
pub(crate) struct Times(Option<Histogram<u64>>);

/// What clients saw.
pub(crate) struct Seen {
    pub(crate) latency: Times,
    pub(crate) from_send: Times,
    pub(crate) lateness: Times,
    pub(crate) rows: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) said: BTreeMap<String, String>,
}

impl Times {
    fn new() -> Self {
        // The bounds are right, so there is one.
        Self(Histogram::new_with_bounds(1, LONGEST_US, DIGITS).ok())
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
        if let Some(times) = &mut self.0 {
            times.saturating_record(micros.max(1));
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    fn join(&mut self, other: Self) {
        if let (Some(all), Some(times)) = (&mut self.0, other.0) {
            // Of the same bounds, so that nothing is refused.
            let _ = all.add(times);
        }
    }

    pub(crate) fn latency(&self) -> Latency {
        let Some(times) = self.0.as_ref().filter(|times| !times.is_empty()) else {
            return Latency::default();
        };
        let at = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1000.0;
        let max = times.max() as f64 / 1000.0;
        Latency { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), p999: at(0.999), max }
    }
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            latency: Times::new(),
            from_send: Times::new(),
            lateness: Times::new(),
            rows: 0,
            errors: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    pub(crate) fn failed(&mut self, Failed { status, said }: Failed) {
        self.said.entry(status.clone()).or_insert(said);
        *self.errors.entry(status).or_default() += 1;
    }

    pub(crate) fn failures(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.latency.join(other.latency);
        self.from_send.join(other.from_send);
        self.lateness.join(other.lateness);
        self.rows += other.rows;
        for (status, count) in other.errors {
            *self.errors.entry(status).or_default() += count;
        }
        for (status, said) in other.said {
            self.said.entry(status).or_insert(said);
        }
    }
}
