use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use futures::TryFutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::stalling::{Stalling, WRITE};
use crate::unread::{Streams, watched};

/// How long the beginning of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most fields of a head.
const FIELDS: usize = 100;
/// Most bytes of a head, and of what is read of a body before it is taken: a large body is cheaper in large pieces.
const BUFFER: usize = 256 << 10;
/// Connections beyond the limit that still get an answer, so that health can be asked at any time.
const SPARE: usize = 32;
/// Until the next try where the system has no more descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Streams of one HTTP/2 connection at the same time.
const STREAMS: u32 = 256;
/// Bytes of one stream, and of one connection, that a client may send before they are read.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Most bytes of the heads of one HTTP/2 request.
const HEAD_LIST: u32 = 16 << 10;
/// How long a silent HTTP/2 connection is believed to be alive, and how long its client may take to say so.
const SILENT: Duration = Duration::from_mins(1);
const PONG: Duration = Duration::from_secs(20);

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without the detour over HTTP/1.1: what gRPC needs.
    Http2,
}

/// Who is at the other end of the connection that a request came over: an extension of each request. Behind a proxy it is the
/// proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionTimes {
    /// The head of a request, and how long a connection may lie idle: both are the wait for a head. In HTTP/2 the first
    /// bytes.
    pub head: Duration,
    /// The requests that are under way once the server stops.
    pub drain: Duration,
}

impl Default for ConnectionTimes {
    fn default() -> Self {
        Self { head: Duration::from_secs(30), drain: Duration::from_secs(20) }
    }
}

/// Connections as they are counted.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    /// Open at this moment.
    pub open: AtomicI64,
    /// Beyond the limit, since the start.
    pub refused: AtomicU64,
}

/// Counts something as there, until it is dropped.
#[derive(Debug)]
pub struct Present<'m>(&'m AtomicI64);

impl<'m> Present<'m> {
    /// One more, from now on.
    pub fn new(gauge: &'m AtomicI64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many files and connections this process may have open.
#[cfg(unix)]
pub fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Takes connections and answers what comes over them.
pub struct Acceptor {
    /// Where they come.
    pub listener: TcpListener,
    /// With it they are encrypted.
    pub tls: Option<TlsAcceptor>,
    /// What is spoken over them.
    pub speaks: Speaks,
    /// All endpoints.
    pub router: Router,
    /// What is answered where there are too many connections.
    pub overflow: Router,
    /// How many connections there may be.
    pub connections: usize,
    /// How long things may take.
    pub times: ConnectionTimes,
    /// Where connections are counted.
    pub counts: Arc<ConnectionCounts>,
    /// Becomes true when the server stops.
    pub stopped: watch::Receiver<bool>,
}

/// One connection, and what it may do.
struct Accepted {
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    talk: Talk,
    _slot: OwnedSemaphorePermit,
}

/// What is said over one connection.
struct Talk {
    peer: Peer,
    speaks: Speaks,
    router: Router,
    keep_alive: bool,
    head: Duration,
    /// How long a client may take nothing of an answer over HTTP/2.
    unread: Duration,
    stopped: watch::Receiver<bool>,
}

impl Acceptor {
    /// Until the server stops: then what is under way is answered, for as long as it may take.
    pub async fn run(self) {
        let slots = Arc::new(Semaphore::new(self.connections.clamp(1, Semaphore::MAX_PERMITS)));
        let spare = Arc::new(Semaphore::new(SPARE));
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop_signal(self.stopped.clone()));
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => if let Some(accepted) = self.admitted(stream, Peer(peer), &slots, &spare) {
                        connections.spawn(accepted.serve(Arc::clone(&self.counts)));
                    },
                    // The client is gone again, or there are no descriptors left: that passes.
                    Err(_) => sleep(EXHAUSTED).await,
                },
            }
        }
        drop(self.listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        // What has not ended by then is cut off when the set is dropped.
        let _ = timeout(self.times.drain, drained).await;
    }

    /// A place for a connection; without any it is closed.
    fn admitted(
        &self,
        stream: TcpStream,
        peer: Peer,
        slots: &Arc<Semaphore>,
        spare: &Arc<Semaphore>,
    ) -> Option<Accepted> {
        // Small answers are sent at once. Where that cannot be set they are only later.
        let _ = stream.set_nodelay(true);
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Some(self.accepted((stream, peer), slot, &self.router, true));
        }
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::clone(spare).try_acquire_owned().ok()?;
        Some(self.accepted((stream, peer), slot, &self.overflow, false))
    }

    fn accepted(
        &self,
        (stream, peer): (TcpStream, Peer),
        slot: OwnedSemaphorePermit,
        router: &Router,
        keep_alive: bool,
    ) -> Accepted {
        let talk = Talk {
            peer,
            speaks: self.speaks,
            router: router.clone(),
            keep_alive,
            head: self.times.head,
            unread: WRITE,
            stopped: self.stopped.clone(),
        };
        Accepted { stream, tls: self.tls.clone(), talk, _slot: slot }
    }
}

impl Accepted {
    async fn serve(self, counts: Arc<ConnectionCounts>) {
        let _present = Present::new(&counts.open);
        match &self.tls {
            None => self.talk.over(self.stream).await,
            Some(tls) => {
                // Who does not come through the handshake in time is no client.
                if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(self.stream)).await {
                    Box::pin(self.talk.over(stream)).await;
                }
            }
        }
    }
}

