use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Extensions;
use ropewalk_config::ServeLog;
use ropewalk_listening::{Acceptor, ConnectionCounts, ConnectionTimes, Speaks, descriptors};
use ropewalk_open_inference::{ClientName, OpenInference};
use ropewalk_scoring::Scoring;
use ropewalk_serving::{ModelHost, ModelMetadata, PredictionSink};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::access_log::{AccessLog, PayloadSample};
use crate::gate::{Gate, Phase, Wire, overflow};
use crate::measures::Measures;
use crate::repository::ModelRepository;
use crate::traces::Tracer;
use crate::{Caller, InferenceServerError, ServerOptions, routes};

/// How long connections may take to close once their last answer is ready.
const CLOSING: Duration = Duration::from_secs(2);
/// How long lines and spans may take to be written at the end.
const FLUSHING: Duration = Duration::from_secs(5);

/// Both ports, taken before anything is loaded, so that what is in the way is known at once.
pub struct Listeners {
    rest: (TcpListener, SocketAddr, Option<TlsAcceptor>),
    grpc: (TcpListener, SocketAddr, Option<TlsAcceptor>),
}

impl Listeners {
    /// Takes both ports.
    ///
    /// # Errors
    /// An address that others can reach without credentials to ask for, files of TLS that cannot be used, a port that is
    /// taken. Nothing listens then.
    pub async fn bind(options: &ServerOptions) -> Result<Self, InferenceServerError> {
        options.check()?;
        let tls =
            |protocol| options.tls.as_ref().map(|files| ropewalk_listening::acceptor(files, &[protocol])).transpose();
        let (rest_tls, grpc_tls) = (tls("http/1.1")?, tls("h2")?);
        let (rest, rest_address) = bound(options.host, options.rest_port).await?;
        let (grpc, grpc_address) = bound(options.host, options.grpc_port).await?;
        Ok(Self { rest: (rest, rest_address, rest_tls), grpc: (grpc, grpc_address, grpc_tls) })
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners").field("rest", &self.rest.1).field("grpc", &self.grpc.1).finish_non_exhaustive()
    }
}

async fn bound(host: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), InferenceServerError> {
    let wanted = SocketAddr::new(host, port);
    let refused = |source| InferenceServerError::Listen { address: wanted.to_string(), source };
    let listener = TcpListener::bind(wanted).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// What is counted and written of requests.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    measures: Arc<Measures>,
    access: Option<Arc<AccessLog>>,
}

impl Watched {
    /// Opens the access log, if there is to be one.
    pub(crate) fn of(options: &ServerOptions) -> Result<Self, InferenceServerError> {
        let measures = Arc::new(Measures::default());
        let access = options.access_log.as_ref();
        let access = access.map(|to| AccessLog::open(to, Arc::clone(&measures.access_lost))).transpose()?;
        Ok(Self { measures, access: access.map(Arc::new) })
    }

    /// The prediction log, and before it the access log where payloads are written there.
    pub(crate) fn sink(&self, said: &ServeLog, log: Arc<dyn PredictionSink>) -> Arc<dyn PredictionSink> {
        match &self.access {
            Some(access) if said.access_payloads > 0.0 => {
                let redact = said.redact.iter().cloned().collect();
                Arc::new(PayloadSample::new(Arc::clone(access), said.access_payloads, redact, log))
            }
            _ => log,
        }
    }
}

