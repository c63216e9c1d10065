use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_catalog::{Catalog, MigrationSet};
use ropewalk_config::{FILE_NAME, ProjectFile, STATE_FOLDER};
use ropewalk_connectors::{PlaceholderError, with_environment};
use ropewalk_data::{AuditEvent, audit_write};
use ropewalk_execution::{Executor, LocalExecutor};
use ropewalk_registry::Registry;
use ropewalk_store::files::{self, FileError, FileLock, SharedLock};
use ropewalk_store::{BackendOptions, Store, StoreError};
use ropewalk_tracking::Tracking;
use ropewalk_types::Ambient;
use ropewalk_versions::Workspace;

use crate::governing::trail_of;
use crate::importing::quarantine_kept;
use crate::{ServerError, SystemAmbient, store_place};

/// The cache of whole files, in the folder of the embedded back-ends.
pub(crate) const CACHE: &str = "cache";
/// Locked by all commands that use the store, or by one that must be alone.
pub(crate) const IN_USE: &str = "store.lock";

/// Longest project file that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// The tables of every box, in the order in which they are made.
pub(crate) const MIGRATIONS: [MigrationSet; 6] = [
    ropewalk_lineage::MIGRATIONS,
    ropewalk_data::MIGRATIONS,
    ropewalk_pipeline::MIGRATIONS,
    ropewalk_tracking::MIGRATIONS,
    ropewalk_registry::MIGRATIONS,
    ropewalk_predictions::MIGRATIONS,
];

/// Who works with a project, and with what credentials.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who is named in the audit trail.
    pub who: String,
    /// Settings and credentials of remote back-ends.
    pub backends: BackendOptions,
}

/// A project with its back-ends open.
#[derive(Clone)]
pub struct OpenProject {
    pub(crate) root: PathBuf,
    pub(crate) file: Arc<ProjectFile>,
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    pub(crate) tracking: Tracking,
    pub(crate) registry: Registry,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) ambient: Arc<dyn Ambient>,
    pub(crate) who: String,
}

impl OpenProject {
    /// The root of the project that `start` lies in: the nearest folder upwards with a project file.
    pub fn find(start: &Path) -> Result<PathBuf, ServerError> {
        for folder in start.ancestors() {
            if files::exists(&folder.join(FILE_NAME))? {
                return Ok(folder.to_owned());
            }
        }
        Err(ServerError::NoProject(start.to_owned()))
    }

    /// Reads the project file in `root` and opens what it names; embedded back-ends are made where they are not.
    ///
    /// `access` says who does that, and has the credentials of remote back-ends.
    pub async fn open(root: &Path, access: Access) -> Result<Self, ServerError> {
        let file = project_file(root)?;
        let executor = executor(&file.backends.executor)?;
        let store = store_open(root, &file.backends.storage, &access.backends).await?;
        let catalog = catalog_open(root, &file).await?;
        let ambient: Arc<dyn Ambient> = Arc::new(SystemAmbient);
        let tracking = Tracking::new(catalog.clone(), store.clone(), Arc::clone(&ambient));
        Ok(Self {
            root: root.to_owned(),
            file: Arc::new(file),
            registry: Registry::with_files(catalog.clone(), Arc::clone(&ambient), tracking.clone()),
            tracking,
            store,
            catalog,
            executor,
            ambient,
            who: access.who,
        })
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its project file.
    pub fn file(&self) -> &ProjectFile {
        &self.file
    }

    /// Its runs.
    pub fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// Its registered models.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its database.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Its bytes.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its tracked files, in the same store.
    pub(crate) fn workspace(&self) -> Workspace {
        let store = self.store.clone();
        let opener = Arc::new(move || {
            let store = store.clone();
            let opened: BoxFuture<'static, _> = Box::pin(async move { Ok(store) });
            opened
        });
        let catalog = self.catalog.clone();
        let write = move |event: AuditEvent| {
            let catalog = catalog.clone();
            async move { Ok(audit_write(&catalog, vec![event]).await?) }
        };
        let ambient = Arc::clone(&self.ambient);
        let workspace = Workspace::new(self.root.clone(), self.state(), "ropewalk", ambient, opener);
        workspace.with_trail(trail_of(self.who.clone(), write))
    }

    /// Lets go of the back-ends; what was written is durable before.
    pub async fn close(self) {
        self.catalog.close().await;
    }

    /// The folder of scratch space, caches and embedded back-ends.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join(STATE_FOLDER)
    }

    /// Where the list is of what did not fit when an import of `dataset` failed by it.
    pub(crate) fn quarantine_kept(&self, dataset: &str) -> PathBuf {
        quarantine_kept(&self.quarantined(), dataset)
    }

    /// Where such lists are.
    pub(crate) fn quarantined(&self) -> PathBuf {
        self.state().join("quarantine")
    }

