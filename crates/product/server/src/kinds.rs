//! The kinds of stage that boxes other than the pipeline stand behind. A kind only translates: stage in, box called,
//! artifacts and records out.

mod check;
mod command;
mod downloads;
mod holders;
mod ingest;
mod predict;
mod register;
mod source;
mod sql;
mod tracked;
mod train;
mod used_pieces;

pub(crate) use check::{CheckKind, DeclaredChecks, SUBJECT, declared, described};
pub(crate) use command::TrackedCommandKind;
pub(crate) use holders::Holders;
pub(crate) use ingest::IngestKind;
pub(crate) use predict::{PredictKind, PredictSettings, SCORED, SCORER};
pub(crate) use register::RegisterKind;
pub(crate) use sql::{SqlKind, SqlTextError};
pub(crate) use tracked::{TrackedKind, TrackedSettings};
pub(crate) use train::TrainKind;
