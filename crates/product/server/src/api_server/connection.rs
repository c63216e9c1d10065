use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::measures::{Measures, Present};
use super::stalling::Stalling;

/// How long the head of a request may take, and how long a connection may lie idle: both are the wait for a head.
const HEAD: Duration = Duration::from_secs(30);
/// How long the beginning of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long requests may take to end once the server stops.
const DRAIN: Duration = Duration::from_secs(20);
/// Most fields of a head.
const FIELDS: usize = 100;
/// Most bytes of a head, and of what is read of a body before it is taken: a large body is cheaper in large pieces.
const BUFFER: usize = 256 << 10;
/// Connections beyond the limit that still get an answer, so that health can be asked at any time.
const SPARE: usize = 32;
/// Until the next try where the system has no more descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Takes connections and answers what comes over them.
pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    /// All endpoints.
    pub(super) router: Router,
    /// What is answered where there are too many connections.
    pub(super) overflow: Router,
    /// How many connections there may be.
    pub(super) connections: usize,
    pub(super) measures: Arc<Measures>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// One connection, and what it may do.
struct Accepted {
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    keep_alive: bool,
    _slot: OwnedSemaphorePermit,
}

impl Acceptor {
    /// Until the server stops: then what is under way is answered, for [`DRAIN`] at most.
    pub(super) async fn run(self) {
        let slots = Arc::new(Semaphore::new(self.connections.clamp(1, Semaphore::MAX_PERMITS)));
        let spare = Arc::new(Semaphore::new(SPARE));
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop_signal(self.stopped.clone()));
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => if let Some(accepted) = self.admitted(stream, &slots, &spare) {
                        connections.spawn(accepted.serve(Arc::clone(&self.measures), self.stopped.clone()));
                    },
                    // The client is gone again, or there are no descriptors left: that passes.
                    Err(_) => sleep(EXHAUSTED).await,
                },
            }
        }
        drop(self.listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        // What has not ended by then is cut off when the set is dropped.
        let _ = timeout(DRAIN, drained).await;
    }

    /// A place for a connection; without any it is closed.
    fn admitted(&self, stream: TcpStream, slots: &Arc<Semaphore>, spare: &Arc<Semaphore>) -> Option<Accepted> {
        // Small answers are sent at once. Where that cannot be set they are only later.
        let _ = stream.set_nodelay(true);
        let tls = self.tls.clone();
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Some(Accepted { stream, tls, router: self.router.clone(), keep_alive: true, _slot: slot });
        }
        self.measures.connections_refused.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::clone(spare).try_acquire_owned().ok()?;
        Some(Accepted { stream, tls, router: self.overflow.clone(), keep_alive: false, _slot: slot })
    }
}

impl Accepted {
    async fn serve(self, measures: Arc<Measures>, stopped: watch::Receiver<bool>) {
        let _present = Present::new(&measures.connections);
        match &self.tls {
            None => conversation(self.stream, self.router, self.keep_alive, stopped).await,
            Some(tls) => {
                // Who does not come through the handshake in time is no client.
                if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(self.stream)).await {
                    Box::pin(conversation(stream, self.router, self.keep_alive, stopped)).await;
                }
            }
        }
    }
}

async fn conversation<I>(io: I, router: Router, keep_alive: bool, stopped: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(FIELDS).max_buf_size(BUFFER);
    // No `pipeline_flush`: with it an answer that closes the connection before all of its request was read is never sent.
    builder.keep_alive(keep_alive);
    let connection = builder.serve_connection(TokioIo::new(Stalling::new(io)), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that goes away, or speaks something else, is no error of ours.
        _ = connection.as_mut() => return,
        () = stop_signal(stopped) => connection.as_mut().graceful_shutdown(),
    }
    // Its last answer, if one is under way.
    let _ = connection.await;
}

/// Ends when the server stops.
pub(super) async fn stop_signal(mut stopped: watch::Receiver<bool>) {
    // An error says that the server was dropped: that is a stop, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
