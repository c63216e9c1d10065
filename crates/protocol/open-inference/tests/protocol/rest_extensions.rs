use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use flate2::read::{GzDecoder, ZlibDecoder};
use ropewalk_open_inference::{OpenInference, ProtocolLimits};
use serde_json::{Value, json};

use crate::rest::{INFER, LENGTH, get, output, post, request, send, server};
use crate::world::{TestRepository, host};

/// A server that has a repository.
async fn controlled() -> Router {
    let host = host().await;
    let repository = Arc::new(TestRepository(Arc::clone(&host)));
    OpenInference::new(host, ProtocolLimits::default()).with_repository(repository).router()
}

#[tokio::test]
async fn without_a_repository_nothing_is_loaded_or_unloaded() {
    let server = server().await;
    for path in ["/v2/repository/models/flight%20delays/load", "/v2/repository/models/flight%20delays/unload"] {
        let (status, answer) = post(&server, path, "").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer["error"], "explicit model load / unload is not allowed if polling is enabled");
    }
}

#[tokio::test]
async fn models_are_loaded_and_unloaded_by_name() {
    let server = controlled().await;
    let control = async |model: &str, action: &str, body: &str| {
        let path = format!("/v2/repository/models/{model}/{action}");
        let (status, _, body) = send(&server, Request::post(path).body(Body::from(body.to_owned())).unwrap()).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let index = async |body: &str| post(&server, "/v2/repository/index", body).await.1;
    assert_eq!(
        index("").await[1],
        json!({"name": "damaged", "version": "", "state": "UNAVAILABLE", "reason": "it is damaged"})
    );
    assert_eq!(index(r#"{"ready": true}"#).await.as_array().unwrap().len(), 1);
    for body in ["", "{}", r#"{"parameters": {}}"#] {
        assert_eq!(control("flight%20delays", "load", body).await, (StatusCode::OK, String::new()));
    }
    let (status, error) = control("flight%20delays", "load", r#"{"parameters": {"config": "{}"}}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error.contains("config") && error.contains("unrecognized load parameter"), "{error}");
    assert_eq!(control("damaged", "load", "").await.0, StatusCode::BAD_REQUEST);
    let (status, error) = control("other", "load", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(error.contains("failed to load 'other'"), "{error}");
    assert_eq!(post(&server, INFER, request()).await.1["model_version"], "4");
    let dependents = r#"{"parameters": {"unload_dependents": true}}"#;
    assert_eq!(control("flight%20delays", "unload", dependents).await.0, StatusCode::OK);
    let wrong = r#"{"parameters": {"unload_dependents": 1}}"#;
    assert_eq!(control("flight%20delays", "unload", wrong).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(post(&server, INFER, request()).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_configuration_says_how_a_model_is_served() {
    let server = server().await;
    for path in ["/v2/models/flight%20delays/config", "/v2/models/flight%20delays/versions/1/config"] {
        let (status, config) = get(&server, path).await;
        assert_eq!((status, &config["name"]), (StatusCode::OK, &json!("flight delays")));
        assert!(config["max_batch_size"].as_u64().unwrap() > 0);
        assert_eq!(config["input"][0]["data_type"], "TYPE_STRING");
        assert_eq!((&config["input"][1]["dims"], &config["output"][1]["dims"]), (&json!([1]), &json!([2])));
    }
    assert_eq!(get(&server, "/v2/models/other/config").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn statistics_count_answers_and_mistakes() {
    let server = server().await;
    assert_eq!(post(&server, INFER, request()).await.0, StatusCode::OK);
    let mut wrong = request();
    wrong["outputs"] = json!([{"name": "none"}]);
    assert_eq!(post(&server, INFER, wrong).await.0, StatusCode::BAD_REQUEST);
    let (_, all) = get(&server, "/v2/models/stats").await;
    assert_eq!(all["model_stats"].as_array().unwrap().len(), 2);
    let (_, one) = get(&server, "/v2/models/flight%20delays/versions/3/stats").await;
    let [stats] = one["model_stats"].as_array().unwrap().as_slice() else { panic!("{one}") };
    assert_eq!((&stats["name"], &stats["version"]), (&json!("flight delays"), &json!("3")));
    assert_eq!((&stats["inference_count"], &stats["execution_count"]), (&json!(2), &json!(1)));
    assert_eq!(stats["inference_stats"]["success"]["count"], 1);
    assert_eq!(stats["inference_stats"]["fail"]["count"], 1);
    assert_eq!(get(&server, "/v2/models/flight%20delays/stats").await.1["model_stats"].as_array().unwrap().len(), 2);
    assert_eq!(get(&server, "/v2/models/other/stats").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn settings_are_told_and_cannot_be_changed() {
    let server = server().await;
    assert_eq!(get(&server, "/v2/trace/setting").await.1["trace_level"], json!(["OFF"]));
    assert_eq!(get(&server, "/v2/models/flight%20delays/trace/setting").await.1["trace_rate"], "1000");
    assert_eq!(get(&server, "/v2/logging").await.1["log_error"], true);
    assert_eq!(post(&server, "/v2/logging", r#"{"log_verbose_level": 0}"#).await.0, StatusCode::OK);
    assert_eq!(post(&server, "/v2/logging", r#"{"log_verbose_level": 1}"#).await.0, StatusCode::BAD_REQUEST);
    let trace = r#"{"trace_level": ["TIMESTAMPS"]}"#;
    assert_eq!(post(&server, "/v2/trace/setting", trace).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn no_memory_is_shared() {
    let server = server().await;
    for kind in ["systemsharedmemory", "cudasharedmemory"] {
        assert_eq!(get(&server, &format!("/v2/{kind}/status")).await, (StatusCode::OK, json!([])));
        assert_eq!(get(&server, &format!("/v2/{kind}/region/r/status")).await.0, StatusCode::NOT_FOUND);
        let (status, answer) = post(&server, &format!("/v2/{kind}/region/r/register"), "{}").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["error"].as_str().unwrap().contains("shared memory is not supported"));
        let unregister = Request::post(format!("/v2/{kind}/unregister")).body(Body::empty()).unwrap();
        assert_eq!(send(&server, unregister).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn classes_are_told_by_value_index_and_label() {
    let server = server().await;
    let mut body = request();
    body["outputs"] = json!([{"name": "probability", "parameters": {"classification": 1}}, {"name": "label"}]);
    let (status, answer) = post(&server, INFER, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let expected =
        json!({"name": "probability", "datatype": "BYTES", "shape": [2, 1], "data": ["0.750000:0:late", "1.000000:1"]});
    assert_eq!(output(&answer, "probability"), &expected);
    assert_eq!(output(&answer, "label")["data"], json!([7, 23]));
}

fn large() -> Value {
    let rows = 900;
    json!({"inputs": [
        {"name": "carrier", "shape": [rows, 1], "datatype": "BYTES", "data": vec!["UA"; rows]},
        {"name": "distance", "shape": [rows, 1], "datatype": "FP32", "data": vec![250.0; rows]},
        {"name": "hour", "shape": [rows, 1], "datatype": "INT64", "data": vec![7; rows]},
    ]})
}

async fn ask(server: &Router, body: &Value, accept: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request = Request::post(INFER).header("accept-encoding", accept).body(Body::from(body.to_string())).unwrap();
    let (status, headers, body) = send(server, request).await;
    (status, headers, body.to_vec())
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_accept_it() {
    let server = server().await;
    let (_, headers, plain) = ask(&server, &large(), "identity").await;
    assert!(!headers.contains_key("content-encoding"));
    let mut plain: Value = serde_json::from_slice(&plain).unwrap();
    for accept in ["gzip, deflate, br", "deflate"] {
        let (status, headers, packed) = ask(&server, &large(), accept).await;
        let mut body = Vec::new();
        match headers["content-encoding"].to_str().unwrap() {
            "gzip" => GzDecoder::new(packed.as_slice()).read_to_end(&mut body).unwrap(),
            "deflate" => ZlibDecoder::new(packed.as_slice()).read_to_end(&mut body).unwrap(),
            other => panic!("{other}"),
        };
        assert!(status == StatusCode::OK && packed.len() < body.len() / 4);
        let answer: Value = serde_json::from_slice(&body).unwrap();
        plain["parameters"] = answer["parameters"].clone();
        assert_eq!(answer, plain);
    }
    let (_, headers, _) = ask(&server, &request(), "gzip").await;
    assert!(!headers.contains_key("content-encoding"), "a small answer");
    let mut wrong = large();
    wrong["outputs"] = json!([{"name": "x".repeat(9000)}]);
    let (status, headers, body) = ask(&server, &wrong, "gzip").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(!headers.contains_key("content-encoding") && body.len() > 4096, "an error");
}

#[tokio::test]
async fn a_raw_request_is_for_a_model_with_one_input() {
    let server = server().await;
    let raw = Request::post(INFER).header(LENGTH, "0").body(Body::from(vec![0; 4])).unwrap();
    let (status, _, body) = send(&server, raw).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&body).contains("one input, this one has 3"), "{body:?}");
}

#[tokio::test]
async fn what_may_be_tried_again_says_when() {
    let limits = ProtocolLimits { requests: 1, ..ProtocolLimits::default() };
    let server = OpenInference::new(host().await, limits).router();
    let slow = server.clone();
    let never = Body::from_stream(tokio_stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let slow = tokio::spawn(async move { send(&slow, Request::post(INFER).body(never).unwrap()).await });
    tokio::task::yield_now().await;
    let (status, headers, _) = send(&server, Request::post(INFER).body(Body::empty()).unwrap()).await;
    assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
    slow.abort();
    let (status, headers, _) = send(&server, Request::get(INFER).body(Body::empty()).unwrap()).await;
    assert_eq!((status, &headers["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap()));
}
