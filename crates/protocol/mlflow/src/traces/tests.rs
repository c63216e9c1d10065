use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::testing::{Server, delete, get, post, put};

const OLD: &str = "/api/2.0/mlflow/traces";
const NEW: &str = "/api/3.0/mlflow/traces";

/// What the client of MLflow 3.17.2 sent for a span of the trace `tr-5b8efff798038103d269b633813fc60c`, less its
/// resource: a root with a parent's child would be `eee19b7ec3c1b174`.
fn spans() -> Value {
    let attribute = |key: &str, value: Value| json!({ "key": key, "value": value });
    let inputs = json!({ "kvlistValue": { "values": [
        attribute("y", json!({ "stringValue": "é" })),
        attribute("x", json!({ "intValue": "3" })),
    ] } });
    json!({ "resourceSpans": [{
        "resource": { "attributes": [attribute("service.name", json!({ "stringValue": "mill" }))] },
        "scopeSpans": [{ "spans": [
            {
                "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "EEE19B7EC3C1B174", "name": "root",
                "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661500000000", "kind": 2,
                "attributes": [
                    attribute("mlflow.spanInputs", inputs),
                    attribute("mlflow.spanType", json!({ "stringValue": "CHAIN" })),
                    attribute("mlflow.traceRequestId", json!({ "stringValue": "tr-of-another" })),
                    attribute("ratio", json!({ "doubleValue": 1.5 })),
                    attribute("none", json!({})),
                ],
                "events": [{
                    "name": "ev", "timeUnixNano": "1544712660000000001",
                    "attributes": [attribute("a", json!({ "boolValue": true }))],
                }],
                "status": { "code": 2, "message": "boo" },
            },
            {
                "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "0000000000000001",
                "parentSpanId": "eee19b7ec3c1b174", "name": "child",
                "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1_544_712_661_000_000_000_i64,
                "links": [{ "traceId": "0000000000000000000000000000000a", "spanId": "000000000000000b" }],
            },
        ] }],
    }] })
}

fn export(kind: &'static str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri("/v1/traces").header(header::HOST, "localhost:5000");
    let request = request.header(header::CONTENT_TYPE, kind).header("x-mlflow-experiment-id", "0");
    request.body(body.into()).expect("request")
}

fn with_method(method: Method, path: &str, body: &Value) -> Request<Body> {
    let mut request = post(path, body);
    *request.method_mut() = method;
    request
}

/// Length-delimited field of a protobuf message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![(number << 3) | 2];
    let mut length = bytes.len();
    while length >= 128 {
        message.push((length % 128) as u8 | 128);
        length /= 128;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
    message
}

/// A request with spans of this id in the trace 1, written by hand from the specification's field numbers.
fn protobuf(span_ids: &[&[u8]]) -> Vec<u8> {
    let mut trace = vec![0_u8; 15];
    trace.push(1);
    let span = |id: &&[u8]| {
        let mut span = [field(1, &trace), field(2, id), field(5, b"by hand")].concat();
        for (number, nanos) in [(7_u8, 5_000_000_u64), (8, 9_000_000)] {
            span.push((number << 3) | 1);
            span.extend(nanos.to_le_bytes());
        }
        // An attribute k = "v", and a status that says well.
        span.extend(field(9, &[field(1, b"k"), field(2, &field(1, b"v"))].concat()));
        span.extend(field(15, &[3 << 3, 1]));
        field(2, &span)
    };
    field(1, &field(2, &span_ids.iter().map(span).collect::<Vec<_>>().concat()))
}

fn info(id: &str) -> Value {
    json!({ "trace": { "trace_info": {
        "trace_id": id, "client_request_id": "cr1",
        "trace_location": { "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": "0" } },
        "request_time": "2026-11-30T11:48:24.392Z", "execution_duration": "0.050s", "state": "OK",
        "trace_metadata": { "mlflow.user": "root" }, "tags": { "mlflow.traceName": "f", "t": "v" },
        "request_preview": "{\"x\": 3}",
        "assessments": [{ "assessment_name": "n", "feedback": { "value": 5 }, "source": { "source_type": "CODE" } }],
    } } })
}

