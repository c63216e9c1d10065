use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::http::Method;
use ropewalk_config::ServeTrace;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Message, SpanId, TraceId, names};
use crate::InferenceServerError;
use crate::gate::Wire;

/// Spans of one message.
const BATCH: usize = 512;
/// How long the first span of a message waits for others.
const LINGER: Duration = Duration::from_secs(2);
/// How long a collector may take.
const SENDING: Duration = Duration::from_secs(10);
/// `SPAN_KIND_SERVER` and `STATUS_CODE_ERROR` of the protocol.
const SERVER: u8 = 2;
const ERROR: u8 = 2;

/// A span that has ended.
pub(super) struct Finished {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) wire: Wire,
    pub(super) method: Method,
    pub(super) route: String,
    pub(super) code: u16,
    pub(super) failed: bool,
}

impl Finished {
    /// With the names of OpenTelemetry's semantic conventions.
    fn json(&self) -> Value {
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        // 64-bit integers are texts in ProtoJSON.
        let number = |key: &str| json!({ "key": key, "value": { "intValue": self.code.to_string() } });
        let (name, attributes) = match self.wire {
            Wire::Rest => (
                format!("{} {}", self.method, self.route),
                vec![
                    text("http.request.method", self.method.as_str()),
                    text("http.route", &self.route),
                    number("http.response.status_code"),
                ],
            ),
            Wire::Grpc => {
                let name = self.route.trim_start_matches('/');
                let (service, method) = name.split_once('/').unwrap_or((name, ""));
                let attributes =
                    vec![text("rpc.system", "grpc"), text("rpc.service", service), text("rpc.method", method)];
                (name.to_owned(), [attributes, vec![number("rpc.grpc.status_code")]].concat())
            }
        };
        json!({
            "traceId": self.trace,
            "spanId": self.span,
            "parentSpanId": self.parent.map(|span| span.to_string()).unwrap_or_default(),
            "name": name.trim_end(),
            "kind": SERVER,
            "startTimeUnixNano": nanos(self.began),
            "endTimeUnixNano": nanos(self.ended),
            "attributes": attributes,
            "status": if self.failed { json!({ "code": ERROR }) } else { json!({}) },
        })
    }
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos()).to_string()
}

/// The task that sends.
pub(super) struct Exporter {
    client: reqwest::Client,
    url: String,
    service: String,
    lost: Arc<AtomicU64>,
}

impl Exporter {
    pub(super) fn new(table: &ServeTrace, lost: Arc<AtomicU64>) -> Result<Self, InferenceServerError> {
        let wrong = |why: String| InferenceServerError::Options {
            what: format!("spans cannot be sent to {}: {why}", table.endpoint),
            hint: "give the URL of a collector of OTLP over HTTP, such as http://127.0.0.1:4318".to_owned(),
        };
        let base = table.endpoint.trim_end_matches('/');
        let url = if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") };
        let parsed = reqwest::Url::parse(&url).map_err(|error| wrong(error.to_string()))?;
        if parsed.domain().is_some() {
            names::check().map_err(wrong)?;
        }
        let client = reqwest::Client::builder().timeout(SENDING).build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, url, service: table.service.clone(), lost })
    }

    /// Until there is nobody left who makes spans.
    pub(super) async fn run(self, mut receiver: mpsc::Receiver<Message>) {
        let mut spans = Vec::with_capacity(BATCH);
        let mut open = true;
        while open {
            let mut flushed = None;
            let collected = async {
                while spans.len() < BATCH {
                    match receiver.recv().await {
                        Some(Message::Span(span)) => spans.push(span),
                        Some(Message::Flush(done)) => {
                            flushed = Some(done);
                            return true;
                        }
                        None => return false,
                    }
                }
                true
            };
            open = timeout(LINGER, collected).await.unwrap_or(true);
            if !spans.is_empty() {
                self.send(&spans).await;
                spans.clear();
            }
            if let Some(done) = flushed {
                // Who waited for it may be gone.
                let _ = done.send(());
            }
        }
    }

    async fn send(&self, spans: &[Box<Finished>]) {
        let body = self.body(spans);
        // One more try, for collectors that are being replaced.
        for _ in 0..2 {
            let sent = self.client.post(&self.url).json(&body).send().await;
            match sent {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) if answer.status().is_client_error() => break,
                _ => {}
            }
        }
        self.lost.fetch_add(spans.len() as u64, Ordering::Relaxed);
    }

    fn body(&self, spans: &[Box<Finished>]) -> Value {
        let spans: Vec<Value> = spans.iter().map(|span| span.json()).collect();
        json!({ "resourceSpans": [{
            "resource": { "attributes": [
                { "key": "service.name", "value": { "stringValue": self.service } },
                { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
            ] },
            "scopeSpans": [{ "scope": { "name": "ropewalk" }, "spans": spans }],
        }] })
    }
}
