mod infer;
mod lifecycle;
mod loaded;
mod models;
mod routing;
mod versions;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ropewalk_inference::{Engines, TensorData};
use ropewalk_types::{Ambient, ModelName, Signature};

use crate::admission::Admission;
use crate::ids::KeyedAmbient;
use crate::pool::Pool;
use crate::routes::Routes;
use crate::{
    AnswerObserver, HostLimits, HostStatistics, ModelMetadata, ModelSettings, PredictionSink, Readiness,
    RequestContext, ServingError, Target, VersionState,
};
pub(crate) use loaded::Loaded;
use models::Models;
pub use routing::Entered;

/// Holds the models and answers for them: the one data plane behind every inference protocol.
///
/// A version that is asked for by no number is the default one: the highest, or the one that was set.
#[derive(Debug)]
pub struct ModelHost {
    engines: Engines,
    log: Arc<dyn PredictionSink>,
    ambient: KeyedAmbient,
    limits: HostLimits,
    admission: Admission,
    models: Models,
    observer: OnceLock<Arc<dyn AnswerObserver>>,
    /// The threads of all models that have none of their own, from the first load on.
    pool: Mutex<Option<Arc<Pool>>>,
    routes: Routes,
}

impl ModelHost {
    /// A host without models.
    pub fn new(engines: Engines, log: Arc<dyn PredictionSink>, ambient: Arc<dyn Ambient>, limits: HostLimits) -> Self {
        Self {
            engines,
            log,
            ambient: KeyedAmbient::new(ambient),
            limits,
            admission: Admission::new(limits),
            models: Models::default(),
            observer: OnceLock::new(),
            pool: Mutex::new(None),
            routes: Routes::default(),
        }
    }

    /// Sets who is told of every answer; can be done once. Tells whether it was.
    pub fn observer_set(&self, observer: Arc<dyn AnswerObserver>) -> bool {
        self.observer.set(observer).is_ok()
    }

    /// Names, in lower case, of the request headers (metadata in gRPC) that a protocol must copy into
    /// [`RequestContext::labels`].
    pub fn watched_labels(&self) -> Arc<[String]> {
        self.routes.labels()
    }

    /// The version that a request with that id would go to. Of one without an id that a route divides: one of those
    /// that it could go to.
    ///
    /// # Errors
    /// [`ServingError::UnknownModel`], [`ServingError::UnknownVersion`], [`ServingError::InvalidVersion`], and
    /// [`ServingError::NotReady`] while the version is being loaded or after it could not be.
    pub fn resolve(
        &self,
        name: &str,
        version: Option<&str>,
        id: Option<&str>,
        context: &RequestContext,
    ) -> Result<Target, ServingError> {
        self.enter(name, version, id, context).map(|entered| entered.target)
    }

    /// All loaded versions, by name and version.
    pub fn model_list(&self) -> Vec<ModelMetadata> {
        self.models.list()
    }

    /// All versions that are known, by name and version: also those that are being loaded, could not be, or were
    /// unloaded.
    pub fn state_list(&self) -> Vec<VersionState> {
        self.models.states()
    }

    /// What is known of a version; an empty text is no version.
    pub fn metadata(&self, name: &str, version: Option<&str>) -> Result<ModelMetadata, ServingError> {
        self.models.metadata(name, version)
    }

    /// What a version takes and gives.
    pub fn signature(&self, name: &str, version: Option<&str>) -> Result<Arc<Signature>, ServingError> {
        self.models.find(name, version).map(|loaded| Arc::clone(&loaded.signature))
    }

    /// How a version is served.
    pub fn settings(&self, name: &str, version: Option<&str>) -> Result<Arc<ModelSettings>, ServingError> {
        self.models.find(name, version).map(|loaded| Arc::clone(&loaded.settings))
    }

    /// The labels of the columns of an output, where the model names them.
    pub fn class_labels(
        &self,
        name: &str,
        version: Option<&str>,
        output: &str,
    ) -> Result<Option<TensorData>, ServingError> {
        self.models.find(name, version).map(|loaded| loaded.lane.model().class_labels(output).cloned())
    }

    /// Whether the host can answer: it is not about to stop, a model is loaded, and of each model that is or will be
    /// loaded the default version can answer. A model that could not be loaded at all does not count.
    pub fn readiness(&self) -> Readiness {
        if self.admission.is_draining() {
            return Readiness::NotReady { reason: ServingError::Draining.to_string() };
        }
        self.models.readiness()
    }

    /// Whether a version can answer.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), but for a version that is known and not loaded, which is not ready.
    pub fn ready(&self, name: &str, version: Option<&str>) -> Result<Readiness, ServingError> {
        let reason = match self.models.find(name, version) {
            Ok(_) if self.admission.is_draining() => ServingError::Draining.to_string(),
            Ok(loaded) => match versions::ready(&loaded) {
                Ok(()) => return Ok(Readiness::Ready),
                Err(reason) => reason,
            },
            Err(ServingError::NotReady { reason, .. }) => reason,
            Err(error) => return Err(error),
        };
        Ok(Readiness::NotReady { reason })
    }

    /// What has been counted so far.
    pub fn statistics(&self) -> HostStatistics {
        HostStatistics {
            models: self.models.statistics(),
            log: self.log.counts(),
            requests: self.admission.requests(),
            request_bytes: self.admission.bytes(),
            refused: self.admission.refused(),
            routing: self.routes.statistics(self.routes()),
        }
    }

    /// Counts the time that a protocol took to read an answered request and to write its answer.
    pub fn count_codec(&self, model: &ModelName, version: u64, input: Duration, output: Duration) {
        self.models.count_codec(model, version, input, output);
    }

    /// The log to which answers go.
    pub fn log(&self) -> &dyn PredictionSink {
        &*self.log
    }
}
