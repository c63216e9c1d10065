//! The model repository extension: what is there, and models loaded and unloaded by their name.

use std::fmt::Debug;

use futures::future::BoxFuture;
use ropewalk_serving::{ModelHost, ModelState, VersionState};

use crate::{OpenInference, ProtocolError};

/// Where a server's models come from, if a client may load and unload them.
pub trait Repository: Send + Sync + Debug {
    /// Loads the versions of a model that are to be served; those that are loaded are loaded again.
    ///
    /// Errors: [`ProtocolError::UnknownInRepository`] or [`ProtocolError::Control`].
    fn load<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<(), ProtocolError>>;

    /// Unloads all versions of a model, and with `dependents` those that cannot be without it. A model that is not
    /// loaded is no error.
    fn unload<'a>(&'a self, model: &'a str, dependents: bool) -> BoxFuture<'a, Result<(), ProtocolError>>;

    /// Every model of the repository: an entry for each version, and one for a model of which no version is known.
    fn index(&self) -> BoxFuture<'_, Result<Vec<IndexEntry>, ProtocolError>>;
}

/// One version of a model in the repository's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The model.
    pub name: String,
    /// Its version, if it is known.
    pub version: Option<u64>,
    /// Whether it answers.
    pub state: ModelState,
    /// Why it is in that state, where there is something to say.
    pub reason: String,
}

impl IndexEntry {
    /// The version as the protocol writes it.
    pub(crate) fn version_text(&self) -> String {
        self.version.map(|version| version.to_string()).unwrap_or_default()
    }
}

/// The index; with `ready`, only of what answers.
pub(crate) async fn index(server: &OpenInference, ready: bool) -> Result<Vec<IndexEntry>, ProtocolError> {
    let mut entries = match &server.repository {
        Some(repository) => repository.index().await?,
        None => known(&server.host),
    };
    entries.retain(|entry| !ready || entry.state == ModelState::Ready);
    Ok(entries)
}

/// The index of a server that has no repository: what its host knows.
fn known(host: &ModelHost) -> Vec<IndexEntry> {
    let entry = |state: VersionState| IndexEntry {
        name: state.model.to_string(),
        version: Some(state.version),
        state: state.state,
        reason: state.reason,
    };
    host.state_list().into_iter().map(entry).collect()
}

/// Loads a model. The names of the parameters are the request's: there is none that could be taken, for the
/// configuration and the files of a model are the repository's.
pub(crate) async fn load<'a>(
    server: &OpenInference,
    model: &str,
    mut parameters: impl Iterator<Item = &'a str>,
) -> Result<(), ProtocolError> {
    let repository = server.repository.as_ref().ok_or(ProtocolError::NoControl)?;
    if let Some(name) = parameters.next() {
        let problem =
            format!("unrecognized load parameter for '{model}': its configuration and files are the server's");
        return Err(ProtocolError::Parameter { parameter: name.to_owned(), problem });
    }
    repository.load(model).await
}

/// Unloads a model.
pub(crate) async fn unload(server: &OpenInference, model: &str, dependents: bool) -> Result<(), ProtocolError> {
    server.repository.as_ref().ok_or(ProtocolError::NoControl)?.unload(model, dependents).await
}
