use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use ropewalk_listening::{Incoming, Rest};
use ropewalk_mlflow::overloaded;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::measures::Measures;

/// The longest message that most endpoints take.
const LONGEST_MESSAGE: u64 = 1 << 20;
/// What is assumed of a message that does not say how long it is: less than the longest of all, since clients of which each
/// small message is chunked would get in each other's way; more than it is likely to be.
const UNSAID: u64 = 8 << 20;
/// After how many seconds a client that is refused should come again.
const RETRY_SECONDS: u32 = 1;

/// Bodies that are read and forgotten at once; each may take 256 KB of a buffer.
const DRAINS: usize = 64;

/// Kilobytes of answers that are in memory until their clients have read them; of what goes in pieces nothing is counted.
const ANSWER_KILOBYTES: u32 = 256 << 10;
/// Shorter answers are not counted: of them there are not more than requests, and that of a write must never be given up.
const LONG_ANSWER: u64 = 1 << 20;

/// How much is taken at once. What is beyond is refused at once, with 503: nothing waits here.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Requests that are being answered.
    pub requests: usize,
    /// Artifacts that are being taken; each needs about 12 MB.
    pub uploads: usize,
    /// Artifacts that are being sent; each needs about 3 MB.
    pub downloads: usize,
    /// Kilobytes of messages that are in memory.
    pub message_kilobytes: u32,
    /// Open connections.
    pub connections: usize,
    /// Clients that listen to events.
    pub listeners: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            requests: 256,
            uploads: 16,
            downloads: 32,
            message_kilobytes: 64 << 10,
            connections: 1024,
            listeners: 256,
        }
    }
}

/// Lets in as many requests as there is room for, and measures them.
pub(super) struct Admission {
    requests: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    kilobytes: Arc<Semaphore>,
    /// For what clients have not read yet.
    answers: Arc<Semaphore>,
    /// For bodies that are read and forgotten.
    drains: Semaphore,
    /// How many of them there are.
    budget: u32,
    measures: Arc<Measures>,
}

/// What a request needs room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Nothing: it costs next to nothing, or its own handler bounds it.
    Free,
    /// The bytes of an artifact, that come in pieces.
    Upload,
    /// The bytes of an artifact, that go in pieces.
    Download,
    /// A message, that is in memory as a whole.
    Message,
}

impl Class {
    fn of(method: &Method, path: &str) -> Self {
        match path {
            "/health" | "/version" | "/metrics" | super::live::PATH => Self::Free,
            "/get-artifact" | "/model-versions/get-artifact" => Self::Download,
            _ if method == Method::PUT && path.contains(PROXIED) => Self::Upload,
            _ if method == Method::POST && path.ends_with("/mlflow/upload-artifact") => Self::Upload,
            _ if method == Method::GET && gives_artifact(path) => Self::Download,
            _ => Self::Message,
        }
    }
}

/// Below it are all artifacts.
const PROXIED: &str = "/mlflow-artifacts/artifacts/";

/// Whether artifacts are read at a path under `/api` or `/ajax-api`.
fn gives_artifact(path: &str) -> bool {
    let of_model = || path.contains("/mlflow/logged-models/") && path.ends_with("/artifacts/files");
    path.contains(PROXIED) || path.ends_with("/mlflow/get-trace-artifact") || of_model()
}

/// Room that a request has, until its answer is sent.
struct Room {
    _request: OwnedSemaphorePermit,
    _kilobytes: Option<OwnedSemaphorePermit>,
}

impl Admission {
    pub(super) fn new(limits: &ServerLimits, measures: Arc<Measures>) -> Self {
        // One message must fit, whatever was asked for.
        let budget = limits.message_kilobytes.max(kilobytes_of(LONGEST_MESSAGE));
        let semaphore = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            requests: semaphore(limits.requests),
            uploads: semaphore(limits.uploads),
            downloads: semaphore(limits.downloads),
            kilobytes: semaphore(budget as usize),
            answers: semaphore(ANSWER_KILOBYTES as usize),
            drains: Semaphore::new(DRAINS),
            budget,
            measures,
        }
    }

    /// The answer with the room that it has until it is sent. One for which there is none is given up: many clients that
    /// do not read would keep a long answer each.
    fn held(&self, answer: Response, room: Room) -> Response {
        let length = answer.body().size_hint().exact();
        let wanted = kilobytes_of(length.filter(|length| *length > LONG_ANSWER).unwrap_or(0)).min(ANSWER_KILOBYTES);
        match Arc::clone(&self.answers).try_acquire_many_owned(wanted) {
            Ok(held) => answer.map(|body| Held::around(body, room, held)),
            Err(_) => overloaded(RETRY_SECONDS, "too many long answers are being sent at this moment"),
        }
    }

    /// Reads what is left of a body, unless its client waits to be asked for it or too many others are at that.
    async fn drain(&self, rest: Rest, waits: bool) {
        if let (false, Ok(_place)) = (waits, self.drains.try_acquire()) {
            rest.drain().await;
        }
    }

    /// Room for a request; the error says what there is none for.
    fn room(&self, class: Class, headers: &HeaderMap) -> Result<Option<Room>, &'static str> {
        let places = match class {
            Class::Free => return Ok(None),
            Class::Upload => &self.uploads,
            Class::Download => &self.downloads,
            Class::Message => &self.requests,
        };
        let full = |_| match class {
            Class::Upload | Class::Download => "too many artifacts are being sent at this moment",
            _ => "too many requests are being answered at this moment",
        };
        let request = Arc::clone(places).try_acquire_owned().map_err(full)?;
        // One that is longer than all of it is let in alone: whoever reads it refuses it.
        let wanted = if class == Class::Message { kilobytes_of(length(headers)).min(self.budget) } else { 0 };
        let kilobytes = if wanted == 0 {
            None
        } else {
            let held = Arc::clone(&self.kilobytes).try_acquire_many_owned(wanted);
            Some(held.map_err(|_| "too many long messages are being read at this moment")?)
        };
        Ok(Some(Room { _request: request, _kilobytes: kilobytes }))
    }
}