    /// Keeps other runs of this project out, which are told that `command` is in; says who is in before it waits.
    pub(crate) async fn lock(
        &self,
        command: &'static str,
        waits: impl FnOnce(&str) + Send,
    ) -> Result<FileLock, ServerError> {
        let path = self.state().join("run.lock");
        match files::lock(&path, command) {
            Err(FileError::Held { holder, .. }) => {
                waits(&holder);
                let waited = tokio::task::spawn_blocking(move || files::lock_wait(&path, command)).await;
                Ok(waited.map_err(|error| ServerError::Serve(error.to_string()))??)
            }
            result => Ok(result?),
        }
    }
}

/// The text of the project file in `root`.
pub(crate) fn project_text(root: &Path) -> Result<String, ServerError> {
    let path = root.join(FILE_NAME);
    if !files::exists(&path)? {
        return Err(ServerError::NoProject(root.to_owned()));
    }
    Ok(files::read_text(&path, LONGEST_FILE)?)
}

/// The project file in `root`.
pub(crate) fn project_file(root: &Path) -> Result<ProjectFile, ServerError> {
    Ok(ProjectFile::parse(FILE_NAME, &project_text(root)?)?)
}

/// The project's store with its cache of whole files; both are made where they have never been.
pub(crate) async fn store_open(root: &Path, storage: &str, options: &BackendOptions) -> Result<Store, StoreError> {
    let state = root.join(STATE_FOLDER);
    files::create_ignored_directory(&state)?;
    store_at(&state, &below(root, "file:", storage), options).await
}

/// The store at `url`, of whoever has the folder `state` for what goes with it.
pub(crate) async fn store_at(state: &Path, url: &str, options: &BackendOptions) -> Result<Store, StoreError> {
    store_place::check_there(state, url, options).await?;
    let store = Store::open_with(url, options).await?.with_cache(state.join(CACHE));
    let store = match in_use(state).await {
        Some(lock) => store.with_lock(lock),
        None => store,
    };
    // Where nothing can be written nothing can be noted, and nothing be lost; it is tried again by the next command.
    let _ = store_place::note(state, url, &store).await;
    Ok(store)
}

/// The lock by which other commands of the project see that this one uses its store, once none has it for itself.
///
/// Where nothing can be written there is none: whoever needs to be alone is refused then.
pub(crate) async fn in_use(state: &Path) -> Option<SharedLock> {
    let state = state.to_owned();
    let lock = move || {
        // Where that cannot be written, the lock may be there all the same.
        let _ = files::create_ignored_directory(&state);
        files::lock_shared_wait(&state.join(IN_USE)).ok()
    };
    tokio::task::spawn_blocking(lock).await.ok().flatten()
}

/// The project's database, with the tables of every box.
pub(crate) async fn catalog_open(root: &Path, file: &ProjectFile) -> Result<Catalog, ServerError> {
    files::create_ignored_directory(&root.join(STATE_FOLDER))?;
    let url = catalog_url(&file.backends.catalog, |name| std::env::var(name).ok())?;
    Ok(Catalog::open(&below(root, "sqlite:", &url), &MIGRATIONS).await?)
}

/// The URL of a catalogue with the password that it names as `${NAME}`; the path of a file may hold anything.
fn catalog_url(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, ServerError> {
    if !url.contains("://") {
        return Ok(url.to_owned());
    }
    let hint = match with_environment(url, variable) {
        Ok(url) => return Ok(url),
        Err(error @ PlaceholderError::Name(_)) => (error, "write letters, digits and `_`, no digit first"),
        Err(error @ PlaceholderError::Missing(_)) => (error, "set it to the password and try again"),
        Err(error @ PlaceholderError::Shown(_)) => {
            (error, "only the password comes from the environment, as in postgresql://USER:${NAME}@HOST/DATABASE")
        }
    };
    Err(ServerError::Unknown { what: format!("backends.catalog: {}", hint.0), hint: hint.1.to_owned() })
}

/// A URL whose path is relative to the project.
pub(crate) fn below(root: &Path, scheme: &str, url: &str) -> String {
    match url.strip_prefix(scheme) {
        Some(path) if !path.starts_with('/') && !path.is_empty() => format!("{scheme}{}", root.join(path).display()),
        _ => url.to_owned(),
    }
}

fn executor(name: &str) -> Result<Arc<dyn Executor>, ServerError> {
    match name {
        "local" => Ok(Arc::new(LocalExecutor)),
        other => Err(ServerError::NoBackend { what: "executor", name: other.to_owned(), built_in: "\"local\"" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_the_catalogue_comes_from_the_environment() {
        let variable = |name: &str| (name == "SECRET").then(|| "a/b@c".to_owned());
        let read = |url: &str| catalog_url(url, variable);
        assert_eq!(read("postgresql://me:${SECRET}@h/d").expect("url"), "postgresql://me:a%2Fb%40c@h/d");
        assert_eq!(read("sqlite:${SECRET}.db").expect("file"), "sqlite:${SECRET}.db");
        for wrong in ["postgresql://me:${OTHER}@h/d", "postgresql://me@${SECRET}/d", "postgresql://me:${}@h/d"] {
            let error = read(wrong).expect_err(wrong).to_string();
            assert!(error.starts_with("backends.catalog: ") && !error.contains("a/b@c"), "{error}");
        }
    }
}