#[tokio::test]
async fn an_info_is_answered_as_it_was_given() {
    let server = Server::new().await;
    let given = info("tr-1");
    let started = server.ok(post(NEW, &given)).await;
    let found = server.ok(get(&format!("{NEW}/tr-1"))).await;
    assert_eq!(started, found);
    let found = &found["trace"]["trace_info"];
    let same = [
        "trace_id",
        "client_request_id",
        "trace_location",
        "request_time",
        "execution_duration",
        "state",
        "request_preview",
    ];
    for key in same {
        assert_eq!(found[key], given["trace"]["trace_info"][key], "{key}");
    }
    assert_eq!(found["trace_metadata"]["mlflow.trace.infoFinalized"], "true");
    assert_eq!(found["tags"]["mlflow.artifactLocation"], "mlflow-artifacts:/0/traces/tr-1/artifacts");
    assert_eq!(found["assessments"][0]["feedback"], json!({ "value": 5.0 }));
    assert!(found.get("response_preview").is_none());
    let old = server.ok(get(&format!("{OLD}/tr-1/info"))).await;
    assert_eq!(
        (&old["trace_info"]["timestamp_ms"], &old["trace_info"]["execution_time_ms"]),
        (&json!(1_796_039_304_392_i64), &json!(50))
    );
    let old = server.ok(get(&format!("{OLD}?experiment_ids=0&experiment_ids=1&max_results=1"))).await;
    assert_eq!((&old["traces"][0]["request_id"], old.get("next_page_token")), (&json!("tr-1"), None));
    let infos = server.ok(post(&format!("{NEW}/batchGetInfos"), &json!({ "trace_ids": ["tr-1", "tr-2"] }))).await;
    assert_eq!(infos["trace_infos"], json!([found]));
    for wrong in [json!({}), json!({ "trace": { "trace_info": { "trace_id": "tr-1" } } })] {
        server.refuses(post(NEW, &wrong), 400, "INVALID_PARAMETER_VALUE").await;
    }
    server.refuses(get(&format!("{NEW}/tr-2")), 404, "RESOURCE_DOES_NOT_EXIST").await;
}

#[tokio::test]
async fn spans_in_json_come_back_as_messages_of_opentelemetry() {
    let server = Server::new().await;
    assert_eq!(server.ok(export("application/json; charset=utf-8", spans().to_string())).await, json!({}));
    let id = "tr-5b8efff798038103d269b633813fc60c";
    let trace = server.ok(get(&format!("{NEW}/get?trace_id={id}&allow_partial=False"))).await;
    let info = &trace["trace"]["trace_info"];
    assert_eq!((info["state"].as_str(), info["execution_duration"].as_str()), (Some("ERROR"), Some("1.500s")));
    assert_eq!(
        (info["tags"]["service.name"].as_str(), info["request_preview"].as_str()),
        (Some("mill"), Some("{\"y\": \"é\", \"x\": 3}"))
    );
    let root = &trace["trace"]["spans"][0];
    assert_eq!(
        (root["trace_id"].as_str(), root["span_id"].as_str()),
        (Some("W47/95gDgQPSabYzgT/GDA=="), Some("7uGbfsPBsXQ="))
    );
    assert_eq!(root["status"], json!({ "message": "boo", "code": "STATUS_CODE_ERROR" }));
    assert!(root.get("parent_span_id").is_none());
    let kvlist = json!({ "kvlist_value": { "values": [
        { "key": "y", "value": { "string_value": "é" } }, { "key": "x", "value": { "int_value": 3 } },
    ] } });
    let attributes = json!([
        { "key": "mlflow.spanInputs", "value": kvlist },
        { "key": "mlflow.spanType", "value": { "string_value": "CHAIN" } },
        { "key": "mlflow.traceRequestId", "value": { "string_value": id } },
        { "key": "ratio", "value": { "double_value": 1.5 } },
        { "key": "none" },
    ]);
    assert_eq!(root["attributes"], attributes);
    let events = json!([{
        "time_unix_nano": 1_544_712_660_000_000_001_i64, "name": "ev",
        "attributes": [{ "key": "a", "value": { "bool_value": true } }],
    }]);
    assert_eq!(root["events"], events);
    let child = &trace["trace"]["spans"][1];
    assert_eq!((&child["parent_span_id"], &child["status"]), (&root["span_id"], &json!({})));
    assert_eq!(child["links"], json!([{ "trace_id": "AAAAAAAAAAAAAAAAAAAACg==", "span_id": "AAAAAAAAAAs=" }]));
    let many = server.ok(get(&format!("{NEW}/batchGet?trace_ids=tr-none&trace_ids={id}"))).await;
    assert_eq!(many["traces"], json!([trace["trace"]]));

    let response = server.raw(get(&format!("/ajax-api/3.0/mlflow/get-trace-artifact?request_id={id}"))).await;
    assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let file = to_bytes(response.into_body(), usize::MAX).await.expect("file");
    let file: Value = serde_json::from_slice(&file).expect("JSON");
    assert_eq!(file["spans"][0]["attributes"]["mlflow.spanInputs"], "{\"y\": \"é\", \"x\": 3}");
    let filter = json!({
        "locations": [{ "mlflow_experiment": { "experiment_id": "0" } }],
        "filter": "span.attributes.ratio = '1.5'",
    });
    assert_eq!(server.ok(post(&format!("{NEW}/search"), &filter)).await["traces"][0]["trace_id"], id);
}

