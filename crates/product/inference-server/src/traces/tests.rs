use axum::Router;
use axum::routing::post;
use serde_json::Value;

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_context_is_read_as_the_specification_says() {
    assert_eq!(TraceParent::read(PARENT).expect("good").to_string(), PARENT);
    assert!(TraceParent::read("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what").is_some());
    for wrong in [
        "",
        "00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
    ] {
        assert!(TraceParent::read(wrong).is_none(), "{wrong}");
    }
}

#[tokio::test]
async fn spans_come_to_the_collector_below_their_parents() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let (sender, mut received) = mpsc::channel::<Value>(4);
    let collect = move |axum::Json(body): axum::Json<Value>| {
        let sender = sender.clone();
        async move { sender.send(body).await.expect("test listens") }
    };
    let collector = Router::new().route("/v1/traces", post(collect));
    let collector = tokio::spawn(async move { axum::serve(listener, collector).await });
    let table = ServeTrace { endpoint: format!("http://{address}"), sample: 0.0, service: "ropes".to_owned() };
    let lost = Arc::new(AtomicU64::new(0));
    let tracer = Tracer::start(&table, Arc::clone(&lost)).expect("tracer");
    let mut headers = HeaderMap::new();
    assert!(tracer.begin(&mut headers).is_none(), "none that begins here is kept");
    headers.insert(TRACEPARENT, HeaderValue::from_static(PARENT));
    let span = tracer.begin(&mut headers).expect("the parent decides");
    let onward = headers[TRACEPARENT].to_str().expect("text").to_owned();
    assert!(onward.contains("4bf92f3577b34da6a3ce929d0e0e4736") && !onward.contains("00f067aa0ba902b7"));
    tracer.end(&span, Wire::Rest, &Method::POST, "/v2/models/{model}/infer", 503, true);
    tracer.flush(Duration::from_secs(10)).await;
    let body = received.recv().await.expect("a batch");
    let span = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(span["name"], "POST /v2/models/{model}/infer");
    assert_eq!(span["status"]["code"], 2);
    assert_eq!(lost.load(Ordering::Relaxed), 0);
    collector.abort();
}

#[tokio::test]
async fn spans_that_nobody_takes_are_counted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let table = ServeTrace { endpoint: format!("http://{address}"), sample: 1.0, service: "ropes".to_owned() };
    let lost = Arc::new(AtomicU64::new(0));
    let tracer = Tracer::start(&table, Arc::clone(&lost)).expect("tracer");
    let span = tracer.begin(&mut HeaderMap::new()).expect("all are kept");
    tracer.end(&span, Wire::Grpc, &Method::POST, "/inference.GRPCInferenceService/ModelInfer", 0, false);
    tracer.flush(Duration::from_secs(10)).await;
    assert_eq!(lost.load(Ordering::Relaxed), 1);
}
