//! What stands in front of all endpoints of both listeners: one layer, so that a request pays for it once.
//!
//! In this order: a place to be in (starting, stopping), the host and origin, who asks, how often, for which model, how much
//! room there is. What is refused is refused in the protocol's own shape, and what may succeed later says when.

mod address;
mod body;
mod caller;
mod refusal;
mod room;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::EXPECT;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ropewalk_listening::{Peer, Present, Rest};
use ropewalk_open_inference::{ClientName, OpenInference, Rooms as Decompressed};
use tokio::sync::Semaphore;

use crate::access_log::{AccessLine, AccessLog};
use crate::measures::Measures;
use crate::traces::{Span, Tracer};
use crate::{Caller, InferenceServerError, ServerOptions};
use address::Addresses;
use body::Overrun;
use caller::Callers;
pub(crate) use refusal::{Refusal, overflow};
use room::Rooms;

/// Refused bodies that are read and forgotten at once.
const DRAINS: usize = 64;
/// Longest message that is read of who need not say who asks.
const PUBLIC_BYTES: usize = 4 << 10;

/// What a listener speaks above HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Wire {
    Rest,
    Grpc,
}

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Starting = 0,
    Serving = 1,
    Draining = 2,
}

/// What both listeners share.
#[derive(Debug)]
pub(crate) struct Gate {
    addresses: Addresses,
    callers: Callers,
    rooms: Rooms,
    /// What the protocol has for messages that are decompressed.
    decompressed: Decompressed,
    drains: Semaphore,
    phase: AtomicU8,
    /// The paths of gRPC's methods, each its own name in the measures.
    methods: HashSet<String>,
    pub(crate) measures: Arc<Measures>,
    access_log: Option<Arc<AccessLog>>,
    tracer: Option<Tracer>,
}

impl Gate {
    pub(crate) fn new(
        options: &ServerOptions,
        decompressed: Decompressed,
        measures: Arc<Measures>,
        access_log: Option<Arc<AccessLog>>,
        tracer: Option<Tracer>,
    ) -> Result<Self, InferenceServerError> {
        let methods = OpenInference::grpc_paths().map_err(|error| InferenceServerError::Serve(error.to_string()))?;
        Ok(Self {
            addresses: Addresses::new(options),
            callers: Callers::new(options),
            rooms: Rooms::new(&options.limits),
            decompressed,
            drains: Semaphore::new(DRAINS),
            phase: AtomicU8::new(Phase::Starting as u8),
            methods: methods.into_iter().collect(),
            measures,
            access_log,
            tracer,
        })
    }

    pub(crate) fn phase_set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
        if phase == Phase::Draining {
            self.rooms.close();
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Waits until no request is being answered; says whether that was so in time.
    pub(crate) async fn drained(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.rooms.empty()).await.is_ok()
    }

    /// Lines and spans on their way are written, as far as there is time.
    pub(crate) async fn flush(&self, limit: Duration) {
        if let Some(tracer) = &self.tracer {
            tracer.flush(limit).await;
        }
        if let Some(log) = &self.access_log {
            log.flush(limit).await;
        }
    }

    /// Everything that is asked before an endpoint sees the request.
    async fn admitted(&self, wire: Wire, request: Request) -> Result<Admitted, Refused> {
        let path = request.uri().path();
        let public = is_public(wire, path);
        if let Some(refusal) = self.wrong_time(wire, path) {
            return Err(Refused::new(refusal, request));
        }
        if public {
            return self.admitted_freely(wire, request).await;
        }
        if let Err(refusal) = self.addresses.check(&request) {
            return Err(Refused::new(refusal, request));
        }
        let caller = match self.callers.identified(request.headers(), Instant::now()) {
            Ok(caller) => caller,
            Err(refusal) => return Err(Refused::new(refusal, request)),
        };
        let room = if path == crate::routes::METRICS_PATH {
            None
        } else {
            match self.rooms.enter(wire, &request) {
                Ok(room) => Some(room),
                Err(refusal) => return Err(Refused::new(refusal, request)),
            }
        };
        let (request, overrun) = match &room {
            Some(room) => self.rooms.meter(room, wire, request),
            None => (request, Overrun::default()),
        };
        let (longest, decompressed) = (self.rooms.longest(), &self.decompressed);
        let request = caller::permitted(wire, caller.as_ref(), request, longest, decompressed, &overrun).await?;
        Ok(Admitted { request, room, overrun, caller })
    }

