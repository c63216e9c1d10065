//! Traces: W3C Trace Context (<https://www.w3.org/TR/trace-context/>) in, spans out by OTLP over HTTP with JSON
//! (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! Who begins a trace decides whether it is kept; of those that begin here a share is. Spans wait in a bounded queue for a task
//! that sends them in batches: what there is no room for, or what no collector takes, is given up and counted.

mod context;
mod export;
mod names;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderValue, Method};
use ropewalk_config::ServeTrace;
use tokio::sync::{mpsc, oneshot};

use crate::InferenceServerError;
use crate::gate::Wire;
use context::TraceParent;
pub(crate) use context::{SpanId, TraceId};
use export::Finished;

/// The header of a trace's context.
const TRACEPARENT: &str = "traceparent";
/// Spans that wait to be sent.
const WAITING: usize = 4096;

/// A request under way.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) trace: TraceId,
    id: SpanId,
    parent: Option<SpanId>,
    began: SystemTime,
}

enum Message {
    Span(Box<Finished>),
    Flush(oneshot::Sender<()>),
}

/// Makes spans and sends them.
#[derive(Debug)]
pub(crate) struct Tracer {
    sender: mpsc::Sender<Message>,
    share: f64,
    lost: Arc<AtomicU64>,
}

impl Tracer {
    /// Starts the task that sends, which ends with the last sender. Needs a runtime.
    pub(crate) fn start(table: &ServeTrace, lost: Arc<AtomicU64>) -> Result<Self, InferenceServerError> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let exporter = export::Exporter::new(table, Arc::clone(&lost))?;
        tokio::spawn(exporter.run(receiver));
        Ok(Self { sender, share: table.sample, lost })
    }

    /// Begins a span if its trace is kept, and puts it into the request as the parent of what follows.
    pub(crate) fn begin(&self, headers: &mut HeaderMap) -> Option<Span> {
        let given = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(TraceParent::read);
        let random = random();
        let kept = match &given {
            Some(parent) => parent.sampled,
            // The lower half of an id is as good a number as any, and the same for all who see the trace.
            None => ((random as u64 >> 11) as f64) < self.share * (1_u64 << 53) as f64,
        };
        if !kept {
            return None;
        }
        let span = Span {
            trace: given.as_ref().map_or(TraceId(random.max(1)), |parent| parent.trace),
            id: SpanId(((random >> 64) as u64).max(1)),
            parent: given.map(|parent| parent.span),
            began: SystemTime::now(),
        };
        let onward = TraceParent { trace: span.trace, span: span.id, sampled: true };
        if let Ok(value) = HeaderValue::from_str(&onward.to_string()) {
            headers.insert(TRACEPARENT, value);
        }
        Some(span)
    }

    pub(crate) fn end(&self, span: &Span, wire: Wire, method: &Method, route: &str, code: u16, failed: bool) {
        let finished = Finished {
            trace: span.trace,
            span: span.id,
            parent: span.parent,
            began: span.began,
            ended: SystemTime::now(),
            wire,
            method: method.clone(),
            route: route.to_owned(),
            code,
            failed,
        };
        if self.sender.try_send(Message::Span(Box::new(finished))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what has ended is sent, for as long as `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        let (done, waits) = oneshot::channel();
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(limit, waits).await;
        }
    }
}

/// 128 unpredictable bits; the system always has some, and an id without any would only be one that others may guess.
fn random() -> u128 {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests;
