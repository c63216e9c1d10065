mod gates;
mod models;
mod versions;
mod webhooks;

use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_tracking::Tracking;
use ropewalk_types::{Ambient, Timestamp};
use tokio::sync::Notify;

use crate::{Evidence, TrackedModels, TrackedRuns};

/// The registry over a catalogue: each call is a read, or a write of its own. Clones share it.
///
/// The free functions of this crate do the same in the caller's transaction, but tell no webhook.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) catalog: Catalog,
    ambient: Arc<dyn Ambient>,
    evidence: Arc<dyn Evidence>,
    /// Wakes whoever sends to webhooks.
    told: Arc<Notify>,
}

/// Runs `$work` with the connection `$connection` in a transaction of the catalogue's writer.
macro_rules! writing {
    ($self:ident, |$connection:ident| $work:expr) => {
        $self.catalog.write(move |$connection| Box::pin(async move { $work.await })).await
    };
}
/// Runs `$work` with the connection `$connection` of the catalogue's readers.
macro_rules! reading {
    ($self:ident, |$connection:ident| $work:expr) => {
        $self.catalog.read(move |$connection| Box::pin(async move { $work.await })).await
    };
}
pub(crate) use {reading, writing};

impl Registry {
    /// Over a catalogue that was opened with [`crate::MIGRATIONS`] and those of `ropewalk_lineage` and
    /// `ropewalk_tracking`; versions are judged by their runs there, and those that a client registered have no
    /// signature that is known.
    pub fn new(catalog: Catalog, ambient: Arc<dyn Ambient>) -> Self {
        Self::with_evidence(catalog, ambient, Arc::new(TrackedRuns))
    }

    /// The same, but what a version takes and gives is read from the files that `tracking` keeps.
    pub fn with_files(catalog: Catalog, ambient: Arc<dyn Ambient>, tracking: Tracking) -> Self {
        Self::with_evidence(catalog, ambient, Arc::new(TrackedModels::new(tracking)))
    }

    /// The same, but versions are judged by `evidence`.
    pub fn with_evidence(catalog: Catalog, ambient: Arc<dyn Ambient>, evidence: Arc<dyn Evidence>) -> Self {
        Self { catalog, ambient, evidence, told: Arc::new(Notify::new()) }
    }

    fn now(&self) -> Timestamp {
        self.ambient.now()
    }
}
