//! The house put together: a project opened with its back-ends, its pipeline, its listeners.
//!
//! Only here are concrete back-ends named. What a command of the binary does is one function here, which the
//! binary prints; so tests, the demo and a person take the same path.

mod asking;
mod collecting;
mod error;
mod examining;
mod governing;
mod importing;
mod kinds;
mod planning;
mod project;
mod recording;
mod running;
mod serving;
mod store_place;
mod system;
mod tracing_back;
mod travelling;
mod verifying;
mod watching;
mod webhook_sender;
mod workspace;

pub use asking::Question;
pub use collecting::{Cost, Gone};
pub use error::ServerError;
pub use examining::{Finding, examine};
pub use governing::{DatasetLineage, Due, DueState, Holds, RemovedContent};
pub use project::{Access, OpenProject};
pub use running::{RunOptions, RunResult};
pub use serving::{InferenceServer, ServeOptions};
pub use system::SystemAmbient;
pub use tracing_back::{Strand, Thread};
pub use travelling::{
    Chosen, FetchedTable, FetchedTables, PushedTable, PushedTables, Refusal, RemovedThere, TableContent, TableFault,
};
pub use verifying::{Affected, HealFrom, Healing, LetGone, Subject, Verification};
pub use webhook_sender::WebhookCaller;
pub use workspace::{DataProject, Remembered};
