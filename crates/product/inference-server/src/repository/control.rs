//! The repository as the protocol asks for it: load, unload, index.

use futures::future::BoxFuture;
use ropewalk_open_inference::{IndexEntry, ProtocolError, Repository};
use ropewalk_serving::ModelState;

use super::ModelRepository;
use crate::InferenceServerError;

impl Repository for ModelRepository {
    fn load<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<(), ProtocolError>> {
        Box::pin(async move {
            self.load(model).await.map_err(|error| match error {
                InferenceServerError::UnknownModel(_) => ProtocolError::UnknownInRepository { model: model.to_owned() },
                error => failed("load", model, &error),
            })
        })
    }

    fn unload<'a>(&'a self, model: &'a str, _dependents: bool) -> BoxFuture<'a, Result<(), ProtocolError>> {
        Box::pin(async move {
            // No model of ours needs another; one that is not loaded is no error.
            if self.unload(model).await || self.host.metadata(model, None).is_err() {
                return Ok(());
            }
            let reason = "it is served from the registry, not from the repository, and follows its alias".to_owned();
            Err(ProtocolError::Control { action: "unload", model: model.to_owned(), reason })
        })
    }

    fn index(&self) -> BoxFuture<'_, Result<Vec<IndexEntry>, ProtocolError>> {
        Box::pin(async move {
            let entries = self.index().await.map_err(|error| failed("load", "", &error))?;
            let entry = |entry: super::RepositoryEntry| IndexEntry {
                name: entry.name,
                version: entry.version,
                state: if entry.loaded { ModelState::Ready } else { ModelState::Unavailable },
                reason: entry.reason,
            };
            Ok(entries.into_iter().map(entry).collect())
        })
    }
}

fn failed(action: &'static str, model: &str, error: &InferenceServerError) -> ProtocolError {
    ProtocolError::Control { action, model: model.to_owned(), reason: error.to_string() }
}
