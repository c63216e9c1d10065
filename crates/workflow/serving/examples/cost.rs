//! What the host adds to a model, in nanoseconds a request: `cargo run --release -p ropewalk-serving --features
//! measure --example cost`.
//!
//! The model answers a constant. First on the caller's task, then on threads, then joined into batches, each asked by
//! one client and by sixteen.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement made by hand")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ropewalk_inference::{Engine, EngineName, Engines, InferenceError, LoadOptions, Model, ModelSource};
use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_serving::{
    Batching, HostLimits, HostedModel, InferenceRequest, ModelHost, ModelSettings, NoPredictionLog,
};
use ropewalk_types::{Digest, ElementType, ManualAmbient, ModelName, Signature, TensorSpec};

const REQUESTS: u32 = 20_000;

#[derive(Debug)]
struct Constant(Signature);

#[derive(Debug)]
struct Constants;

impl Engine for Constants {
    fn name(&self) -> EngineName {
        EngineName::Embedded
    }

    fn available(&self) -> Result<String, InferenceError> {
        Ok(String::new())
    }

    fn takes(&self, _source: &ModelSource) -> bool {
        true
    }

    fn load(&self, _source: &ModelSource, _options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
        let spec = |name: &str, shape: &[i64]| TensorSpec {
            name: name.into(),
            datatype: ElementType::Fp32,
            shape: shape.into(),
        };
        Ok(Arc::new(Constant(Signature { inputs: vec![spec("x", &[-1, 16])], outputs: vec![spec("y", &[-1])] })))
    }
}

impl Model for Constant {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let rows = inputs.first().map_or(0, |input| input.tensor.shape.first().copied().unwrap_or_default());
        Ok(vec![NamedTensor::new("y", Tensor::new(vec![rows], vec![1.0_f32; rows])?)])
    }
}

fn request() -> InferenceRequest {
    let x = NamedTensor::new("x", Tensor::new(vec![1, 16], vec![0.5_f32; 16]).unwrap());
    InferenceRequest { inputs: vec![x], ..InferenceRequest::default() }
}

async fn measure(what: &str, settings: ModelSettings) {
    let engines = Engines::new(vec![Arc::new(Constants)]);
    let ambient = Arc::new(ManualAmbient::default());
    let host = Arc::new(ModelHost::new(engines, Arc::new(NoPredictionLog), ambient, HostLimits::for_cores(2)));
    let (name, source) = (ModelName::new("m").unwrap(), Bytes::new().into());
    host.load(HostedModel { name, version: 1, digest: Digest::of(b""), source, settings }).await.unwrap();
    for clients in [1, 16] {
        let begun = Instant::now();
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let host = Arc::clone(&host);
                tokio::spawn(async move {
                    for _ in 0..REQUESTS / clients {
                        host.infer("m", None, request()).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        println!("{what}, {clients} clients: {} ns", begun.elapsed().as_nanos() / u128::from(REQUESTS));
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        for _ in 0..REQUESTS {
            std::hint::black_box(request());
        }
        println!("making the request: {} ns", begun.elapsed().as_nanos() / u128::from(REQUESTS));
        measure("here", ModelSettings::default()).await;
        measure("threads", ModelSettings { cpus: vec![0, 1], ..ModelSettings::default() }).await;
        let batching = Some(Batching { max_rows: 16, max_delay_us: 0 });
        measure("batches", ModelSettings { batching, ..ModelSettings::default() }).await;
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}
