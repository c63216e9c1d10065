use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ropewalk_inference::{Engines, InferenceError, Model, ModelSource, NamedTensor};
use ropewalk_open_inference::proto::infer_parameter::ParameterChoice;
use ropewalk_open_inference::proto::model_infer_request::InferInputTensor;
use ropewalk_open_inference::proto::{InferParameter, ModelInferRequest};
use ropewalk_serving::{HostLimits, HostedModel, ModelHost, ModelSettings, NoPredictionLog};
use ropewalk_types::{Digest, ElementType, ManualAmbient, ModelName, Signature, TensorSpec};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::{Code, Request};

use crate::grpc::connect;
use crate::world::Makes;

/// Tells that an evaluation has begun, and ends it when the test says so or is over.
#[derive(Debug)]
struct Held {
    signature: Signature,
    begun: UnboundedSender<()>,
    go: Mutex<Receiver<()>>,
}

impl Model for Held {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        // Where the test is over, nobody listens and nobody holds it up.
        let _ = self.begun.send(());
        let _ = self.go.lock().unwrap().recv();
        Ok(inputs.to_vec())
    }
}

/// A host of the model `m`, which takes one request at a time and lets others wait for 2 ms.
async fn impatient(begun: UnboundedSender<()>, go: Receiver<()>) -> Arc<ModelHost> {
    let x = vec![TensorSpec { name: "x".to_owned(), datatype: ElementType::Fp32, shape: vec![-1] }];
    let signature = Signature { inputs: x.clone(), outputs: x };
    let held: Arc<dyn Model> = Arc::new(Held { signature, begun, go: Mutex::new(go) });
    let engines = Engines::new(vec![Arc::new(Makes(move |_: &ModelSource| Arc::clone(&held)))]);
    let (log, ambient) = (Arc::new(NoPredictionLog), Arc::new(ManualAmbient::default()));
    let host = ModelHost::new(engines, log, ambient, HostLimits::for_cores(2));
    let timeout = Some(Duration::from_millis(2));
    let settings = ModelSettings { warm_up: 0, concurrency: Some(1), timeout, ..ModelSettings::default() };
    let (name, digest, source) = (ModelName::new("m").unwrap(), Digest::of(b""), Bytes::new().into());
    host.load(HostedModel { name, version: 1, digest, source, settings }).await.unwrap();
    Arc::new(host)
}

fn request(timeout: Option<Duration>) -> ModelInferRequest {
    let micros = |timeout: Duration| ParameterChoice::Int64Param(i64::try_from(timeout.as_micros()).unwrap());
    let parameter = |timeout| InferParameter { parameter_choice: Some(micros(timeout)) };
    let input = InferInputTensor {
        name: "x".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1],
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: "m".to_owned(),
        parameters: timeout.map(|timeout| ("timeout".to_owned(), parameter(timeout))).into_iter().collect(),
        inputs: vec![input],
        raw_input_contents: vec![Bytes::from_static(&[0; 4])],
        ..ModelInferRequest::default()
    }
}

#[tokio::test]
async fn a_calls_long_deadline_does_not_lengthen_the_models_timeout() {
    let (begun, mut begins) = unbounded_channel();
    let (go, held) = std::sync::mpsc::channel();
    let mut client = connect(impatient(begun, held).await).await.0;
    let mut other = client.clone();
    // Its own timeout stands in the place of the model's.
    let first = tokio::spawn(async move { other.model_infer(request(Some(Duration::from_hours(1)))).await });
    begins.recv().await.unwrap();
    let mut late = Request::new(request(None));
    late.set_timeout(Duration::from_mins(1));
    let refused = client.model_infer(late).await.unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused}");
    assert!(refused.message().contains("for model `m` and was not evaluated"), "{refused}");
    go.send(()).unwrap();
    assert!(first.await.unwrap().is_ok());
}
