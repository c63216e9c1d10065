use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use ropewalk_inference::{EmbeddedEngine, Engines};
use ropewalk_open_inference::{ProtocolLimits, grpc_service, health_service};
use ropewalk_registry::{ModelVersion, TrackedModels};
use ropewalk_serving::{
    HostLimits, HostedModel, LogSettings, ModelHost, ModelMetadata, ModelSettings, PredictionLog, PredictionSink as _,
};
use ropewalk_types::{Digest, Uri};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;

use crate::{OpenProject, ServerError};

/// Largest graph of a client's that is loaded: a file of ONNX cannot be larger, whose format is Protocol Buffers.
const ONNX_BYTES: u64 = 2 << 30;

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Models, by version or alias.
    pub models: Vec<Uri>,
    /// Address to listen on.
    pub host: IpAddr,
    /// Port of REST; 0 takes a free one.
    pub rest_port: u16,
    /// Port of gRPC; 0 takes a free one.
    pub grpc_port: u16,
}

/// An inference server at work.
pub struct InferenceServer {
    host: Arc<ModelHost>,
    rest: SocketAddr,
    grpc: SocketAddr,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<Result<(), ServerError>>>,
}

/// The engines of this program.
pub(crate) fn engines() -> Engines {
    Engines::new(vec![Arc::new(EmbeddedEngine)])
}

impl OpenProject {
    /// The options of `[serve]`.
    pub fn serve_options(&self) -> ServeOptions {
        let serve = &self.file.serve;
        ServeOptions {
            models: serve.models.clone(),
            host: serve.host,
            rest_port: serve.rest_port,
            grpc_port: serve.grpc_port,
        }
    }

    /// Loads the models, binds both listeners and begins to answer.
    ///
    /// # Errors
    /// An address that is not loopback (requests carry no credentials), a model that is not registered or that the
    /// engine refuses, a port that is taken. Nothing listens then.
    pub async fn serve(&self, options: &ServeOptions) -> Result<InferenceServer, ServerError> {
        if !options.host.is_loopback() {
            return Err(ServerError::OpenToAll(options.host));
        }
        let log = PredictionLog::open(self.catalog.clone(), LogSettings::default());
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let host =
            Arc::new(ModelHost::new(engines(), Arc::new(log), Arc::clone(&self.ambient), HostLimits::for_cores(cores)));
        for model in &options.models {
            self.load(&host, model).await?;
        }
        let rest = bind(options.host, options.rest_port).await?;
        let grpc = bind(options.host, options.grpc_port).await?;
        let addresses = (address(&rest)?, address(&grpc)?);
        let (stop, stopped) = watch::channel(false);
        let listeners = vec![
            tokio::spawn(serve_rest(rest, Arc::clone(&host), stopped.clone())),
            tokio::spawn(serve_grpc(grpc, Arc::clone(&host), stopped)),
        ];
        Ok(InferenceServer { host, rest: addresses.0, grpc: addresses.1, stop, listeners })
    }

    async fn load(&self, host: &ModelHost, model: &Uri) -> Result<ModelMetadata, ServerError> {
        let version = self.registry.resolve(model).await?;
        let (digest, onnx) = self.graph(&version).await?;
        let (name, number) = (version.name.clone(), version.version);
        let loaded = host
            .load(HostedModel {
                name,
                version: number,
                digest,
                source: onnx.into(),
                settings: ModelSettings::default(),
            })
            .await?;
        host.default_set(&version.name, Some(number))?;
        Ok(loaded)
    }

    /// The ONNX graph of a version: what a stage made, or what a client logged by `mlflow.onnx`, as it lies there now.
    async fn graph(&self, version: &ModelVersion) -> Result<(Digest, Bytes), ServerError> {
        if let Some(content) = &version.content {
            return Ok((content.digest, self.store.get_bytes(&content.digest).await?));
        }
        let refused = |reason: String| ServerError::Unknown {
            what: format!("{} cannot be served: {reason}", version.uri()),
            hint: "what is served is a graph that a stage made, or that `mlflow.onnx.log_model` logged here".to_owned(),
        };
        let files = TrackedModels::new(self.tracking.clone());
        let model = files.mlmodel(version).await.map_err(refused)?;
        let path = model.onnx.ok_or_else(|| refused("its MLmodel names no ONNX graph".to_owned()))?;
        let (artifact, onnx) = files.file(version, &path, ONNX_BYTES).await.map_err(refused)?;
        Ok((artifact.digest, onnx))
    }
}

impl InferenceServer {
    /// `http://HOST:PORT` of REST.
    pub fn rest_url(&self) -> String {
        format!("http://{}", self.rest)
    }

    /// `HOST:PORT` of gRPC, as its clients want it.
    pub fn grpc_url(&self) -> String {
        self.grpc.to_string()
    }

    /// The loaded models.
    pub fn models(&self) -> Vec<ModelMetadata> {
        self.host.model_list()
    }

    /// Waits until every answer so far is in the prediction log.
    pub async fn flush(&self) -> Result<(), ServerError> {
        Ok(self.host.log().flush().await?)
    }

    /// Waits until a listener breaks; does not end otherwise.
    pub async fn broken(&mut self) -> ServerError {
        let (ended, _, _) = futures::future::select_all(&mut self.listeners).await;
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => ServerError::Serve("a listener stopped by itself".to_owned()),
            Err(error) => ServerError::Serve(error.to_string()),
        }
    }

    /// Stops: takes no new requests, answers those under way, and writes the rest of the log.
    pub async fn stop(self) -> Result<(), ServerError> {
        // The listeners hold the other ends; where they are gone there is nobody to tell.
        let _ = self.stop.send(true);
        for listener in self.listeners {
            listener.await.map_err(|error| ServerError::Serve(error.to_string()))??;
        }
        Ok(self.host.log().close().await?)
    }
}

async fn bind(host: IpAddr, port: u16) -> Result<TcpListener, ServerError> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address: address.to_string(), source })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, ServerError> {
    listener.local_addr().map_err(|error| ServerError::Serve(error.to_string()))
}

async fn serve_rest(
    listener: TcpListener,
    host: Arc<ModelHost>,
    stopped: watch::Receiver<bool>,
) -> Result<(), ServerError> {
    let router = ropewalk_open_inference::router(host, ProtocolLimits::default());
    axum::serve(listener, router)
        .with_graceful_shutdown(stop_signal(stopped))
        .await
        .map_err(|error| ServerError::Serve(error.to_string()))
}

async fn serve_grpc(
    listener: TcpListener,
    host: Arc<ModelHost>,
    stopped: watch::Receiver<bool>,
) -> Result<(), ServerError> {
    tonic::transport::Server::builder()
        .add_service(health_service(Arc::clone(&host)))
        .add_service(grpc_service(host, ProtocolLimits::default()))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop_signal(stopped))
        .await
        .map_err(|error| ServerError::Serve(error.to_string()))
}

async fn stop_signal(mut stopped: watch::Receiver<bool>) {
    // An error says that the server was dropped: that is a stop, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
