use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_inference::EngineName;
use serde::{Deserialize, Serialize};

/// How one model is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSettings {
    /// The engine that must run it; none takes the first that can.
    pub engine: Option<EngineName>,
    /// Requests are joined into batches, on threads of the model's own; none evaluates each by itself. Of use where
    /// an evaluation costs much more than a change of threads, which is about 20 us.
    pub batching: Option<Batching>,
    /// Rows at which a batch goes at once, ascending; what finds none of them waits as [`Batching`] says.
    pub preferred_rows: Vec<usize>,
    /// Evaluations of this model at the same time, and worker processes where it has such; none is one for each core
    /// (one for each of `cpus`; one worker process).
    pub concurrency: Option<usize>,
    /// Requests that may wait for their turn beyond those that find a free place; more are refused at once.
    pub queue: usize,
    /// How long a request may wait for its turn, where it does not say itself.
    pub timeout: Option<Duration>,
    /// Priorities from 1, the most urgent, to this; 0 has none.
    pub priority_levels: u32,
    /// The priority of a request that names none; 0 is the least urgent.
    pub default_priority: u32,
    /// Priorities whose requests wait in a queue of their own; all others share `queue` and `timeout`.
    pub queues: BTreeMap<u32, QueuePolicy>,
    /// Evaluations of a made-up row before the model is ready, after which its cost is measured; 0 does neither, so
    /// that the first requests are evaluated on threads.
    pub warm_up: u32,
    /// CPUs to which this model's evaluations are bound, on threads of its own; empty for any. Linux only.
    pub cpus: Vec<usize>,
    /// Threads that one evaluation may use.
    pub threads: usize,
    /// Names of the classes of single outputs, by position, where the model itself has none.
    pub labels: BTreeMap<String, Arc<[String]>>,
}

/// How the requests of one priority wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// As [`ModelSettings::queue`].
    pub queue: usize,
    /// As [`ModelSettings::timeout`].
    pub timeout: Option<Duration>,
}

/// Which requests are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batching {
    /// Rows of a batch at most.
    pub max_rows: usize,
    /// How long the first request of a batch waits for others, in microseconds.
    pub max_delay_us: u64,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            engine: None,
            batching: None,
            preferred_rows: Vec::new(),
            concurrency: None,
            queue: 1024,
            timeout: None,
            priority_levels: 0,
            default_priority: 0,
            queues: BTreeMap::new(),
            warm_up: 1,
            cpus: Vec::new(),
            threads: 1,
            labels: BTreeMap::new(),
        }
    }
}
