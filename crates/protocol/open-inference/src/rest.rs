//! REST: paths, bodies and errors.
//!
//! Paths are read by hand: the protocol has few, and a request's share of the time is small enough for a router's
//! bookkeeping to be seen in it.

mod body;
mod compression;
mod infer;
mod model;
mod operations;
mod raw;
mod request;
mod response;
mod route;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use crate::{OpenInference, ProtocolError};
use route::{ModelCall, Route};

#[cfg(any(test, fuzzing))]
pub(crate) use {request::read, response::encode};

pub(crate) fn router(server: Arc<OpenInference>) -> Router {
    Router::new().fallback(handle).with_state(server)
}

async fn handle(State(server): State<Arc<OpenInference>>, request: Request) -> Response {
    answer(&server, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(server: &OpenInference, request: Request) -> Result<Response, ProtocolError> {
    let (parts, body) = request.into_parts();
    let route = Route::read(parts.uri.path())?;
    route.check(&parts.method)?;
    match &route {
        Route::Model { model, version, call: ModelCall::Infer } => {
            infer::infer(server, model, version.as_deref(), &parts, body).await
        }
        Route::Model { model, version, call } => model::answer(server, model, version.as_deref(), *call),
        Route::AllStatistics => model::statistics(server, "", None),
        other => {
            // Bounded also where nothing is to be read from it.
            let (body, _room) = body::read(server, &parts.headers, body).await?;
            operations::answer(server, other, &body).await
        }
    }
}

/// An answer that is JSON.
fn json(value: &impl Serialize) -> Result<Response, ProtocolError> {
    let body = serde_json::to_vec(value).map_err(|_| ProtocolError::Failed)?;
    Ok(with_type(Body::from(body), HeaderValue::from_static("application/json")))
}

/// An answer without content.
fn empty() -> Response {
    with_type(Body::from(Bytes::new()), HeaderValue::from_static("application/json"))
}

fn with_type(body: Body, content_type: HeaderValue) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
