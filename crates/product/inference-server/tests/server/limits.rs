use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use ropewalk_open_inference::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use ropewalk_open_inference::proto::infer_parameter::ParameterChoice;
use ropewalk_open_inference::proto::{InferParameter, ModelInferRequest, ModelMetadataRequest, ServerMetadataRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::drain::one_row;
use crate::raw;
use crate::world::{KEY, World, client, key, row};

#[tokio::test]
async fn a_key_beyond_its_rate_is_told_when_to_come_again() {
    let world = World::start(|serve| {
        let mut limited = key(&[]);
        (limited.rate, limited.burst) = (Some(0.01), Some(2));
        serve.keys.insert("shop".to_owned(), limited);
    })
    .await;
    let ask =
        async || client().post(world.infer_url()).header("x-api-key", KEY).json(&row()).send().await.expect("answer");
    assert_eq!((ask().await.status().as_u16(), ask().await.status().as_u16()), (200, 200));
    let third = ask().await;
    assert_eq!(third.status(), 429);
    let seconds: u64 = third.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((90..=100).contains(&seconds), "{seconds}");
    let url = format!("http://{}", world.server.grpc_url());
    let mut grpc = GrpcInferenceServiceClient::connect(url).await.expect("connected");
    let mut request = tonic::Request::new(ServerMetadataRequest::default());
    request.metadata_mut().insert("x-api-key", KEY.parse().expect("ASCII"));
    let refused = grpc.server_metadata(request).await.expect_err("one rate for both");
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let world = World::start(|serve| serve.limits.body_bytes = 1000).await;
    let long = " ".repeat(2000);
    let ask = |body: reqwest::Body| client().post(world.infer_url()).body(body).send();
    assert_eq!(ask(long.clone().into()).await.expect("answer").status(), 413);
    // Without a length it is found out on the way.
    let pieces = futures::stream::iter([Ok::<_, std::io::Error>(long)]);
    assert_eq!(ask(reqwest::Body::wrap_stream(pieces)).await.expect("answer").status(), 413);
}

/// Whoever needs no key has no room either: of what it sends next to nothing is kept.
#[tokio::test]
async fn of_a_request_without_credentials_next_to_nothing_is_read() {
    let world = World::start(|serve| {
        serve.keys.insert("shop".to_owned(), key(&[]));
        serve.limits.body_bytes = 100_000;
    })
    .await;
    // A field that no message has: the fifteenth, whose length has two bytes.
    let message = |head: [u8; 3], length: usize| Bytes::from([head.as_slice(), &vec![0; length]].concat());
    for path in [
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
        "/grpc.health.v1.Health/Check",
    ] {
        assert!(raw::call(&world, path, message([0x7a, 0xe8, 0x07], 1000)).await.is_ok(), "{path}");
        let refused = raw::call(&world, path, message([0x7a, 0x88, 0x27], 5000)).await.expect_err(path);
        assert_eq!(refused.code(), Code::OutOfRange, "{path}");
    }
    for path in ["/v2/health/live", "/v2/health/ready", "/ping", "/health"] {
        let ask = client().get(world.url(path)).body(" ".repeat(200_000)).send();
        assert_eq!(ask.await.expect("answer").status(), 200, "{path} has no use for a body");
    }
}

#[tokio::test]
async fn more_requests_than_there_are_places_are_refused_at_once() {
    let world = World::start(|serve| serve.limits.requests = 1).await;
    world.latch.close();
    let first = tokio::spawn(client().post(world.infer_url()).json(&row()).send());
    world.latch.holds(1).await;
    let second = client().post(world.infer_url()).json(&row()).send().await.expect("answer");
    assert_eq!(second.status(), 503);
    assert!(second.headers().contains_key("retry-after"));
    let health = client().get(world.url("/v2/health/ready")).send().await.expect("answer");
    assert_eq!(health.status(), 200, "health needs no place");
    world.latch.open();
    assert_eq!(first.await.expect("joined").expect("answer").status(), 200);
}

/// Of a key that is limited to models, messages are decompressed before the protocol sees them.
#[tokio::test]
async fn what_compressed_messages_of_a_limited_key_become_is_bounded_in_sum() {
    let world = World::start(|serve| {
        serve.keys.insert("shop".to_owned(), key(&["rope"]));
        (serve.limits.body_bytes, serve.limits.memory_bytes) = (150_000, 200_000);
    })
    .await;
    let url = format!("http://{}", world.server.grpc_url());
    let grpc = GrpcInferenceServiceClient::connect(url).await.expect("connected");
    let grpc = grpc.send_compressed(CompressionEncoding::Gzip);
    let infer = || {
        let mut grpc = grpc.clone();
        let blank = InferParameter { parameter_choice: Some(ParameterChoice::StringParam(" ".repeat(140_000))) };
        let message = ModelInferRequest { parameters: HashMap::from([("note".to_owned(), blank)]), ..one_row() };
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("x-api-key", KEY.parse().expect("ASCII"));
        async move { grpc.model_infer(request).await }
    };
    world.latch.close();
    let first = tokio::spawn(infer());
    world.latch.holds(1).await;
    let message = ModelMetadataRequest { name: "rope".to_owned(), version: " ".repeat(140_000) };
    let mut second = tonic::Request::new(message);
    second.metadata_mut().insert("x-api-key", KEY.parse().expect("ASCII"));
    let refused = grpc.clone().model_metadata(second).await.expect_err("no room");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().starts_with("compressed requests take up the 200000 bytes"), "{refused}");
    world.latch.open();
    first.await.expect("joined").expect("an answer");
    infer().await.expect("what was answered gave its room back");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let world = World::start(|serve| serve.limits.connections = 1).await;
    let first = client();
    assert_eq!(first.get(world.url("/v2")).send().await.expect("answer").status(), 200);
    // The first client keeps its connection.
    let second = client().get(world.url("/v2")).send().await.expect("answer");
    assert_eq!(second.status(), 503);
    assert_eq!(client().get(world.url("/v2/health/live")).send().await.expect("answer").status(), 200);
    drop(first);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let world = World::start(|serve| serve.limits.body_seconds = 1).await;
    let never = futures::stream::pending::<Result<String, std::io::Error>>();
    let ask = client().post(world.infer_url()).body(reqwest::Body::wrap_stream(never)).send();
    let answer = ask.await.expect("answer");
    assert_eq!(answer.status(), 408);
    let said: serde_json::Value = answer.json().await.expect("the protocol's error");
    assert!(said["error"].as_str().is_some_and(|error| error.contains("did not arrive within 1s")), "{said}");
}

/// What an endpoint refuses for its head alone is answered when the body has come: a client that still writes when the connection
/// is closed sees no answer.
#[tokio::test]
async fn a_client_that_sends_its_body_later_is_told_what_is_wrong_and_may_go_on() {
    let world = World::start(|_| {}).await;
    let address = world.server.rest_url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    let body = row().to_string();
    let head = |model: &str| {
        let length = body.len();
        format!("POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
    };
    for (model, status) in [("nobody", "404"), ("rope", "200"), ("nobody", "404")] {
        stream.write_all(head(model).as_bytes()).await.expect("sent");
        let early = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
        assert!(early.is_err(), "{model}: answered before the body has come");
        stream.write_all(body.as_bytes()).await.expect("the connection is open");
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{model}: {answer}");
    }
}

#[tokio::test]
async fn a_table_that_does_not_come_is_late() {
    let world = World::start(|serve| serve.limits.body_seconds = 1).await;
    let never = futures::stream::pending::<Result<String, std::io::Error>>();
    let ask = client().post(world.url("/predict/rope")).body(reqwest::Body::wrap_stream(never)).send();
    assert_eq!(ask.await.expect("answer").status(), 408);
}
