//! The tracked files of a project, without the rest of the house: `data status` must not wait for a database.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use ropewalk_config::{
    ConfigError, FILE_NAME, ProjectFile, STATE_FOLDER, holds_password, remote_added, remote_removed,
};
use ropewalk_data::{AuditAction, AuditEvent, audit_write, version_history};
use ropewalk_execution::Program;
use ropewalk_store::{BackendOptions, Store, files, object_store_at};
use ropewalk_types::{Ambient, DatasetName, Digest, RemoteName, Uri, shell_word};
use ropewalk_versions::{RemoteOpener, VersionsError, Workspace};
use serde_json::Value;

use crate::governing::trail_of;
use crate::project::{below, catalog_open, project_file, project_text, store_open};
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
        let file = project_file(root)?;
        let Access { who, backends: options } = access;
        let (home, storage, settings) = (root.to_owned(), file.backends.storage.clone(), options.clone());
        let opener = Arc::new(move || {
            let (home, storage, settings) = (home.clone(), storage.clone(), settings.clone());
            let opened: BoxFuture<'static, _> = Box::pin(async move { store_open(&home, &storage, &settings).await });
            opened
        });
        let state = root.join(STATE_FOLDER);
        let ambient: Arc<dyn Ambient> = Arc::new(SystemAmbient);
        let mut workspace = Workspace::new(root.to_owned(), state, command, ambient, opener).on_wait(waits);
        if let Ok((name, url)) = remote_of(root, &file, None) {
            workspace = workspace.with_remote(remote_opener(name, url, options.clone()));
        }
        let file = Arc::new(file);
        let (home, settings) = (root.to_owned(), Arc::clone(&file));
        let write = move |event| append(home.clone(), Arc::clone(&settings), event);
        let workspace = workspace.with_trail(trail_of(who.clone(), write));
        Ok(Self { root: root.to_owned(), file, options, who, workspace })
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The project file.
    pub fn file(&self) -> &ProjectFile {
        &self.file
    }

    pub(crate) fn options(&self) -> &BackendOptions {
        &self.options
    }

    /// Who works here, with which credentials.
    pub(crate) fn access(&self) -> Access {
        Access { who: self.who.clone(), backends: self.options.clone() }
    }

    /// The tracked files.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The name and URL of a remote: the one named, else the only one, else `origin`.
    pub fn remote(&self, name: Option<&str>) -> Result<(String, String), ServerError> {
        Ok(remote_of(&self.root, &self.file, name)?)
    }

    /// Opens a remote's store, which must be there.
    pub async fn remote_open(&self, name: Option<&str>) -> Result<(String, Store), ServerError> {
        let (name, url) = self.remote(name)?;
        let store = remote_opener(name.clone(), url, self.options.clone())().await?;
        Ok((name, store))
    }

    /// Opens a remote's store, which is made if it is not there: for what is sent to it.
    pub async fn remote_create(&self, name: Option<&str>) -> Result<(String, Store), ServerError> {
        let (name, url) = self.remote(name)?;
        Ok((name, Store::open_with(&url, &self.options).await?))
    }
}

/// What git would not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The command that does it.
    pub command: String,
    /// Why it failed.
    pub reason: String,
}

fn remote_of(root: &Path, file: &ProjectFile, name: Option<&str>) -> Result<(String, String), VersionsError> {
    let remotes = &file.remote;
    let chosen = match name {
        Some(name) => name,
        None if remotes.len() == 1 => remotes.keys().next().map_or(DEFAULT_REMOTE, String::as_str),
        None => DEFAULT_REMOTE,
    };
    match remotes.get(chosen) {
        Some(remote) => Ok((chosen.to_owned(), below(root, "file:", &remote.url))),
        None if remotes.is_empty() => Err(VersionsError::NoRemote),
        None => {
            let known = remotes.keys().cloned().collect();
            Err(VersionsError::UnknownRemote { name: chosen.to_owned(), known })
        }
    }
}

