mod models;

use std::sync::Arc;
use std::time::Instant;

use ropewalk_inference::{Engine, NamedTensor};
use ropewalk_types::{Ambient, ModelName, PredictionId, Signature};

use crate::admission::Admission;
use crate::log::Answer;
use crate::statistics::micros;
use crate::{
    HostLimits, HostStatistics, HostedModel, InferenceRequest, InferenceResponse, LogState, ModelMetadata,
    PredictionLog, Readiness, ServingError,
};
use models::{Loaded, Models};

/// Holds the models and answers for them: the one data plane behind every inference protocol.
///
/// A version that is asked for by no number is the default one: the highest, or the one that was set. Evaluation
/// runs on the blocking pool, as much of it at once as [`HostLimits`] says.
#[derive(Debug)]
pub struct ModelHost {
    engine: Arc<dyn Engine>,
    log: PredictionLog,
    ambient: Arc<dyn Ambient>,
    limits: HostLimits,
    admission: Admission,
    models: Models,
}

impl ModelHost {
    /// A host without models.
    pub fn new(engine: Arc<dyn Engine>, log: PredictionLog, ambient: Arc<dyn Ambient>, limits: HostLimits) -> Self {
        Self { engine, log, ambient, limits, admission: Admission::new(limits), models: Models::default() }
    }

    /// Loads a model off the reactor; it answers from the next request on. The same name and version again replaces
    /// what was loaded, and a request that is under way ends with the old one.
    pub async fn load(&self, model: HostedModel) -> Result<ModelMetadata, ServingError> {
        let HostedModel { name, version, digest, onnx } = model;
        let engine = Arc::clone(&self.engine);
        let loading = tokio::task::spawn_blocking(move || engine.load(&onnx));
        let model = loading.await.map_err(|_| self.engine_failed(name.as_str()))?;
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
        self.models.list(self.engine.name())
    }

    /// What is known of a version; an empty text is no version.
    pub fn metadata(&self, name: &str, version: Option<&str>) -> Result<ModelMetadata, ServingError> {
        self.models.metadata(name, version, self.engine.name())
    }

    /// What a version takes and gives.
    pub fn signature(&self, name: &str, version: Option<&str>) -> Result<Arc<Signature>, ServingError> {
        self.models.find(name, version).map(|loaded| Arc::clone(&loaded.signature))
    }

    /// Whether any request can be answered: a model is loaded and predictions can be logged.
    pub fn readiness(&self) -> Readiness {
        let reason = match self.log.state() {
            LogState::Working if self.models.is_empty() => "no model is loaded".to_owned(),
            LogState::Working => return Readiness::Ready,
            LogState::Broken { problem } => ServingError::LogBroken { problem }.to_string(),
            LogState::Closed | LogState::Lost { .. } => ServingError::LogClosed.to_string(),
        };
        Readiness::NotReady { reason }
    }

    /// Whether a version can answer. Errors if it is not loaded.
    pub fn ready(&self, name: &str, version: Option<&str>) -> Result<Readiness, ServingError> {
        self.models.find(name, version).map(|_| self.readiness())
    }

    /// What has been counted so far.
    pub fn statistics(&self) -> HostStatistics {
        let (logged, logging) = self.log.counts();
        HostStatistics { models: self.models.statistics(), logged, logging }
    }

    /// The log to which answers go.
    pub fn log(&self) -> &PredictionLog {
        &self.log
    }

    /// Answers one request and hands the record to the log.
    ///
    /// Errors: [`InferenceError::InvalidInput`](ropewalk_inference::InferenceError::InvalidInput) where the inputs do
    /// not fit the signature, [`ServingError::Overloaded`],
    /// [`ServingError::LogBroken`] and what else [`ServingError::fault`] tells apart.
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
        self.log.check()?;
        let rows = rows(&request.inputs);
        if rows > self.limits.rows {
            return Err(ServingError::TooManyRows { rows, limit: self.limits.rows });
        }
        loaded.check_inputs(&request.inputs)?;
        loaded.check_outputs(&request.outputs)?;
        let InferenceRequest { id, inputs, outputs: wanted } = request;
        let (inputs, outputs) = self.evaluate(loaded, inputs).await?;
        let latency = started.elapsed();
        let chosen = loaded.choose(&outputs, &wanted)?;
        let record = Answer {
            prediction,
            request: id.clone(),
            model: loaded.name.clone(),
            version: loaded.version,
            latency_us: micros(latency),
            rows,
            inputs,
            outputs,
        };
        self.log.record(record).await?;
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
        evaluation.await.map_err(|_| self.engine_failed(&name))?
    }

    fn engine_failed(&self, model: &str) -> ServingError {
        ServingError::EngineFailed { engine: self.engine.name(), model: model.to_owned() }
    }
}

/// The first dimension is the batch; a scalar is one row.
fn rows(inputs: &[NamedTensor]) -> usize {
    inputs.first().map_or(0, |input| input.tensor.shape.first().copied().unwrap_or(1))
}
