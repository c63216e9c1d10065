//! Box "model experimentation": stages, their keys, their cache, and the order in which they run.
//!
//! A stage is a pure function of its key (see [`StageSpec::key`]): when the key is known, its outputs are taken
//! from the store and nothing runs. What a stage does is a [`StageKind`]; this box brings that of the user's own
//! commands, the product brings those of the other boxes, so this crate knows none of them. Where a stage's figures go is a [`RunRecorder`].
//!
//! What a stage made becomes visible in one transaction: its outcome, its lineage, its dataset versions and the end
//! of its run stand together or not at all.

mod command;
mod error;
mod event;
mod kind;
mod outcome;
mod pieces;
mod plan;
mod recorder;
mod runner;
mod settings;
mod spec;

use ropewalk_catalog::{Migration, MigrationSet};

pub use command::{CommandKind, CommandSettings};
pub use error::{Failure, PipelineError};
pub use event::{Event, Observer};
pub use kind::{Executed, Project, Record, Reporter, StageContext, StageKind};
pub use outcome::{Outcome, outcome_forget, outcome_get, outcome_list, outcome_list_of};
pub use pieces::{pieces_list, pieces_put};
pub use plan::Plan;
pub use recorder::{RunRecorder, RunRecorders};
pub use runner::{RunReport, Runner, StageReport, StageState, StageStatus};
pub use spec::{Artifact, ArtifactKind, Input, InputSource, StageSpec};

/// The tables of this box.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "pipeline",
    steps: &[
        Migration { number: 1, name: "stage_outcome", sql: include_str!("../migrations/001_stage_outcome.sql") },
        Migration { number: 2, name: "stage_pieces", sql: include_str!("../migrations/002_stage_pieces.sql") },
    ],
};
