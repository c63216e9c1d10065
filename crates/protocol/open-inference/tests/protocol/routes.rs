//! Versions of one model that take other inputs than the default one, asked by routes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use ropewalk_inference::{Engines, InferenceError, Model, ModelSource, NamedTensor};
use ropewalk_open_inference::proto::infer_parameter::ParameterChoice;
use ropewalk_open_inference::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use ropewalk_open_inference::proto::{InferParameter, InferTensorContents, ModelInferRequest};
use ropewalk_open_inference::{ProtocolLimits, router};
use ropewalk_serving::{
    HostLimits, HostedModel, ModelHost, ModelSettings, NoPredictionLog, RequestContext, Route, SideStatistics,
};
use ropewalk_types::{Digest, ElementType, ManualAmbient, ModelName, Signature, TensorSpec};
use serde_json::{Value, json};

use crate::grpc::server;
use crate::rest::{LENGTH, post, send};
use crate::world::Makes;

const INFER: &str = "/v2/models/m/infer";

/// Answers `y` with its input `x`.
#[derive(Debug)]
struct Echo(Signature);

impl Echo {
    /// The bytes say the type and the shape of both.
    fn of(source: &ModelSource) -> Arc<dyn Model> {
        let ModelSource::Onnx { bytes, .. } = source else { panic!("bytes are given") };
        let mut words = std::str::from_utf8(bytes).unwrap().split(' ');
        let datatype: ElementType = words.next().unwrap().parse().unwrap();
        let shape: Vec<i64> = words.map(|extent| extent.parse().unwrap()).collect();
        let spec = |name: &str| TensorSpec { name: name.to_owned(), datatype, shape: shape.clone() };
        Arc::new(Self(Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] }))
    }
}

impl Model for Echo {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError> {
        Ok(vec![NamedTensor::new("y", inputs[0].tensor.clone())])
    }
}

/// A host of the model `m` with versions of these kinds, of which the first is the default one, and a route.
async fn host(kinds: [&'static str; 2], route: Value) -> Arc<ModelHost> {
    let engines = Engines::new(vec![Arc::new(Makes(Echo::of))]);
    let (log, ambient) = (Arc::new(NoPredictionLog), Arc::new(ManualAmbient::default()));
    let host = ModelHost::new(engines, log, ambient, HostLimits::for_cores(2));
    let name = ModelName::new("m").unwrap();
    for (version, kind) in (1..).zip(kinds) {
        let settings = ModelSettings { warm_up: 0, ..ModelSettings::default() };
        let (digest, source) = (Digest::of(b""), Bytes::from_static(kind.as_bytes()).into());
        host.load(HostedModel { name: name.clone(), version, digest, source, settings }).await.unwrap();
    }
    host.default_set(&name, Some(1)).unwrap();
    host.route_set(Route { model: name, settings: serde_json::from_value(route).unwrap() }).unwrap();
    Arc::new(host)
}

fn rest(host: &Arc<ModelHost>) -> Router {
    router(Arc::clone(host), ProtocolLimits::default())
}

/// A request of numbers that says FP32, whatever the model takes.
fn request(shape: &[usize]) -> Value {
    let data = vec![0.1; shape.iter().product()];
    json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}]})
}

#[tokio::test]
async fn json_is_read_for_the_version_that_answers() {
    let route = json!({"rules": [{"header": "X-Group", "value": "beta", "to": 2}]});
    let server = rest(&host(["FP32 2", "FP64 -1 2"], route).await);
    // The last is read off the reactor.
    for rows in [1, 10_000] {
        let body = Body::from(request(&[rows, 2]).to_string());
        let beta = Request::post(INFER).header("x-group", "beta").body(body).unwrap();
        let (status, _, answer) = send(&server, beta).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((status, &answer["model_version"]), (StatusCode::OK, &json!("2")), "{rows}: {}", answer["error"]);
        let output = &answer["outputs"][0];
        assert_eq!((&output["datatype"], &output["data"][0]), (&json!("FP64"), &json!(0.1)));
    }
    let (status, answer) = post(&server, INFER, request(&[2])).await;
    assert_eq!((status, &answer["model_version"]), (StatusCode::OK, &json!("1")), "{answer}");
}

