//! The product's side of serving: two listeners, REST and gRPC, in front of a [`ModelHost`](ropewalk_serving::ModelHost).
//!
//! Ports, TLS, who may ask and how often, what is counted, written down and traced, and how a server ends, are decided here;
//! what models answer is not. Models of files and folders are found here ([`ModelRepository`]); those of a registry are
//! resolved by whoever has one. This crate knows no catalogue and no DataFusion, so that the small binary
//! `ropewalk-serve` is made of it alone. It never prints and reads no environment: both belong to the binaries.

mod access_log;
mod arguments;
mod engines;
mod error;
mod gate;
mod jwt;
mod keys;
mod measures;
mod options;
mod rate;
mod repository;
mod routes;
mod running;
mod server;
mod system;
mod traces;

pub use access_log::AccessLogOptions;
pub use arguments::{KeyArgument, ServeArguments};
pub use engines::{EngineFinding, engine_findings, engines};
pub use error::InferenceServerError;
pub use jwt::JwtVerifier;
pub use keys::{ApiKeys, Caller, Environment};
pub use options::ServerOptions;
pub use rate::Rate;
pub use repository::{ModelRepository, NamedPath, RepositoryEntry, model_at, model_settings};
pub use running::{Ended, Signals, Started, begin, route_set, serve_file, until_signalled, until_stopped};
pub use server::{InferenceServer, Listeners};
pub use system::SystemAmbient;
