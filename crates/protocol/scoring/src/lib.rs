//! Scoring of tables: MLflow's scoring protocol, a plain route for objects of raw columns, and their description.
//!
//! [`Scoring`] is all three on a host, as one router of exact paths and without a fallback, to be merged with those of
//! other protocols. It translates to and from the [`ModelHost`](ropewalk_serving::ModelHost) and holds no rule: what a
//! model accepts and how much runs at once is decided below, keys and sockets belong to the product.
//!
//! # Paths
//! - `POST /invocations`, `GET /ping`, `/health`, `/version`: what `mlflow models serve` answers. With several models
//!   the header `X-Ropewalk-Model` says which, or `POST /models/{model}/invocations` (`/versions/{version}/`).
//! - `POST /predict/{model}` (`/versions/{version}`): one object of raw columns or a list of them, answered alike.
//! - `GET /openapi.json`: both, and the inference of the Open Inference Protocol, for the models that are loaded now.
//! - `GET /docs`: a page to try them, which needs nothing from elsewhere; it says nothing of any model until its script has
//!   asked `GET /docs/models`.
//!
//! # Where MLflow's protocol leaves a choice
//! - A table becomes inputs in one of two ways: each column is the input of its name; or, where the model has one
//!   input with several values in a row, all columns in their order are its values.
//! - What a prediction is depends on the engine, as it does with MLflow on the flavour. ONNX graphs answer all their
//!   outputs: a list of objects to a DataFrame, an object of columns to tensors. A Python model with one output
//!   answers that output alone. Where a graph names its classes (ZipMap), probabilities are objects by class.
//! - What MLflow refuses with 500 because a table does not fit the model is 400 here, and names column and row.
//! - `params` are ignored, as MLflow does for a model whose signature has none; the header `X-Ropewalk-Ignored` says
//!   so.
//!
//! Protocol: <https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/>, version [`MLFLOW_VERSION`].

mod answer;
mod body;
mod cells;
mod columns;
mod docs;
mod error;
mod forms;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod invocations;
mod json;
mod limits;
mod memory;
mod openapi;
mod predict;
mod records;
mod service;
mod table;

pub use error::ScoringError;
pub use limits::ScoringLimits;
pub use service::{ClientOf, MayAsk, Scoring, router};

/// The version of MLflow whose scoring protocol is spoken, as `GET /version` says it.
pub const MLFLOW_VERSION: &str = "3.17.2";

/// Work on more bytes than this is not done on the reactor.
const REACTOR_BYTES: usize = 64 << 10;

/// Runs `work`, which touches about `bytes` bytes, where it does not hold up other requests.
async fn off_reactor<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, ScoringError> + Send + 'static,
) -> Result<T, ScoringError> {
    if bytes <= REACTOR_BYTES {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| ScoringError::Failed)?
}
