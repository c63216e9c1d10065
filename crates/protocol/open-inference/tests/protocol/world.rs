use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::BoxFuture;
use ropewalk_inference::{
    Engine, EngineName, Engines, InferenceError, LoadOptions, Model, ModelSource, NamedTensor, Tensor, TensorData,
};
use ropewalk_open_inference::{IndexEntry, ProtocolError, Repository};
use ropewalk_serving::{
    Answered, HostLimits, HostedModel, ModelHost, ModelSettings, ModelState, NoPredictionLog, PredictionSink,
    ServingError, SinkCounts,
};
use ropewalk_types::{Digest, ElementType, ManualAmbient, ModelName, Signature, TensorSpec};

/// An engine whose models this makes.
pub(crate) struct Makes<F>(pub(crate) F);

impl<F> fmt::Debug for Makes<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Makes")
    }
}

impl<F: Fn(&ModelSource) -> Arc<dyn Model> + Send + Sync> Engine for Makes<F> {
    fn name(&self) -> EngineName {
        EngineName::Embedded
    }

    fn available(&self) -> Result<String, InferenceError> {
        Ok("test".to_owned())
    }

    fn takes(&self, _source: &ModelSource) -> bool {
        true
    }

    fn load(&self, source: &ModelSource, _options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
        Ok((self.0)(source))
    }
}

/// Answers with what it was asked: a probability from `distance`, a label from `hour`, a note from `carrier`.
#[derive(Debug)]
struct TestModel(Signature);

impl TestModel {
    fn new() -> Self {
        let spec =
            |name: &str, datatype, shape: &[i64]| TensorSpec { name: name.into(), datatype, shape: shape.into() };
        Self(Signature {
            inputs: vec![
                spec("carrier", ElementType::Bytes, &[-1, 1]),
                spec("distance", ElementType::Fp32, &[-1, 1]),
                spec("hour", ElementType::Int64, &[-1, 1]),
            ],
            outputs: vec![
                spec("label", ElementType::Int64, &[-1]),
                spec("probability", ElementType::Fp32, &[-1, 2]),
                spec("note", ElementType::Bytes, &[-1]),
            ],
        })
    }
}

impl Model for TestModel {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let find = |name| inputs.iter().find(|input| input.name == name).map(|input| &input.tensor.data);
        let (Some(TensorData::Bytes(carrier)), Some(TensorData::Fp32(distance)), Some(TensorData::Int64(hour))) =
            (find("carrier"), find("distance"), find("hour"))
        else {
            panic!("the host checks the inputs");
        };
        if carrier.len() != distance.len() || hour.len() != distance.len() {
            return Err(InferenceError::Evaluation {
                node: "test".to_owned(),
                operator: "Test".to_owned(),
                reason: "the inputs differ in their number of rows".to_owned(),
            });
        }
        let probability: Vec<f32> = distance.iter().flat_map(|x| [1.0 - x / 1000.0, x / 1000.0]).collect();
        let rows = distance.len();
        Ok(vec![
            NamedTensor::new("label", Tensor::new(vec![rows], hour.clone())?),
            NamedTensor::new("probability", Tensor::new(vec![rows, 2], probability)?),
            NamedTensor::new("note", Tensor::new(vec![rows], carrier.clone())?),
        ])
    }
}

/// Keeps what was answered.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Vec<Answered>>);

impl Answers {
    pub(crate) fn list(&self) -> Vec<Answered> {
        self.0.lock().unwrap().clone()
    }
}

impl PredictionSink for Answers {
    fn record(&self, answered: Answered) {
        self.0.lock().unwrap().push(answered);
    }

    fn counts(&self) -> SinkCounts {
        SinkCounts::default()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        self.flush()
    }
}

/// A host with versions 1 and 3 of the model `flight delays`.
pub(crate) async fn host() -> Arc<ModelHost> {
    host_on(Arc::new(NoPredictionLog)).await
}

/// The same host on a log that is given.
pub(crate) async fn host_on(log: Arc<dyn PredictionSink>) -> Arc<ModelHost> {
    let limits = HostLimits { rows: 1000, ..HostLimits::for_cores(2) };
    let engines = Engines::new(vec![Arc::new(Makes(|_: &ModelSource| Arc::new(TestModel::new()) as Arc<dyn Model>))]);
    let host = ModelHost::new(engines, log, Arc::new(ManualAmbient::default()), limits);
    for version in [1, 3] {
        load(&host, "flight delays", version).await;
    }
    Arc::new(host)
}

async fn load(host: &ModelHost, name: &str, version: u64) {
    let name = ModelName::new(name).unwrap();
    // Of its two classes one has a name.
    let labels = BTreeMap::from([("probability".to_owned(), ["late".to_owned()].into())]);
    let settings = ModelSettings { warm_up: 0, labels, ..ModelSettings::default() };
    let model = HostedModel { name, version, digest: Digest::of(b""), source: Bytes::new().into(), settings };
    host.load(model).await.unwrap();
}

/// A repository with the models `flight delays`, which is loaded, and `damaged`, which cannot be.
#[derive(Debug)]
pub(crate) struct TestRepository(pub(crate) Arc<ModelHost>);

impl Repository for TestRepository {
    fn load<'a>(&'a self, model: &'a str) -> BoxFuture<'a, Result<(), ProtocolError>> {
        Box::pin(async move {
            let model = model.to_owned();
            match model.as_str() {
                "flight delays" => {
                    load(&self.0, &model, 4).await;
                    Ok(())
                }
                "damaged" => Err(ProtocolError::Control { action: "load", model, reason: "it is damaged".to_owned() }),
                _ => Err(ProtocolError::UnknownInRepository { model }),
            }
        })
    }

    fn unload<'a>(&'a self, model: &'a str, _dependents: bool) -> BoxFuture<'a, Result<(), ProtocolError>> {
        Box::pin(async move {
            if let Ok(name) = ModelName::new(model) {
                self.0.unload(&name, None);
            }
            Ok(())
        })
    }

    fn index(&self) -> BoxFuture<'_, Result<Vec<IndexEntry>, ProtocolError>> {
        let state = if self.0.readiness().is_ready() { ModelState::Ready } else { ModelState::Unavailable };
        let entry = |name: &str, version, state, reason: &str| IndexEntry {
            name: name.to_owned(),
            version,
            state,
            reason: reason.to_owned(),
        };
        let entries = vec![
            entry("flight delays", Some(3), state, ""),
            entry("damaged", None, ModelState::Unavailable, "it is damaged"),
        ];
        Box::pin(std::future::ready(Ok(entries)))
    }
}
