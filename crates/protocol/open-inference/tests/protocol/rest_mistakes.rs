use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use futures_body::pending;
use ropewalk_open_inference::{ProtocolLimits, router};
use serde_json::{Value, json};

use crate::rest::{INFER, get, post, request, send, server};
use crate::world::host;

/// A body that never ends.
mod futures_body {
    use axum::body::{Body, Bytes};

    pub(crate) fn pending() -> Body {
        Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>())
    }
}

/// Makes a good request wrong.
type Change = fn(&mut Value);

async fn refused(server: &Router, change: impl FnOnce(&mut Value)) -> (StatusCode, String) {
    let mut body = request();
    change(&mut body);
    let (status, answer) = post(server, INFER, body).await;
    (status, answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}")).to_owned())
}

#[tokio::test]
async fn a_callers_mistake_is_400_and_says_which() {
    let server = server().await;
    let mistakes: [(Change, &str); 19] = [
        (
            |body| body["inputs"][1]["name"] = json!("dist"),
            "input `dist`: expected one of `carrier`, `distance`, `hour`",
        ),
        (|body| body["inputs"][1] = body["inputs"][2].clone(), "input `hour`: expected one tensor, found a second one"),
        (
            |body| drop(body["inputs"].as_array_mut().unwrap().pop()),
            "input `hour`: expected INT64[-1, 1], found no tensor",
        ),
        (|body| body["inputs"] = json!([]), "input `carrier`"),
        (|body| drop(body.as_object_mut().unwrap().remove("inputs")), "missing field `inputs`"),
        (|body| body["inputs"][0]["datatype"] = json!("TEXT"), "`TEXT` is not a tensor data type"),
        (|body| body["inputs"][1]["datatype"] = json!("BYTES"), "element 0 is no BYTES: 250.0"),
        (|body| body["inputs"][1]["data"] = json!([1, 2, 3]), "has 2 elements, 3 came"),
        (|body| body["inputs"][1]["data"] = json!([[1, 2]]), "neither flat nor nested"),
        (|body| body["inputs"][1]["shape"] = json!([2]), "expected FP32[-1, 1], found FP32[2]"),
        (|body| body["inputs"][1]["shape"] = json!([-2, 1]), "an extent is negative"),
        (|body| body["inputs"][1]["shape"] = json!([i64::MAX, i64::MAX]), "more than 2^31 elements"),
        (|body| body["inputs"][2]["data"] = json!([7, 1.5]), "element 1 is no INT64: 1.5"),
        (|body| drop(body["inputs"][2].as_object_mut().unwrap().remove("data")), "neither `data` nor binary data"),
        (|body| body["outputs"] = json!([{"name": "lable"}]), "no output `lable`; it has: label, probability, note"),
        (
            |body| body["outputs"] = json!([{"name": "note", "parameters": {"classification": 2}}]),
            "output `note` cannot be classified",
        ),
        (|body| body["parameters"] = json!({"sequence_id": 7}), "`sequence_id`: the model is not stateful"),
        (|body| body["parameters"] = json!({"timeout": -1}), "`timeout`: a number of microseconds is expected"),
        (|body| body["parameters"] = json!({"priority": "high"}), "`priority`: a whole number from 0 on"),
    ];
    for (change, expected) in mistakes {
        let (status, error) = refused(&server, change).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
        assert!(error.contains(expected), "{error} does not say {expected}");
    }
    let (status, error) = refused(&server, |body| {
        body["inputs"][1] = json!({"name": "distance", "shape": [1, 1], "datatype": "FP32", "data": [1]});
    })
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{error}");
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    let server = server().await;
    for body in ["", "{", "[]", "null", "\u{0}", r#"{"inputs": 3}"#, &"[".repeat(90_000)] {
        let (status, answer) = post(&server, INFER, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
    assert_eq!(post(&server, "/v2/repository/index", "{").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn binary_lengths_that_lie_are_400() {
    let server = server().await;
    let one = |size: u64| {
        json!({"inputs": [{"name": "distance", "shape": [1, 1], "datatype": "FP32",
                           "parameters": {"binary_data_size": size}}]})
        .to_string()
    };
    let fits = one(4).len().to_string();
    for (length, json, binary) in [
        ("1000", one(4), &b"\0\0\0\0"[..]),
        ("-1", one(4), b"\0\0\0\0"),
        ("18446744073709551616", one(4), b"\0\0\0\0"),
        (&fits, one(4), b"\0\0\0"),
        (&fits, one(4), b"\0\0\0\0\0"),
        (&fits, one(8), b"\0\0\0\0\0\0\0\0"),
        ("10", one(4), b"\0\0\0\0"),
    ] {
        let body = Body::from([json.as_bytes(), binary].concat());
        let request = Request::post(INFER).header("Inference-Header-Content-Length", length).body(body).unwrap();
        let (status, _, body) = send(&server, request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{length} {json} {body:?}");
        assert!(serde_json::from_slice::<Value>(&body).unwrap()["error"].is_string());
    }
}

#[tokio::test]
async fn what_is_not_here_is_404() {
    let server = server().await;
    for path in ["/v2/models/other", "/v2/models/flight%20delays/versions/2", "/v2/models/other/ready", "/v3", "/"] {
        let (status, body) = get(&server, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(body["error"].is_string());
    }
    let (status, body) = post(&server, "/v2/models/other/infer", request()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["error"], "model `other` is not loaded; loaded: flight delays");
    assert_eq!(get(&server, "/v2/models/flight%20delays/versions/one").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(get(&server, "/v2/models/%ff").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(get(&server, INFER).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn what_is_too_large_is_413() {
    let server = server().await;
    let large = vec![b' '; 100_001];
    let (status, _, _) = send(&server, Request::post(INFER).body(Body::from(large)).unwrap()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, error) = refused(&server, |body| {
        for input in body["inputs"].as_array_mut().unwrap() {
            let first = input["data"][0].clone();
            input["shape"] = json!([1001, 1]);
            input["data"] = json!(vec![first; 1001]);
        }
    })
    .await;
    assert_eq!(
        (status, error.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "the request has 1001 rows, the limit is 1000")
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_takes_a_place_until_then() {
    let limits = ProtocolLimits { requests: 1, body_time: Duration::from_millis(100), ..ProtocolLimits::default() };
    let server = router(host().await, limits);
    let slow = Arc::new(server.clone());
    let slow = tokio::spawn(async move { send(&slow, Request::post(INFER).body(pending()).unwrap()).await.0 });
    tokio::task::yield_now().await;
    assert_eq!(post(&server, INFER, request()).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(slow.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(post(&server, INFER, request()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_is_given_up_by_who_listens_is_408_and_one_that_breaks_off_400() {
    let server = server().await;
    for (kind, expected) in
        [(ErrorKind::TimedOut, StatusCode::REQUEST_TIMEOUT), (ErrorKind::ConnectionReset, StatusCode::BAD_REQUEST)]
    {
        for path in [INFER, "/v2/repository/index"] {
            // As a layer before us gives it.
            let error = axum::Error::new(std::io::Error::from(kind));
            let body = Body::from_stream(tokio_stream::once(Err::<Bytes, _>(error)));
            let (status, _, _) = send(&server, Request::post(path).body(body).unwrap()).await;
            assert_eq!(status, expected, "{kind:?} {path}");
        }
    }
}

#[tokio::test]
async fn text_that_is_none_can_only_be_had_as_binary() {
    let server = server().await;
    let ask = async |outputs: Value| {
        let json = json!({
            "inputs": [
                {"name": "carrier", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}},
                {"name": "distance", "shape": [1, 1], "datatype": "FP32", "data": [1]},
                {"name": "hour", "shape": [1, 1], "datatype": "INT64", "data": [1]},
            ],
            "outputs": outputs,
        })
        .to_string();
        let length = json.len();
        let body = Body::from([json.as_bytes(), b"\x01\0\0\0\xff"].concat());
        send(&server, Request::post(INFER).header("inference-header-content-length", length).body(body).unwrap()).await
    };
    let (status, _, body) = ask(json!([{"name": "note"}])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&body).contains("output `note` is not UTF-8"), "{body:?}");
    let (status, _, body) = ask(json!([{"name": "note", "parameters": {"binary_data": true}}])).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.ends_with(b"\x01\0\0\0\xff"));
}
