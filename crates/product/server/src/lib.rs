//! The house put together: a project opened with its back-ends, its pipeline, its listeners.
//!
//! Only here are concrete back-ends named. What a command of the binary does is one function here, which the
//! binary prints; so tests, the demo and a person take the same path.

mod asking;
mod error;
mod examining;
mod kinds;
mod planning;
mod project;
mod recording;
mod running;
mod serving;
mod system;
mod tracing_back;
mod watching;

pub use error::ServerError;
pub use examining::{Finding, examine};
pub use project::OpenProject;
pub use running::{RunOptions, RunResult};
pub use serving::{InferenceServer, ServeOptions};
pub use system::SystemAmbient;
pub use tracing_back::{Strand, Thread};
