//! Serving: models are loaded, asked and watched, and every answer leaves a record.
//!
//! [`ModelHost`] is the one data plane of all inference protocols: it holds models by name and version, bounds the
//! work that is done at once, runs the engine off the reactor, counts, and hands a [`PredictionRecord`] of every
//! answered request to the [`PredictionLog`], which writes them to the catalogue in groups, off the request path.
//!
//! # Lineage of a prediction
//! A record holds the model's name and version, and that is the whole link: no row of the lineage table is written
//! for a prediction. A million predictions are a million facts that this table states already; from the version on,
//! lineage knows the rest of the way.
//!
//! This crate opens no socket and knows no protocol, resolves no alias and reads no store: the product hands it the
//! models' bytes. It never answers a request whose record it could not take.

mod admission;
mod error;
mod host;
pub mod json;
mod limits;
mod log;
mod request;
mod settings;
mod sink;
mod statistics;

pub use error::{Fault, ServingError};
pub use host::ModelHost;
pub use limits::HostLimits;
pub use log::{LogSettings, LogState, PredictionFilter, PredictionLog, PredictionPage, PredictionRecord};
pub use request::{HostedModel, InferenceRequest, InferenceResponse, ModelMetadata, Readiness, RequestContext};
pub use settings::{Batching, ModelSettings};
pub use sink::{Answered, NoPredictionLog, PredictionSink, SinkCounts};
pub use statistics::{HostStatistics, LatencyHistogram, ModelStatistics};

use ropewalk_catalog::{Migration, MigrationSet};

/// The tables of this crate.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "serving",
    steps: &[Migration { number: 1, name: "prediction", sql: include_str!("../migrations/001_prediction.sql") }],
};
