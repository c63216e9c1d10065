use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use ropewalk_config::ServeLimits;
use ropewalk_listening::stop_signal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::body::{Closing, Held, Metered, Overrun};
use super::{Refusal, Wire};

/// What is set aside for a body that does not say how long it is; more is taken as it comes.
const UNSAID: usize = 64 << 10;
/// Shorter answers give their room back once they are made, and are not counted while they wait to be sent. A connection has one
/// of them over HTTP/1.1 and as many as it may have streams over HTTP/2, so that the bound of connections is theirs, too.
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
    /// Becomes true when no more is taken.
    closed: watch::Sender<bool>,
}

/// What one request has, until its answer is sent.
#[derive(Debug)]
pub(super) struct Room {
    place: OwnedSemaphorePermit,
    memory: OwnedSemaphorePermit,
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
            closed: watch::Sender::new(false),
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
        Ok(Room { place, memory })
    }

    /// A body that takes more memory as it comes, and does not come for ever.
    pub(super) fn meter(&self, room: &Room, wire: Wire, request: Request) -> (Request, Overrun) {
        let overrun = Overrun::default();
        if request.body().is_end_stream() {
            return (request, overrun);
        }
        let calls = |method: &str| wire == Wire::Grpc && request.uri().path().ends_with(method);
        let infers = calls("/ModelStreamInfer");
        let streams = infers || calls("/ServerReflectionInfo");
        let reserved = room.memory.num_permits() * UNIT;
        let time = (!infers).then_some(self.body_time);
        // A stream's messages are let go one by one, each bounded by the protocol.
        let store = (!infers).then(|| Arc::clone(&self.memory));
        let closing = streams.then(|| Closing::new(stop_signal(self.closed.subscribe())));
        let noted = overrun.clone();
        let metered = |body| Body::new(Metered::new(body, reserved, store, time, noted, self.longest, closing));
        (request.map(metered), overrun)
    }

    /// The body of a request that takes no room, which must come in time, too.
    pub(super) fn timed(&self, request: Request) -> (Request, Overrun) {
        let overrun = Overrun::default();
        let (time, noted) = (Some(self.body_time), overrun.clone());
        (request.map(|body| Body::new(Metered::new(body, 0, None, time, noted, 0, None))), overrun)
    }

    /// Ends streams as if their clients had ended them, each once it is idle; what was asked is answered.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until no request has a place.
    pub(super) async fn empty(&self) {
        // An error says that nobody gives places any more.
        let _ = self.requests.acquire_many(self.places).await;
    }
}

impl Room {
    /// The answer, with this room until it is sent if it is long.
    pub(super) fn held(self, answer: Response) -> Response {
        let short = answer.body().size_hint().exact().is_some_and(|length| length <= LONG_ANSWER);
        if short { answer } else { answer.map(|body| Body::new(Held::new(body, self.place, self.memory))) }
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
