//! One client: a connection of its own, opened again when it is gone.

mod grpc;
mod rest;

use std::time::Duration;

use crate::requests::Body;
pub(crate) use grpc::GrpcClient;
pub(crate) use rest::RestClient;

/// A request that takes longer is given up.
const LONGEST: Duration = Duration::from_mins(1);
/// Longest of an answer's text that is told.
const SAID: usize = 500;

pub(crate) enum Client {
    Rest(RestClient),
    Grpc(GrpcClient),
}

/// A request that was not answered: its status, and what was said.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Status of HTTP or gRPC, `connection`, `timeout` or `client`.
    pub(crate) status: String,
    pub(crate) said: String,
}

impl Client {
    /// Sends a request and reads all of the answer.
    pub(crate) async fn send(&mut self, body: &Body) -> Result<(), Failed> {
        match (self, body) {
            (Self::Rest(client), Body::Rest(request)) => client.send((**request).clone()).await.map(|_| ()),
            (Self::Grpc(client), Body::Grpc(message)) => client.infer((**message).clone()).await,
            _ => Err(Failed::new("client", "a request of one transport over another".to_owned())),
        }
    }
}

impl Failed {
    pub(crate) fn new(status: &str, said: String) -> Self {
        Self { status: status.to_owned(), said }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SAID).collect()
}

/// An error with its causes.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
