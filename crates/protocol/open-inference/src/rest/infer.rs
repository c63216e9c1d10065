use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderName;
use axum::response::Response;

use super::path::ModelPath;
use super::{Shared, body, request, response};
use crate::codec::encoded_length;
use crate::{ProtocolError, off_reactor};

/// Length of the JSON with which a body with binary tensors begins.
pub(super) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// One inference request, from bytes to bytes.
pub(super) async fn infer(
    State(shared): State<Shared>,
    path: ModelPath,
    request: Request,
) -> Result<Response, ProtocolError> {
    let busy = |_| ProtocolError::Busy { requests: shared.limits.requests };
    let _place = Arc::clone(&shared.places).try_acquire_owned().map_err(busy)?;
    let version = path.version.as_deref();
    let signature = shared.host.signature(&path.model, version)?;
    let header_length = request::header_length(request.headers())?;
    let body = body::read(request, &shared.limits).await?;
    let length = body.len();
    let read = off_reactor(length, move || request::read(&body, header_length, &signature));
    let (request, form) = read.await?;
    let answer = shared.host.infer(&path.model, version, request).await?;
    let length = answer.outputs.iter().map(|output| encoded_length(&output.tensor.data)).sum();
    off_reactor(length, move || response::write(&answer, &form)).await
}
