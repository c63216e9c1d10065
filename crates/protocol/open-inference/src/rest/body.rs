use std::error::Error;

use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use bytes::Bytes;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::compression;
use crate::{ProtocolError, ProtocolLimits, off_reactor};

/// Reads a request's body: bounded in bytes, before and after decompression, and in time.
pub(super) async fn read(headers: &HeaderMap, body: Body, limits: &ProtocolLimits) -> Result<Bytes, ProtocolError> {
    let encoding = compression::of_request(headers)?;
    let limit = limits.message_bytes;
    let body = timeout(limits.body_time, to_bytes(body, limit)).await;
    let body = body.map_err(|_| ProtocolError::Slow(limits.body_time))?.map_err(|problem| {
        if problem.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            ProtocolError::TooLarge { limit }
        } else {
            ProtocolError::malformed(&problem)
        }
    })?;
    match encoding {
        None => Ok(body),
        // A body can grow by a thousand times, so its length says little about the work.
        Some(encoding) => off_reactor(usize::MAX, move || encoding.decompress(&body, limit)).await,
    }
}
