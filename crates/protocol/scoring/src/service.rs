use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use ropewalk_inference::NamedTensor;
use ropewalk_serving::{InferenceRequest, InferenceResponse, ModelHost, RequestContext, Target};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::memory::{Memory, Room};
use crate::{ScoringError, ScoringLimits, body, docs, invocations, off_reactor, openapi, predict};

/// Tells the name of the client that the product has authenticated, from the request's extensions.
pub type ClientOf = fn(&Extensions) -> Option<Arc<str>>;
/// Tells whether that client may ask a model, so that others are not described to it.
pub type MayAsk = fn(&Extensions, &str) -> bool;

/// The scoring protocols on a host.
#[derive(Clone, Debug)]
pub struct Scoring {
    pub(crate) host: Arc<ModelHost>,
    pub(crate) limits: ScoringLimits,
    client: ClientOf,
    may_ask: MayAsk,
    places: Arc<Semaphore>,
    memory: Memory,
}

/// [`Scoring::router`] of a host alone.
pub fn router(host: Arc<ModelHost>, limits: ScoringLimits) -> Router {
    Scoring::new(host, limits).router()
}

impl Scoring {
    /// Scoring for clients without names.
    pub fn new(host: Arc<ModelHost>, limits: ScoringLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.requests.clamp(1, Semaphore::MAX_PERMITS)));
        Self { host, limits, client: |_| None, may_ask: |_, _| true, places, memory: Memory::new(&limits) }
    }

    /// Logs answers under the name that this finds.
    #[must_use]
    pub fn with_client(self, client: ClientOf) -> Self {
        Self { client, ..self }
    }

    /// Describes to clients only the models that this lets them ask.
    #[must_use]
    pub fn with_permission(self, may_ask: MayAsk) -> Self {
        Self { may_ask, ..self }
    }

    pub(crate) fn may_ask(&self, extensions: &Extensions, model: &str) -> bool {
        (self.may_ask)(extensions, model)
    }

    /// All paths, without a fallback.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/invocations", post(invocations::of_header))
            .route("/models/{model}/invocations", post(invocations::of_path))
            .route("/models/{model}/versions/{version}/invocations", post(invocations::of_path))
            .route("/ping", get(invocations::ping))
            .route("/health", get(invocations::ping))
            .route("/version", get(invocations::version))
            .route("/predict/{model}", post(predict::of_path))
            .route("/predict/{model}/versions/{version}", post(predict::of_path))
            .route("/openapi.json", get(openapi::answer))
            .route("/docs", get(docs::answer))
            .route("/docs/models", get(docs::models))
            .method_not_allowed_fallback(other_method)
            .with_state(self.clone())
    }

    /// Reads a body for the version that it goes to, and asks that version; the middle is the host's. How much a body
    /// `grows` is known of texts.
    pub(crate) async fn score<Form, Read>(
        &self,
        place: Place<'_>,
        request: (Parts, Body),
        grows: Growth,
        read: Read,
    ) -> Result<(InferenceResponse, Form, Told), ScoringError>
    where
        Form: Send + 'static,
        Read: FnOnce(Bytes, &Target, &ScoringLimits) -> Result<(Vec<NamedTensor>, Form), ScoringError> + Send + 'static,
    {
        let (parts, body) = request;
        // What is not here is refused before its body is waited for, during which no version is held.
        self.host.signature(place.model, place.version)?;
        let body = body::read(&parts.headers, body, &self.limits).await?;
        let (started, limits) = (Instant::now(), self.limits);
        let (length, room) = match grows {
            Growth::Text => (body.len(), self.memory.of_text(body.len())?),
            Growth::Any => (usize::MAX, self.memory.of_any(&limits)?),
        };
        let context = self.context(&parts);
        let entered = self.host.enter(place.model, place.version, None, &context)?;
        let target = entered.target().clone();
        let read = off_reactor(length, move || {
            let (inputs, form) = read(body, &target, &limits)?;
            // Given back from here, so that it is held also where the client has gone away meanwhile.
            Ok((inputs, form, room))
        });
        let (inputs, form, room) = read.await.inspect_err(|_| self.host.count_unread(&entered))?;
        let (reading, engine) = (started.elapsed(), entered.target().engine());
        let request = InferenceRequest { inputs, context, ..InferenceRequest::default() };
        let answer = self.host.infer_entered(entered, request).await?;
        Ok((answer, form, Told { engine, reading, _room: room }))
    }

    /// Room for one more request, or the refusal.
    pub(crate) fn enter(&self) -> Result<tokio::sync::SemaphorePermit<'_>, ScoringError> {
        self.places.try_acquire().map_err(|_| ScoringError::Busy { requests: self.limits.requests })
    }

    fn context(&self, parts: &Parts) -> RequestContext {
        let label = |name: &String| {
            let value = parts.headers.get(name.as_str())?.to_str().ok()?;
            Some((name.clone(), value.to_owned()))
        };
        RequestContext {
            client: (self.client)(&parts.extensions),
            labels: self.host.watched_labels().iter().filter_map(label).collect(),
            ..RequestContext::default()
        }
    }
}

/// Who is to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) model: &'a str,
    pub(crate) version: Option<&'a str>,
}

/// Who is to answer, as a path names it.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    model: String,
    version: Option<String>,
}

impl Named {
    pub(crate) fn place(&self) -> Place<'_> {
        Place { model: &self.model, version: self.version.as_deref() }
    }
}

/// How much a body becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Its length says it.
    Text,
    /// It may grow by a thousand times, so its length says little about the work or the memory.
    Any,
}

/// What is known of an answer beside it, and the room of its request, which it has until it is written.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) engine: ropewalk_inference::EngineName,
    /// How long it took to read the request.
    pub(crate) reading: std::time::Duration,
    _room: Room,
}

async fn other_method(request: Request) -> Response {
    ScoringError::Method { method: request.method().to_string() }.into_response()
}

/// An answer that is JSON, with the id under which it is logged.
pub(crate) fn answered(answer: &InferenceResponse, text: String) -> Result<Response, ScoringError> {
    let mut response = json(text);
    let id = HeaderValue::from_str(&answer.prediction.to_string()).map_err(|_| ScoringError::Failed)?;
    response.headers_mut().insert("x-prediction-id", id);
    Ok(response)
}

/// An answer that is JSON.
pub(crate) fn json(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
