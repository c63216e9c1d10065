use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::endpoint::Failed;
use crate::{Endpoint, LoadRequest};

/// The longest time that is told apart, in microseconds; longer ones count as this.
const LONGEST_US: u64 = 600_000_000;
/// Digits of a latency that are right.
const DIGITS: u8 = 3;
/// What is not counted at the beginning, where no rate is given: this part of the time, and at most so long.
const WARM_UP_PART: u32 = 10;
const WARM_UP: Duration = Duration::from_secs(1);
/// A client whose request failed waits so long before the next, so that a refusing server is not the only thing measured.
const AFTER_FAILURE: Duration = Duration::from_millis(1);

/// How an endpoint is loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadPlan {
    /// Clients that send at once, one request each.
    pub concurrency: usize,
    /// For how long.
    pub seconds: Duration,
    /// Requests a second that are due; none sends as fast as answers come.
    pub rate: Option<f64>,
}

/// How long answers took, in milliseconds.
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
    /// Seconds that were measured.
    pub seconds: f64,
    /// Requests that were answered.
    pub answered: u64,
    /// Answers a second.
    pub per_second: f64,
    /// Rows of answers a second.
    pub rows_per_second: f64,
    /// Of answers; from when a request was due, where a rate was given.
    pub latency_ms: Latency,
    /// Requests that were not answered, by status of HTTP or gRPC, `connection` or `timeout`.
    pub errors: BTreeMap<String, u64>,
    /// Requests that were due and that no client was free to send.
    pub unsent: u64,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// What the clients share.
struct Shared {
    endpoint: Endpoint,
    request: LoadRequest,
    begun: Instant,
    /// From when on is counted.
    counted: Instant,
    end: Instant,
    rate: Option<f64>,
    /// The next request of a rate.
    next: AtomicU64,
}

/// What one client saw.
struct Seen {
    latencies: Option<Histogram<u64>>,
    errors: BTreeMap<String, u64>,
}

/// Loads an endpoint until the time is over, or `stop` becomes true.
pub async fn load(
    endpoint: &Endpoint,
    request: &LoadRequest,
    plan: LoadPlan,
    stop: watch::Receiver<bool>,
) -> LoadReport {
    let begun = Instant::now();
    let warm_up = if plan.rate.is_some() { Duration::ZERO } else { WARM_UP.min(plan.seconds / WARM_UP_PART) };
    let shared = Arc::new(Shared {
        endpoint: endpoint.clone(),
        request: request.clone(),
        begun,
        counted: begun + warm_up,
        end: begun + plan.seconds,
        rate: plan.rate,
        next: AtomicU64::new(0),
    });
    let mut clients = JoinSet::new();
    for _ in 0..plan.concurrency.max(1) {
        clients.spawn(client(Arc::clone(&shared), stop.clone()));
    }
    let mut all = Seen::new();
    while let Some(seen) = clients.join_next().await {
        match seen {
            Ok(seen) => all.add(seen),
            Err(_) => all.failed("client"),
        }
    }
    let interrupted = *stop.borrow();
    report(&shared, plan, all, request.rows, interrupted)
}

async fn client(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) -> Seen {
    let mut seen = Seen::new();
    tokio::select! {
        () = asks(&shared, &mut seen) => {}
        // Whoever could stop it is gone: then nobody does.
        () = async { if stop.wait_for(|stop| *stop).await.is_err() { std::future::pending::<()>().await } } => {}
    }
    seen
}

async fn asks(shared: &Shared, seen: &mut Seen) {
    let Ok(mut client) = shared.endpoint.client().await else {
        return seen.failed("connection");
    };
    while let Some(due) = shared.due() {
        sleep_until(due).await;
        let sent = if shared.rate.is_some() { due } else { Instant::now() };
        let result = shared.endpoint.send(&mut client, &shared.request).await;
        let is_counted = sent >= shared.counted;
        match result {
            Ok(()) if is_counted => seen.answered(sent.elapsed()),
            Ok(()) => {}
            Err(Failed { status, .. }) => {
                if is_counted {
                    seen.failed(&status);
                }
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

impl Shared {
    /// When the next request is to be sent; none after the end.
    fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = match self.rate {
            None => now,
            Some(rate) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.begun + Duration::from_secs_f64(number as f64 / rate)
            }
        };
        if now >= self.end || due >= self.end { None } else { Some(due) }
    }
}

impl Seen {
    fn new() -> Self {
        // The bounds are right, so there is one.
        Self { latencies: Histogram::new_with_bounds(1, LONGEST_US, DIGITS).ok(), errors: BTreeMap::new() }
    }

    fn answered(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        if let Some(latencies) = &mut self.latencies {
            latencies.saturating_record(micros.max(1));
        }
    }

    fn failed(&mut self, status: &str) {
        *self.errors.entry(status.to_owned()).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        if let (Some(all), Some(latencies)) = (&mut self.latencies, other.latencies) {
            // Of the same bounds, so that nothing is refused.
            let _ = all.add(latencies);
        }
        for (status, count) in other.errors {
            *self.errors.entry(status).or_default() += count;
        }
    }

    fn latency(&self) -> Latency {
        let Some(latencies) = self.latencies.as_ref().filter(|latencies| !latencies.is_empty()) else {
            return Latency::default();
        };
        let at = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let max = latencies.max() as f64 / 1000.0;
        Latency { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), p999: at(0.999), max }
    }
}

fn report(shared: &Shared, plan: LoadPlan, seen: Seen, rows: usize, interrupted: bool) -> LoadReport {
    let seconds = shared.counted.elapsed().as_secs_f64();
    let answered = seen.latencies.as_ref().map_or(0, Histogram::len);
    let per_second = if seconds > 0.0 { answered as f64 / seconds } else { 0.0 };
    let failed: u64 = seen.errors.values().sum();
    let due = plan.rate.filter(|_| !interrupted).map_or(0.0, |rate| (rate * plan.seconds.as_secs_f64()).ceil());
    LoadReport {
        concurrency: plan.concurrency,
        rate: plan.rate,
        seconds,
        answered,
        per_second,
        rows_per_second: per_second * rows as f64,
        latency_ms: seen.latency(),
        errors: seen.errors,
        unsent: (due as u64).saturating_sub(answered + failed),
        interrupted,
    }
}

#[cfg(test)]
mod tests;
