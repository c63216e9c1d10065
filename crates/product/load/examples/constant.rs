//! The floor of a comparison: a server that reads a request and answers a constant, on the same threads and the same HTTP as the
//! inference server. What it costs, and how long it takes under the same load, is what the machine and the generator add.
//!
//! `cargo run --release -p ropewalk-load --example constant -- 127.0.0.1:PORT`; it runs until it is killed.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

const ANSWER: &str = concat!(
    r#"{"model_name":"logreg","model_version":"1","outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[0]},"#,
    r#"{"name":"probabilities","datatype":"FP32","shape":[1,2],"data":[1.0,2.9e-15]}]}"#,
);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let infer = post(|_: Bytes| async { ([(CONTENT_TYPE, "application/json")], ANSWER) });
    let router = Router::new().route("/v2/models/{model}/infer", infer).route("/v2/health/ready", get(|| async { "" }));
    let listener = TcpListener::bind(&address).await?.tap_io(|stream| {
        // Where it is refused, the figures say so.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}
