use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use ropewalk_config::{ModelPlace, ModelSettingsTable, Serve, ServeBatching, ServeKey};
use ropewalk_inference::onnx::{Attribute, GraphBuilder};
use ropewalk_inference::{
    EmbeddedEngine, Engine, EngineName, Engines, InferenceError, LoadOptions, Model, ModelSource, NamedTensor,
};
use ropewalk_inference_server::{Environment, InferenceServer, InferenceServerError, ModelRepository, Started, begin};
use ropewalk_serving::NoPredictionLog;
use ropewalk_store::files;
use ropewalk_types::{ElementType, ManualAmbient, Signature};
use serde_json::{Value, json};

/// The one key of most tests.
pub(crate) const KEY: &str = "a-key-of-hemp-and-tar";

/// `y` = `x` times 2: FP32[-1, 1].
pub(crate) fn doubling() -> Vec<u8> {
    let attributes = vec![Attribute::new("offset", vec![0.0_f32]), Attribute::new("scale", vec![2.0_f32])];
    GraphBuilder::new("doubling")
        .opset("ai.onnx.ml", 3)
        .input("x", ElementType::Fp32, &[-1, 1])
        .node("ai.onnx.ml", "Scaler", &["x"], &["y"], attributes)
        .output("y", ElementType::Fp32, &[-1, 1])
        .encode()
}

/// A server, and the folder of its models.
pub(crate) struct World {
    pub(crate) server: InferenceServer,
    pub(crate) repository: Arc<ModelRepository>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) latch: Arc<Latch>,
}

impl World {
    /// A server of the model `rope`, with what `change` makes of its configuration.
    pub(crate) async fn start(change: impl FnOnce(&mut Serve)) -> Self {
        Self::started(change).await.expect("a server")
    }

    pub(crate) async fn started(change: impl FnOnce(&mut Serve)) -> Result<Self, InferenceServerError> {
        let folder = tempfile::tempdir().expect("folder");
        let world = Self::of(folder, change).await?;
        world.server.ready();
        Ok(world)
    }

    /// A server that is not ready yet, of the models in `folder`.
    pub(crate) async fn of(
        folder: tempfile::TempDir,
        change: impl FnOnce(&mut Serve),
    ) -> Result<Self, InferenceServerError> {
        let file = folder.path().join("rope.onnx");
        files::write_atomic(&file, &doubling()).expect("model");
        let mut serve = Serve { port: 0, grpc_port: 0, ..Serve::default() };
        serve.models = vec![ModelPlace::Path { name: None, path: file }];
        // Evaluated on threads of its own, which a test may hold up: never on the one that read the request.
        let batching = Some(ServeBatching { max_rows: 8, max_delay_us: 0 });
        serve.model.insert("rope".to_owned(), ModelSettingsTable { batching, ..ModelSettingsTable::default() });
        change(&mut serve);
        let latch = Arc::new(Latch::default());
        let engines = Engines::new(vec![Arc::new(Patient { latch: Arc::clone(&latch) })]);
        let environment = Environment::from([("KEY".to_owned(), KEY.to_owned())]);
        let (log, ambient) = (Arc::new(NoPredictionLog), Arc::new(ManualAmbient::default()));
        let Started { server, repository, .. } = begin(&serve, &environment, engines, log, ambient).await?;
        Ok(Self { server, repository, folder, latch })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.rest_url())
    }

    pub(crate) fn infer_url(&self) -> String {
        self.url("/v2/models/rope/infer")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("client")
}

/// A request of one row.
pub(crate) fn row() -> Value {
    json!({ "inputs": [{ "name": "x", "shape": [1, 1], "datatype": "FP32", "data": [21] }] })
}

pub(crate) fn key(models: &[&str]) -> ServeKey {
    let models = models.iter().map(|&model| model.to_owned()).collect();
    ServeKey { env: Some("KEY".to_owned()), models, ..ServeKey::default() }
}

/// Holds evaluations up while it is closed, and tells how many wait.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Latch {
    pub(crate) fn close(&self) {
        self.state.lock().expect("lock").0 = true;
    }

    pub(crate) fn open(&self) {
        self.state.lock().expect("lock").0 = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().expect("lock");
        state.1 += 1;
        self.changed.notify_all();
        while state.0 {
            state = self.changed.wait(state).expect("lock");
        }
        state.1 -= 1;
    }

    /// Waits until so many evaluations are held up.
    pub(crate) async fn holds(self: &Arc<Self>, count: usize) {
        let latch = Arc::clone(self);
        let waiting = tokio::task::spawn_blocking(move || {
            let mut state = latch.state.lock().expect("lock");
            while state.1 < count {
                state = latch.changed.wait(state).expect("lock");
            }
        });
        waiting.await.expect("held");
    }
}

/// The embedded engine, whose models pass a latch.
#[derive(Debug)]
struct Patient {
    latch: Arc<Latch>,
}

#[derive(Debug)]
struct PatientModel {
    model: Arc<dyn Model>,
    latch: Arc<Latch>,
}

impl Engine for Patient {
    fn name(&self) -> EngineName {
        EngineName::Embedded
    }

    fn available(&self) -> Result<String, InferenceError> {
        EmbeddedEngine.available()
    }

    fn takes(&self, source: &ModelSource) -> bool {
        EmbeddedEngine.takes(source)
    }

    fn load(&self, source: &ModelSource, options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
        let model = EmbeddedEngine.load(source, options)?;
        Ok(Arc::new(PatientModel { model, latch: Arc::clone(&self.latch) }))
    }
}

impl Model for PatientModel {
    fn signature(&self) -> &Signature {
        self.model.signature()
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        self.latch.pass();
        self.model.predict(inputs)
    }
}
