use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::HeaderName;
use axum::http::request::Parts;
use axum::response::Response;

use super::{body, compression, request, response};
use crate::classification::Labels;
use crate::codec::encoded_length;
use crate::context::{came_with, context};
use crate::{OpenInference, ProtocolError, off_reactor};

/// Length of the JSON with which a body with binary tensors begins.
pub(super) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// One inference request, from bytes to bytes.
pub(super) async fn infer(
    server: &OpenInference,
    model: &str,
    version: Option<&str>,
    parts: &Parts,
    body: Body,
) -> Result<Response, ProtocolError> {
    let _place = server.places.try_acquire().map_err(|_| ProtocolError::Busy { requests: server.limits.requests })?;
    let host = &server.host;
    let signature = host.signature(model, version)?;
    let header_length = request::header_length(&parts.headers)?;
    let (body, room) = body::read(server, &parts.headers, body).await?;
    let context = context(&parts.headers, &parts.extensions, &host.watched_labels());
    let length = body.len();
    let began = Instant::now();
    let input_signature = Arc::clone(&signature);
    let read = off_reactor(length, move || {
        let (request, form) = request::read(&body, header_length, &input_signature)?;
        // Given back from here, so that it is held also where the client has gone away meanwhile.
        Ok((request, form, room))
    });
    // What was read of the body takes as much as the body did, until it is answered.
    let (mut request, mut form, _room) = read.await?;
    let reading = began.elapsed();
    came_with(&mut request.context, context);
    let answer = host.infer(model, version, request).await?;
    form.set_labels(|output| Labels::of(host, model, answer.version, output));
    let length = answer.outputs.iter().map(|output| encoded_length(&output.tensor.data)).sum();
    let (name, number) = (answer.model.clone(), answer.version);
    let encoding = compression::accepted(&parts.headers);
    let began = Instant::now();
    let response = off_reactor(length, move || response::write(answer, &form, &signature, encoding)).await?;
    host.count_codec(&name, number, reading, began.elapsed());
    Ok(response)
}
