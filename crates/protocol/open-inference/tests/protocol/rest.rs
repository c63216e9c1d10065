use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ropewalk_inference::TensorData;
use ropewalk_open_inference::{ProtocolLimits, router};
use ropewalk_serving::PredictionSink;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{Answers, host, host_on};

pub(crate) const INFER: &str = "/v2/models/flight%20delays/infer";
pub(crate) const LENGTH: &str = "inference-header-content-length";

pub(crate) async fn server() -> Router {
    router(host().await, ProtocolLimits { message_bytes: 100_000, ..ProtocolLimits::default() })
}

pub(crate) async fn send(server: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let (parts, body) = server.clone().oneshot(request).await.unwrap().into_parts();
    (parts.status, parts.headers, to_bytes(body, usize::MAX).await.unwrap())
}

pub(crate) async fn get(server: &Router, path: &str) -> (StatusCode, Value) {
    let (status, _, body) = send(server, Request::get(path).body(Body::empty()).unwrap()).await;
    (status, serde_json::from_slice(&body).unwrap())
}

pub(crate) async fn post(server: &Router, path: &str, body: impl ToString) -> (StatusCode, Value) {
    let (status, _, body) = send(server, Request::post(path).body(Body::from(body.to_string())).unwrap()).await;
    (status, serde_json::from_slice(&body).unwrap())
}

/// A request of two rows in JSON.
pub(crate) fn request() -> Value {
    json!({
        "id": "mine",
        "inputs": [
            {"name": "carrier", "shape": [2, 1], "datatype": "BYTES", "data": ["UA", "D\u{e9}\"lta"]},
            {"name": "distance", "shape": [2, 1], "datatype": "FP32", "data": [250.0, 1000]},
            {"name": "hour", "shape": [2, 1], "datatype": "INT64", "data": [7, 23]},
        ],
    })
}

pub(crate) fn output<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["outputs"].as_array().unwrap().iter().find(|output| output["name"] == name).unwrap()
}

#[tokio::test]
async fn what_is_here_is_told() {
    let server = server().await;
    let (status, metadata) = get(&server, "/v2").await;
    assert_eq!((status, &metadata["name"]), (StatusCode::OK, &json!("ropewalk")));
    assert!(metadata["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/flight%20delays/ready"] {
        assert_eq!(get(&server, path).await.0, StatusCode::OK, "{path}");
    }
    let (_, model) = get(&server, "/v2/models/flight%20delays/versions/1").await;
    assert_eq!(model["name"], "flight delays");
    assert_eq!(model["versions"], json!(["1", "3"]));
    assert_eq!(model["inputs"][1], json!({"name": "distance", "datatype": "FP32", "shape": [-1, 1]}));
    let ready = json!({"name": "flight delays", "version": "1", "state": "READY", "reason": ""});
    for body in ["", "{}", r#"{"ready": true}"#] {
        let (status, index) = post(&server, "/v2/repository/index", body).await;
        assert_eq!((status, &index[0], index.as_array().unwrap().len()), (StatusCode::OK, &ready, 2));
    }
}

#[tokio::test]
async fn a_server_without_models_is_alive_but_not_ready() {
    let host = host().await;
    let server = router(Arc::clone(&host), ProtocolLimits::default());
    assert!(host.unload(&"flight delays".parse().unwrap(), None));
    assert_eq!(get(&server, "/v2/health/live").await.0, StatusCode::OK);
    let (status, body) = get(&server, "/v2/health/ready").await;
    assert_eq!((status, body), (StatusCode::SERVICE_UNAVAILABLE, json!({"error": "not ready: no model is loaded"})));
}

#[tokio::test]
async fn json_is_answered_with_json_and_logged() {
    let log = Arc::new(Answers::default());
    let server = router(host_on(Arc::clone(&log) as Arc<dyn PredictionSink>).await, ProtocolLimits::default());
    let (status, answer) = post(&server, INFER, request()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        (&answer["model_name"], &answer["model_version"], &answer["id"]),
        (&json!("flight delays"), &json!("3"), &json!("mine"))
    );
    let expected = json!({"name": "probability", "datatype": "FP32", "shape": [2, 2], "data": [0.75, 0.25, 0.0, 1.0]});
    assert_eq!(output(&answer, "probability"), &expected);
    assert_eq!(output(&answer, "note")["data"], json!(["UA", "D\u{e9}\"lta"]));
    let [record] = log.list().try_into().unwrap();
    assert_eq!(answer["parameters"]["prediction_id"], record.prediction.to_string());
    assert_eq!((record.rows, record.request.as_deref()), (2, Some("mine")));
    let distance = record.inputs.iter().find(|input| input.name == "distance").unwrap();
    assert_eq!(distance.tensor.data, TensorData::Fp32(vec![250.0, 1000.0]));
}

#[tokio::test]
async fn data_may_be_nested_numbers_may_name_another_type_and_keys_may_be_unknown() {
    let server = server().await;
    let mut request = request();
    request["inputs"][0]["data"] = json!([["UA"], ["DL"]]);
    request["inputs"][1] = json!({"name": "distance", "shape": [2, 1], "datatype": "INT64", "data": [250, null],
                                  "parameters": {"priority": 3}, "of the future": [1]});
    request["inputs"][2]["datatype"] = json!("FP64");
    request["inputs"][2]["data"] = json!([7.0, 2.3e1]);
    request["outputs"] = json!([{"name": "probability"}, {"name": "label"}]);
    request["parameters"] = json!({"sequence_end": true});
    let (status, answer) = post(&server, "/v2/models/flight%20delays/versions/1/infer", request).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["model_version"], "1");
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 2);
    assert_eq!(answer["outputs"][0]["data"], json!([0.75, 0.25, null, null]));
    assert_eq!(answer["outputs"][1]["data"], json!([7, 23]));
}

