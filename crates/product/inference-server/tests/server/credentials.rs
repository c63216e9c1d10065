use ropewalk_config::Serve;
use ropewalk_open_inference::proto::ModelInferRequest;
use ropewalk_open_inference::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use ropewalk_open_inference::proto::{ModelMetadataRequest, ServerReadyRequest};
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};

use crate::world::{KEY, World, client, key, row};

fn with_key(serve: &mut Serve, models: &[&str]) {
    serve.keys.insert("shop".to_owned(), key(models));
}

#[tokio::test]
async fn other_addresses_than_loopback_ask_for_credentials() {
    let open = World::started(|serve| serve.host = [0, 0, 0, 0].into()).await.err().expect("refused");
    assert!(open.to_string().contains("without credentials"), "{open}");
}

#[tokio::test]
async fn only_who_has_the_key_is_answered() {
    let world = World::start(|serve| with_key(serve, &[])).await;
    let ask = async |header: Option<(&str, String)>| {
        let mut request = client().post(world.infer_url()).json(&row());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send().await.expect("answer")
    };
    let none = ask(None).await;
    assert_eq!((none.status().as_u16(), none.headers()["www-authenticate"].as_bytes()), (401, b"Bearer".as_slice()));
    assert_eq!(ask(Some(("authorization", "Bearer another-key-altogether".to_owned()))).await.status(), 401);
    assert_eq!(ask(Some(("authorization", format!("Bearer {KEY}")))).await.status(), 200);
    assert_eq!(ask(Some(("x-api-key", KEY.to_owned()))).await.status(), 200);
    let health = client().get(world.url("/v2/health/ready")).send().await.expect("answer");
    assert_eq!(health.status(), 200, "health says nothing about anybody's models");
    assert_eq!(client().get(world.url("/metrics")).send().await.expect("answer").status(), 401);
}

#[tokio::test]
async fn a_key_reaches_as_far_as_its_models_over_rest() {
    let world = World::start(|serve| with_key(serve, &["rope"])).await;
    let status = async |path: &str| {
        client().get(world.url(path)).header("x-api-key", KEY).send().await.expect("answer").status().as_u16()
    };
    assert_eq!(status("/v2/models/rope").await, 200);
    assert_eq!(status("/v2").await, 200);
    assert_eq!(status("/v2/models/hemp").await, 403);
    assert_eq!(status("/v2/repository/index").await, 403);
    assert_eq!(status("/metrics").await, 403);
}

#[tokio::test]
async fn the_page_is_open_and_describes_to_a_key_its_models_only() {
    for (model, reached) in [("rope", true), ("hemp", false)] {
        let world = World::start(|serve| with_key(serve, &[model])).await;
        let page = client().get(world.url("/docs")).send().await.expect("answer");
        assert_eq!(page.status(), 200, "a browser sends no key by itself");
        assert!(!page.text().await.expect("text").contains("rope"));
        for path in ["/docs/models", "/openapi.json"] {
            assert_eq!(client().get(world.url(path)).send().await.expect("answer").status(), 401, "{path}");
            let described = client().get(world.url(path)).header("x-api-key", KEY).send().await.expect("answer");
            assert_eq!(described.status(), 200, "{path}");
            assert_eq!(described.text().await.expect("text").contains("predict/rope"), reached, "{path}");
        }
    }
}

#[tokio::test]
async fn a_key_reaches_as_far_as_its_models_over_grpc() {
    let world = World::start(|serve| with_key(serve, &["rope"])).await;
    let url = format!("http://{}", world.server.grpc_url());
    let mut grpc = GrpcInferenceServiceClient::connect(url).await.expect("connected");
    let metadata = |name: &str, key: Option<&str>| {
        let mut request = Request::new(ModelMetadataRequest { name: name.to_owned(), ..Default::default() });
        if let Some(key) = key {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().expect("ASCII"));
        }
        request
    };
    assert!(grpc.server_ready(ServerReadyRequest::default()).await.expect("public").into_inner().ready);
    let none = grpc.model_metadata(metadata("rope", None)).await.expect_err("no key");
    assert_eq!(none.code(), Code::Unauthenticated);
    assert!(grpc.model_metadata(metadata("rope", Some(KEY))).await.is_ok());
    let other = grpc.model_metadata(metadata("hemp", Some(KEY))).await.expect_err("another model");
    assert_eq!(other.code(), Code::PermissionDenied);
    let mut infer = Request::new(ModelInferRequest { model_name: "hemp".to_owned(), ..Default::default() });
    infer.metadata_mut().insert("x-api-key", KEY.parse().expect("ASCII"));
    assert_eq!(grpc.model_infer(infer).await.expect_err("another model").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_key_reaches_its_models_in_compressed_messages_too() {
    let world = World::start(|serve| with_key(serve, &["rope"])).await;
    let url = format!("http://{}", world.server.grpc_url());
    let grpc = GrpcInferenceServiceClient::connect(url).await.expect("connected");
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let mut grpc = grpc.clone().send_compressed(encoding).accept_compressed(encoding);
        let mut metadata = async |name: &str| {
            let mut request = Request::new(ModelMetadataRequest { name: name.to_owned(), ..Default::default() });
            request.metadata_mut().insert("x-api-key", KEY.parse().expect("ASCII"));
            grpc.model_metadata(request).await
        };
        assert_eq!(metadata("rope").await.expect("its model").into_inner().name, "rope");
        let other = metadata("hemp").await.expect_err("another model");
        assert_eq!((other.code(), other.message()), (Code::PermissionDenied, "this key may not ask for this model"));
        let none = metadata("").await.expect_err("no model");
        assert!(none.message().contains("name the model first"), "{none}");
    }
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask_and_no_others() {
    let world = World::start(|serve| serve.cors.origins = vec!["https://app.example.com".to_owned()]).await;
    let ask = async |method: reqwest::Method, origin: &str| {
        let request = client().request(method, world.infer_url()).header("origin", origin).json(&row());
        request.header("access-control-request-method", "POST").send().await.expect("answer")
    };
    let before = ask(reqwest::Method::OPTIONS, "https://app.example.com").await;
    assert_eq!(before.status(), 204);
    assert_eq!(before.headers()["access-control-allow-origin"], "https://app.example.com");
    let answer = ask(reqwest::Method::POST, "https://app.example.com").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example.com");
    let other = ask(reqwest::Method::POST, "https://evil.example.com").await;
    assert_eq!(other.status(), 403);
    assert!(!other.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_foreign_name_of_this_machine_is_refused() {
    let world = World::start(|_| ()).await;
    let ask = client().get(world.url("/v2")).header("host", "evil.example.com").send().await.expect("answer");
    assert_eq!(ask.status(), 403);
}
