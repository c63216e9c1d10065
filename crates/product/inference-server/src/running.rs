use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_config::{ModelPlace, Serve};
use ropewalk_inference::Engines;
use ropewalk_serving::{HostLimits, ModelHost, PredictionSink, Route, RouteSettings};
use ropewalk_store::files;
use ropewalk_types::{Ambient, ModelName};

use crate::repository::in_one_line;
use crate::server::Watched;
use crate::{Environment, InferenceServer, InferenceServerError, Listeners, ModelRepository, ServerOptions};

/// Longest configuration that is read, in bytes.
const LONGEST_CONFIG: u64 = 1 << 20;

/// A server that was started, and what its person should know.
#[derive(Debug)]
pub struct Started {
    /// The server, which is not ready yet: registered models may be loaded into its host first.
    pub server: InferenceServer,
    /// The models of files and folders, which are loaded.
    pub repository: Arc<ModelRepository>,
    /// What was passed over or has no effect.
    pub notes: Vec<String>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All that was under way was answered, or its time was over.
    Stopped,
    /// A second signal came.
    Cut,
}

/// Reads a file with `[serve]` tables.
///
/// # Errors
/// It cannot be read, or does not fit together.
pub fn serve_file(path: &Path) -> Result<Serve, InferenceServerError> {
    let text = files::read_text(path, LONGEST_CONFIG)?;
    Ok(Serve::parse(&path.display().to_string(), &text)?)
}

/// Takes the ports, begins to answer that the server lives, and loads the models of files and folders. Those of a registry
/// are the caller's, who ends with [`InferenceServer::ready`].
///
/// # Errors
/// Whatever keeps the server from what the configuration says; nothing listens then.
pub async fn begin(
    serve: &Serve,
    environment: &Environment,
    engines: Engines,
    log: Arc<dyn PredictionSink>,
    ambient: Arc<dyn Ambient>,
) -> Result<Started, InferenceServerError> {
    let options = ServerOptions::of(serve, environment)?;
    let listeners = Listeners::bind(&options).await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let watched = Watched::of(&options)?;
    let log = watched.sink(&serve.log, log);
    let host = Arc::new(ModelHost::new(engines, log, ambient, HostLimits::for_cores(cores)));
    let paths = serve.models.iter().filter_map(|model| match model {
        ModelPlace::Path { name, path } => Some((name.clone(), path.clone())),
        ModelPlace::Uri(_) => None,
    });
    let repository = ModelRepository::new(Arc::clone(&host), paths.collect(), serve.model.clone(), serve.model_control);
    let repository = Arc::new(repository);
    let mut server = InferenceServer::start(listeners, &options, host, Arc::clone(&repository), watched)?;
    let notes = repository.start().await?;
    for (name, settings) in &serve.route {
        // Those of a registry's models are set when these are loaded.
        if serve.models.iter().all(|model| !matches!(model, ModelPlace::Uri(_))) {
            route_set(server.host(), name, settings)?;
        }
    }
    if repository.is_polled() {
        server.watch(Arc::clone(&repository), Duration::from_secs(serve.poll_seconds.max(1)));
    }
    Ok(Started { server, repository, notes })
}

/// Serves until Ctrl-C or SIGTERM, then answers what is under way; a second signal ends it at once. `told` is called when the
/// first one comes.
///
/// # Errors
/// A listener breaks, or the log cannot be written at the end.
pub async fn until_stopped(server: InferenceServer, told: impl FnOnce() + Send) -> Result<Ended, InferenceServerError> {
    until_signalled(Signals::new()?, server, told).await
}

/// As [`until_stopped`], with signals that are watched already: who says that it is ready must not miss one.
///
/// # Errors
/// As [`until_stopped`].
pub async fn until_signalled(
    mut signals: Signals,
    mut server: InferenceServer,
    told: impl FnOnce() + Send,
) -> Result<Ended, InferenceServerError> {
    tokio::select! {
        error = server.broken() => return Err(error),
        () = signals.next() => told(),
    }
    tokio::select! {
        stopped = server.stop() => stopped.map(|()| Ended::Stopped),
        () = signals.next() => Ok(Ended::Cut),
    }
}

/// What ends a server: Ctrl-C and SIGTERM.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Watches from now on; until then they end the process. Needs a runtime.
    ///
    /// # Errors
    /// The system does not let them be watched.
    #[cfg(unix)]
    pub fn new() -> Result<Self, InferenceServerError> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error| InferenceServerError::Serve(format!("cannot wait for signals: {error}"));
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt()).map_err(failed)? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Nothing to watch.
    ///
    /// # Errors
    /// None.
    #[cfg(not(unix))]
    pub fn new() -> Result<Self, InferenceServerError> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // Where Ctrl-C cannot be waited for, the system ends the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl InferenceServerError {
    /// The error with what to do about it, in one line.
    pub fn in_one_line(&self) -> String {
        in_one_line(self)
    }
}

/// Sends requests for a model as `[serve.route.NAME]` says.
///
/// # Errors
/// The name is none, or the route names a version that is not loaded.
pub fn route_set(host: &ModelHost, name: &str, settings: &RouteSettings) -> Result<(), InferenceServerError> {
    let model = ModelName::new(name).map_err(|error| InferenceServerError::Options {
        what: format!("[serve.route.{name}]: {error}"),
        hint: "name a model that is served".to_owned(),
    })?;
    Ok(host.route_set(Route { model, settings: settings.clone() })?)
}
