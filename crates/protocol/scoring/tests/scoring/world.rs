use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use ropewalk_inference::{
    Engine, EngineName, Engines, InferenceError, LoadOptions, Model, ModelSource, NamedTensor, Tensor, TensorData,
};
use ropewalk_scoring::{ScoringLimits, router};
use ropewalk_serving::{HostLimits, HostedModel, ModelHost, ModelSettings, NoPredictionLog};
use ropewalk_types::{Digest, ElementType, ManualAmbient, ModelName, Signature, TensorSpec};
use serde_json::Value;
use tower::ServiceExt;

/// Makes the model that the bytes name.
#[derive(Debug)]
struct TestEngine;

#[derive(Debug)]
struct TestModel {
    kind: String,
    signature: Signature,
    labels: TensorData,
}

fn spec(name: &str, datatype: ElementType, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.into() }
}

fn signature(kind: &str) -> Signature {
    use ElementType::{Bytes, Fp32, Fp64, Int64};
    let (inputs, outputs) = match kind {
        // Raw columns; the classes have names.
        "columns" => (
            vec![spec("carrier", Bytes, &[-1, 1]), spec("distance", Fp32, &[-1, 1]), spec("hour", Int64, &[-1])],
            vec![spec("label", Int64, &[-1]), spec("probability", Fp32, &[-1, 2])],
        ),
        "matrix" => (vec![spec("x", Fp32, &[-1, 3])], vec![spec("sum", Fp32, &[-1, 1]), spec("y", Fp32, &[-1, 3])]),
        "python" => (vec![spec("a", Fp64, &[-1]), spec("b", Fp64, &[-1])], vec![spec("prediction", Fp64, &[-1])]),
        "image" => {
            (vec![spec("x", Fp32, &[-1, 3, 224, 224]), spec("y", Fp32, &[-1])], vec![spec("label", Int64, &[-1])])
        }
        "whole" => (vec![spec("x", Fp32, &[-1])], vec![spec("mean", Fp32, &[])]),
        _ => (vec![], vec![spec("constant", Fp32, &[1])]),
    };
    Signature { inputs, outputs }
}

impl Engine for TestEngine {
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
        let ModelSource::Onnx { bytes, .. } = source else { panic!("bytes are given") };
        let kind = String::from_utf8(bytes.to_vec()).unwrap();
        Ok(Arc::new(TestModel { signature: signature(&kind), kind, labels: vec![0_i64, 1].into() }))
    }
}

impl Model for TestModel {
    fn engine(&self) -> EngineName {
        if self.kind == "python" { EngineName::Python } else { EngineName::Embedded }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn class_labels(&self, output: &str) -> Option<&TensorData> {
        (self.kind == "columns" && output == "probability").then_some(&self.labels)
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        let data = |name: &str| &inputs.iter().find(|input| input.name == name).unwrap().tensor.data;
        let reals = |name: &str| match data(name) {
            TensorData::Fp32(values) => values.clone(),
            TensorData::Fp64(values) => values.iter().map(|value| *value as f32).collect(),
            other => panic!("{other:?}"),
        };
        let outputs = match self.kind.as_str() {
            "columns" => {
                let distance = reals("distance");
                let rows = distance.len();
                let probability: Vec<f32> = distance.iter().flat_map(|x| [1.0 - x / 1000.0, x / 1000.0]).collect();
                let TensorData::Int64(hour) = data("hour") else { panic!("hours are whole numbers") };
                vec![
                    ("label", Tensor::new(vec![rows], hour.clone())?),
                    ("probability", Tensor::new(vec![rows, 2], probability)?),
                ]
            }
            "matrix" => {
                let x = reals("x");
                let sums: Vec<f32> = x.chunks(3).map(|row| row.iter().sum()).collect();
                vec![("sum", Tensor::new(vec![sums.len(), 1], sums)?), ("y", Tensor::new(vec![x.len() / 3, 3], x)?)]
            }
            "python" => {
                let sums: Vec<f64> = reals("a").iter().zip(reals("b")).map(|(a, b)| f64::from(a + b)).collect();
                vec![("prediction", Tensor::new(vec![sums.len()], sums)?)]
            }
            "whole" => vec![("mean", Tensor::new(vec![], vec![reals("x").iter().sum::<f32>()])?)],
            _ => vec![("constant", Tensor::new(vec![1], vec![1_f32])?)],
        };
        Ok(outputs.into_iter().map(|(name, tensor)| NamedTensor::new(name, tensor)).collect())
    }
}

/// A host with these models, each of the kind of its name or `NAME=KIND`.
pub(crate) async fn host(models: &[&str]) -> Arc<ModelHost> {
    let limits = HostLimits { rows: 1000, ..HostLimits::for_cores(2) };
    let engines = Engines::new(vec![Arc::new(TestEngine)]);
    let host = ModelHost::new(engines, Arc::new(NoPredictionLog), Arc::new(ManualAmbient::default()), limits);
    for model in models {
        load(&host, model).await;
    }
    Arc::new(host)
}

pub(crate) async fn load(host: &ModelHost, model: &str) {
    load_version(host, model, 1).await;
}

pub(crate) async fn load_version(host: &ModelHost, model: &str, version: u64) {
    let (name, kind) = model.split_once('=').unwrap_or((model, model));
    let settings = ModelSettings { warm_up: 0, ..ModelSettings::default() };
    let source = Bytes::copy_from_slice(kind.as_bytes()).into();
    let name = ModelName::new(name).unwrap();
    host.load(HostedModel { name, version, digest: Digest::of(b""), source, settings }).await.unwrap();
}

pub(crate) async fn routes(models: &[&str]) -> Router {
    router(host(models).await, ScoringLimits { body_bytes: 200_000, ..ScoringLimits::default() })
}

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The message of an error with this status and code.
    #[track_caller]
    pub(crate) fn refusal(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let json = self.json();
        assert_eq!(json["error_code"], code);
        json["message"].as_str().unwrap().to_owned()
    }

    /// What was predicted.
    #[track_caller]
    pub(crate) fn predictions(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()["predictions"].clone()
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answered {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answered { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

pub(crate) async fn get(router: &Router, path: &str) -> Answered {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

pub(crate) async fn post(router: &Router, path: &str, kind: &str, body: impl Into<Body>) -> Answered {
    send(router, Request::post(path).header("content-type", kind).body(body.into()).unwrap()).await
}

pub(crate) async fn post_json(router: &Router, path: &str, body: impl Into<Body>) -> Answered {
    post(router, path, "application/json", body).await
}
