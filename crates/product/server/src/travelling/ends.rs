use ropewalk_catalog::Catalog;
use ropewalk_store::Store;
use ropewalk_types::{Ambient as _, Timestamp};

use crate::project::catalog_open;
use crate::{DataProject, ServerError, SystemAmbient};

/// The two ends of a journey: the project with its catalogue and store, and a remote.
pub(super) struct Ends<'a> {
    pub(super) catalog: Catalog,
    pub(super) store: &'a Store,
    /// The remote's name in this project.
    pub(super) remote_name: &'a str,
    pub(super) remote: &'a Store,
    /// Who is named in the audit trail.
    pub(super) who: String,
    ambient: SystemAmbient,
}

impl DataProject {
    pub(super) async fn ends<'a>(&'a self, remote_name: &'a str, remote: &'a Store) -> Result<Ends<'a>, ServerError> {
        let store = self.workspace().store().await?;
        let catalog = catalog_open(self.root(), self.file()).await?;
        Ok(Ends { catalog, store, remote_name, remote, who: self.access().who, ambient: SystemAmbient })
    }
}

impl Ends<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    /// Lets go of the catalogue.
    pub(super) async fn close(self) {
        self.catalog.close().await;
    }
}
