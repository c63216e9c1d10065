mod routes;

use std::fmt::{Display, Write as _};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use ropewalk_serving::{HostStatistics, ModelStatistics};

use super::process::Process;
use super::{BOUNDS_US, Endpoint, Measures, STATUSES};
use crate::gate::Wire;

/// A text that grows metric by metric.
struct Page(String);

impl Page {
    fn heading(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.heading(name, kind, help);
        self.line(name, &[], value);
    }
}

/// A label's value: `\`, `"` and the end of a line are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Measures {
    /// Everything, with what the models and the prediction log have done.
    pub(crate) fn text(&self, statistics: &HostStatistics) -> String {
        let mut page = Page(String::with_capacity(8 << 10));
        models_write(&mut page, &statistics.models);
        routes::write(&mut page, &statistics.routing);
        let log = statistics.log;
        page.single("ropewalk_predictions_logged_total", "counter", "Predictions that are kept.", log.logged);
        page.single("ropewalk_predictions_logging", "gauge", "Predictions on their way there.", log.logging);
        page.single("ropewalk_predictions_lost_total", "counter", "Predictions given up for lack of room.", log.lost);
        let failing = "1 while predictions cannot be written, or what was written not be put in order.";
        page.single("ropewalk_predictions_failing", "gauge", failing, u8::from(log.failing));
        self.endpoints_write(&mut page);
        self.counts_write(&mut page);
        let process = Process::now();
        if let Some(seconds) = process.cpu_seconds {
            page.single("process_cpu_seconds_total", "counter", "Processor time of user and system.", seconds);
        }
        if let Some(bytes) = process.resident_bytes {
            page.single("process_resident_memory_bytes", "gauge", "Resident memory.", bytes);
        }
        page.0
    }

    fn counts_write(&self, page: &mut Page) {
        let active = self.active.load(Ordering::Relaxed);
        page.single("http_server_active_requests", "gauge", "Requests that are being answered.", active);
        let listeners = [("rest", &self.rest), ("grpc", &self.grpc)];
        page.heading("ropewalk_connections", "gauge", "Open connections.");
        for (name, counts) in listeners {
            page.line("ropewalk_connections", &[("listener", name)], counts.open.load(Ordering::Relaxed));
        }
        page.heading("ropewalk_connections_refused_total", "counter", "Connections beyond the limit.");
        for (name, counts) in listeners {
            let refused = counts.refused.load(Ordering::Relaxed);
            page.line("ropewalk_connections_refused_total", &[("listener", name)], refused);
        }
        let name = "ropewalk_requests_refused_total";
        page.heading(name, "counter", "Requests refused before a model saw them.");
        let mut refusals: Vec<(&str, u64)> = {
            let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.iter().map(|(reason, count)| (*reason, *count)).collect()
        };
        refusals.sort_unstable();
        for (reason, count) in refusals {
            page.line(name, &[("reason", reason)], count);
        }
        let lines = self.access_lost.load(Ordering::Relaxed);
        page.single("ropewalk_access_lines_lost_total", "counter", "Access lines given up for lack of room.", lines);
        let spans = self.spans_lost.load(Ordering::Relaxed);
        page.single("ropewalk_spans_lost_total", "counter", "Spans that no collector took.", spans);
    }

    fn endpoints_write(&self, page: &mut Page) {
        let mut endpoints: Vec<_> = {
            let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
            endpoints.iter().map(|(key, endpoint)| (key.clone(), std::sync::Arc::clone(endpoint))).collect()
        };
        endpoints.sort_by(|a, b| a.0.cmp(&b.0));
        for (wire, prefix) in [(Wire::Rest, "http"), (Wire::Grpc, "rpc")] {
            let counted = format!("{prefix}_server_requests_total");
            page.heading(&counted, "counter", "Requests that were answered.");
            for ((_, route), endpoint) in endpoints.iter().filter(|((of, _), _)| *of == wire) {
                endpoint.codes_write(page, &counted, wire, route);
            }
            let timed = format!("{prefix}_server_request_duration_seconds");
            page.heading(&timed, "histogram", "From a request's head to its answer's head.");
            for ((_, route), endpoint) in endpoints.iter().filter(|((of, _), _)| *of == wire) {
                endpoint.latency_write(page, &timed, labelled(wire, route));
            }
        }
    }
}

