use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ropewalk_catalog::{Catalog, query};
use ropewalk_inference::{Engine, InferenceError, Model, NamedTensor, Tensor, TensorData};
use ropewalk_serving::{HostLimits, HostedModel, InferenceRequest, LogSettings, MIGRATIONS, ModelHost, PredictionLog};
use ropewalk_types::{Digest, ElementType, ManualAmbient, ModelName, Signature, TensorSpec};

/// What the bytes of a test's model say it does.
pub(crate) const DOUBLES: &[u8] = b"doubles";
pub(crate) const PANICS: &[u8] = b"panics";
pub(crate) const WAITS: &[u8] = b"waits";

/// Makes models that double `x`, panic, or wait for the test.
#[derive(Default)]
pub(crate) struct TestEngine {
    gate: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl fmt::Debug for TestEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestEngine")
    }
}

/// The test's end of the model that waits.
pub(crate) struct Gate {
    entered: Receiver<()>,
    open: Sender<()>,
}

impl Gate {
    pub(crate) async fn wait_for_entry(self) -> Self {
        tokio::task::spawn_blocking(move || {
            self.entered.recv_timeout(Duration::from_secs(10)).unwrap();
            self
        })
        .await
        .unwrap()
    }

    pub(crate) fn open(&self) {
        self.open.send(()).unwrap();
    }
}

#[derive(Debug)]
struct TestModel {
    signature: Signature,
    kind: Vec<u8>,
    gate: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Engine for TestEngine {
    fn name(&self) -> &'static str {
        "test"
    }

    fn load(&self, model: &[u8]) -> Result<Arc<dyn Model>, InferenceError> {
        if ![DOUBLES, PANICS, WAITS].contains(&model) {
            return Err(InferenceError::Malformed { reason: "not a test's model".to_owned() });
        }
        let spec =
            |name: &str, datatype, shape: &[i64]| TensorSpec { name: name.into(), datatype, shape: shape.into() };
        let signature = Signature {
            inputs: vec![spec("carrier", ElementType::Bytes, &[-1]), spec("x", ElementType::Fp32, &[-1])],
            outputs: vec![spec("double", ElementType::Fp32, &[-1]), spec("both", ElementType::Fp32, &[-1, 2])],
        };
        let gate = Mutex::new(self.gate.lock().unwrap().take());
        Ok(Arc::new(TestModel { signature, kind: model.to_vec(), gate }))
    }
}

impl Model for TestModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        assert!(self.kind != PANICS, "as the test wants");
        if let Some((entered, open)) = &*self.gate.lock().unwrap() {
            entered.send(()).unwrap();
            open.recv().unwrap();
        }
        let Some(TensorData::Fp32(x)) = inputs.iter().find(|input| input.name == "x").map(|input| &input.tensor.data)
        else {
            return Err(InferenceError::InvalidInput {
                input: "x".to_owned(),
                expected: "FP32[-1]".to_owned(),
                found: "something else".to_owned(),
            });
        };
        let both: Vec<f32> = x.iter().flat_map(|x| [*x, 2.0 * x]).collect();
        Ok(vec![
            NamedTensor::new("double", Tensor::new(vec![x.len()], x.iter().map(|x| 2.0 * x).collect::<Vec<_>>())?),
            NamedTensor::new("both", Tensor::new(vec![x.len(), 2], both)?),
        ])
    }
}

pub(crate) const LIMITS: HostLimits = HostLimits { concurrency: 1, waiting: 1, rows: 1000 };

pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) host: Arc<ModelHost>,
    pub(crate) gate: Option<Gate>,
}

impl World {
    /// A host with version 1 of the model `m` that does what `kind` says.
    pub(crate) async fn new(kind: &'static [u8], settings: LogSettings) -> Self {
        let catalog = Catalog::in_memory(&[MIGRATIONS]).await.unwrap();
        let log = PredictionLog::open(catalog.clone(), settings);
        let engine = TestEngine::default();
        let mut gate = None;
        if kind == WAITS {
            let (entered, entries) = channel();
            let (open, opened) = channel();
            *engine.gate.lock().unwrap() = Some((entered, opened));
            gate = Some(Gate { entered: entries, open });
        }
        let host = ModelHost::new(Arc::new(engine), log, Arc::new(ManualAmbient::default()), LIMITS);
        host.load(model(1, kind)).await.unwrap();
        Self { catalog, host: Arc::new(host), gate }
    }

    pub(crate) async fn statement(&self, text: &'static str) {
        let done = self.catalog.write(move |connection| {
            Box::pin(async move {
                query(text).execute(connection).await?;
                Ok::<_, ropewalk_catalog::CatalogError>(())
            })
        });
        done.await.unwrap();
    }
}

pub(crate) fn name() -> ModelName {
    ModelName::new("m").unwrap()
}

pub(crate) fn model(version: u64, bytes: &'static [u8]) -> HostedModel {
    HostedModel { name: name(), version, digest: Digest::of(bytes), onnx: Bytes::from_static(bytes) }
}

/// A request of one row for each of `x`.
pub(crate) fn request(x: &[f32]) -> InferenceRequest {
    let carriers = vec![Bytes::from_static(b"UA"); x.len()];
    InferenceRequest {
        id: Some("mine".to_owned()),
        inputs: vec![
            NamedTensor::new("carrier", Tensor::new(vec![x.len()], carriers).unwrap()),
            NamedTensor::new("x", Tensor::new(vec![x.len()], x.to_vec()).unwrap()),
        ],
        outputs: vec![],
    }
}
