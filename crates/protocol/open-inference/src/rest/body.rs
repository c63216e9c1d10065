use std::error::Error;
use std::io;

use axum::body::{Body, to_bytes};
use axum::http::HeaderMap;
use bytes::Bytes;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::compression;
use crate::room::Room;
use crate::{OpenInference, ProtocolError, ProtocolLimits, off_reactor};

/// Reads a request's body: bounded in bytes, before and after decompression, and in time. What it takes beyond what came
/// is the room's, which is to be held as long as the request.
pub(super) async fn read(
    server: &OpenInference,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Room), ProtocolError> {
    let limits = &server.limits;
    let encoding = compression::of_request(headers)?;
    let limit = limits.message_bytes;
    let body = timeout(limits.body_time, to_bytes(body, limit)).await;
    let body = body.map_err(|_| ProtocolError::Slow(limits.body_time))?.map_err(|problem| broken(&problem, limits))?;
    let mut room = server.rooms.room();
    match encoding {
        None => Ok((body, room)),
        // A body can grow by a thousand times, so its length says little about the work.
        Some(encoding) => {
            off_reactor(usize::MAX, move || encoding.decompress(&body, limit, &mut room).map(|body| (body, room))).await
        }
    }
}

/// Why a body was not read. Who listens may give it up before we do, in the same time.
fn broken(problem: &(dyn Error + 'static), limits: &ProtocolLimits) -> ProtocolError {
    let mut cause = Some(problem);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return ProtocolError::TooLarge { limit: limits.message_bytes };
        }
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return ProtocolError::Slow(limits.body_time);
        }
        cause = error.source();
    }
    ProtocolError::malformed(&problem)
}
