//! Serving: models are loaded, asked and watched, and every answer is handed to who keeps it.
//!
//! [`ModelHost`] is the one data plane of all inference protocols: it holds models by name and version, bounds the
//! work that is done at once, runs the engine off the reactor, counts, and hands what it [`Answered`] to a
//! [`PredictionSink`], which never makes it wait.
//!
//! This crate opens no socket and knows no protocol, resolves no alias, reads no store and has no database: the product
//! hands it the models and the sink.

mod admission;
mod error;
mod host;
pub mod json;
mod limits;
mod request;
mod settings;
mod sink;
mod statistics;

pub use error::{Fault, ServingError};
pub use host::ModelHost;
pub use limits::HostLimits;
pub use request::{HostedModel, InferenceRequest, InferenceResponse, ModelMetadata, Readiness, RequestContext};
pub use settings::{Batching, ModelSettings};
pub use sink::{Answered, NoPredictionLog, PredictionSink, SinkCounts};
pub use statistics::{HostStatistics, LatencyHistogram, ModelStatistics};
