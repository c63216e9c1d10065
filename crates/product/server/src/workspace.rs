//! The tracked files of a project, without the rest of the house: `data status` must not wait for a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_config::{ConfigError, FILE_NAME, ProjectFile, STATE_FOLDER, remote_added, remote_removed};
use ropewalk_data::{AuditAction, AuditEvent, DataError, audit_append};
use ropewalk_execution::Program;
use ropewalk_store::{BackendOptions, Root, Store, TransferProgress, files, object_store_at};
use ropewalk_types::{Ambient, DatasetName, Digest, Uri};
use ropewalk_versions::{Kind, Workspace};
use serde_json::Value;

use crate::project::{LONGEST_FILE, below, catalog_open, ignore_in_git};
use crate::{Access, ServerError, SystemAmbient};

/// The remote that is meant when several are there and none is named.
const DEFAULT_REMOTE: &str = "origin";

/// A project's tracked files, its store and its remotes.
#[derive(Clone, Debug)]
pub struct DataProject {
    root: PathBuf,
    file: Arc<ProjectFile>,
    options: BackendOptions,
    who: String,
    workspace: Workspace,
}

impl DataProject {
    /// Reads the project file in `root`; the store is opened when it is first needed.
    ///
    /// `command` describes this process to others that wait for it; `access` says who works here, with which
    /// credentials; `waits` is told who holds the lock of the work tree.
    pub fn open(
        root: &Path,
        command: &str,
        access: Access,
        waits: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, ServerError> {
        let path = root.join(FILE_NAME);
        if !files::exists(&path)? {
            return Err(ServerError::NoProject(root.to_owned()));
        }
        let file = ProjectFile::parse(FILE_NAME, &files::read_text(&path, LONGEST_FILE)?)?;
        let state = root.join(STATE_FOLDER);
        let Access { who, backends: options } = access;
        let (storage, settings, home) = (below(root, "file:", &file.backends.storage), options.clone(), state.clone());
        let opener = Arc::new(move || {
            let (storage, settings, home) = (storage.clone(), settings.clone(), home.clone());
            let opened: futures::future::BoxFuture<'static, _> = Box::pin(async move {
                files::create_directories(&home)?;
                ignore_in_git(&home)?;
                Ok(Store::open_with(&storage, &settings).await?.with_cache(home.join("cache")))
            });
            opened
        });
        let ambient: Arc<dyn Ambient> = Arc::new(SystemAmbient);
        let workspace = Workspace::new(root.to_owned(), state, command, ambient, opener).on_wait(waits);
        Ok(Self { root: root.to_owned(), file: Arc::new(file), options, who, workspace })
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The project file.
    pub fn file(&self) -> &ProjectFile {
        &self.file
    }

    /// The tracked files.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The name and URL of a remote: the one named, else the only one, else `origin`.
    pub fn remote(&self, name: Option<&str>) -> Result<(String, String), ServerError> {
        let remotes = &self.file.remote;
        let known = || remotes.keys().cloned().collect::<Vec<_>>().join(", ");
        let chosen = match name {
            Some(name) => name,
            None if remotes.len() == 1 => remotes.keys().next().map_or(DEFAULT_REMOTE, String::as_str),
            None => DEFAULT_REMOTE,
        };
        match remotes.get(chosen) {
            Some(remote) => Ok((chosen.to_owned(), below(&self.root, "file:", &remote.url))),
            None if remotes.is_empty() => Err(ServerError::Unknown {
                what: "the project has no remote".to_owned(),
                hint: "add one: ropewalk remote add origin URL".to_owned(),
            }),
            None => Err(ServerError::Unknown {
                what: format!("there is no remote `{chosen}`"),
                hint: format!("name one with --remote; there are: {}", known()),
            }),
        }
    }

    /// Opens a remote's store.
    pub async fn remote_open(&self, name: Option<&str>) -> Result<(String, Store), ServerError> {
        let (name, url) = self.remote(name)?;
        Ok((name, Store::open_with(&url, &self.options).await?))
    }
}

impl DataProject {
    /// Writes a remote into the project file of the project at `root`; the URL must be one that can be opened.
    pub fn remote_add(root: &Path, name: &str, url: &str, options: &BackendOptions) -> Result<(), ServerError> {
        object_store_at(&below(root, "file:", url), options)?;
        edit(root, |text| remote_added(FILE_NAME, text, name, url))
    }

    /// Takes a remote out of the project file of the project at `root`.
    pub fn remote_remove(root: &Path, name: &str) -> Result<(), ServerError> {
        edit(root, |text| remote_removed(FILE_NAME, text, name))
    }

    /// Who makes versions here: the author that git would write into a commit.
    pub async fn author(&self) -> String {
        let program = Program {
            name: "git".to_owned(),
            arguments: vec!["var".to_owned(), "GIT_AUTHOR_IDENT".to_owned()],
            directory: self.root.clone(),
            limit: 1 << 12,
        };
        let told = program.run().await.ok().filter(|told| told.exit.success());
        // `Name <address> seconds zone`
        let author = told.and_then(|told| Some(told.output.split_once('>')?.0.to_owned() + ">"));
        author.unwrap_or_else(|| "unknown".to_owned())
    }

    /// Writes into the audit trail of the project what was done to a tracked dataset, or to one version of it.
    pub async fn audit(
        &self,
        action: AuditAction,
        name: &DatasetName,
        version: Option<&Digest>,
        details: Value,
    ) -> Result<(), ServerError> {
        let object = match version {
            Some(version) => Uri::Data { name: name.clone(), version: version.to_string() }.to_string(),
            None => format!("data:{name}"),
        };
        let event = AuditEvent { at: SystemAmbient.now(), who: self.who.clone(), action, object, details };
        let catalog = catalog_open(&self.root, &self.file).await?;
        let written: Result<(), DataError> = catalog
            .write(move |connection| Box::pin(async move { audit_append(connection, &event).await.map(|_| ()) }))
            .await;
        catalog.close().await;
        Ok(written?)
    }

    /// Brings the content of one version from the remote, which a pull of another version has left there.
    pub async fn version_fetch(
        &self,
        name: &DatasetName,
        version: &str,
        progress: &dyn TransferProgress,
    ) -> Result<(), ServerError> {
        let found = self.workspace.resolve(name, version).await?.version;
        let root = match found.kind {
            Kind::Folder => Root::Tree(found.root),
            Kind::File | Kind::Executable => Root::Blob(found.root),
        };
        let (_, remote) = self.remote_open(None).await?;
        remote.copy_to(self.workspace.store().await?, &[root], progress).await?;
        Ok(())
    }

    /// Whether a dataset is one of tracked files: here, or by versions in the store.
    pub async fn is_tracked(&self, name: &DatasetName) -> Result<bool, ServerError> {
        let datasets = self.workspace.datasets().await?;
        Ok(datasets.iter().any(|dataset| dataset.pointer.name == *name) || self.workspace.names().await?.contains(name))
    }
}

fn edit(root: &Path, change: impl FnOnce(&str) -> Result<String, ConfigError>) -> Result<(), ServerError> {
    let path = root.join(FILE_NAME);
    let text = change(&files::read_text(&path, LONGEST_FILE)?)?;
    Ok(files::write_atomic(&path, text.as_bytes())?)
}
