use axum::Error;
use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use futures::StreamExt as _;
use ropewalk_store::Blob;

use crate::{MlflowError, MlflowState};

/// Puts a body into the store while it comes, with bounded memory whatever its length.
pub(super) async fn receive(state: &MlflowState, body: Body) -> Result<Blob, MlflowError> {
    let limit = state.artifact_bytes;
    // Refused before a byte of it is read, where the client says how long it is.
    if body.size_hint().lower() > limit {
        return Err(MlflowError::TooLarge { limit });
    }
    let mut size = 0_u64;
    let pieces = body.into_data_stream().map(move |piece: Result<Bytes, Error>| {
        let piece = piece.map_err(|error| MlflowError::BodyBroken(error.to_string()))?;
        size += piece.len() as u64;
        if size > limit { Err(MlflowError::TooLarge { limit }) } else { Ok(piece) }
    });
    state.tracking.store().put_stream(pieces).await
}
