use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_registry::Registry;
use ropewalk_store::{BackendOptions, Store, files};
use ropewalk_tracking::Tracking;
use ropewalk_types::Ambient;

use crate::project::{MIGRATIONS, store_at};
use crate::{OpenProject, ServerError, SystemAmbient};

/// In the folder of a server: its database, unless that is elsewhere.
const CATALOG: &str = "catalog.db";
/// In the folder of a server: its bytes, unless they are elsewhere.
const STORE: &str = "store";

/// Runs and registered models, wherever they are kept: in a project or in a folder of their own.
#[derive(Clone)]
pub struct TrackingHome {
    /// The folder of what is on this machine.
    pub(crate) folder: PathBuf,
    pub(crate) catalog: Catalog,
    pub(crate) store: Store,
    pub(crate) tracking: Tracking,
    pub(crate) registry: Registry,
}

/// Where a server keeps what it is given. It is not shown: the URL of a catalogue may hold a password.
#[derive(Clone)]
pub struct HomePlace {
    /// The folder of what is on this machine; made if it is not there.
    pub folder: PathBuf,
    /// URL of the catalogue; SQLite in the folder if absent.
    pub catalog: Option<String>,
    /// URL of the store; in the folder if absent. Servers that share a catalogue must share the store, too.
    pub store: Option<String>,
}

impl TrackingHome {
    /// Opens what `place` names; what is not there is made.
    ///
    /// # Errors
    /// The folder cannot be made or written, the catalogue or the store cannot be opened, or a store that was there is gone.
    pub async fn open(place: &HomePlace, options: &BackendOptions) -> Result<Self, ServerError> {
        let folder = std::path::absolute(&place.folder)
            .map_err(|error| ServerError::Serve(format!("cannot tell where {} is: {error}", place.folder.display())))?;
        files::create_directories(&folder)?;
        let store = place.store.clone().unwrap_or_else(|| url("file:", &folder, STORE));
        let store = store_at(&folder, &store, options).await?;
        let catalog = place.catalog.clone().unwrap_or_else(|| url("sqlite:", &folder, CATALOG));
        let catalog = Catalog::open(&catalog, &MIGRATIONS).await?;
        let ambient: Arc<dyn Ambient> = Arc::new(SystemAmbient);
        let tracking = Tracking::new(catalog.clone(), store.clone(), Arc::clone(&ambient));
        Ok(Self {
            registry: Registry::with_files(catalog.clone(), ambient, tracking.clone()),
            folder,
            tracking,
            catalog,
            store,
        })
    }

    /// What a project keeps of runs and models.
    pub fn of(project: &OpenProject) -> Self {
        Self {
            folder: project.state(),
            catalog: project.catalog.clone(),
            store: project.store.clone(),
            tracking: project.tracking.clone(),
            registry: project.registry.clone(),
        }
    }

    /// Its runs.
    pub fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// Its registered models.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its bytes.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Lets go of the catalogue; what was written is durable before.
    pub async fn close(self) {
        self.catalog.close().await;
    }
}

fn url(scheme: &str, folder: &Path, name: &str) -> String {
    format!("{scheme}{}", folder.join(name).display())
}
