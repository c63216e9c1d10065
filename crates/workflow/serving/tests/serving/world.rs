use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use ropewalk_inference::{
    Engine, EngineName, Engines, InferenceError, LoadOptions, Model, ModelSource, NamedTensor, Tensor, TensorData,
};
use ropewalk_serving::{
    Answered, HostLimits, HostedModel, InferenceRequest, InferenceResponse, ModelHost, ModelSettings, ModelStatistics,
    PredictionSink, ServingError, SinkCounts,
};
use ropewalk_types::{Digest, ElementType, ManualAmbient, ModelName, Signature, TensorSpec};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// What the bytes of a test's model say it does; several words may be joined.
pub(crate) const DOUBLES: &[u8] = b"doubles";
pub(crate) const PANICS: &[u8] = b"panics";
/// Each evaluation waits until the test lets it go.
pub(crate) const WAITS: &[u8] = b"waits";
/// Waits, and fails where a value is negative.
pub(crate) const SPOILS: &[u8] = b"waits spoils";
/// Waits, and takes `x` of any width.
pub(crate) const WIDE: &[u8] = b"waits wide";
/// Waits when it is loaded.
pub(crate) const LOADS_SLOWLY: &[u8] = b"slowly";
/// Says that it is run by worker processes.
pub(crate) const FOREIGN: &[u8] = b"foreign";

/// One evaluation, as the engine sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evaluation {
    pub(crate) x: Vec<f32>,
    pub(crate) thread: Option<String>,
    pub(crate) cpus: u32,
}

/// What the test and its models share.
#[derive(Debug)]
pub(crate) struct Controls {
    permits: Mutex<usize>,
    permitted: Condvar,
    evaluations: UnboundedSender<Evaluation>,
    pub(crate) alive: AtomicUsize,
    pub(crate) down: AtomicBool,
}

impl Controls {
    /// Lets so many evaluations or loads go.
    pub(crate) fn open(&self, evaluations: usize) {
        *self.permits.lock().unwrap() += evaluations;
        self.permitted.notify_all();
    }

    fn wait(&self) {
        let closed = |permits: &mut usize| *permits == 0;
        let (mut permits, timeout) =
            self.permitted.wait_timeout_while(self.permits.lock().unwrap(), Duration::from_secs(30), closed).unwrap();
        assert!(!timeout.timed_out(), "the test never opened");
        *permits -= 1;
    }
}

#[derive(Debug)]
struct TestEngine(Arc<Controls>);

#[derive(Debug)]
struct TestModel {
    signature: Signature,
    kind: String,
    controls: Arc<Controls>,
}

impl Engine for TestEngine {
    fn name(&self) -> EngineName {
        EngineName::Embedded
    }

    fn available(&self) -> Result<String, InferenceError> {
        Ok("1".to_owned())
    }

    fn takes(&self, source: &ModelSource) -> bool {
        matches!(source, ModelSource::Onnx { .. })
    }

    fn load(&self, source: &ModelSource, _options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
        let ModelSource::Onnx { bytes, .. } = source else { unreachable!("it takes no folder") };
        let kind = String::from_utf8(bytes.to_vec()).unwrap();
        if kind == "nonsense" {
            return Err(InferenceError::Malformed { reason: "not a test's model".to_owned() });
        }
        if kind.contains("slowly") {
            self.0.wait();
        }
        let spec =
            |name: &str, datatype, shape: &[i64]| TensorSpec { name: name.into(), datatype, shape: shape.into() };
        let x: &[i64] = if kind.contains("wide") { &[-1, -1] } else { &[-1] };
        let signature = Signature {
            inputs: vec![spec("carrier", ElementType::Bytes, &[-1]), spec("x", ElementType::Fp32, x)],
            outputs: vec![spec("double", ElementType::Fp32, x), spec("both", ElementType::Fp32, &[-1, 2])],
        };
        self.0.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(TestModel { signature, kind, controls: Arc::clone(&self.0) }))
    }
}

