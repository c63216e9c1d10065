use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// The engines that a model can ask for.
const ENGINES: [&str; 3] = ["embedded", "onnxruntime", "python"];

/// `[serve.model.NAME]`; what is left out is as the model's own folder says, or else the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettingsTable {
    /// The engine that must run it: `embedded`, `onnxruntime` or `python`.
    pub engine: Option<String>,
    /// Which requests are joined.
    pub batching: Option<ServeBatching>,
    /// Evaluations at the same time.
    pub concurrency: Option<usize>,
    /// Requests that may wait for their turn.
    pub queue: Option<usize>,
    /// Milliseconds that a request may wait for its turn.
    pub timeout_ms: Option<u64>,
    /// Priorities from 1, the most urgent, to this.
    pub priority_levels: Option<u32>,
    /// Evaluations of a made-up batch before the model is ready.
    pub warm_up: Option<u32>,
    /// CPUs to which evaluations are bound.
    pub cpus: Option<Vec<usize>>,
    /// Threads that one evaluation may use.
    pub threads: Option<usize>,
}

/// Which requests are joined into one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeBatching {
    /// Rows of a batch at most.
    pub max_rows: usize,
    /// Microseconds that the first request waits for others.
    pub max_delay_us: u64,
}

impl ModelSettingsTable {
    pub(crate) fn check(&self, file: &str, name: &str) -> Result<(), ConfigError> {
        let wrong = |message: String, hint: &str| {
            let place = format!("[serve.model.{name}]");
            Err(ConfigError::Meaning { file: file.to_owned(), place, message, hint: Some(hint.to_owned()) })
        };
        if let Some(engine) = self.engine.as_ref().filter(|engine| !ENGINES.contains(&engine.as_str())) {
            return wrong(format!("`{engine}` is no engine"), "use embedded, onnxruntime or python");
        }
        if self.batching.is_some_and(|batching| batching.max_rows == 0) {
            return wrong("`max_rows` is 0".to_owned(), "leave `batching` out to answer each request by itself");
        }
        let zero = [("concurrency", self.concurrency), ("queue", self.queue), ("threads", self.threads)];
        match zero.into_iter().find(|(_, count)| *count == Some(0)) {
            Some((key, _)) => wrong(format!("`{key}` is 0"), "leave it out for the default"),
            None => Ok(()),
        }
    }
}