async fn exported(server: &Server, request: Request<Body>) -> (StatusCode, HeaderValue, Bytes) {
    let response = server.raw(request).await;
    let (status, kind) = (response.status(), response.headers()[header::CONTENT_TYPE].clone());
    (status, kind, to_bytes(response.into_body(), usize::MAX).await.expect("body"))
}

#[tokio::test]
async fn protobuf_is_answered_in_protobuf_also_when_packed_or_in_part() {
    use std::io::Write as _;
    let server = Server::new().await;
    let good: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 7];
    let (status, kind, body) = exported(&server, export("application/x-protobuf", protobuf(&[good]))).await;
    assert_eq!((status, kind.as_bytes(), body.len()), (StatusCode::OK, b"application/x-protobuf".as_slice(), 0));
    let trace = server.ok(get(&format!("{NEW}/get?trace_id=tr-{:032x}", 1))).await;
    assert_eq!(trace["trace"]["spans"][0]["attributes"][0], json!({ "key": "k", "value": { "string_value": "v" } }));
    assert_eq!(trace["trace"]["trace_info"]["execution_duration"], "0.004s");

    // A span without an id is not taken, which field 1 of field 1 counts.
    let (status, _, body) = exported(&server, export("application/x-protobuf", protobuf(&[good, &[]]))).await;
    assert_eq!((status, &body[..1], &body[2..4]), (StatusCode::OK, [10_u8].as_slice(), [8_u8, 1].as_slice()));

    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&protobuf(&[&[9; 8]])).expect("pack");
    let mut packed = export("application/x-protobuf", packer.finish().expect("packed"));
    packed.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(exported(&server, packed).await.0, StatusCode::OK);
    let trace = server.ok(get(&format!("{NEW}/get?trace_id=tr-{:032x}", 1))).await;
    assert_eq!(trace["trace"]["spans"].as_array().expect("spans").len(), 2);
}

#[tokio::test]
async fn a_request_that_is_not_taken_says_why_in_its_own_encoding() {
    let server = Server::new().await;
    // google.rpc.Status: its field 1 is 3, INVALID_ARGUMENT.
    let (status, kind, body) = exported(&server, export("application/x-protobuf", "garbage")).await;
    assert_eq!(
        (status, kind.as_bytes(), &body[..2]),
        (StatusCode::BAD_REQUEST, b"application/x-protobuf".as_slice(), [8_u8, 3].as_slice())
    );
    server.refuses(export("application/json", "{"), 400, "BAD_REQUEST").await;
    server.refuses(export("application/json", "{}"), 400, "INVALID_PARAMETER_VALUE").await;
    server.refuses(export("text/plain", "{}"), 400, "INVALID_PARAMETER_VALUE").await;
    let mut nowhere = export("application/json", spans().to_string());
    nowhere.headers_mut().insert("x-mlflow-experiment-id", HeaderValue::from_static("77"));
    server.refuses(nowhere, 404, "RESOURCE_DOES_NOT_EXIST").await;
    let mut anywhere = export("application/json", spans().to_string());
    anywhere.headers_mut().remove("x-mlflow-experiment-id");
    server.refuses(anywhere, 400, "INVALID_PARAMETER_VALUE").await;
    for packing in ["br", "gzip"] {
        let mut packed = export("application/json", spans().to_string());
        packed.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(packing));
        server.refuses(packed, 400, "INVALID_PARAMETER_VALUE").await;
    }
}

