use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_serving::{Answered, PredictionSink, ServingError, SinkCounts, in_sample, json};
use ropewalk_types::{ModelName, PredictionId};

use super::AccessLog;

/// Bytes of tensors of one line; of a larger payload only its size in rows is written.
const LIMIT: usize = 64 << 10;

/// Writes what some requests asked and were answered into the access log, and hands every record on.
#[derive(Debug)]
pub(crate) struct PayloadSample {
    log: Arc<AccessLog>,
    share: f64,
    redact: BTreeSet<String>,
    next: Arc<dyn PredictionSink>,
}

impl PayloadSample {
    /// A share of the requests, from 0 to 1, without the values of the inputs and outputs in `redact`.
    pub(crate) fn new(
        log: Arc<AccessLog>,
        share: f64,
        redact: BTreeSet<String>,
        next: Arc<dyn PredictionSink>,
    ) -> Self {
        Self { log, share, redact, next }
    }

    /// A line of JSON. The id is the one that the answer carries and the prediction log has.
    fn line(&self, answered: &Answered) -> String {
        let mut line = format!(
            r#"{{"time":"{}","prediction":"{}","version":{},"rows":{},"micros":{}"#,
            super::now(),
            answered.prediction,
            answered.version,
            answered.rows,
            answered.latency_us
        );
        let texts = [
            ("model", Some(answered.model.as_str())),
            ("request", answered.request.as_deref()),
            ("client", answered.client.as_deref()),
        ];
        for (name, text) in texts {
            let Some(text) = text else { continue };
            json::push_text(name, key(&mut line));
            line.push(':');
            json::push_text(text, &mut line);
        }
        for (name, tensors) in [("inputs", &answered.inputs), ("outputs", &answered.outputs)] {
            json::push_text(name, key(&mut line));
            line.push(':');
            if answered.payload_bytes() > LIMIT {
                line.push_str("null");
            } else {
                json::push_columns(tensors, &self.redact, &mut line);
            }
        }
        line.push_str("}\n");
        line
    }
}

/// The line, after the comma before its next member.
fn key(line: &mut String) -> &mut String {
    line.push(',');
    line
}

impl PredictionSink for PayloadSample {
    fn wants(&self, model: &ModelName, version: u64, prediction: PredictionId) -> bool {
        in_sample(prediction, self.share) || self.next.wants(model, version, prediction)
    }

    fn record(&self, answered: Answered) {
        if in_sample(answered.prediction, self.share) {
            self.log.line_write(self.line(&answered));
        }
        if self.next.wants(&answered.model, answered.version, answered.prediction) {
            self.next.record(answered);
        }
    }

    fn counts(&self) -> SinkCounts {
        self.next.counts()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        self.next.flush()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        self.next.close()
    }
}
