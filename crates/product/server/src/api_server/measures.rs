use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use ropewalk_listening::{ConnectionCounts, Present};
use ropewalk_store::files;

/// Upper bounds of the latency buckets, in microseconds; one more bucket holds what is slower than the last.
const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 10_000_000];
/// The statuses that are counted each for itself; the last stands for all others.
const STATUSES: [u16; 9] = [200, 400, 401, 403, 404, 409, 500, 503, 0];

/// What a server counts, as Prometheus wants it.
#[derive(Debug, Default)]
pub(super) struct Measures {
    /// By the pattern of the path, of which there are as many as there are routes; the empty one is no route.
    endpoints: RwLock<HashMap<String, Arc<Endpoint>>>,
    active: AtomicI64,
    pub(super) connections: Arc<ConnectionCounts>,
    pub(super) listeners: AtomicI64,
}

#[derive(Debug, Default)]
struct Endpoint {
    statuses: [AtomicU64; STATUSES.len()],
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Measures {
    /// A request began; it ends when this is dropped.
    pub(super) fn begin(&self) -> Present<'_> {
        Present::new(&self.active)
    }

    pub(super) fn answered(&self, pattern: &str, status: StatusCode, took: Duration) {
        let endpoint = self.endpoint(pattern);
        let position = STATUSES.iter().position(|one| *one == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        endpoint.statuses[position].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        endpoint.sum_us.fetch_add(micros, Ordering::Relaxed);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        endpoint.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    fn endpoint(&self, pattern: &str) -> Arc<Endpoint> {
        let known = self.endpoints.read().unwrap_or_else(PoisonError::into_inner).get(pattern).cloned();
        known.unwrap_or_else(|| {
            let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(endpoints.entry(pattern.to_owned()).or_default())
        })
    }

    /// Everything in Prometheus' text format 0.0.4; `writes` wait for the catalogue.
    pub(super) fn text(&self, writes: usize) -> String {
        let mut endpoints: Vec<(String, Arc<Endpoint>)> = {
            let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
            endpoints.iter().map(|(pattern, endpoint)| (pattern.clone(), Arc::clone(endpoint))).collect()
        };
        endpoints.sort_by(|a, b| a.0.cmp(&b.0));
        let mut text = String::with_capacity(4096);
        heading(&mut text, "ropewalk_http_requests_total", "counter", "Requests that were answered.");
        for (pattern, endpoint) in &endpoints {
            endpoint.statuses_write(pattern, &mut text);
        }
        heading(&mut text, "ropewalk_http_request_seconds", "histogram", "From a request's head to its answer's head.");
        for (pattern, endpoint) in &endpoints {
            endpoint.latency_write(pattern, &mut text);
        }
        let gauges = [
            ("ropewalk_http_requests_in_flight", &self.active, "Requests that are being answered."),
            ("ropewalk_connections", &self.connections.open, "Open connections."),
            ("ropewalk_listeners", &self.listeners, "Clients that listen to events."),
        ];
        for (name, gauge, help) in gauges {
            heading(&mut text, name, "gauge", help);
            line(&mut text, name, "", &gauge.load(Ordering::Relaxed));
        }
        heading(&mut text, "ropewalk_connections_refused_total", "counter", "Connections beyond the limit.");
        let refused = self.connections.refused.load(Ordering::Relaxed);
        line(&mut text, "ropewalk_connections_refused_total", "", &refused);
        heading(&mut text, "ropewalk_catalog_writes_waiting", "gauge", "Writes that wait for the catalogue's writer.");
        line(&mut text, "ropewalk_catalog_writes_waiting", "", &writes);
        if let Some(bytes) = resident() {
            heading(&mut text, "process_resident_memory_bytes", "gauge", "Resident memory.");
            line(&mut text, "process_resident_memory_bytes", "", &bytes);
        }
        text
    }
}

impl Endpoint {
    fn statuses_write(&self, pattern: &str, text: &mut String) {
        for (status, count) in STATUSES.iter().zip(&self.statuses) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
                let labels = format!("{{endpoint=\"{pattern}\",status=\"{status}\"}}");
                line(text, "ropewalk_http_requests_total", &labels, &count);
            }
        }
    }

    fn latency_write(&self, pattern: &str, text: &mut String) {
        let name = "ropewalk_http_request_seconds";
        let mut sum = 0;
        for (position, count) in self.buckets.iter().enumerate() {
            sum += count.load(Ordering::Relaxed);
            let bound = BOUNDS_US.get(position).map_or("+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
            line(text, &format!("{name}_bucket"), &format!("{{endpoint=\"{pattern}\",le=\"{bound}\"}}"), &sum);
        }
        let labels = format!("{{endpoint=\"{pattern}\"}}");
        line(text, &format!("{name}_sum"), &labels, &(self.sum_us.load(Ordering::Relaxed) as f64 / 1e6));
        line(text, &format!("{name}_count"), &labels, &sum);
    }
}

fn heading(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: &dyn std::fmt::Display) {
    let _ = writeln!(text, "{name}{labels} {value}");
}

/// Resident memory of this process, in bytes; none where the system does not say it so.
fn resident() -> Option<u64> {
    let status = files::read(Path::new("/proc/self/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = kilobytes.trim().trim_end_matches("kB").trim_end().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_endpoint_status_and_latency() {
        let measures = Measures::default();
        for (status, micros) in [(200, 100), (200, 101), (418, 20_000_000)] {
            let status = StatusCode::from_u16(status).expect("status");
            measures.answered("/runs/{id}", status, Duration::from_micros(micros));
        }
        let active = measures.begin();
        let text = measures.text(0);
        for expected in [
            "ropewalk_http_requests_total{endpoint=\"/runs/{id}\",status=\"200\"} 2\n",
            "ropewalk_http_requests_total{endpoint=\"/runs/{id}\",status=\"other\"} 1\n",
            "ropewalk_http_request_seconds_bucket{endpoint=\"/runs/{id}\",le=\"0.0001\"} 1\n",
            "ropewalk_http_request_seconds_bucket{endpoint=\"/runs/{id}\",le=\"10\"} 2\n",
            "ropewalk_http_request_seconds_bucket{endpoint=\"/runs/{id}\",le=\"+Inf\"} 3\n",
            "ropewalk_http_request_seconds_sum{endpoint=\"/runs/{id}\"} 20.000201\n",
            "ropewalk_http_requests_in_flight 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        drop(active);
        assert!(measures.text(0).contains("ropewalk_http_requests_in_flight 0\n"));
    }
}