/// How long a body says it is; [`UNSAID`] if it does not say, nothing if there is none.
fn length(headers: &HeaderMap) -> u64 {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let unsaid = if headers.contains_key(header::TRANSFER_ENCODING) { UNSAID } else { 0 };
    said.unwrap_or(unsaid)
}

fn kilobytes_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

/// The layer around all endpoints.
pub(super) async fn admit(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let class = Class::of(request.method(), request.uri().path());
    let pattern = request.extensions().get::<MatchedPath>().cloned();
    let waits = request.headers().contains_key(header::EXPECT);
    let answer = match admission.room(class, request.headers()) {
        Ok(room) => {
            let _active = admission.measures.begin();
            let timed = if class == Class::Upload { Incoming::streamed } else { Incoming::message };
            let rest = Rest::default();
            let left = rest.clone();
            let request = if request.body().is_end_stream() { request } else { request.map(|body| timed(body, left)) };
            let answer = next.run(request).await;
            admission.drain(rest, waits).await;
            match room {
                Some(room) => admission.held(answer, room),
                None => answer,
            }
        }
        Err(reason) => {
            admission.drain(Rest::of(request.into_body()), waits).await;
            overloaded(RETRY_SECONDS, reason)
        }
    };
    let pattern = pattern.as_ref().map_or("", MatchedPath::as_str);
    admission.measures.answered(pattern, answer.status(), began.elapsed());
    answer
}

/// An answer that holds its room until it is sent: a client that reads slowly counts as long as it does.
struct Held {
    body: Body,
    _room: Room,
    _answer: OwnedSemaphorePermit,
}

impl Held {
    fn around(body: Body, room: Room, answer: OwnedSemaphorePermit) -> Body {
        if body.is_end_stream() { body } else { Body::new(Self { body, _room: room, _answer: answer }) }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::{HeaderValue, StatusCode};
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post, put};
    use futures::StreamExt as _;
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::*;

    async fn wait(gate: Arc<Notify>) {
        gate.notified().await;
    }

