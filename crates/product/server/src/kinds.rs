//! The kinds of stage that boxes other than the pipeline stand behind. A kind only translates: stage in, box called,
//! artifacts and records out.

mod ingest;
mod register;
mod sql;
mod train;

pub(crate) use ingest::IngestKind;
pub(crate) use register::RegisterKind;
pub(crate) use sql::{SqlKind, SqlTextError, referenced_tables};
pub(crate) use train::TrainKind;