impl Talk {
    async fn over<I>(self, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self.speaks {
            Speaks::Http1 => self.http1(io).await,
            Speaks::Http2 => self.http2(io).await,
        }
    }

    async fn http1<I>(self, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.head).max_headers(FIELDS).max_buf_size(BUFFER);
        // No `pipeline_flush`: with it an answer that closes the connection before all of its request was read is never sent.
        builder.keep_alive(self.keep_alive);
        let service = introduced(self.router, self.peer);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(Stalling::new(io)), service));
        tokio::select! {
            // A client that goes away, or speaks something else, is no error of ours.
            _ = connection.as_mut() => return,
            () = stop_signal(self.stopped) => connection.as_mut().graceful_shutdown(),
        }
        // Its last answer, if one is under way.
        let _ = connection.await;
    }

    async fn http2<I>(self, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http2::Builder::new(Streams::reset_after(self.unread));
        builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).max_header_list_size(HEAD_LIST);
        builder.keep_alive_interval(SILENT).keep_alive_timeout(PONG);
        builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        let io = TokioIo::new(Stalling::new(io).greeted_within(self.head));
        let inner = introduced(self.router, self.peer);
        let service = service_fn(move |request| inner.call(request).map_ok(watched));
        let mut connection = pin!(builder.serve_connection(io, service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop_signal(self.stopped) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// The router, told with each request who asks.
fn introduced(
    router: Router,
    peer: Peer,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static> {
    let inner = TowerToHyperService::new(router);
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        inner.call(request)
    })
}

/// Ends when the server stops.
pub async fn stop_signal(mut stopped: watch::Receiver<bool>) {
    // An error says that the server was dropped: that is a stop, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use bytes::Bytes;
    use futures::{StreamExt as _, stream};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::Notify;

    use super::*;

    // RFC 9113, section 6.
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], [kind, flags].as_slice(), stream.to_be_bytes().as_slice(), payload].concat()
    }

    /// What begins a connection on which no stream may send more than so many bytes.
    fn greeting(window: u32) -> Vec<u8> {
        // The fourth setting is the initial window.
        let settings = frame(SETTINGS, 0, 0, &[[0, 4].as_slice(), window.to_be_bytes().as_slice()].concat());
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings].concat()
    }

    /// GET, whose fields stand as literals with the names of HPACK's table (RFC 7541, appendix A).
    fn request(stream: u32, path: &str) -> Vec<u8> {
        let literal = |name: u8, value: &str| [[name, value.len() as u8].as_slice(), value.as_bytes()].concat();
        let fields = [vec![0x82, 0x86], literal(4, path), literal(1, "localhost")].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
    }

    /// Kind, flags, stream and payload of the next frame.
    async fn next_frame(client: &mut DuplexStream) -> (u8, u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.expect("a frame");
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        client.read_exact(&mut payload).await.expect("its payload");
        (kind, flags, u32::from_be_bytes(stream), payload)
    }

    /// `/long` has a place until its answer is sent; the answer of `/later` ends when it is told to.
    fn router(places: &Arc<Semaphore>, told: &Arc<Notify>) -> Router {
        let (places, told) = (Arc::clone(places), Arc::clone(told));
        let long = async move || {
            let place = Arc::clone(&places).try_acquire_owned().expect("a place");
            let pieces = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![0; 1 << 20]))]);
            Body::from_stream(pieces.inspect(move |_| assert_eq!(place.num_permits(), 1)))
        };
        let later = async move || {
            let end = stream::once(async move { told.notified().await });
            Body::from_stream(end.map(|()| Ok::<_, Infallible>(Bytes::new())))
        };
        Router::new().route("/long", get(long)).route("/later", get(later))
    }

    #[tokio::test]
    async fn a_stream_that_is_not_read_is_reset_and_no_other() {
        for window in [0, 1] {
            let (places, told) = (Arc::new(Semaphore::new(1)), Arc::new(Notify::new()));
            let (ours, mut client) = duplex(1 << 16);
            let (_stop, stopped) = watch::channel(false);
            let talk = Talk {
                peer: Peer(SocketAddr::from(([127, 0, 0, 1], 1))),
                speaks: Speaks::Http2,
                router: router(&places, &told),
                keep_alive: true,
                head: Duration::from_mins(1),
                unread: Duration::from_millis(50),
                stopped,
            };
            tokio::spawn(talk.over(ours));
            let said = [greeting(window), request(1, "/later"), request(3, "/long")].concat();
            client.write_all(&said).await.expect("sent");
            let mut sent = 0;
            let reset = async {
                loop {
                    match next_frame(&mut client).await {
                        (RST_STREAM, _, stream, _) => return stream,
                        (DATA, _, 3, payload) => sent += payload.len(),
                        _ => {}
                    }
                }
            };
            assert_eq!(timeout(Duration::from_mins(1), reset).await.expect("reset"), 3);
            assert_eq!((sent, places.available_permits()), (window as usize, 1));
            // The other one has had nothing to send for as long.
            told.notify_one();
            let ended = async {
                loop {
                    if let (DATA, END_STREAM, 1, _) = next_frame(&mut client).await {
                        return;
                    }
                }
            };
            timeout(Duration::from_mins(1), ended).await.expect("the connection goes on");
        }
    }
}
