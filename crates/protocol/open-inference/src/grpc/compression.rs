use std::task::{Context, Poll};

use axum::http;
use tonic::codegen::Service;
use tonic::server::NamedService;

/// Compresses answers only to those who compress what they ask.
///
/// Every client of gRPC's own libraries says that it accepts gzip, whether it wants it or not, so that saying so is
/// no wish; one that compresses its requests has made its choice.
#[derive(Clone, Debug)]
pub struct AsAsked<S> {
    inner: S,
}

impl<S> AsAsked<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: NamedService> NamedService for AsAsked<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<B>>, B> Service<http::Request<B>> for AsAsked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let headers = request.headers_mut();
        if headers.get("grpc-encoding").is_none_or(|encoding| encoding == "identity") {
            headers.remove("grpc-accept-encoding");
        }
        self.inner.call(request)
    }
}
