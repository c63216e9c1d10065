use std::sync::atomic::AtomicUsize;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;
use crate::{LoadError, Transport};

/// A server whose every request number `slow` takes `pause`, and whose every third is refused if `refuses`.
#[derive(Clone)]
struct Behaviour {
    asked: Arc<AtomicUsize>,
    slow: usize,
    pause: Duration,
    refuses: bool,
}

async fn answer(State(behaviour): State<Behaviour>) -> (StatusCode, Json<Value>) {
    let number = behaviour.asked.fetch_add(1, Ordering::Relaxed);
    if number == behaviour.slow {
        tokio::time::sleep(behaviour.pause).await;
    }
    if behaviour.refuses && number % 3 == 2 {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "full" })));
    }
    (StatusCode::OK, Json(json!({ "outputs": [] })))
}

async fn server(slow: usize, pause: Duration, refuses: bool) -> String {
    counting_server(slow, pause, refuses).await.0
}

/// As [`server`], with the number of requests that came.
async fn counting_server(slow: usize, pause: Duration, refuses: bool) -> (String, Arc<AtomicUsize>) {
    let behaviour = Behaviour { asked: Arc::default(), slow, pause, refuses };
    let asked = Arc::clone(&behaviour.asked);
    let inputs = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }] });
    let router = Router::new()
        .route("/v2/models/m", get(move || async move { Json(inputs) }))
        .route("/v2/models/m/infer", post(answer))
        .with_state(behaviour);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

fn plan(concurrency: usize, rate: Option<f64>) -> LoadPlan {
    LoadPlan { concurrency, seconds: Duration::from_millis(500), rate }
}

#[tokio::test]
async fn a_stall_is_seen_by_all_that_were_due_in_it() {
    let address = server(5, Duration::from_millis(200), false).await;
    let endpoint = Endpoint::new(&address, Transport::RestJson, "m", None, None).unwrap();
    let request = endpoint.request(3, None).await.unwrap();
    assert_eq!(request.rows, 3);
    let (_stop, stopped) = watch::channel(false);
    let report = load(&endpoint, &request, plan(1, Some(200.0)), stopped).await;
    // Of the hundred that were due, some forty were so while the one client waited.
    assert!(report.latency_ms.p90 > 100.0, "{report:?}");
    assert!(report.latency_ms.max >= report.latency_ms.p999 && report.errors.is_empty(), "{report:?}");
    assert_eq!(report.answered + report.unsent, 100, "{report:?}");
}

#[tokio::test]
async fn what_is_refused_is_counted_by_status_and_has_no_latency() {
    let address = server(usize::MAX, Duration::ZERO, true).await;
    let endpoint = Endpoint::new(&address, Transport::RestBinary, "m", None, None).unwrap();
    let request = endpoint.request(1, None).await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    let report = load(&endpoint, &request, plan(4, None), stopped).await;
    let refused = report.errors["503"];
    assert!(refused > 0 && report.answered > refused, "{report:?}");
    assert_eq!(report.errors.len(), 1, "{report:?}");
}

#[tokio::test]
async fn it_can_be_stopped_with_what_there_is() {
    let (address, asked) = counting_server(usize::MAX, Duration::ZERO, false).await;
    let endpoint = Endpoint::new(&address, Transport::RestJson, "m", None, None).unwrap();
    let request = endpoint.request(1, None).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let plan = LoadPlan { concurrency: 2, seconds: Duration::from_hours(1), rate: None };
    let loading = tokio::spawn(async move { load(&endpoint, &request, plan, stopped).await });
    while asked.load(Ordering::Relaxed) < 10 {
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    assert!(loading.await.unwrap().interrupted);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_asked_is_an_error_before_the_load() {
    let address = server(0, Duration::ZERO, false).await;
    let endpoint = |address: &str, model: &str| Endpoint::new(address, Transport::RestJson, model, None, None);
    let error = endpoint(&address, "other").unwrap().request(1, None).await.unwrap_err();
    assert!(matches!(&error, LoadError::Refused { status, .. } if status == "404"), "{error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = endpoint(&closed, "m").unwrap().request(1, None).await.unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
    assert!(endpoint("ftp://x", "m").is_err());
    assert!(Endpoint::new("https://x", Transport::Grpc, "m", None, None).is_err());
}