    /// A request that anybody may send takes no room, so that next to nothing is read of it.
    async fn admitted_freely(&self, wire: Wire, request: Request) -> Result<Admitted, Refused> {
        let (request, overrun) = match wire {
            // None of these endpoints has a use for a body.
            Wire::Rest => {
                let overrun = Overrun::default();
                let request = request.map(|body| {
                    overrun.rest().keep(body);
                    Body::empty()
                });
                (request, overrun)
            }
            Wire::Grpc => {
                let (request, overrun) = self.rooms.timed(request);
                let (head, body) = caller::collected(request, PUBLIC_BYTES, &overrun).await?;
                (Request::from_parts(head, Body::from(body)), overrun)
            }
        };
        Ok(Admitted { request, room: None, overrun, caller: None })
    }

    fn wrong_time(&self, wire: Wire, path: &str) -> Option<Refusal> {
        let free = path == crate::routes::METRICS_PATH || is_alive(wire, path);
        match self.phase() {
            _ if free => None,
            Phase::Serving => None,
            Phase::Starting => Some(Refusal::Starting),
            Phase::Draining => Some(Refusal::Stopping),
        }
    }
}

/// A request that goes no further, and why.
struct Refused(Box<(Refusal, Request)>);

impl Refused {
    fn new(refusal: Refusal, request: Request) -> Self {
        Self(Box::new((refusal, request)))
    }
}

struct Admitted {
    request: Request,
    room: Option<room::Room>,
    overrun: Overrun,
    caller: Option<Caller>,
}

/// Whether a client sends its body only once it is asked to, or can be answered while it sends.
fn waits(wire: Wire, request: &Request) -> bool {
    wire == Wire::Grpc || request.headers().contains_key(EXPECT)
}

/// Whether the process lives, and nothing more.
fn is_alive(wire: Wire, path: &str) -> bool {
    match wire {
        Wire::Rest => path == "/v2/health/live",
        Wire::Grpc => path == "/inference.GRPCInferenceService/ServerLive",
    }
}

/// What says nothing about anybody's models: answered for every host and without credentials, for health checks and for
/// browsers, which have no key to send with the address of a page.
fn is_public(wire: Wire, path: &str) -> bool {
    is_alive(wire, path)
        || match wire {
            Wire::Rest => matches!(path, "/v2/health/ready" | "/health" | "/ping" | "/docs"),
            Wire::Grpc => matches!(
                path,
                "/inference.GRPCInferenceService/ServerReady"
                    | "/grpc.health.v1.Health/Check"
                    | "/grpc.health.v1.Health/Watch"
            ),
        }
}

/// The layer around all endpoints.
pub(crate) async fn pass(State((gate, wire)): State<(Arc<Gate>, Wire)>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _active = Present::new(&gate.measures.active);
    let seen = Seen::of(wire, &request);
    let span = gate.tracer.as_ref().and_then(|tracer| tracer.begin(request.headers_mut()));
    let origin = gate.addresses.listed_origin(&request);
    if let Some(origin) = origin.as_ref().filter(|_| request.method() == Method::OPTIONS) {
        return address::preflight(origin);
    }
    let mut client = None;
    let mut answer = match gate.admitted(wire, request).await {
        Ok(admitted) => {
            client = admitted.caller.as_ref().map(|caller| Arc::clone(&caller.name));
            gate.answered(wire, admitted, next).await
        }
        Err(refused) => {
            let (refusal, request) = *refused.0;
            gate.measures.refused(&refusal);
            let waits = waits(wire, &request);
            gate.forget(waits, Rest::of(request.into_body())).await;
            refusal.response(wire)
        }
    };
    if let Some(origin) = origin {
        address::allow(answer.headers_mut(), origin);
    }
    gate.note(&seen, client.as_deref(), &answer, began, span.as_ref());
    answer
}