    fn request(method: Method, path: &str, length: u64) -> Request {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_LENGTH, length);
        request.body(Body::empty()).expect("request")
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused_at_once_and_health_never() {
        let limits = ServerLimits { requests: 1, ..ServerLimits::default() };
        let admission = Arc::new(Admission::new(&limits, Arc::default()));
        let gate = Arc::new(Notify::new());
        let waits = Arc::clone(&gate);
        let router = Router::new()
            .route("/slow", post(move || wait(Arc::clone(&waits))))
            .route("/fast", post(async || "done"))
            .route("/health", get(async || "OK"))
            .layer(from_fn_with_state(Arc::clone(&admission), admit));
        let ask = |method: Method, path: &str| router.clone().oneshot(request(method, path, 0));
        let slow = tokio::spawn(ask(Method::POST, "/slow"));
        while admission.requests.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = ask(Method::POST, "/fast").await.expect("answer");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers().get(header::RETRY_AFTER), Some(&HeaderValue::from(RETRY_SECONDS)));
        let body = axum::body::to_bytes(refused.into_body(), 1000).await.expect("body");
        assert!(body.starts_with(b"{\"error_code\":\"TEMPORARILY_UNAVAILABLE\""), "{body:?}");
        assert_eq!(ask(Method::GET, "/health").await.expect("answer").status(), StatusCode::OK);
        gate.notify_one();
        assert_eq!(slow.await.expect("task").expect("answer").status(), StatusCode::OK);
        // Its place is free again only when its answer was sent.
        let answer = ask(Method::POST, "/fast").await.expect("answer");
        assert_eq!((answer.status(), admission.requests.available_permits()), (StatusCode::OK, 0));
        axum::body::to_bytes(answer.into_body(), 1000).await.expect("body");
        assert_eq!(admission.requests.available_permits(), 1);
    }

    #[tokio::test]
    async fn long_answers_that_nobody_reads_are_bounded() {
        let admission = Arc::new(Admission::new(&ServerLimits::default(), Arc::default()));
        let router = Router::new()
            .route("/short", post(async || "done"))
            .route("/long", get(async || vec![0_u8; 100 << 20]))
            .layer(from_fn_with_state(Arc::clone(&admission), admit));
        let ask = async || router.clone().oneshot(request(Method::GET, "/long", 0)).await.expect("answer");
        let (first, second) = (ask().await, ask().await);
        assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
        assert_eq!(ask().await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let short = router.clone().oneshot(request(Method::POST, "/short", 0)).await.expect("answer");
        assert_eq!(short.status(), StatusCode::OK, "what was written is not taken back");
        drop(first);
        assert_eq!(ask().await.status(), StatusCode::OK);
    }

    /// A client that is in the middle of its body when it is refused sees the answer only if the body is read.
    #[tokio::test]
    async fn the_rest_of_an_unwanted_body_is_read() {
        const UPLOAD: &str = "/api/2.0/mlflow-artifacts/artifacts/0/a";
        let limits = ServerLimits { uploads: 1, ..ServerLimits::default() };
        let admission = Arc::new(Admission::new(&limits, Arc::default()));
        let router = Router::new()
            .route("/deaf", post(async || StatusCode::BAD_REQUEST))
            .route(UPLOAD, put(async || "taken"))
            .layer(from_fn_with_state(Arc::clone(&admission), admit));
        let held = admission.room(Class::Upload, &HeaderMap::new()).expect("room");
        for (method, path, status) in
            [(Method::POST, "/deaf", StatusCode::BAD_REQUEST), (Method::PUT, UPLOAD, StatusCode::SERVICE_UNAVAILABLE)]
        {
            let read = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&read);
            let pieces = futures::stream::iter(0..100).map(move |_: i32| {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok::<Bytes, std::io::Error>(Bytes::from_static(b"piece"))
            });
            let request = Request::builder().method(method).uri(path).body(Body::from_stream(pieces));
            let answer = router.clone().oneshot(request.expect("request")).await.expect("answer");
            assert_eq!((answer.status(), read.load(Ordering::Relaxed)), (status, 100), "{path}");
        }
        drop(held);
    }

    #[test]
    fn messages_are_bounded_by_their_bytes_and_artifacts_by_their_number() {
        let limits = ServerLimits { message_kilobytes: 1024, uploads: 1, ..ServerLimits::default() };
        let admission = Admission::new(&limits, Arc::default());
        let headers = |length: u64| request(Method::POST, "/", length).headers().clone();
        let half = admission.room(Class::Message, &headers(512 << 10)).expect("room");
        let other = admission.room(Class::Message, &headers(512 << 10)).expect("room");
        assert!(admission.room(Class::Message, &headers(1)).is_err());
        assert!(admission.room(Class::Message, &headers(0)).is_ok(), "no body needs no memory");
        drop((half, other));
        assert!(admission.room(Class::Message, &headers(1 << 40)).is_ok(), "it is refused by whoever reads it");
        let upload = admission.room(Class::Upload, &headers(1 << 40)).expect("room");
        assert!(admission.room(Class::Upload, &headers(0)).is_err());
        assert!(admission.room(Class::Download, &headers(0)).is_ok());
        drop(upload);

        let class = |method: Method, path: &str| Class::of(&method, path);
        assert_eq!(class(Method::PUT, "/api/2.0/mlflow-artifacts/artifacts/0/a"), Class::Upload);
        assert_eq!(class(Method::GET, "/ajax-api/2.0/mlflow-artifacts/artifacts/0/a"), Class::Download);
        assert_eq!(class(Method::DELETE, "/api/2.0/mlflow-artifacts/artifacts/0/a"), Class::Message);
        assert_eq!(class(Method::GET, "/api/2.0/mlflow-artifacts/artifacts"), Class::Message);
        assert_eq!(class(Method::POST, "/ajax-api/2.0/mlflow/upload-artifact"), Class::Upload);
        assert_eq!(class(Method::GET, "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files"), Class::Download);
        assert_eq!(class(Method::GET, "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/directories"), Class::Message);
        assert_eq!(class(Method::GET, "/ajax-api/3.0/mlflow/get-trace-artifact"), Class::Download);
        assert_eq!(class(Method::GET, "/health"), Class::Free);
    }
}
