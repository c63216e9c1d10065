//! The house put together: a project opened with its back-ends, its pipeline, its listeners.
//!
//! Only here are concrete back-ends named. What a command of the binary does is one function here, which the
//! binary prints; so tests, the demo and a person take the same path.

mod api_server;
mod asking;
mod collecting;
mod error;
mod examining;
mod exchanging;
mod governing;
mod importing;
mod kinds;
mod planning;
mod prediction_log;
mod project;
mod recording;
mod reproducing;
mod run_difference;
mod run_lineage;
mod running;
mod scoring;
mod serving;
mod store_place;
mod tracing_back;
mod tracking_home;
mod travelling;
mod verifying;
mod watching;
mod webhook_sender;
mod workspace;

pub use api_server::{ApiOptions, ApiServer, CredentialSources, Credentials, ServerLimits, TlsFiles};
pub use asking::Question;
pub use collecting::{Cost, Gone};
pub use error::ServerError;
pub use examining::{Finding, examine};
pub use exchanging::{Exported, TakeOverSource, TakenCount, TakenOver};
pub use governing::{DatasetLineage, Due, DueState, Holds, RemovedContent};
pub use project::{Access, OpenProject};
pub use reproducing::{Compared, ReproduceOptions, Reproduction, Verdict};
pub use ropewalk_inference_server::SystemAmbient;
pub use run_difference::{Difference, RunDifference};
pub use run_lineage::{CodeRecord, EnvironmentRecord, HardwareRecord, InputRecord, LockFile, RunLineage};
pub use running::{RunOptions, RunResult};
pub use scoring::ScoringModel;
pub use serving::{ModelServer, serve_files};
pub use tracing_back::{Strand, Thread};
pub use tracking_home::{HomePlace, TrackingHome};
pub use travelling::{
    Chosen, FetchedTable, FetchedTables, PushedTable, PushedTables, Refusal, RemovedThere, TableContent, TableFault,
};
pub use verifying::{Affected, HealFrom, Healing, LetGone, Subject, Verification};
pub use webhook_sender::WebhookCaller;
pub use workspace::{DataProject, Remembered};
