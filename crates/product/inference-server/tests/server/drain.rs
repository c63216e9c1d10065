use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ropewalk_open_inference::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use ropewalk_open_inference::proto::model_infer_request::InferInputTensor;
use ropewalk_open_inference::proto::{InferTensorContents, ModelInferRequest};

use crate::raw;
use crate::world::{World, client, row};

/// Waits until the server says that it is not ready.
async fn until_draining(url: &str) {
    loop {
        let ready = client().get(url).send().await.expect("it still listens");
        if ready.status() == 503 {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_under_way_is_answered_and_the_rest_is_sent_elsewhere() {
    let world = World::start(|_| ()).await;
    world.latch.close();
    let (ready, infer, live) = (world.url("/v2/health/ready"), world.infer_url(), world.url("/v2/health/live"));
    let under_way = tokio::spawn(client().post(&infer).json(&row()).send());
    world.latch.holds(1).await;
    let stopping = tokio::spawn(world.server.stop());
    until_draining(&ready).await;
    let refused = client().post(&infer).json(&row()).send().await.expect("answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(client().get(&live).send().await.expect("answer").status(), 200, "it still lives");
    assert!(!stopping.is_finished());
    world.latch.open();
    assert_eq!(under_way.await.expect("joined").expect("answer").status(), 200);
    stopping.await.expect("joined").expect("stopped");
    assert!(client().get(&live).send().await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let world = World::start(|serve| serve.drain_seconds = 1).await;
    world.latch.close();
    let under_way = tokio::spawn(client().post(world.infer_url()).json(&row()).send());
    world.latch.holds(1).await;
    let begun = Instant::now();
    world.server.stop().await.expect("stopped");
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(20));
    assert!(under_way.await.expect("joined").is_err(), "it was cut off");
    world.latch.open();
}

pub(crate) fn one_row() -> ModelInferRequest {
    let contents = Some(InferTensorContents { fp32_contents: vec![21.0], ..Default::default() });
    let (name, datatype) = ("x".to_owned(), "FP32".to_owned());
    let input = InferInputTensor { name, datatype, shape: vec![1, 1], contents, ..Default::default() };
    ModelInferRequest { model_name: "rope".to_owned(), inputs: vec![input], ..Default::default() }
}

#[tokio::test]
async fn a_stream_that_stays_open_does_not_hold_the_end_up() {
    let world = World::start(|serve| serve.drain_seconds = 600).await;
    world.latch.close();
    let url = format!("http://{}", world.server.grpc_url());
    let mut grpc = GrpcInferenceServiceClient::connect(url).await.expect("connected");
    let (requests, asked) = futures::channel::mpsc::unbounded();
    requests.unbounded_send(one_row()).expect("sent");
    let mut answers = grpc.model_stream_infer(asked).await.expect("a stream").into_inner();
    world.latch.holds(1).await;
    let (ready, latch) = (world.url("/v2/health/ready"), Arc::clone(&world.latch));
    let stopping = tokio::spawn(world.server.stop());
    until_draining(&ready).await;
    latch.open();
    let answer = answers.message().await.expect("answered").expect("an answer");
    assert_eq!(answer.error_message, "");
    assert!(answers.message().await.expect("a good end").is_none());
    let stopped = tokio::time::timeout(Duration::from_mins(1), stopping).await;
    stopped.expect("the client still has its end open").expect("joined").expect("stopped");
    drop(requests);
}

#[tokio::test]
async fn who_watches_the_health_is_told_when_the_end_begins() {
    const SERVING: &[u8] = &[0x08, 1];
    const NOT_SERVING: &[u8] = &[0x08, 2];
    let world = World::start(|_| ()).await;
    world.latch.close();
    let under_way = tokio::spawn(client().post(world.infer_url()).json(&row()).send());
    world.latch.holds(1).await;
    let mut watcher = raw::connect(&world).await;
    let mut health = raw::answers(&mut watcher, "/grpc.health.v1.Health/Watch", Bytes::new()).await;
    assert_eq!(health.message().await.expect("told").expect("a state"), SERVING);
    let latch = Arc::clone(&world.latch);
    let stopping = tokio::spawn(world.server.stop());
    assert_eq!(health.message().await.expect("told").expect("a state"), NOT_SERVING);
    assert!(!stopping.is_finished(), "a request is under way");
    latch.open();
    assert_eq!(under_way.await.expect("joined").expect("answer").status(), 200);
    stopping.await.expect("joined").expect("stopped");
}
