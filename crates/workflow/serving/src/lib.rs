//! Serving: models are loaded, asked and watched, and every answer is handed to who keeps it.
//!
//! [`ModelHost`] is the one data plane of all inference protocols: it holds models by name and version, bounds the
//! work that is done at once, runs the engine, counts, and hands a record of every answered request to the
//! [`PredictionSink`].
//!
//! # The way of a request
//! [`ModelHost::infer`] lets it into the host ([`HostLimits`]: requests and bytes), resolves name and version
//! ([`ModelHost::resolve`], the only place where that is done), and checks the tensors against the signature. Each
//! version has a lane. Where an evaluation is expected to take less than 200 us (a moving estimate by the size of the
//! inputs, first measured at load) and nobody waits, it runs on the caller's task: a change of threads would cost as
//! much again. All else waits in a bounded queue, by priority and then by arrival, for a thread of a fixed pool:
//! one pool for all, and one of its own for a model that has worker processes, is bound to CPUs or joins requests into
//! batches. Tokio's blocking pool only loads.
//!
//! # What a protocol does beside it
//! - It copies, for each request anew, the headers named by [`ModelHost::watched_labels`] into [`RequestContext::labels`].
//! - It maps [`ServingError::fault`] to a status in one place, and sends [`ServingError::retry_after`] along.
//! - After an answer it tells [`ModelHost::count_codec`] how long it took to read the request and to write the answer:
//!   a call and not a field of the request, because the answer is written after the host has returned.
//!
//! This crate opens no socket and knows no protocol, asks no registry, reads no store and has no database: the product
//! hands it the models and the sink, and tells [`run_alias_watch`] how to ask.

mod admission;
mod aliases;
mod batch;
mod cost;
mod error;
mod gate;
mod host;
mod ids;
pub mod json;
mod lane;
mod limits;
mod measure;
mod pool;
mod request;
mod routes;
mod settings;
mod sink;
mod state;
mod statistics;
mod target;
mod trial;

pub use aliases::{AliasWatcher, WatchAction, WatchedAlias, WatchedUri, run_alias_watch};
pub use error::{Fault, ServingError, whole_seconds};
pub use host::{Entered, ModelHost};
pub use limits::HostLimits;
pub use request::{HostedModel, InferenceRequest, InferenceResponse, ModelMetadata, Readiness, RequestContext};
pub use routes::{
    CanarySettings, CanaryState, CanaryStatistics, HeaderRule, Route, RouteChange, RouteEvent, RouteSettings,
    RouteStatistics, RouteTarget, RoutingStatistics, ShadowSettings, ShadowStatistics, SideStatistics, SplitPart,
    TargetStatistics,
};
pub use settings::{Batching, ModelSettings, QueuePolicy};
pub use sink::{Answered, NoPredictionLog, PredictionSink, SinkCounts, in_sample};
pub use state::{ModelState, VersionState};
pub use statistics::{BatchStatistics, Elapsed, FailureCounts, HostStatistics, LatencyHistogram, ModelStatistics};
pub use target::{AnswerObserver, Target};