fn labelled(wire: Wire, route: &str) -> (&'static str, &str) {
    match wire {
        Wire::Rest => ("http_route", route),
        Wire::Grpc => ("rpc_method", route.trim_start_matches('/')),
    }
}

impl Endpoint {
    fn codes_write(&self, page: &mut Page, name: &str, wire: Wire, route: &str) {
        for (place, (status, count)) in STATUSES.iter().zip(&self.codes).enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let (label, code) = match wire {
                Wire::Grpc => ("rpc_grpc_status_code", place.to_string()),
                Wire::Rest if *status == 0 => ("http_response_status_code", "other".to_owned()),
                Wire::Rest => ("http_response_status_code", status.to_string()),
            };
            page.line(name, &[labelled(wire, route), (label, &code)], count);
        }
    }

    fn latency_write(&self, page: &mut Page, name: &str, label: (&str, &str)) {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        histogram_write(page, name, &[label], &BOUNDS_US, &counts, self.sum_us.load(Ordering::Relaxed));
    }
}

/// A histogram in seconds, of counts in microseconds; the last bucket has no bound.
fn histogram_write(
    page: &mut Page,
    name: &str,
    labels: &[(&str, &str)],
    bounds_us: &[u64],
    counts: &[u64],
    sum_us: u64,
) {
    let mut sum = 0;
    for (place, count) in counts.iter().enumerate() {
        sum += count;
        let bound = bounds_us.get(place).map_or("+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
        let mut labels = labels.to_vec();
        labels.push(("le", &bound));
        page.line(&format!("{name}_bucket"), &labels, sum);
    }
    page.line(&format!("{name}_sum"), labels, sum_us as f64 / 1e6);
    page.line(&format!("{name}_count"), labels, sum);
}

/// The names that Triton's metrics have, so that its dashboards work, and the latencies as a histogram.
fn models_write(page: &mut Page, models: &[ModelStatistics]) {
    type Value = fn(&ModelStatistics) -> u64;
    let counters: [(&str, &str, Value); 8] = [
        ("nv_inference_request_success", "Requests answered.", |model| model.success.count),
        ("nv_inference_count", "Inferences: each row of an answered request is one.", |model| model.inference_count),
        ("nv_inference_exec_count", "Evaluations: a batch is one.", |model| model.execution_count),
        ("nv_inference_request_duration_us", "Time of the answered requests, in microseconds.", |model| {
            model.success.ns / 1000
        }),
        ("nv_inference_queue_duration_us", "Waiting for a turn, in microseconds.", |model| model.queue.ns / 1000),
        ("nv_inference_compute_input_duration_us", "Reading requests, in microseconds.", |model| {
            model.compute_input.ns / 1000
        }),
        ("nv_inference_compute_infer_duration_us", "Evaluation, in microseconds.", |model| {
            model.compute_infer.ns / 1000
        }),
        ("nv_inference_compute_output_duration_us", "Writing answers, in microseconds.", |model| {
            model.compute_output.ns / 1000
        }),
    ];
    for (name, help, value) in counters {
        page.heading(name, "counter", help);
        for model in models {
            page.line(name, &[("model", model.model.as_str()), ("version", &model.version.to_string())], value(model));
        }
    }
    let name = "nv_inference_pending_request_count";
    page.heading(name, "gauge", "Requests that wait for their turn.");
    for model in models {
        page.line(name, &[("model", model.model.as_str()), ("version", &model.version.to_string())], model.pending);
    }
    let name = "nv_inference_request_failure";
    page.heading(name, "counter", "Requests that were not answered, by reason.");
    for model in models {
        for (reason, count) in model.failures.by_reason() {
            let version = model.version.to_string();
            let labels = [("model", model.model.as_str()), ("version", version.as_str()), ("reason", reason)];
            page.line(name, &labels, count);
        }
    }
    let name = "ropewalk_inference_duration_seconds";
    page.heading(name, "histogram", "Waiting for a turn and evaluation.");
    for model in models {
        let version = model.version.to_string();
        let labels = [("model", model.model.as_str()), ("version", version.as_str())];
        let latency = &model.latency;
        histogram_write(page, name, &labels, &latency.bounds_us, &latency.counts, latency.sum_us);
    }
}