/// An inference server at work.
#[derive(Debug)]
pub struct InferenceServer {
    host: Arc<ModelHost>,
    protocol: OpenInference,
    gate: Arc<Gate>,
    rest: SocketAddr,
    grpc: SocketAddr,
    secure: bool,
    drain: Duration,
    stop: watch::Sender<bool>,
    acceptors: Vec<JoinHandle<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl InferenceServer {
    /// Begins to answer on ports that are taken. Until [`ready`](Self::ready) only that it lives. Clients load and unload what `repository` has where it is under their control.
    ///
    /// # Errors
    /// Spans cannot be sent where they should, or the descriptors of gRPC are damaged.
    pub(crate) fn start(
        listeners: Listeners,
        options: &ServerOptions,
        host: Arc<ModelHost>,
        repository: Arc<ModelRepository>,
        Watched { measures, access }: Watched,
    ) -> Result<Self, InferenceServerError> {
        let tracer = options.trace.as_ref();
        let tracer = tracer.map(|table| Tracer::start(table, Arc::clone(&measures.spans_lost))).transpose()?;
        let mut protocol = OpenInference::new(Arc::clone(&host), options.protocol_limits());
        let gate = Arc::new(Gate::new(options, protocol.rooms(), Arc::clone(&measures), access, tracer)?);
        let (stop, stopped) = watch::channel(false);
        let acceptor = |(listener, _, tls): (TcpListener, SocketAddr, Option<TlsAcceptor>), wire, router, counts| {
            let speaks = if wire == Wire::Rest { Speaks::Http1 } else { Speaks::Http2 };
            tokio::spawn(acceptor(listener, tls, speaks, wire, router, counts, options, stopped.clone()).run())
        };
        let (rest, grpc, secure) = (listeners.rest.1, listeners.grpc.1, listeners.rest.2.is_some());
        if repository.is_explicit() {
            protocol = protocol.with_repository(repository);
        }
        let client = |extensions: &Extensions| extensions.get::<ClientName>().map(|name| Arc::clone(&name.0));
        let may_ask = |extensions: &Extensions, model: &str| {
            extensions.get::<Caller>().is_none_or(|caller| caller.may_ask(model))
        };
        let scoring = Scoring::new(Arc::clone(&host), options.scoring_limits());
        let scoring = scoring.with_client(client).with_permission(may_ask);
        let rest_router = routes::rest(&protocol, &scoring, &host, &gate);
        let grpc_router = routes::grpc(&protocol, &gate)?;
        let acceptors = vec![
            acceptor(listeners.rest, Wire::Rest, rest_router, Arc::clone(&measures.rest)),
            acceptor(listeners.grpc, Wire::Grpc, grpc_router, Arc::clone(&measures.grpc)),
        ];
        Ok(Self { host, protocol, gate, rest, grpc, secure, drain: options.drain, stop, acceptors, watcher: None })
    }

    /// The models are loaded: from now on requests are answered.
    pub fn ready(&self) {
        self.gate.phase_set(Phase::Serving);
    }

    /// Looks at the folders again every `period`, as long as the server lives.
    pub fn watch(&mut self, repository: Arc<ModelRepository>, period: Duration) {
        let mut stopped = self.stop.subscribe();
        self.watcher = Some(tokio::spawn(async move {
            let mut told = Vec::new();
            loop {
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    () = tokio::time::sleep(period) => {}
                }
                // What is as it was the last time is no news.
                let problems = repository.poll().await;
                for problem in problems.iter().filter(|problem| !told.contains(*problem)) {
                    tracing::warn!("a look at the folders of models: {problem}");
                }
                told = problems;
            }
        }));
    }

    /// `http://HOST:PORT` of REST, or `https`. Where it listens on every address, that of this machine.
    pub fn rest_url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, reachable(self.rest))
    }

    /// `HOST:PORT` of gRPC, as its clients want it.
    pub fn grpc_url(&self) -> String {
        reachable(self.grpc).to_string()
    }

    /// What answers.
    pub fn host(&self) -> &Arc<ModelHost> {
        &self.host
    }

    /// The loaded models.
    pub fn models(&self) -> Vec<ModelMetadata> {
        self.host.model_list()
    }

    /// Waits until every answer so far is in the prediction log.
    pub async fn flush(&self) -> Result<(), InferenceServerError> {
        Ok(self.host.log().flush().await?)
    }

    /// Waits until a listener breaks; does not end otherwise.
    pub async fn broken(&mut self) -> InferenceServerError {
        let (ended, _, _) = futures::future::select_all(&mut self.acceptors).await;
        let why = ended.map_or_else(|error| error.to_string(), |()| "a listener stopped by itself".to_owned());
        InferenceServerError::Serve(why)
    }

    /// Stops: says at once that it is not ready, refuses new requests so that they are sent elsewhere, answers those under
    /// way within the drain time, and writes the rest of the log.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn stop(mut self) -> Result<(), InferenceServerError> {
        self.gate.phase_set(Phase::Draining);
        self.protocol.end();
        let deadline = Instant::now() + self.drain;
        if !self.gate.drained(self.drain).await {
            tracing::warn!("requests were cut off after {} s", self.drain.as_secs());
        }
        // The listeners hold the other ends; where they are gone there is nobody to tell.
        let _ = self.stop.send(true);
        let left = deadline.saturating_duration_since(Instant::now()).min(CLOSING);
        for mut acceptor in self.acceptors.drain(..) {
            if tokio::time::timeout(left, &mut acceptor).await.is_err() {
                acceptor.abort();
            }
        }
        self.gate.flush(FLUSHING).await;
        Ok(self.host.log().close().await?)
    }
}

impl Drop for InferenceServer {
    /// A server that is dropped, as by a second signal, ends at once.
    fn drop(&mut self) {
        for task in self.acceptors.iter().chain(&self.watcher) {
            task.abort();
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "each is one field of the acceptor")]
fn acceptor(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    speaks: Speaks,
    wire: Wire,
    router: Router,
    counts: Arc<ConnectionCounts>,
    options: &ServerOptions,
    stopped: watch::Receiver<bool>,
) -> Acceptor {
    Acceptor {
        listener,
        tls,
        speaks,
        router,
        overflow: overflow(wire),
        connections: options.limits.connections.min(descriptors() / 3),
        times: ConnectionTimes { head: Duration::from_secs(options.limits.head_seconds), drain: options.drain },
        counts,
        stopped,
    }
}

/// An address that can be connected to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
