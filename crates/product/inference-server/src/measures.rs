//! What the listeners count, and everything together as Prometheus wants it (text format 0.0.4).

mod process;
mod text;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ropewalk_listening::ConnectionCounts;

use crate::gate::{Refusal, Wire};

/// Upper bounds of the latency buckets, in microseconds; one more bucket holds what is slower than the last.
const BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 2_500_000, 10_000_000];
/// The statuses of HTTP that are counted each for itself; 0 stands for all others.
const STATUSES: [u16; 17] = [200, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503, 504, 0];
/// Endpoints that are counted each for itself; the bound is never reached by those that there are.
const ENDPOINTS: usize = 256;

/// What both listeners count.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    endpoints: RwLock<HashMap<(Wire, String), Arc<Endpoint>>>,
    pub(crate) active: AtomicI64,
    pub(crate) rest: Arc<ConnectionCounts>,
    pub(crate) grpc: Arc<ConnectionCounts>,
    refusals: Mutex<HashMap<&'static str, u64>>,
    pub(crate) access_lost: Arc<AtomicU64>,
    pub(crate) spans_lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Endpoint {
    codes: [AtomicU64; STATUSES.len()],
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Measures {
    pub(crate) fn answered(&self, wire: Wire, route: &str, code: u16, took: Duration) {
        let endpoint = self.endpoint(wire, route);
        let place = match wire {
            Wire::Rest => STATUSES.iter().position(|one| *one == code).unwrap_or(STATUSES.len() - 1),
            Wire::Grpc => usize::from(code).min(STATUSES.len() - 1),
        };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        for counter in [endpoint.codes.get(place), endpoint.buckets.get(bucket)].into_iter().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        endpoint.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    fn endpoint(&self, wire: Wire, route: &str) -> Arc<Endpoint> {
        let key = (wire, route.to_owned());
        let known = self.endpoints.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
            let key = if endpoints.len() < ENDPOINTS { key } else { (wire, String::new()) };
            Arc::clone(endpoints.entry(key).or_default())
        })
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry(refusal.name()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_serving::{HostStatistics, SinkCounts};

    use super::*;

    #[test]
    fn requests_are_counted_by_endpoint_status_and_latency() {
        let measures = Measures::default();
        let route = "/v2/models/{model}/infer";
        for (code, micros) in [(200, 100), (200, 101), (418, 20_000_000)] {
            measures.answered(Wire::Rest, route, code, Duration::from_micros(micros));
        }
        measures.answered(Wire::Grpc, "/inference.GRPCInferenceService/ModelInfer", 3, Duration::from_micros(5));
        measures.refused(&Refusal::Rate(Duration::ZERO));
        let log = SinkCounts { logged: 7, logging: 1, lost: 2, failing: true };
        let text = measures.text(&HostStatistics { log, ..HostStatistics::default() });
        for expected in [
            "http_server_requests_total{http_route=\"/v2/models/{model}/infer\",http_response_status_code=\"200\"} 2\n",
            "http_server_requests_total{http_route=\"/v2/models/{model}/infer\",http_response_status_code=\"other\"} 1\n",
            "http_server_request_duration_seconds_bucket{http_route=\"/v2/models/{model}/infer\",le=\"0.0001\"} 1\n",
            "http_server_request_duration_seconds_bucket{http_route=\"/v2/models/{model}/infer\",le=\"+Inf\"} 3\n",
            "rpc_server_requests_total{rpc_method=\"inference.GRPCInferenceService/ModelInfer\",rpc_grpc_status_code=\"3\"} 1\n",
            "ropewalk_requests_refused_total{reason=\"rate\"} 1\n",
            "ropewalk_predictions_logged_total 7\n",
            "ropewalk_predictions_lost_total 2\n",
            "ropewalk_predictions_failing 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn endpoints_are_bounded() {
        let measures = Measures::default();
        for number in 0..ENDPOINTS * 2 {
            measures.answered(Wire::Rest, &number.to_string(), 200, Duration::ZERO);
        }
        assert!(measures.endpoints.read().expect("lock").len() <= ENDPOINTS + 1);
    }
}
