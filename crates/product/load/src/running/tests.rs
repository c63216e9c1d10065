use std::sync::atomic::AtomicUsize;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;
use crate::{Content, EndpointSettings, Transport};

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
    LoadPlan { concurrency, warm_up: Duration::ZERO, seconds: Duration::from_millis(500), rate }
}

fn endpoint(address: &str, transport: Transport, model: &str) -> Result<Endpoint, LoadError> {
    let (address, model) = (address.to_owned(), model.to_owned());
    Endpoint::new(EndpointSettings { address, transport, model, version: None, headers: Vec::new(), trusted: None })
}

async fn loaded(address: &str, transport: Transport, rows: usize, plan: LoadPlan) -> LoadReport {
    let endpoint = endpoint(address, transport, "m").unwrap();
    let requests = endpoint.requests(Content::MadeUp { rows }).await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    load(&endpoint, &requests, plan, stopped).await.unwrap()
}

#[tokio::test]
async fn a_stall_is_seen_by_all_that_were_due_in_it() {
    let address = server(5, Duration::from_millis(200), false).await;
    let report = loaded(&address, Transport::RestJson, 3, plan(1, Some(200.0))).await;
    // Of the hundred that were due, some forty were so while the one client waited; only one was answered late.
    assert!(report.latency_ms.p90 > 100.0, "{report:?}");
    let from_send = report.from_send_ms.unwrap();
    assert!(from_send.max >= 200.0 && from_send.p90 < report.latency_ms.p90, "{report:?}");
    assert!(report.latency_ms.max >= report.latency_ms.p999 && report.errors.is_empty(), "{report:?}");
    assert_eq!(report.answered + report.unsent, 100, "{report:?}");
    assert!((report.rows_per_second / report.per_second - 3.0).abs() < 1e-9, "{report:?}");
}

#[tokio::test]
async fn what_is_due_in_the_warm_up_is_sent_and_not_counted() {
    let (address, asked) = counting_server(usize::MAX, Duration::ZERO, false).await;
    let warm_up = Duration::from_millis(250);
    let report = loaded(&address, Transport::RestJson, 1, LoadPlan { warm_up, ..plan(2, Some(200.0)) }).await;
    assert_eq!(report.answered + report.unsent, 100, "{report:?}");
    assert!(asked.load(Ordering::Relaxed) as u64 > report.answered + 40, "{report:?}");
}

#[tokio::test]
async fn how_late_it_sends_is_told_apart_from_waits_for_a_client() {
    let address = server(5, Duration::from_millis(200), false).await;
    let report = loaded(&address, Transport::RestJson, 1, plan(1, Some(200.0))).await;
    // The two hundred milliseconds are the server's: the client was not free.
    let lateness = report.lateness_ms.unwrap();
    assert!(lateness.p50 < 50.0 && report.latency_ms.p90 > 2.0 * lateness.p50, "{report:?}");
    assert!(loaded(&address, Transport::RestJson, 1, plan(1, None)).await.lateness_ms.is_none());
}

#[tokio::test]
async fn what_is_refused_is_counted_by_status_and_has_no_latency() {
    let address = server(usize::MAX, Duration::ZERO, true).await;
    let report = loaded(&address, Transport::RestBinary, 1, plan(4, None)).await;
    let refused = report.errors["503"];
    assert!(refused > 0 && report.answered > refused, "{report:?}");
    assert!(report.errors.len() == 1 && report.said["503"].contains("full"), "{report:?}");
}

#[tokio::test]
async fn it_can_be_stopped_with_what_there_is() {
    let (address, asked) = counting_server(usize::MAX, Duration::ZERO, false).await;
    let endpoint = endpoint(&address, Transport::RestJson, "m").unwrap();
    let requests = endpoint.requests(Content::MadeUp { rows: 1 }).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let plan = LoadPlan { seconds: Duration::from_hours(1), ..plan(2, None) };
    let loading = tokio::spawn(async move { load(&endpoint, &requests, plan, stopped).await });
    while asked.load(Ordering::Relaxed) < 10 {
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    assert!(loading.await.unwrap().unwrap().interrupted);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_asked_is_an_error_before_the_load() {
    let address = server(0, Duration::ZERO, false).await;
    let asked = async |address: &str, model: &str| {
        endpoint(address, Transport::RestJson, model).unwrap().requests(Content::MadeUp { rows: 1 }).await.unwrap_err()
    };
    let error = asked(&address, "other").await;
    assert!(matches!(&error, LoadError::Refused { status, .. } if status == "404"), "{error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = asked(&closed, "m").await;
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
    assert!(endpoint("ftp://x", Transport::RestJson, "m").is_err());
    assert!(endpoint("x", Transport::Path("no-slash".to_owned()), "m").is_err());
}

#[test]
fn clients_share_the_cores() {
    for rate in [None, Some(1.0)] {
        let shared = crews(plan(1000, rate));
        assert_eq!(shared.len(), thread::available_parallelism().unwrap().get().min(1000));
        assert_eq!(shared.iter().sum::<usize>(), 1000);
        assert!(shared.iter().max().unwrap() - shared.iter().min().unwrap() <= 1);
        assert_eq!(crews(plan(1, rate)), [1]);
    }
}