#[tokio::test]
async fn a_raw_request_is_read_for_the_version_that_answers() {
    let server = rest(&host(["FP32 2", "FP64 -1 2"], json!({"split": [{"to": 2, "weight": 1}]})).await);
    let numbers: Vec<u8> = [0.1_f64, 0.2, 0.3, 0.4].iter().flat_map(|number| number.to_le_bytes()).collect();
    let raw = Request::post(INFER).header(LENGTH, "0").body(Body::from(numbers.clone())).unwrap();
    let (status, headers, body) = send(&server, raw).await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    let (json, binary) = body.split_at(headers[LENGTH].to_str().unwrap().parse().unwrap());
    let answer: Value = serde_json::from_slice(json).unwrap();
    assert_eq!((&answer["model_version"], &answer["outputs"][0]["shape"]), (&json!("2"), &json!([2, 2])));
    assert_eq!(binary, numbers);
}

#[tokio::test]
async fn an_id_goes_its_way_and_is_read_for_it() {
    let route = json!({"split": [{"to": 1, "weight": 1}, {"to": 2, "weight": 1}]});
    let host = host(["FP32 -1 2", "FP64 -1 2"], route).await;
    let server = rest(&host);
    let mut counts = [0; 2];
    for number in 0..64 {
        let id = number.to_string();
        let version = host.resolve("m", None, Some(&id), &RequestContext::default()).unwrap().version();
        let mut asked = request(&[1, 2]);
        asked["id"] = json!(id);
        let (status, answer) = post(&server, INFER, asked).await;
        assert_eq!((status, &answer["model_version"]), (StatusCode::OK, &json!(version.to_string())), "{answer}");
        let datatype = if version == 1 { "FP32" } else { "FP64" };
        assert_eq!(answer["outputs"][0]["datatype"], datatype);
        counts[version as usize - 1] += 1;
    }
    assert!(!counts.contains(&0), "{counts:?}");
}

fn input(datatype: &str, shape: &[i64], fp64_contents: Vec<f64>) -> InferInputTensor {
    let contents = Some(InferTensorContents { fp64_contents, ..InferTensorContents::default() });
    let (name, datatype, shape) = ("x".to_owned(), datatype.to_owned(), shape.to_vec());
    InferInputTensor { name, datatype, shape, contents, ..InferInputTensor::default() }
}

fn message(input: InferInputTensor) -> ModelInferRequest {
    ModelInferRequest { model_name: "m".to_owned(), inputs: vec![input], ..ModelInferRequest::default() }
}

#[tokio::test]
async fn grpc_is_answered_by_the_signature_of_the_version_that_answers() {
    let route = json!({"rules": [{"header": "x-group", "value": "beta", "to": 2}]});
    let mut client = server(host(["FP32 2", "FP64 -1 2"], route).await).await;
    let one = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(1)) };
    let parameters = HashMap::from([("classification".to_owned(), one)]);
    let outputs = vec![InferRequestedOutputTensor { name: "y".to_owned(), parameters }];
    let asked = message(input("FP64", &[2, 2], vec![0.1, 0.9, 0.8, 0.2]));
    let mut beta = tonic::Request::new(ModelInferRequest { outputs, ..asked });
    beta.metadata_mut().insert("x-group", "beta".parse().unwrap());
    let answer = client.model_infer(beta).await.unwrap().into_inner();
    // Only version 2 has rows, each with a class of its own.
    assert_eq!((answer.model_version.as_str(), &answer.outputs[0].shape), ("2", &vec![2, 1]));
    let classes = &answer.outputs[0].contents.as_ref().unwrap().bytes_contents;
    assert_eq!(classes, &["0.900000:1", "0.800000:0"]);
}

fn of_canary(host: &ModelHost) -> SideStatistics {
    host.routes()[0].canary.as_ref().unwrap().canary
}

#[tokio::test]
async fn what_a_canary_cannot_read_counts_against_it() {
    let host = host(["FP32 -1 2", "INT64 -1 2"], json!({"canary": {"to": 2, "weight": 1}})).await;
    let rest = rest(&host);
    let (status, answer) = post(&rest, INFER, request(&[1, 2])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("element 0 is no INT64"), "{answer}");
    assert_eq!(of_canary(&host), SideStatistics { requests: 1, refused: 1, ..SideStatistics::default() });
    // What was for no version yet is nobody's.
    assert_eq!(post(&rest, INFER, "{").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(of_canary(&host).requests, 1);

    let mut client = server(Arc::clone(&host)).await;
    let refused = client.model_infer(message(input("FP64", &[1, 2], vec![0.1]))).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert_eq!(of_canary(&host), SideStatistics { requests: 2, refused: 2, ..SideStatistics::default() });
    let target = host.routes()[0].targets.iter().find(|target| target.version == Some(2)).unwrap().clone();
    assert_eq!((target.requests, target.failed), (2, 2));
    // No version was asked.
    assert!(host.statistics().models.iter().all(|model| model.refused == 0));
}
