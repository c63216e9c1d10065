use bytes::Bytes;
use ropewalk_open_inference::proto::ServerMetadataRequest;
use ropewalk_open_inference::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use ropewalk_store::files;
use serde_json::Value;

use crate::raw;
use crate::world::{KEY, World, client, key, row};

#[tokio::test]
async fn a_share_of_payloads_is_written_without_what_is_redacted() {
    let folder = tempfile::tempdir().expect("folder");
    let log = folder.path().join("access.jsonl");
    let world = World::start(|serve| {
        serve.log.access = Some(log.display().to_string());
        serve.log.access_sample = 0.0;
        serve.log.access_payloads = 0.5;
        serve.log.redact = vec!["y".to_owned()];
    })
    .await;
    for _ in 0..200 {
        let ask = client().post(world.infer_url()).json(&row());
        assert_eq!(ask.send().await.expect("answer").status(), 200);
    }
    world.server.stop().await.expect("stopped");
    let text = files::read_text(&log, 1 << 20).expect("log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!((60..140).contains(&lines.len()), "{} of 200", lines.len());
    for line in lines {
        assert_eq!((&line["model"], &line["version"], &line["rows"]), (&"rope".into(), &1.into(), &1.into()), "{line}");
        assert!(line["inputs"]["x"].is_array() && line["outputs"] == serde_json::json!({ "y": null }), "{line}");
        assert!(line["prediction"].is_string() && line["time"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn requests_are_measured_and_written_down() {
    let folder = tempfile::tempdir().expect("folder");
    let log = folder.path().join("access.jsonl");
    let world = World::start(|serve| serve.log.access = Some(log.display().to_string())).await;
    let ask = client().post(world.url("/v2/models/rope/infer?token=secret"));
    assert_eq!(ask.json(&row()).send().await.expect("answer").status(), 200);
    assert_eq!(client().get(world.url("/v2/models/none")).send().await.expect("answer").status(), 404);
    let url = format!("http://{}", world.server.grpc_url());
    let mut grpc = GrpcInferenceServiceClient::connect(url).await.expect("connected");
    grpc.server_metadata(ServerMetadataRequest::default()).await.expect("answer");
    let text = client().get(world.url("/metrics")).send().await.expect("answer").text().await.expect("text");
    for expected in [
        "nv_inference_request_success{model=\"rope\",version=\"1\"} 1\n",
        "nv_inference_count{model=\"rope\",version=\"1\"} 1\n",
        "http_server_requests_total{http_route=\"/v2/models/{model}/infer\",http_response_status_code=\"200\"} 1\n",
        "http_server_requests_total{http_route=\"/v2/models/{model}\",http_response_status_code=\"404\"} 1\n",
        "rpc_server_requests_total{rpc_method=\"inference.GRPCInferenceService/ServerMetadata\",rpc_grpc_status_code=\"0\"} 1\n",
        "ropewalk_predictions_lost_total 0\n",
        "ropewalk_predictions_failing 0\n",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    world.server.stop().await.expect("stopped");
    let text = files::read_text(&log, 1 << 20).expect("log");
    assert!(!text.contains("secret") && !text.contains("inputs"), "neither queries nor bodies: {text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["path"], "/v2/models/rope/infer");
    assert!(
        lines.iter().all(|line| line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:"))),
        "{text}"
    );
    assert!(lines.iter().any(|line| line["listener"] == "grpc" && line["grpc_status"] == 0));
}

#[tokio::test]
async fn a_method_that_is_none_has_no_name_in_the_measures() {
    let world = World::start(|serve| drop(serve.keys.insert("shop".to_owned(), key(&[])))).await;
    for path in ["/inference.GRPCInferenceService/Marline", "/grpc.health.v1.Health/Marline", "/Marline/Marline"] {
        raw::call(&world, path, Bytes::new()).await.expect_err(path);
    }
    let known = "/inference.GRPCInferenceService/ServerMetadata";
    raw::call(&world, known, Bytes::new()).await.expect_err("no key");
    let metrics = client().get(world.url("/metrics")).header("x-api-key", KEY).send().await.expect("answer");
    let text = metrics.text().await.expect("text");
    assert!(!text.contains("Marline"), "{text}");
    let refused = "rpc_server_requests_total{rpc_method=\"inference.GRPCInferenceService/ServerMetadata\",\
                   rpc_grpc_status_code=\"16\"} 1\n";
    assert!(text.contains(refused), "{refused} is not in\n{text}");
}
