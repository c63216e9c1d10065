use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use ropewalk_inference::{InferenceError, LoadOptions};
use ropewalk_types::{ModelName, Signature};

use super::models::Models;
use super::versions::Absence;
use super::{Loaded, ModelHost};
use crate::pool::Pool;
use crate::{HostedModel, ModelMetadata, ServingError};

impl ModelHost {
    /// Loads a model off the reactor and warms it up; it answers from then on. The same name and version again
    /// replaces what was loaded, and requests that are under way end with the old one, which goes after the last.
    /// What was loaded stays if the load fails.
    ///
    /// # Errors
    /// [`ServingError::Load`] with what the engine said; it is remembered for [`state_list`](Self::state_list).
    pub async fn load(&self, model: HostedModel) -> Result<ModelMetadata, ServingError> {
        self.load_checked(model, |_| Ok(())).await
    }

    /// As [`load`](Self::load), but only a model whose signature `check` lets pass takes a place; it says why not.
    ///
    /// # Errors
    /// [`ServingError::Load`] with what the engine or `check` said.
    pub async fn load_checked(
        &self,
        model: HostedModel,
        check: impl FnOnce(&Signature) -> Result<(), String> + Send + 'static,
    ) -> Result<ModelMetadata, ServingError> {
        let (name, version) = (model.name.clone(), model.version);
        let mut attempt = Attempt::begin(&self.models, name.clone(), version);
        let result = self.load_now(model, check).await;
        attempt.end(result.as_ref().err());
        let replaced = self.models.insert(Arc::new(result?));
        retire(replaced.into_iter().collect());
        self.metadata(name.as_str(), Some(&version.to_string()))
    }

    async fn load_now(
        &self,
        model: HostedModel,
        check: impl FnOnce(&Signature) -> Result<(), String> + Send + 'static,
    ) -> Result<Loaded, ServingError> {
        let HostedModel { name, version, digest, source, settings } = model;
        let (engines, pool) = (self.engines.clone(), self.pool()?);
        let counters = self.models.counters(&name, version);
        let options = LoadOptions { threads: settings.threads, workers: settings.concurrency.unwrap_or(1) };
        let failed = ServingError::EngineFailed { model: name.to_string() };
        let loading = tokio::task::spawn_blocking(move || {
            let loaded = engines.load(&source, settings.engine, &options).and_then(|model| {
                let place = "the signature".to_owned();
                check(model.signature()).map_err(|reason| InferenceError::InvalidGraph { place, reason })?;
                Ok(model)
            });
            let model = loaded.map_err(|problem| {
                let problem = Box::new(problem);
                ServingError::Load { model: name.to_string(), version, problem }
            })?;
            Loaded::new((name, version, digest), model, settings, &pool, counters)
        });
        loading.await.map_err(|_| failed)?
    }

    /// Forgets one version of a model, or all; tells whether there was something to forget. Requests that are under
    /// way are answered, also those that still wait for their turn.
    pub fn unload(&self, name: &ModelName, version: Option<u64>) -> bool {
        let removed = self.models.remove(name, version);
        let any = !removed.is_empty();
        retire(removed);
        any
    }

    /// As [`unload`](Self::unload), and waits for the requests that are under way, but no longer than `limit`. Gives
    /// those that are left.
    pub async fn unload_drained(&self, name: &ModelName, version: Option<u64>, limit: Duration) -> Option<u64> {
        let removed = self.models.remove(name, version);
        if removed.is_empty() {
            return None;
        }
        let all = join_all(removed.iter().map(|loaded| loaded.gate.wait_until_empty()));
        // What is left after the limit is counted below.
        let _ = tokio::time::timeout(limit, all).await;
        let left = removed.iter().map(|loaded| loaded.gate.inside()).sum();
        retire(removed);
        Some(left)
    }

    /// Sets the version that answers where none is asked for; none means the highest.
    pub fn default_set(&self, name: &ModelName, version: Option<u64>) -> Result<(), ServingError> {
        self.models.default_set(name, version)
    }

    /// Takes no more requests, for good, and waits for those inside, but no longer than `limit`. Gives the number of
    /// those that are left.
    pub async fn drain(&self, limit: Duration) -> u64 {
        // What is left after the limit is counted below.
        let _ = tokio::time::timeout(limit, self.admission.drain()).await;
        self.admission.requests()
    }

    fn pool(&self) -> Result<Arc<Pool>, ServingError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = &*pool {
            return Ok(Arc::clone(pool));
        }
        let started = Arc::new(Pool::start(self.limits.concurrency, &[])?);
        *pool = Some(Arc::clone(&started));
        Ok(started)
    }
}

/// Holds versions that were taken out until their last request has gone, and lets them go where it may take its time.
fn retire(removed: Vec<Arc<Loaded>>) {
    // Without a runtime there is no request either.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    for loaded in removed {
        runtime.spawn(async move {
            loaded.gate.wait_until_empty().await;
            tokio::task::spawn_blocking(move || drop(loaded));
        });
    }
}

/// A load under way; if it is given up, that is remembered.
struct Attempt<'a> {
    models: &'a Models,
    name: ModelName,
    version: u64,
    ended: bool,
}

impl<'a> Attempt<'a> {
    fn begin(models: &'a Models, name: ModelName, version: u64) -> Self {
        models.absent_set(&name, version, Absence::Loading);
        Self { models, name, version, ended: false }
    }

    fn end(&mut self, problem: Option<&ServingError>) {
        self.ended = true;
        if let Some(problem) = problem {
            self.models.absent_set(&self.name, self.version, Absence::Failed(problem.to_string()));
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let reason = "its load was given up".to_owned();
            self.models.absent_set(&self.name, self.version, Absence::Failed(reason));
        }
    }
}