fn remote_opener(name: String, url: String, options: BackendOptions) -> RemoteOpener {
    Arc::new(move || {
        let (name, url, options) = (name.clone(), url.clone(), options.clone());
        Box::pin(async move {
            let found = Store::open_existing(&url, &options).await?;
            found.ok_or(VersionsError::RemoteMissing { name, url })
        })
    })
}

/// A place that is no remote, and why.
fn no_remote(url: &str, why: &str, hint: &str) -> ServerError {
    ServerError::Unknown { what: format!("`{url}` cannot be a remote: {why}"), hint: hint.to_owned() }
}

/// How many links that lead to what is not there are followed, one after another.
const MOST_LINKS: u32 = 8;

/// The path without links and `..` on the way; where it is not there, by its words.
fn real(path: &Path, links: u32) -> PathBuf {
    let mut found = PathBuf::new();
    for component in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match component {
            Component::ParentDir => {
                found.pop();
            }
            Component::Normal(name) => {
                let next = found.join(name);
                found = match (next.canonicalize(), next.read_link()) {
                    (Ok(there), _) => there,
                    (Err(_), Ok(target)) if links > 0 => real(&found.join(target), links - 1),
                    _ => next,
                };
            }
            component => found.push(component),
        }
    }
    found
}

impl DataProject {
    /// Writes a remote into the project file; the name must be one that can be typed and printed everywhere, the URL one
    /// that can be opened and is no place of the project's own.
    pub async fn remote_add(&self, name: &str, url: &str) -> Result<(), ServerError> {
        RemoteName::new(name)?;
        if holds_password(url) {
            // Before anything else can say the URL in an error.
            return Err(ServerError::Unknown {
                what: format!("the URL of the remote `{name}` holds a password"),
                hint: "leave it out: credentials come from the environment and from profile files".to_owned(),
            });
        }
        object_store_at(&below(&self.root, "file:", url), &self.options)?;
        self.check_place(url).await?;
        edit(&self.root, |text| remote_added(FILE_NAME, text, name, url))
    }

    /// Refuses the project's own store as a remote, and a folder whose content would be data or go into git.
    async fn check_place(&self, url: &str) -> Result<(), ServerError> {
        let own = below(&self.root, "file:", &self.file.backends.storage);
        let there = below(&self.root, "file:", url);
        let elsewhere = "name a place outside the project";
        let is_own = no_remote(url, "it is the project's own store", elsewhere);
        let Some(path) = there.strip_prefix("file:") else {
            return if there.trim_end_matches('/') == own.trim_end_matches('/') { Err(is_own) } else { Ok(()) };
        };
        if url.starts_with("file:~") {
            let hint = "write the whole path, or `file:$HOME/…`, which the shell makes one";
            return Err(no_remote(url, "a `~` inside a word is no home folder but a name", hint));
        }
        let real = |path: &Path| real(path, MOST_LINKS);
        let (root, path) = (real(&self.root), real(Path::new(path)));
        if own.strip_prefix("file:").is_some_and(|own| real(Path::new(own)) == path) {
            return Err(is_own);
        }
        if path.starts_with(real(&self.root.join(STATE_FOLDER))) {
            return Err(no_remote(url, "it lies in the project's own state", elsewhere));
        }
        let Ok(inside) = path.strip_prefix(&root) else { return Ok(()) };
        for dataset in self.workspace.datasets().await?.into_iter().flatten() {
            if inside.starts_with(&dataset.path) {
                return Err(no_remote(url, &format!("it lies in the data of `{}`", dataset.pointer.name), elsewhere));
            }
        }
        // As a file in it, so that a pattern for folders fits.
        if self.workspace.git_sees(&inside.join("format")).await? {
            let why = "it lies in the project, where git would take it for the user's own files";
            return Err(no_remote(url, why, "name a place outside the project, or one that `.gitignore` leaves out"));
        }
        Ok(())
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

    /// Writes into the audit trail of the project what is about to be read of a tracked dataset, or of one version of it.
    /// What is written, tagged or removed is in the trail without this (see [`Workspace::with_trail`]).
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
        self.audit_object(action, object, details).await
    }

