mod models;

use std::sync::Arc;
use std::time::Instant;

use ropewalk_inference::{Engines, LoadOptions, NamedTensor};
use ropewalk_types::{Ambient, ModelName, PredictionId, Signature};

use crate::admission::Admission;
use crate::statistics::micros;
use crate::{
    Answered, HostLimits, HostStatistics, HostedModel, InferenceRequest, InferenceResponse, ModelMetadata,
    PredictionSink, Readiness, ServingError,
};
use models::{Loaded, Models};

/// Holds the models and answers for them: the one data plane behind every inference protocol.
///
/// A version that is asked for by no number is the default one: the highest, or the one that was set. Evaluation
/// runs on the blocking pool, as much of it at once as [`HostLimits`] says.
#[derive(Debug)]
pub struct ModelHost {
    engines: Engines,
    log: Arc<dyn PredictionSink>,
    ambient: Arc<dyn Ambient>,
    limits: HostLimits,
    admission: Admission,
    models: Models,
}

impl ModelHost {
    /// A host without models.
    pub fn new(engines: Engines, log: Arc<dyn PredictionSink>, ambient: Arc<dyn Ambient>, limits: HostLimits) -> Self {
        Self { engines, log, ambient, limits, admission: Admission::new(limits), models: Models::default() }
    }

    /// Loads a model off the reactor; it answers from the next request on. The same name and version again replaces
    /// what was loaded, and a request that is under way ends with the old one.
    pub async fn load(&self, model: HostedModel) -> Result<ModelMetadata, ServingError> {
        let HostedModel { name, version, digest, source, settings } = model;
        let engines = self.engines.clone();
        let options = LoadOptions { threads: settings.threads, ..LoadOptions::default() };
        let loading = tokio::task::spawn_blocking(move || engines.load(&source, settings.engine, &options));
        let model = loading.await.map_err(|_| engine_failed(name.as_str()))?;
        let model = model.map_err(|problem| {
            let problem = Box::new(problem);
            ServingError::Load { model: name.to_string(), version, problem }
        })?;
        self.models.insert(Loaded::new(name.clone(), version, digest, model));
        self.metadata(name.as_str(), Some(&version.to_string()))
    }

    /// Forgets one version of a model, or all; tells whether there was something to forget.
    pub fn unload(&self, name: &ModelName, version: Option<u64>) -> bool {
        self.models.remove(name, version)
    }

    /// Sets the version that answers where none is asked for; none means the highest.
    pub fn default_set(&self, name: &ModelName, version: Option<u64>) -> Result<(), ServingError> {
        self.models.default_set(name, version)
    }

    /// All loaded versions, by name and version.
    pub fn model_list(&self) -> Vec<ModelMetadata> {
        self.models.list()
    }

    /// What is known of a version; an empty text is no version.
    pub fn metadata(&self, name: &str, version: Option<&str>) -> Result<ModelMetadata, ServingError> {
        self.models.metadata(name, version)
    }

    /// What a version takes and gives.
    pub fn signature(&self, name: &str, version: Option<&str>) -> Result<Arc<Signature>, ServingError> {
        self.models.find(name, version).map(|loaded| Arc::clone(&loaded.signature))
    }

    /// Whether any request can be answered: a model is loaded and predictions can be logged.
    pub fn readiness(&self) -> Readiness {
        if self.models.is_empty() {
            return Readiness::NotReady { reason: "no model is loaded".to_owned() };
        }
        Readiness::Ready
    }

    /// Whether a version can answer. Errors if it is not loaded.
    pub fn ready(&self, name: &str, version: Option<&str>) -> Result<Readiness, ServingError> {
        self.models.find(name, version).map(|_| self.readiness())
    }

    /// What has been counted so far.
    pub fn statistics(&self) -> HostStatistics {
        HostStatistics { models: self.models.statistics(), log: self.log.counts() }
    }

    /// The log to which answers go.
    pub fn log(&self) -> &dyn PredictionSink {
        &*self.log
    }

    /// Answers one request and hands the record to the log.
    ///
    /// Errors: [`InferenceError::InvalidInput`](ropewalk_inference::InferenceError::InvalidInput) where the inputs do
    /// not fit the signature, [`ServingError::Overloaded`],
    /// and what else [`ServingError::fault`] tells apart.
    pub async fn infer(
        &self,
        name: &str,
        version: Option<&str>,
        request: InferenceRequest,
    ) -> Result<InferenceResponse, ServingError> {
        let loaded = self.models.find(name, version)?;
        let result = self.answer(&loaded, request).await;
        if let Err(error) = &result {
            loaded.counters.count_error(error);
        }
        result
    }

    async fn answer(&self, loaded: &Arc<Loaded>, request: InferenceRequest) -> Result<InferenceResponse, ServingError> {
        let started = Instant::now();
        let prediction = PredictionId::new(&*self.ambient);
        let rows = rows(&request.inputs);
        if rows > self.limits.rows {
            return Err(ServingError::TooManyRows { rows, limit: self.limits.rows });
        }
        loaded.check_inputs(&request.inputs)?;
        loaded.check_outputs(&request.outputs)?;
        let InferenceRequest { id, inputs, outputs: wanted, context } = request;
        let (inputs, outputs) = self.evaluate(loaded, inputs).await?;
        let latency = started.elapsed();
        let chosen = loaded.choose(&outputs, &wanted)?;
        let record = Answered {
            prediction,
            request: id.clone(),
            client: context.client,
            model: loaded.name.clone(),
            version: loaded.version,
            latency_us: micros(latency),
            rows,
            inputs,
            outputs,
        };
        self.log.record(record);
        loaded.counters.count_answer(rows, latency);
        let (model, version) = (loaded.name.clone(), loaded.version);
        Ok(InferenceResponse { prediction, id, model, version, outputs: chosen })
    }

    /// Runs the engine when its turn has come; gives the inputs back.
    async fn evaluate(
        &self,
        loaded: &Arc<Loaded>,
        inputs: Vec<NamedTensor>,
    ) -> Result<(Vec<NamedTensor>, Vec<NamedTensor>), ServingError> {
        let admitted = self.admission.enter().await?;
        let loaded = Arc::clone(loaded);
        let name = loaded.name.to_string();
        let evaluation = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also when the client has gone away.
            let _admitted = admitted;
            let outputs = loaded.model.predict(&inputs)?;
            Ok((inputs, outputs))
        });
        evaluation.await.map_err(|_| engine_failed(&name))?
    }
}

fn engine_failed(model: &str) -> ServingError {
    ServingError::EngineFailed { model: model.to_owned() }
}

/// The first dimension is the batch; a scalar is one row.
fn rows(inputs: &[NamedTensor]) -> usize {
    inputs.first().map_or(0, |input| input.tensor.shape.first().copied().unwrap_or(1))
}
