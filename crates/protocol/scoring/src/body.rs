use std::error::Error;

use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::Bytes;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::{ScoringError, ScoringLimits};

/// Reads a request's body: bounded in bytes and in time. Compressed bodies are refused, as MLflow has none.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: &ScoringLimits) -> Result<Bytes, ScoringError> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|value| value.as_bytes() != b"identity") {
        return Err(ScoringError::Encoding(encoding.to_str().unwrap_or("?").to_owned()));
    }
    let limit = limits.body_bytes;
    let body = timeout(limits.body_time, to_bytes(body, limit)).await;
    body.map_err(|_| ScoringError::Slow(limits.body_time))?.map_err(|problem| {
        if problem.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            ScoringError::TooLarge { limit }
        } else {
            ScoringError::malformed("a body", &problem)
        }
    })
}