#[tokio::test]
async fn tags_links_and_deletions() {
    let server = Server::new().await;
    for id in ["tr-1", "tr-2"] {
        server.ok(post(NEW, &info(id))).await;
    }
    let tag = json!({ "key": "a", "value": "b" });
    for base in [OLD, NEW] {
        let path = format!("{base}/tr-1/tags");
        server.ok(with_method(Method::PATCH, &path, &tag)).await;
        assert_eq!(server.ok(get(&format!("{NEW}/tr-1"))).await["trace"]["trace_info"]["tags"]["a"], "b");
        server.ok(with_method(Method::DELETE, &path, &json!({ "key": "a" }))).await;
        server.refuses(with_method(Method::DELETE, &path, &tag), 404, "RESOURCE_DOES_NOT_EXIST").await;
    }
    let kept = json!({ "key": "mlflow.trace.spansLocation", "value": "x" });
    server
        .refuses(with_method(Method::PATCH, &format!("{NEW}/tr-1/tags"), &kept), 400, "INVALID_PARAMETER_VALUE")
        .await;
    let run = server.ok(post("/api/2.0/mlflow/runs/create", &json!({ "experiment_id": "0" }))).await;
    let run = run["run"]["info"]["run_id"].as_str().expect("run").to_owned();
    server.ok(post(&format!("{OLD}/link-to-run"), &json!({ "trace_ids": ["tr-2"], "run_id": run }))).await;
    let prompts = json!({ "trace_id": "tr-1", "prompt_versions": [{ "name": "hello", "version": "3" }] });
    server.ok(post(&format!("{OLD}/link-prompts"), &prompts)).await;
    for (filter, id) in [(format!("attribute.run_id = '{run}'"), "tr-2"), ("prompt = 'hello/3'".to_owned(), "tr-1")] {
        let search = json!({ "locations": [{ "mlflow_experiment": { "experiment_id": "0" } }], "filter": filter });
        let found = server.ok(post(&format!("{NEW}/search"), &search)).await;
        let ids: Vec<&Value> = found["traces"].as_array().expect("traces").iter().map(|one| &one["trace_id"]).collect();
        assert_eq!(ids, [id], "{filter}");
    }
    let path = format!("{OLD}/delete-traces");
    for wrong in [
        json!({ "experiment_id": "0" }),
        json!({ "experiment_id": "0", "max_traces": 1, "request_ids": ["tr-1"] }),
        json!({ "experiment_id": "0", "max_timestamp_millis": 1, "request_ids": ["tr-1"] }),
        json!({ "experiment_id": "0", "max_timestamp_millis": 1, "max_traces": 0 }),
        json!({ "request_ids": ["tr-1"] }),
    ] {
        server.refuses(post(&path, &wrong), 400, "INVALID_PARAMETER_VALUE").await;
    }
    let named = json!({ "experiment_id": "0", "request_ids": ["tr-1", "tr-9"] });
    assert_eq!(server.ok(post(&path, &named)).await, json!({ "traces_deleted": 1 }));
    let all = json!({ "experiment_id": "0", "max_timestamp_millis": "1796039304392" });
    assert_eq!(server.ok(post(&path, &all)).await, json!({ "traces_deleted": 1 }));
}