/// The same two rows as binary tensors, as `tritonclient.http` sends them.
pub(crate) fn binary_request(parameters: &Value, outputs: Option<Value>) -> (String, Vec<u8>) {
    let mut body = request();
    body["parameters"] = parameters.clone();
    if let Some(outputs) = outputs {
        body["outputs"] = outputs;
    }
    let carrier = b"\x02\0\0\0UA\x07\0\0\0D\xc3\xa9\"lta".to_vec();
    let distance: Vec<u8> = [250.0_f32, 1000.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    for (position, data) in [&carrier, &distance].into_iter().enumerate() {
        let input = body["inputs"][position].as_object_mut().unwrap();
        input.remove("data");
        input.insert("parameters".to_owned(), json!({"binary_data_size": data.len()}));
    }
    (body.to_string(), [carrier, distance].concat())
}

#[tokio::test]
async fn binary_tensors_give_the_same_answer() {
    let server = server().await;
    let (json, binary) = binary_request(&json!({"binary_data_output": true}), None);
    let length = json.len();
    let body = [json.into_bytes(), binary].concat();
    let send_binary = Request::post(INFER).header(LENGTH, length).body(Body::from(body)).unwrap();
    let (status, headers, body) = send(&server, send_binary).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    assert_eq!(headers["content-type"], "application/octet-stream");
    let length: usize = headers[LENGTH].to_str().unwrap().parse().unwrap();
    let answer: Value = serde_json::from_slice(&body[..length]).unwrap();
    let sizes =
        ["label", "probability", "note"].map(|name| output(&answer, name)["parameters"]["binary_data_size"].clone());
    assert_eq!(sizes, [json!(16), json!(16), json!(17)]);
    let probability: Vec<u8> = [0.75_f32, 0.25, 0.0, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(&body[length..][16..32], probability);
    assert_eq!(&body[length..][32..], b"\x02\0\0\0UA\x07\0\0\0D\xc3\xa9\"lta");
}

#[tokio::test]
async fn an_output_says_for_itself_how_it_is_wanted() {
    let server = server().await;
    let outputs = json!([{"name": "label", "parameters": {"binary_data": false}}, {"name": "probability"}]);
    let (json, binary) = binary_request(&json!({"binary_data_output": true}), Some(outputs));
    let request =
        Request::post(INFER).header(LENGTH, json.len()).body(Body::from([json.into_bytes(), binary].concat()));
    let (status, headers, body) = send(&server, request.unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let length: usize = headers[LENGTH].to_str().unwrap().parse().unwrap();
    let answer: Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(output(&answer, "label")["data"], json!([7, 23]));
    assert_eq!(body.len() - length, 16);
}

#[tokio::test]
async fn compressed_bodies_are_read_and_bounded() {
    let server = server().await;
    let plain = request().to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain.as_bytes()).unwrap();
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(plain.as_bytes()).unwrap();
    let ask = async |encoding: &str, body: Vec<u8>| {
        let request = Request::post(INFER).header("content-encoding", encoding).body(Body::from(body)).unwrap();
        send(&server, request).await.0
    };
    let gzip = gzip.finish().unwrap();
    assert_eq!(ask("gzip", gzip.clone()).await, StatusCode::OK);
    assert_eq!(ask("deflate", deflate.finish().unwrap()).await, StatusCode::OK);
    assert_eq!(ask("gzip", gzip[..gzip.len() / 2].to_vec()).await, StatusCode::BAD_REQUEST);
    assert_eq!(ask("br", gzip).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b' '; 10_000_000]).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 100_000);
    assert_eq!(ask("gzip", bomb).await, StatusCode::PAYLOAD_TOO_LARGE);
}