impl Gate {
    async fn answered(&self, wire: Wire, admitted: Admitted, next: Next) -> Response {
        let Admitted { mut request, room, overrun, caller } = admitted;
        if let Some(caller) = caller {
            request.extensions_mut().insert(ClientName(Arc::clone(&caller.name)));
            request.extensions_mut().insert(caller);
        }
        let waits = waits(wire, &request);
        let answer = next.run(request).await;
        self.forget(waits, overrun.rest()).await;
        let Some(room) = room else { return answer };
        if overrun.happened() {
            self.measures.refused(&Refusal::Memory);
            return Refusal::Memory.response(wire);
        }
        room.held(answer)
    }

    /// Reads what is left of a body that was refused, by this layer or by an endpoint, over HTTP/1.1: a client that still
    /// sends may never see the answer, and its connection is closed.
    async fn forget(&self, waits: bool, rest: Rest) {
        if let (false, Ok(_place)) = (waits, self.drains.try_acquire()) {
            rest.drain().await;
        }
    }

    fn note(&self, seen: &Seen, client: Option<&str>, answer: &Response, began: Instant, span: Option<&Span>) {
        let took = began.elapsed();
        let code = seen.code(answer);
        let route = seen.route(&self.methods);
        self.measures.answered(seen.wire, route, code, took);
        if let Some(log) = &self.access_log {
            let failed = seen.failed(code);
            let trace = span.map(|span| span.trace);
            log.write(failed, || AccessLine {
                listener: seen.wire.name(),
                method: seen.method.as_str(),
                path: &seen.path,
                status: answer.status().as_u16(),
                grpc_status: (seen.wire == Wire::Grpc).then_some(code),
                micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                peer: seen.peer.map(|peer| peer.0),
                client,
                request_bytes: seen.bytes,
                trace,
            });
        }
        if let (Some(tracer), Some(span)) = (&self.tracer, span) {
            tracer.end(span, seen.wire, &seen.method, route, code, seen.failed(code));
        }
    }
}

/// What is kept of a request for those who watch.
struct Seen {
    wire: Wire,
    method: Method,
    path: String,
    pattern: Option<MatchedPath>,
    bytes: Option<u64>,
    peer: Option<Peer>,
}

impl Seen {
    fn of(wire: Wire, request: &Request) -> Self {
        let length = request.headers().get(header::CONTENT_LENGTH);
        Self {
            wire,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            pattern: request.extensions().get::<MatchedPath>().cloned(),
            bytes: length.and_then(|value| value.to_str().ok()?.parse().ok()),
            peer: request.extensions().get().copied(),
        }
    }

    /// The status of HTTP, or of gRPC: its errors come in the head, and an answer without one has begun well.
    fn code(&self, answer: &Response) -> u16 {
        match self.wire {
            Wire::Rest => answer.status().as_u16(),
            Wire::Grpc => {
                let said = answer.headers().get("grpc-status").and_then(|value| value.to_str().ok()?.parse().ok());
                let http = if answer.status() == StatusCode::OK { 0 } else { tonic::Code::Unknown as u16 };
                said.unwrap_or(http)
            }
        }
    }

    /// A name of which there are as many as there are endpoints, whatever clients ask for.
    fn route(&self, methods: &HashSet<String>) -> &str {
        match (self.wire, &self.pattern) {
            (Wire::Rest, Some(pattern)) => pattern.as_str(),
            // The paths of the Open Inference Protocol are read by its own crate.
            (Wire::Rest, None) => crate::routes::pattern(&self.path),
            (Wire::Grpc, _) if methods.contains(&self.path) => &self.path,
            (Wire::Grpc, _) => "",
        }
    }

    fn failed(&self, code: u16) -> bool {
        match self.wire {
            Wire::Rest => code >= 500,
            Wire::Grpc => matches!(code, 2 | 4 | 8 | 13 | 14 | 15),
        }
    }
}

impl Wire {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
        }
    }
}

/// The text of Prometheus.
pub(crate) fn measured(text: String) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], Body::from(text)).into_response()
}
