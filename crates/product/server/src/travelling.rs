//! Tables on their way to and from remotes, with all that the catalogue knows of them.
//!
//! A remote keeps of each table, under `refs/tables/NAME`: for every version a ref to its record, which never changes, and
//! one ref to what can change. Bytes go first, then records, then refs; so a ref names only what is whole. Both sides
//! merge, neither is ever overwritten; see `docs/adr/009-tables-travel.md`.

mod adopting;
mod ancestry;
mod ends;
mod fetching;
mod layout;
mod names;
mod pushing;
mod reading;
mod removing;
mod repairing;
mod zone;

use ropewalk_catalog::Catalog;
use ropewalk_data::{AuditAction, AuditEvent, DatasetVersion, audit_write, version_elsewhere};
use ropewalk_pipeline::Failure;
use ropewalk_types::{DatasetName, Diagnose, Digest};

use crate::{OpenProject, ServerError};

pub use fetching::{FetchedTable, FetchedTables, TableContent};
pub(crate) use layout::{TABLES, own_roots, remote_roots};
pub use names::Chosen;
pub use pushing::{PushedTable, PushedTables, RemovedThere};
pub use repairing::TableFault;
pub(crate) use repairing::{tables_examine, tables_unknown};

use ends::Ends;

/// A version of a table whose bytes are in a remote only.
#[derive(Debug, thiserror::Error)]
#[error("the rows of version {} of `{name}` are not here: they are in the remote `{remote}`", digest.short())]
struct Elsewhere {
    name: DatasetName,
    digest: Digest,
    remote: String,
}

impl Diagnose for Elsewhere {
    fn code(&self) -> &'static str {
        "data.elsewhere"
    }

    fn hint(&self) -> Option<String> {
        let Self { name, remote, .. } = self;
        Some(format!("`ropewalk fetch {name} --all --remote {remote}` brings every version of it"))
    }
}

/// Why a table was left as it is, while others went on.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Refusal {
    /// What stands in the way.
    pub error: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Refusal {
    fn of(error: &dyn Diagnose) -> Self {
        Self { error: error.to_string(), hint: error.hint() }
    }
}

/// Refuses a version whose rows are wanted and whose bytes are in a remote only.
pub(crate) async fn content_here(catalog: &Catalog, version: &DatasetVersion) -> Result<(), Failure> {
    match version_elsewhere(catalog, &version.name, &version.digest).await? {
        None => Ok(()),
        Some(remote) => Err(Elsewhere { name: version.name.clone(), digest: version.digest, remote }.into()),
    }
}

impl OpenProject {
    /// Refuses a version whose rows are wanted and whose bytes are in a remote only.
    pub(crate) async fn content_here(&self, version: &DatasetVersion) -> Result<(), ServerError> {
        content_here(&self.catalog, version).await.map_err(ServerError::Part)
    }
}

impl Ends<'_> {
    fn event(&self, action: AuditAction, object: String, details: serde_json::Value) -> AuditEvent {
        AuditEvent { at: self.now(), who: self.who.clone(), action, object, details }
    }

    /// Writes down what is about to be done.
    async fn audit(&self, events: Vec<AuditEvent>) -> Result<(), ServerError> {
        Ok(audit_write(&self.catalog, events).await?)
    }
}