impl Drop for TestModel {
    fn drop(&mut self) {
        self.controls.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Model for TestModel {
    fn engine(&self) -> EngineName {
        if self.kind == "foreign" { EngineName::Python } else { EngineName::Embedded }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        assert!(self.kind != "panics", "as the test wants");
        let x = inputs.iter().find(|input| input.name == "x").unwrap();
        let TensorData::Fp32(values) = &x.tensor.data else { unreachable!("the host checks it") };
        let thread = std::thread::current().name().map(str::to_owned);
        let cpus = rustix::thread::sched_getaffinity(None).unwrap().count();
        // The test may have ended, and with it whoever listens.
        let _ = self.controls.evaluations.send(Evaluation { x: values.clone(), thread, cpus });
        if self.kind.contains("waits") {
            self.controls.wait();
        }
        if self.kind.contains("spoils") && values.iter().any(|value| *value < 0.0) {
            let (node, operator) = ("root".to_owned(), "Sqrt".to_owned());
            return Err(InferenceError::Evaluation { node, operator, reason: "a negative value".to_owned() });
        }
        let rows = x.tensor.shape[0];
        let double: Vec<f32> = values.iter().map(|x| 2.0 * x).collect();
        let both: Vec<f32> = (0..rows).flat_map(|row| [row as f32, 0.5]).collect();
        Ok(vec![
            NamedTensor::new("double", Tensor::new(x.tensor.shape.clone(), double)?),
            NamedTensor::new("both", Tensor::new(vec![rows, 2], both)?),
        ])
    }

    fn ready(&self) -> Result<(), String> {
        if self.controls.down.load(Ordering::SeqCst) { Err("no worker is up".to_owned()) } else { Ok(()) }
    }
}

/// Keeps the records in memory.
#[derive(Debug, Default)]
pub(crate) struct Kept(pub(crate) Mutex<Vec<Answered>>);

impl PredictionSink for Kept {
    fn record(&self, answered: Answered) {
        self.0.lock().unwrap().push(answered);
    }

    fn counts(&self) -> SinkCounts {
        SinkCounts { logged: self.0.lock().unwrap().len() as u64, ..SinkCounts::default() }
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ServingError>> {
        self.flush()
    }
}

pub(crate) const LIMITS: HostLimits = HostLimits { concurrency: 1, waiting: 1000, rows: 1000, bytes: 1 << 20 };

pub(crate) struct World {
    pub(crate) host: Arc<ModelHost>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) controls: Arc<Controls>,
    evaluations: UnboundedReceiver<Evaluation>,
}

pub(crate) type Asking = JoinHandle<Result<InferenceResponse, ServingError>>;

impl World {
    /// A host of one thread, without models.
    pub(crate) fn empty() -> Self {
        let (sender, evaluations) = unbounded_channel();
        let controls = Arc::new(Controls {
            permits: Mutex::default(),
            permitted: Condvar::new(),
            evaluations: sender,
            alive: AtomicUsize::new(0),
            down: AtomicBool::new(false),
        });
        let kept = Arc::new(Kept::default());
        let engines = Engines::new(vec![Arc::new(TestEngine(Arc::clone(&controls)))]);
        let log = Arc::clone(&kept) as Arc<dyn PredictionSink>;
        let host = Arc::new(ModelHost::new(engines, log, Arc::new(ManualAmbient::default()), LIMITS));
        Self { host, kept, controls, evaluations }
    }

    /// A host with version 1 of the model `m` that does what `kind` says.
    pub(crate) async fn new(kind: &'static [u8], settings: ModelSettings) -> Self {
        let world = Self::empty();
        world.host.load(HostedModel { settings, ..model(1, kind) }).await.unwrap();
        world
    }

    /// Asks on a task of its own.
    pub(crate) fn ask(&self, request: InferenceRequest) -> Asking {
        let host = Arc::clone(&self.host);
        tokio::spawn(async move { host.infer("m", None, request).await })
    }

    /// Asks, and waits until so many requests wait for their turn.
    pub(crate) async fn ask_and_wait(&self, request: InferenceRequest, pending: u64) -> Asking {
        let asking = self.ask(request);
        until(|| self.statistics().pending == pending).await;
        asking
    }

    /// The next evaluation that begins.
    pub(crate) async fn evaluation(&mut self) -> Evaluation {
        tokio::time::timeout(Duration::from_secs(30), self.evaluations.recv()).await.unwrap().unwrap()
    }

    /// Whether the engine was asked beside what [`evaluation`](Self::evaluation) gave.
    pub(crate) fn was_asked(&mut self) -> bool {
        self.evaluations.try_recv().is_ok()
    }

    pub(crate) fn statistics(&self) -> ModelStatistics {
        self.host.statistics().models[0].clone()
    }
}

/// Waits for a condition that other tasks and threads bring about.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let all = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
}

pub(crate) fn name() -> ModelName {
    ModelName::new("m").unwrap()
}

/// Without a warm-up, so that nothing is known of its cost and it is evaluated on threads.
pub(crate) const UNMEASURED: ModelSettings = ModelSettings {
    engine: None,
    batching: None,
    preferred_rows: Vec::new(),
    concurrency: None,
    queue: 100,
    timeout: None,
    priority_levels: 0,
    default_priority: 0,
    queues: BTreeMap::new(),
    warm_up: 0,
    cpus: Vec::new(),
    threads: 1,
    labels: BTreeMap::new(),
};

pub(crate) fn model(version: u64, bytes: &'static [u8]) -> HostedModel {
    let (digest, source) = (Digest::of(bytes), Bytes::from_static(bytes).into());
    HostedModel { name: name(), version, digest, source, settings: UNMEASURED }
}

/// A request of one row for each of `x`.
pub(crate) fn request(x: &[f32]) -> InferenceRequest {
    wide_request(x, &[x.len()])
}

/// A request with `x` in that shape.
pub(crate) fn wide_request(x: &[f32], shape: &[usize]) -> InferenceRequest {
    let carriers = vec![Bytes::from_static(b"UA"); shape[0]];
    InferenceRequest {
        id: Some("mine".to_owned()),
        inputs: vec![
            NamedTensor::new("carrier", Tensor::new(vec![shape[0]], carriers).unwrap()),
            NamedTensor::new("x", Tensor::new(shape.to_vec(), x.to_vec()).unwrap()),
        ],
        ..InferenceRequest::default()
    }
}

pub(crate) fn doubles(response: &InferenceResponse) -> &TensorData {
    &response.outputs[0].tensor.data
}
