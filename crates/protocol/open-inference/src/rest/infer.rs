use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::HeaderName;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use ropewalk_serving::{Entered, InferenceRequest, ModelHost, RequestContext};

use super::request::{Unread, header_length};
use super::{body, compression, response};
use crate::classification::Labels;
use crate::codec::encoded_length;
use crate::context::{came_with, context};
use crate::room::Room;
use crate::{OpenInference, ProtocolError, REACTOR_BYTES, ResponseForm, off_reactor};

/// Length of the JSON with which a body with binary tensors begins.
pub(super) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// What came with a request.
struct Came {
    header_length: Option<usize>,
    body: Bytes,
    room: Room,
    context: RequestContext,
}

/// What was read of it.
struct Asked {
    entered: Entered,
    request: InferenceRequest,
    form: ResponseForm,
    room: Room,
}

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
    // What is not here is refused before its body is waited for, during which no version is held.
    host.signature(model, version)?;
    let header_length = header_length(&parts.headers)?;
    let (body, room) = body::read(server, &parts.headers, body).await?;
    let context = context(&parts.headers, &parts.extensions, &host.watched_labels());
    let (length, came) = (body.len(), Came { header_length, body, room, context });
    let began = Instant::now();
    let asked = if length <= REACTOR_BYTES {
        read(host, model, version, came)?
    } else {
        let (host, model, version) = (Arc::clone(host), model.to_owned(), version.map(str::to_owned));
        off_reactor(length, move || read(&host, &model, version.as_deref(), came)).await?
    };
    // What was read of the body takes as much as the body did, until it is answered.
    let Asked { entered, request, mut form, room: _room } = asked;
    let reading = began.elapsed();
    let signature = Arc::clone(entered.target().signature());
    let answer = host.infer_entered(entered, request).await?;
    form.set_labels(|output| Labels::of(host, model, answer.version, output));
    let length = answer.outputs.iter().map(|output| encoded_length(&output.tensor.data)).sum();
    let (name, number) = (answer.model.clone(), answer.version);
    let encoding = compression::accepted(&parts.headers);
    let began = Instant::now();
    let response = off_reactor(length, move || response::write(answer, &form, &signature, encoding)).await?;
    host.count_codec(&name, number, reading, began.elapsed());
    Ok(response)
}

/// Reads a request for the version that it goes to. The room is given back from here, so that it is held also where the
/// client has gone away meanwhile.
fn read(host: &ModelHost, model: &str, version: Option<&str>, came: Came) -> Result<Asked, ProtocolError> {
    let Came { header_length, body, room, context } = came;
    let unread = Unread::new(&body, header_length)?;
    let entered = host.enter(model, version, unread.id(), &context)?;
    let read = unread.read(entered.target().signature());
    let (mut request, form) = read.inspect_err(|_| host.count_unread(&entered))?;
    came_with(&mut request.context, context);
    Ok(Asked { entered, request, form, room })
}