#[tokio::test]
async fn searches_are_checked_and_go_on_by_token() {
    let server = Server::new().await;
    for id in ["tr-1", "tr-2"] {
        server.ok(post(NEW, &info(id))).await;
    }
    let path = format!("{NEW}/search");
    let locations = json!([{ "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": "0" } }]);
    let first = server.ok(post(&path, &json!({ "locations": locations, "max_results": 1 }))).await;
    assert_eq!(first["traces"][0]["trace_id"], "tr-1");
    let next = json!({ "locations": locations, "max_results": 1, "page_token": first["next_page_token"] });
    let second = server.ok(post(&path, &next)).await;
    assert_eq!((&second["traces"][0]["trace_id"], second.get("next_page_token")), (&json!("tr-2"), None));
    assert_eq!(server.ok(post(&path, &json!({ "locations": [] }))).await, json!({}));
    for wrong in [
        json!({}),
        json!({ "locations": locations, "max_results": 501 }),
        json!({ "locations": locations, "max_results": 0 }),
        json!({ "locations": locations, "page_token": "zz" }),
        json!({ "locations": locations, "filter": "foo.x = 1" }),
        json!({ "locations": locations, "order_by": ["foo"] }),
    ] {
        server.refuses(post(&path, &wrong), 400, "INVALID_PARAMETER_VALUE").await;
    }
}

#[tokio::test]
async fn assessments_are_made_read_changed_and_deleted() {
    let server = Server::new().await;
    server.ok(post(NEW, &info("tr-1"))).await;
    let path = format!("{NEW}/tr-1/assessments");
    let feedback = json!({ "assessment": {
        "assessment_name": "good", "trace_id": "tr-1", "source": { "source_type": "HUMAN", "source_id": "me" },
        "create_time": "2026-11-30T11:48:26.098Z", "last_update_time": "2026-11-30T11:48:26.098Z",
        "feedback": { "value": true, "error": { "error_code": "E", "error_message": "x" } },
        "rationale": "why", "metadata": { "m": "1" }, "valid": true,
    } });
    let made = server.ok(post(&path, &feedback)).await;
    let id = made["assessment"]["assessment_id"].as_str().expect("id").to_owned();
    assert!(id.starts_with("a-") && id.len() == 34, "{id}");
    for (key, value) in feedback["assessment"].as_object().expect("object") {
        assert_eq!(&made["assessment"][key], value, "{key}");
    }
    let one = format!("{path}/{id}");
    assert_eq!(server.ok(get(&format!("{one}?trace_id=tr-1&assessment_id={id}"))).await, made);
    let update = json!({
        "assessment": { "feedback": { "value": 0.5 }, "rationale": "b", "metadata": { "n": "2" } },
        "update_mask": "feedback,rationale,metadata",
    });
    let updated = server.ok(with_method(Method::PATCH, &one, &update)).await;
    assert_eq!(
        (&updated["assessment"]["feedback"], &updated["assessment"]["rationale"]),
        (&json!({ "value": 0.5 }), &json!("b"))
    );
    assert_eq!(updated["assessment"]["metadata"], json!({ "m": "1", "n": "2" }));
    for (given, answered) in [
        (json!({ "value": "text" }), json!({ "value": "text" })),
        (
            json!({ "serialized_value": { "serialization_format": "JSON_FORMAT", "value": "{\"a\": [1, null]}" } }),
            json!({ "serialized_value": { "serialization_format": "JSON_FORMAT", "value": "{\"a\": [1, null]}" } }),
        ),
    ] {
        let expectation = json!({ "assessment": { "assessment_name": "e", "expectation": given } });
        assert_eq!(server.ok(post(&path, &expectation)).await["assessment"]["expectation"], answered);
    }
    for wrong in [json!({}), json!({ "assessment": { "assessment_name": "e" } })] {
        server.refuses(post(&path, &wrong), 400, "INVALID_PARAMETER_VALUE").await;
    }
    server.ok(delete(&one)).await;
    server.refuses(get(&one), 404, "RESOURCE_DOES_NOT_EXIST").await;
    server.refuses(post(&format!("{NEW}/tr-2/assessments"), &feedback), 404, "RESOURCE_DOES_NOT_EXIST").await;
}

