//! MLflow's REST API over [`ropewalk_tracking`]: what the plain Python client needs to track runs.
//!
//! [`router`] serves experiments, runs, metrics, params, tags, inputs, outputs, artifacts and traces under `/api` and
//! `/ajax-api`, as MLflow 3.17 does (`mlflow/protos/service.proto`; JSON as in the protocol buffers' "ProtoJSON
//! Format"). It answers every error in MLflow's shape, `{"error_code", "message"}`, with MLflow's status, never with
//! HTML; an endpoint or option that is not there is an error, never ignored.
//!
//! This crate translates. It must never hold a rule of tracking nor SQL, and it opens no socket: the product binds
//! the router, to loopback or behind credentials.

mod answer;
mod artifacts;
mod error;
mod experiments;
mod guard;
mod inputs;
mod logged_models;
mod logging;
mod metrics;
mod model_versions;
mod overload;
mod registered_models;
mod request;
mod router;
mod runs;
mod search;
mod state;
#[cfg(test)]
mod testing;
mod traces;
mod webhooks;
mod wire;

pub use error::MlflowError;
pub use guard::guarded;
pub use overload::overloaded;
pub use router::router;
pub use state::{MlflowState, Principal, RunBegun, Secret};
pub use traces::{span_of, spans_of, trace_info_of};

/// The version of MLflow whose API is spoken; `GET /version` answers it.
pub const MLFLOW_VERSION: &str = "3.17.2";
