use ropewalk_open_inference::proto::ServerMetadataRequest;
use ropewalk_open_inference::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use ropewalk_store::files;
use serde_json::Value;

use crate::world::{World, client, row};

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
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    world.server.stop().await.expect("stopped");
    let text = files::read_text(&log, 1 << 20).expect("log");
    assert!(!text.contains("secret") && !text.contains("inputs"), "neither queries nor bodies: {text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["path"], "/v2/models/rope/infer");
    assert!(lines.iter().any(|line| line["listener"] == "grpc" && line["grpc_status"] == 0));
}