    /// Writes into the audit trail what is about to be done to anything.
    pub(crate) async fn audit_object(
        &self,
        action: AuditAction,
        object: String,
        details: Value,
    ) -> Result<(), ServerError> {
        let event = AuditEvent { at: SystemAmbient.now(), who: self.who.clone(), action, object, details };
        append(self.root.clone(), Arc::clone(&self.file), event).await
    }

    /// Whether a dataset is one of tracked files: here, or by versions in the store.
    pub async fn is_tracked(&self, name: &DatasetName) -> Result<bool, ServerError> {
        Ok(self.workspace.is_tracked(name).await?)
    }

    /// Refuses a name that neither tracked files nor a table have; the error says which there are.
    pub async fn check_known(&self, name: &DatasetName) -> Result<(), ServerError> {
        if self.workspace.is_tracked(name).await? {
            return Ok(());
        }
        let catalog = catalog_open(&self.root, &self.file).await?;
        let versions = version_history(&catalog, None).await;
        catalog.close().await;
        let mut known: BTreeSet<_> = versions?.into_iter().map(|one| one.version.name).collect();
        if known.contains(name) {
            return Ok(());
        }
        known.extend(self.workspace.tracked_names().await?);
        known.extend(self.workspace.names().await?);
        let known = known.iter().map(ToString::to_string).collect();
        Err(VersionsError::UnknownDataset { name: name.to_string(), known }.into())
    }

    /// Of an error about a name that no tracked files have, says whether a table has it; all else is passed on.
    pub async fn not_of_a_table<T>(&self, result: Result<T, VersionsError>) -> Result<T, ServerError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let VersionsError::UnknownDataset { name, .. } = &error else { return Err(error.into()) };
        let Ok(name) = DatasetName::new(name.clone()) else { return Err(error.into()) };
        let catalog = catalog_open(&self.root, &self.file).await?;
        let versions = version_history(&catalog, Some(&name)).await;
        catalog.close().await;
        if versions?.is_empty() {
            return Err(error.into());
        }
        Err(ServerError::Unknown {
            what: format!("`{name}` is a table, and nothing of it lies in the work tree"),
            hint: format!(
                "`ropewalk sql` and `ropewalk data show {name}` read it; imports and stages make its versions, and \
                 `ropewalk data rm {name}@VERSION --reason WHY` removes one"
            ),
        })
    }

    /// Lets git forget these paths, which lie in the project; the files stay. Says what could not be done, if git would
    /// not.
    pub async fn git_forget(&self, paths: &[String]) -> Result<Option<Remembered>, ServerError> {
        let mut tracked = Vec::new();
        for path in paths {
            if self.workspace.git_tracks(path).await? {
                tracked.push(path.clone());
            }
        }
        if tracked.is_empty() {
            return Ok(None);
        }
        let words = ["--literal-pathspecs", "rm", "-r", "--cached", "--quiet", "--"].map(str::to_owned);
        let arguments: Vec<_> = words.into_iter().chain(tracked.iter().cloned()).collect();
        let program = Program { name: "git".to_owned(), arguments, directory: self.root.clone(), limit: 1 << 20 };
        let reason = match program.run().await {
            Ok(told) if told.exit.success() => return Ok(None),
            Ok(told) => told.error.lines().next().unwrap_or("git does not say why").to_owned(),
            Err(error) => error.to_string(),
        };
        let words: Vec<_> = tracked.iter().map(|path| shell_word(path)).collect();
        let command = format!("git rm -r --cached --quiet -- {}", words.join(" "));
        Ok(Some(Remembered { command, reason }))
    }
}

/// Writes an entry into the audit trail of the project at `root`.
async fn append(root: PathBuf, file: Arc<ProjectFile>, event: AuditEvent) -> Result<(), ServerError> {
    let catalog = catalog_open(&root, &file).await?;
    let written = audit_write(&catalog, vec![event]).await;
    catalog.close().await;
    Ok(written?)
}

fn edit(root: &Path, change: impl FnOnce(&str) -> Result<String, ConfigError>) -> Result<(), ServerError> {
    let path = root.join(FILE_NAME);
    let text = change(&project_text(root)?)?;
    Ok(files::write_atomic(&path, text.as_bytes())?)
}