#[tokio::test]
async fn spans_that_the_client_put_among_the_artifacts_are_found_there() {
    let server = Server::new().await;
    server.ok(post(NEW, &info("tr-1"))).await;
    server.refuses(get(&format!("{NEW}/get?trace_id=tr-1")), 404, "RESOURCE_DOES_NOT_EXIST").await;
    let path = "/api/2.0/mlflow-artifacts/artifacts/0/traces/tr-1/artifacts/traces.json";
    assert_eq!(server.raw(put(path, Bytes::from_static(b"{\"spans\": []}"))).await.status(), StatusCode::OK);
    let response = server.raw(get("/ajax-api/2.0/mlflow/get-trace-artifact?request_id=tr-1")).await;
    assert_eq!(to_bytes(response.into_body(), 100).await.expect("file"), "{\"spans\": []}");
}

#[tokio::test]
async fn clients_before_mlflow_3_record_a_trace_at_its_start_and_at_its_end() {
    let server = Server::new().await;
    let pair = |key: &str, value: &str| json!([{ "key": key, "value": value }]);
    let begun = json!({
        "experiment_id": "0", "timestamp_ms": 1_000,
        "request_metadata": pair("mlflow.traceInputs", "{}"), "tags": pair("mlflow.traceName", "predict"),
    });
    let info = server.ok(post(OLD, &begun)).await["trace_info"].take();
    assert_eq!((&info["status"], info.get("execution_time_ms")), (&json!("IN_PROGRESS"), None));
    let id = info["request_id"].as_str().expect("id").to_owned();
    assert_eq!(id.len(), 32);
    let ended = json!({ "timestamp_ms": "1250", "status": "OK", "tags": pair("a", "b") });
    let info = server.ok(with_method(Method::PATCH, &format!("{OLD}/{id}"), &ended)).await["trace_info"].take();
    assert_eq!((&info["status"], &info["execution_time_ms"]), (&json!("OK"), &json!(250)));
    let has = |list: &str, key: &str| info[list].as_array().is_some_and(|all| all.iter().any(|one| one["key"] == key));
    assert!(
        has("request_metadata", "mlflow.traceInputs") && has("tags", "a") && has("tags", "mlflow.traceName"),
        "{info}"
    );
    assert!(has("tags", "mlflow.artifactLocation"), "{info}");
    let wrong = json!({ "timestamp_ms": 1, "status": "SOME" });
    let wrong = with_method(Method::PATCH, &format!("{OLD}/{id}"), &wrong);
    server.refuses(wrong, 400, "INVALID_PARAMETER_VALUE").await;
    let absent = with_method(Method::PATCH, &format!("{OLD}/none"), &ended);
    server.refuses(absent, 404, "RESOURCE_DOES_NOT_EXIST").await;
    server.refuses(post(OLD, &json!({ "timestamp_ms": 1 })), 400, "INVALID_PARAMETER_VALUE").await;
}

#[tokio::test]
async fn more_spans_than_an_answer_may_have_are_refused() {
    let server = Server::new().await;
    let span = |trace: u32| {
        json!({
            "traceId": format!("{trace:032x}"), "spanId": "00000000000000aa", "name": "long",
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661500000000",
            "attributes": [{ "key": "text", "value": { "stringValue": "x".repeat(600 << 10) } }],
        })
    };
    let scope = json!({ "spans": [span(1), span(2)] });
    let body = json!({ "resourceSpans": [{ "resource": {}, "scopeSpans": [scope] }] });
    server.ok(export("application/json", body.to_string())).await;
    let id = |trace: u32| format!("tr-{trace:032x}");
    for path in [format!("{NEW}/get?trace_id={}", id(1)), format!("{NEW}/batchGet?trace_ids={}", id(2))] {
        server.ok(get(&path)).await;
    }
    let both = get(&format!("{NEW}/batchGet?trace_ids={}&trace_ids={}", id(1), id(2)));
    let message = server.refuses(both, 400, "INVALID_PARAMETER_VALUE").await;
    assert!(message.contains("fewer traces"), "{message}");
}
