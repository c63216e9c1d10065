use axum::Router;
use axum::body::Bytes as Text;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::{EndpointSettings, Transport};

/// A server of a model of one matrix that hands on what it is sent.
async fn server(answers: bool) -> (String, mpsc::UnboundedReceiver<Value>) {
    let (sent, received) = mpsc::unbounded_channel();
    let metadata = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }] }).to_string();
    let infer = move |body: Text| {
        let sent = sent.clone();
        async move {
            sent.send(serde_json::from_slice(&body).unwrap_or(Value::Null)).unwrap();
            if answers {
                (axum::http::StatusCode::OK, "{}")
            } else {
                (axum::http::StatusCode::BAD_REQUEST, "no such key")
            }
        }
    };
    let router = Router::new()
        .route("/v2/models/m", get(move || async move { metadata }))
        .route("/v2/models/m/infer", post(infer.clone()))
        .route("/invocations", post(infer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, received)
}

fn endpoint(address: &str, transport: Transport) -> Endpoint {
    let headers = vec![("x-key".to_owned(), "secret".to_owned())];
    let settings = EndpointSettings {
        address: address.to_owned(),
        transport,
        model: "m".to_owned(),
        version: None,
        headers,
        trusted: None,
    };
    Endpoint::new(settings).unwrap()
}

fn table(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    ropewalk_store::files::write_atomic(&path, text.as_bytes()).unwrap();
    (folder, path)
}

fn content(path: &Path, rows: usize, columns: &[&str]) -> Content {
    let choice = ColumnChoice { columns: columns.iter().map(|column| (*column).to_owned()).collect() };
    Content::Table { path: path.to_owned(), rows, choice }
}

#[tokio::test]
async fn the_rows_of_a_table_are_requests_in_turn() {
    let (address, mut received) = server(true).await;
    let (_folder, path) = table("name,b,a\nu,1.5,10\nv,2.5,20\nw,0.1,30\n");
    let endpoint = endpoint(&address, Transport::RestJson);
    let requests = endpoint.requests(content(&path, 2, &["a", "b"])).await.unwrap();
    assert_eq!((requests.count(), requests.is_cut), (2, false));
    assert_eq!(requests.rounded.get("b"), Some(&1), "0.1 is no FP32");
    assert_eq!([0, 1, 2].map(|number| requests.at(number).unwrap().rows), [2, 1, 2]);
    let first = received.recv().await.unwrap();
    assert_eq!(first["inputs"][0]["shape"], json!([2, 2]));
    assert_eq!(first["inputs"][0]["data"], json!([10.0, 1.5, 20.0, 2.5]));
    endpoint.asked(requests.at(1).unwrap()).await.unwrap();
    assert_eq!(received.recv().await.unwrap()["inputs"][0]["shape"], json!([1, 2]));
}

#[tokio::test]
async fn a_table_that_is_no_input_of_the_model_is_refused_by_column() {
    let (address, _received) = server(true).await;
    let endpoint = endpoint(&address, Transport::RestBinary);
    let (_folder, path) = table("name,a\nu,1\n");
    let error = endpoint.requests(content(&path, 1, &[])).await.unwrap_err();
    assert!(matches!(&error, LoadError::Table(_)), "{error}");
    assert!(error.to_string().contains("`x`"), "{error}");
    let (_folder, path) = table("a,b\n");
    assert!(endpoint.requests(content(&path, 1, &["a", "b"])).await.is_err());
}

#[tokio::test]
async fn another_protocol_is_asked_with_a_body_as_it_is() {
    let (address, mut received) = server(true).await;
    let invocations = endpoint(&address, Transport::Path("/invocations".to_owned()));
    let body = r#"{ "inputs": [[1, 2]] }"#.to_owned();
    assert_eq!(invocations.requests(Content::Body(body)).await.unwrap().count(), 1);
    assert_eq!(received.recv().await.unwrap(), json!({ "inputs": [[1, 2]] }));
    assert!(invocations.requests(Content::MadeUp { rows: 1 }).await.is_err());
    let (address, _received) = server(false).await;
    let error = endpoint(&address, Transport::RestJson).requests(Content::MadeUp { rows: 1 }).await.unwrap_err();
    assert!(matches!(&error, LoadError::Refused { status, .. } if status == "400"), "{error}");
    assert!(!error.to_string().contains("secret") && !format!("{invocations:?}").contains("secret"));
}
