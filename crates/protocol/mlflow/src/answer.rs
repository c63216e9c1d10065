use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Serialize;

use crate::MlflowError;

/// What an endpoint answers.
pub(crate) type Answer = Result<Response, MlflowError>;

/// `message` as JSON. It may borrow from what the endpoint has read, so that nothing is copied on the way out.
pub(crate) fn answer<T: Serialize + ?Sized>(message: &T) -> Answer {
    Ok(json(serde_json::to_vec(message).map_err(MlflowError::Answer)?))
}

/// The empty message.
pub(crate) fn done() -> Response {
    json("{}")
}

fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
