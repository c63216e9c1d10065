//! An existing MLflow is taken over, with all its ids: from its database, its folder `mlruns`, or over HTTP; and what is
//! here is written as a folder that MLflow reads.
//!
//! Whatever the source, its records come in the shape of MLflow's REST API, so that there is one reading of them.

mod database;
mod export;
mod folder;
mod origin;
mod record;
mod transfer;
mod web;

use std::path::PathBuf;

use serde::Serialize;

use crate::{ServerError, TrackingHome};
use transfer::Transfer;

pub use export::Exported;

/// Which MLflow to take over. It is not shown: it may hold a password.
#[derive(Clone)]
pub struct TakeOverSource {
    /// A database `mlflow.db`, a folder `mlruns`, or a URL of a server.
    pub from: String,
    /// The folder of artifacts that an MLflow server keeps beside its database.
    pub artifacts: Option<PathBuf>,
    /// What a server asks for: a token, or a name and a password as `NAME:PASSWORD`.
    pub credentials: Option<String>,
}

/// How many of one kind were new, and how many were here already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TakenCount {
    /// Those that were not here.
    pub new: u64,
    /// Those that were, and stay as they are.
    pub here: u64,
}

impl TakenCount {
    fn add(&mut self, new: bool) {
        *(if new { &mut self.new } else { &mut self.here }) += 1;
    }
}

/// What was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TakenOver {
    /// Experiments.
    pub experiments: TakenCount,
    /// Runs, with their params, tags, metrics and inputs.
    pub runs: TakenCount,
    /// Logged models.
    pub logged_models: TakenCount,
    /// Traces, with their spans and assessments.
    pub traces: TakenCount,
    /// Registered models and prompts.
    pub registered_models: TakenCount,
    /// Their versions.
    pub versions: TakenCount,
    /// Files of artifacts.
    pub artifacts: TakenCount,
    /// Places of artifacts that stay where they are, such as buckets, and are asked there.
    pub elsewhere: u64,
    /// What could not be taken over, and why.
    pub left: Vec<String>,
}

impl TrackingHome {
    /// Takes an MLflow over; what is here already stays as it is. `says` is told what is under way.
    ///
    /// # Errors
    /// The source cannot be read, or an experiment here has the id or the name of another one there. What was taken
    /// over until then is kept; the same again goes on from there.
    pub async fn take_over(&self, source: &TakeOverSource, says: impl Fn(&str)) -> Result<TakenOver, ServerError> {
        let mut origin = origin::open(source).await?;
        let mut transfer = Transfer::new(self);
        for experiment in origin.experiments().await? {
            says(&format!("experiment `{}`", record::text(&experiment, "name")));
            Box::pin(transfer.experiment(origin.as_mut(), &experiment)).await?;
        }
        Box::pin(transfer.registered_models(origin.as_mut())).await
    }
}

/// What cannot be read, as an error with what to do.
fn unreadable(what: impl std::fmt::Display) -> ServerError {
    ServerError::Unknown {
        what: what.to_string(),
        hint: "name a database mlflow.db, a folder mlruns, or the URL of a server with --from".to_owned(),
    }
}
