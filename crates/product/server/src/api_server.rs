//! The listener of a team's runs and models: what MLflow's server is, in one process.
//!
//! Everything is bounded. What is beyond a bound is refused at once with 503 and `Retry-After`, which MLflow's client
//! follows, and never queued; `/health` is answered at any time.

mod admission;
mod credentials;
mod live;
mod measures;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use ropewalk_listening::{Acceptor, ConnectionTimes, Speaks, descriptors};
use ropewalk_mlflow::{MlflowState, guarded, overloaded};
use ropewalk_registry::{RegistryError, WebhookSender};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use admission::ServerLimits;
pub use credentials::{CredentialSources, Credentials};
pub use ropewalk_listening::TlsFiles;

use crate::{ServerError, TrackingHome, WebhookCaller};
use admission::{Admission, admit};
use live::Live;
use measures::Measures;

/// After how many seconds a client that finds too many connections should come again.
const RETRY_SECONDS: u32 = 2;

/// Where to listen, and whom to let in.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Names, without port, under which clients may address the server besides `localhost` and addresses; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// What clients must know.
    pub credentials: Credentials,
    /// With them the server speaks TLS.
    pub tls: Option<TlsFiles>,
    /// How much is taken at once.
    pub limits: ServerLimits,
}

/// A server at work.
pub struct ApiServer {
    address: SocketAddr,
    scheme: &'static str,
    stop: watch::Sender<bool>,
    acceptor: JoinHandle<()>,
    webhooks: JoinHandle<()>,
}

impl TrackingHome {
    /// Binds the listener and begins to answer MLflow's API, and events and measures of our own.
    ///
    /// # Errors
    /// An address that others can reach without credentials to ask for, files of TLS that cannot be used, a port that is
    /// taken, a catalogue that cannot be written.
    /// Nothing listens then.
    pub async fn serve(&self, options: &ApiOptions) -> Result<ApiServer, ServerError> {
        if !options.host.is_loopback() && options.credentials.is_empty() {
            return Err(ServerError::CredentialsAbsent(options.host));
        }
        let tls = options.tls.as_ref().map(|files| ropewalk_listening::acceptor(files, &["http/1.1"])).transpose()?;
        self.tracking.default_experiment_date().await?;
        let wanted = SocketAddr::new(options.host, options.port);
        let refused = |source| ServerError::Listen { address: wanted.to_string(), source };
        let listener = TcpListener::bind(wanted).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = watch::channel(false);
        let measures = Arc::new(Measures::default());
        let caller = Arc::new(WebhookCaller::new(options.host.is_loopback())?);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let acceptor = Acceptor {
            listener,
            tls,
            router: self.router(options, &caller, &measures, stopped.clone()),
            overflow: overflow(),
            speaks: Speaks::Http1,
            connections: options.limits.connections.min(descriptors() / 2),
            times: ConnectionTimes::default(),
            counts: Arc::clone(&measures.connections),
            stopped,
        };
        let registry = self.registry.clone();
        let webhooks = tokio::spawn(async move {
            let failed = |error: &RegistryError| tracing::warn!("webhooks wait: {error}");
            registry.webhooks_serve(&*caller, &failed).await;
        });
        Ok(ApiServer { address, scheme, stop, acceptor: tokio::spawn(acceptor.run()), webhooks })
    }

    fn router(
        &self,
        options: &ApiOptions,
        caller: &Arc<WebhookCaller>,
        measures: &Arc<Measures>,
        stopped: watch::Receiver<bool>,
    ) -> Router {
        let mut state = self.mlflow_state(options);
        let sender: Arc<dyn WebhookSender> = Arc::<WebhookCaller>::clone(caller);
        state.webhooks = Some(sender);
        let live = Live::new(self.tracking.clone(), options.limits.listeners, Arc::clone(measures), stopped);
        let (counted, catalog) = (Arc::clone(measures), self.catalog.clone());
        let tell = move || {
            let text = counted.text(catalog.waiting());
            async move { measured(text) }
        };
        let own = Router::new().route("/metrics", get(tell)).merge(live::router(live));
        let admission = Arc::new(Admission::new(&options.limits, Arc::clone(measures)));
        guarded(own, state.clone()).merge(ropewalk_mlflow::router(state)).layer(from_fn_with_state(admission, admit))
    }

    fn mlflow_state(&self, options: &ApiOptions) -> MlflowState {
        let mut state = MlflowState::new(self.tracking.clone(), self.registry.clone());
        state.allowed_hosts.clone_from(&options.allowed_hosts);
        state.token.clone_from(&options.credentials.token);
        state.users.clone_from(&options.credentials.users);
        state
    }
}

impl ApiServer {
    /// What clients set as `MLFLOW_TRACKING_URI`. Where it listens on every address, that of this machine.
    pub fn url(&self) -> String {
        let host = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// Waits until the listener breaks; does not end otherwise.
    pub async fn broken(&mut self) -> ServerError {
        match (&mut self.acceptor).await {
            Ok(()) => ServerError::Serve("the listener stopped by itself".to_owned()),
            Err(error) => ServerError::Serve(error.to_string()),
        }
    }

    /// Stops: takes no new requests and answers those under way, for 20 seconds at most.
    pub async fn stop(self) -> Result<(), ServerError> {
        // The listener holds the other end; where it is gone there is nobody to tell.
        let _ = self.stop.send(true);
        let ended = self.acceptor.await.map_err(|error| ServerError::Serve(error.to_string()));
        // What is not sent yet is in the catalogue, and is sent by the next server.
        self.webhooks.abort();
        ended
    }
}

fn measured(text: String) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// What is answered where there are more connections than may be: that the server lives, and nothing else.
fn overflow() -> Router {
    let refuse = async || overloaded(RETRY_SECONDS, "too many connections are open");
    Router::new().route("/health", any(async || "OK")).fallback(refuse)
}
