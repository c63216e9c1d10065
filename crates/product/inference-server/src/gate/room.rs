use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use ropewalk_config::ServeLimits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::{Held, Metered, Overrun};
use super::{Refusal, Wire};

/// What is set aside for a body that does not say how long it is; more is taken as it comes.
const UNSAID: usize = 64 << 10;
/// Shorter answers are not counted: of them there are not more than requests.
const LONG_ANSWER: u64 = 1 << 20;
/// Bytes that one permit stands for.
pub(super) const UNIT: usize = 1 << 10;

/// How many requests there may be at once, and how much of their bodies.
#[derive(Debug)]
pub(super) struct Rooms {
    requests: Arc<Semaphore>,
    places: u32,
    memory: Arc<Semaphore>,
    longest: usize,
    body_time: Duration,
}

/// What one request has, until its answer is sent.
#[derive(Debug)]
pub(super) struct Room {
    place: OwnedSemaphorePermit,
    memory: OwnedSemaphorePermit,
    store: Arc<Semaphore>,
    longest: usize,
    body_time: Duration,
}

impl Rooms {
    pub(super) fn new(limits: &ServeLimits) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let places = limits.requests.clamp(1, most);
        // One message must fit, whatever was asked for.
        let memory = (limits.memory_bytes.max(limits.body_bytes).max(UNSAID) / UNIT + 1).min(most);
        Self {
            requests: Arc::new(Semaphore::new(places)),
            places: u32::try_from(places).unwrap_or(u32::MAX),
            memory: Arc::new(Semaphore::new(memory)),
            longest: limits.body_bytes,
            body_time: Duration::from_secs(limits.body_seconds),
        }
    }

    /// Most bytes of one message.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn enter(&self, wire: Wire, request: &Request) -> Result<Room, Refusal> {
        let said = length(request.headers());
        // gRPC counts its messages itself, of which a body may have several.
        if wire == Wire::Rest && said.is_some_and(|said| said > self.longest) {
            return Err(Refusal::TooLong(self.longest));
        }
        let place = Arc::clone(&self.requests).try_acquire_owned().map_err(|_| Refusal::Requests)?;
        let unsaid = if request.body().is_end_stream() { 0 } else { UNSAID };
        let bytes = said.unwrap_or(unsaid).min(self.longest);
        let permits = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(permits).map_err(|_| Refusal::Memory)?;
        Ok(Room { place, memory, store: Arc::clone(&self.memory), longest: self.longest, body_time: self.body_time })
    }

    /// Waits until no request has a place.
    pub(super) async fn empty(&self) {
        // An error says that nobody gives places any more.
        let _ = self.requests.acquire_many(self.places).await;
    }
}

impl Room {
    /// A body that takes more memory as it comes, and does not come for ever.
    pub(super) fn meter(&self, wire: Wire, request: Request) -> (Request, Overrun) {
        let overrun = Overrun::default();
        if request.body().is_end_stream() {
            return (request, overrun);
        }
        let streams = wire == Wire::Grpc && request.uri().path().ends_with("/ModelStreamInfer");
        let reserved = self.memory.num_permits() * UNIT;
        let time = (!streams).then_some(self.body_time);
        // A stream's messages are let go one by one, each bounded by the protocol.
        let store = (!streams).then(|| Arc::clone(&self.store));
        let noted = overrun.clone();
        (request.map(|body| Body::new(Metered::new(body, reserved, store, time, noted, self.longest))), overrun)
    }

    /// The answer, with this room until it is sent if it is long.
    pub(super) fn held(self, answer: Response) -> Response {
        let short = answer.body().size_hint().exact().is_some_and(|length| length <= LONG_ANSWER);
        if short { answer } else { answer.map(|body| Body::new(Held::new(body, self.place, self.memory))) }
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
