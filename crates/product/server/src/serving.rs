//! Registered models behind the inference server: resolved, taken out of the store, and handed to its host.

mod folder;

use std::sync::Arc;

use bytes::Bytes;
use ropewalk_config::{ModelPlace, Serve};
use ropewalk_inference::ModelSource;
use ropewalk_inference_server::{
    Ended, Environment, InferenceServer, InferenceServerError, Started, begin, engines, model_settings, until_stopped,
};
use ropewalk_registry::MlModel;
use ropewalk_serving::{HostedModel, ModelHost, ModelSettings, NoPredictionLog};
use ropewalk_store::files::TemporaryDirectory;
use ropewalk_types::{Ambient, Digest, ModelName, Uri};

use crate::{OpenProject, ServerError, SystemAmbient, TrackingHome};
use folder::ModelFolder;

/// Largest graph of a client's that is loaded: a file of ONNX cannot be larger, whose format is Protocol Buffers.
const ONNX_BYTES: u64 = 2 << 30;
/// Longest `MLmodel` that is read.
const MLMODEL_BYTES: u64 = 4 << 20;
/// The file that describes a model of MLflow's.
const MLMODEL: &str = "MLmodel";
/// What is served besides graphs that a stage made.
const HINT: &str = "what is served is a graph that a stage made, or a model that an MLflow client logged here";

/// A server of registered models.
#[derive(Debug)]
pub struct ModelServer {
    server: InferenceServer,
    /// What was passed over or has no effect.
    notes: Vec<String>,
    /// Folders that workers read their models from; they go with the server.
    _folders: Vec<TemporaryDirectory>,
}

/// Serves models of files and folders, which need no project; their predictions are not logged.
///
/// # Errors
/// What keeps the server from what `serve` says. Nothing listens then.
pub async fn serve_files(serve: &Serve, environment: &Environment) -> Result<ModelServer, ServerError> {
    let (log, ambient) = (Arc::new(NoPredictionLog), Arc::new(SystemAmbient));
    let further = axum::Router::new();
    let Started { server, notes, .. } = begin(serve, environment, engines(environment), log, ambient, further).await?;
    server.ready();
    Ok(ModelServer { server, notes, _folders: Vec::new() })
}

impl OpenProject {
    /// `[serve]` of the project; what it names relative to the project is below its root.
    pub fn serve_options(&self) -> Serve {
        self.file.serve.clone().below(&self.root)
    }

    /// Loads the models, binds both listeners and begins to answer.
    ///
    /// # Errors
    /// As [`TrackingHome::serve_models`].
    pub async fn serve(&self, serve: &Serve, environment: &Environment) -> Result<ModelServer, ServerError> {
        TrackingHome::of(self).serve_models(serve, environment).await
    }
}

impl TrackingHome {
    /// Binds both listeners, loads the models and begins to answer.
    ///
    /// # Errors
    /// What keeps the server from what `serve` says, a model that is not registered or that no engine takes, a port that is
    /// taken. Nothing listens then.
    pub async fn serve_models(&self, serve: &Serve, environment: &Environment) -> Result<ModelServer, ServerError> {
        let ambient: Arc<dyn Ambient> = Arc::new(SystemAmbient);
        let log = self.prediction_log(&serve.log).await?;
        let further = axum::Router::new();
        let Started { server, notes, .. } =
            begin(serve, environment, engines(environment), log, ambient, further).await?;
        let mut folders = Vec::new();
        for model in &serve.models {
            if let ModelPlace::Uri(uri) = model {
                folders.extend(self.model_load(server.host(), serve, uri).await?);
            }
        }
        // The second round watches the aliases of `serve.models` from here: it has `self`, the host, and `model_load`.
        server.ready();
        Ok(ModelServer { server, notes, _folders: folders })
    }

    /// Loads one model, and makes its version the default one.
    async fn model_load(
        &self,
        host: &ModelHost,
        serve: &Serve,
        uri: &Uri,
    ) -> Result<Option<TemporaryDirectory>, ServerError> {
        let found = match uri {
            Uri::Run { .. } => self.logged(uri).await?,
            _ => self.registered(uri).await?,
        };
        let Found { name, version, digest, source, folder } = found;
        let settings = model_settings(ModelSettings::default(), serve.model.get(name.as_str()))?;
        host.load(HostedModel { name: name.clone(), version, digest, source, settings }).await?;
        host.default_set(&name, Some(version))?;
        Ok(folder)
    }

    async fn registered(&self, uri: &Uri) -> Result<Found, ServerError> {
        let version = self.registry.resolve(uri).await?;
        let (name, number) = (version.name.clone(), version.version);
        if let Some(content) = &version.content {
            let onnx: Bytes = self.store.get_bytes(&content.digest).await?;
            let (digest, source) = (content.digest, onnx.into());
            return Ok(Found { name, version: number, digest, source, folder: None });
        }
        let (digest, source, folder) = self.described(&version.uri(), &version.storage).await?;
        Ok(Found { name, version: number, digest, source, folder })
    }

    /// A model among the artifacts of a run, which has the name of its folder.
    async fn logged(&self, uri: &Uri) -> Result<Found, ServerError> {
        let Uri::Run { path, .. } = uri else { return Err(refused(uri, "it is not of a run")) };
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = if name.is_empty() { "model" } else { name.strip_suffix(".onnx").unwrap_or(name) };
        let name = ModelName::new(name)?;
        let (digest, source, folder) = self.described(uri, &uri.to_string()).await?;
        Ok(Found { name, version: 1, digest, source, folder })
    }

    /// What lies at a place of artifacts: a file of ONNX, or a folder with an `MLmodel`.
    async fn described(
        &self,
        uri: &Uri,
        place: &str,
    ) -> Result<(Digest, ModelSource, Option<TemporaryDirectory>), ServerError> {
        let wrong = |reason: String| refused(uri, &reason);
        let folder = ModelFolder::at(&self.tracking, place).await.map_err(wrong)?;
        if let Some((digest, onnx)) = folder.itself(ONNX_BYTES).await.map_err(wrong)? {
            return Ok((digest, onnx.into(), None));
        }
        let (described, text) = folder.file(MLMODEL, MLMODEL_BYTES).await.map_err(wrong)?;
        let text =
            String::from_utf8(text.to_vec()).map_err(|error| wrong(format!("its MLmodel is no text: {error}")))?;
        let model = MlModel::parse(&text).map_err(|error| wrong(error.to_string()))?;
        if let Some(path) = model.onnx {
            let (digest, onnx) = folder.file(&path, ONNX_BYTES).await.map_err(wrong)?;
            return Ok((digest, onnx.into(), None));
        }
        let kept = folder.written().await.map_err(wrong)?;
        let source = ModelSource::Folder(kept.path().to_owned());
        Ok((described, source, Some(kept)))
    }
}

/// A model as it was found.
struct Found {
    name: ModelName,
    version: u64,
    digest: Digest,
    source: ModelSource,
    /// Where its files were written to, if they had to be.
    folder: Option<TemporaryDirectory>,
}

fn refused(uri: &Uri, reason: &str) -> ServerError {
    ServerError::Unknown { what: format!("{uri} cannot be served: {reason}"), hint: HINT.to_owned() }
}

impl ModelServer {
    /// The server.
    pub fn server(&self) -> &InferenceServer {
        &self.server
    }

    /// What was passed over or has no effect.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Serves until Ctrl-C or SIGTERM, then answers what is under way and writes the rest of the log; a second signal ends it
    /// at once.
    ///
    /// # Errors
    /// A listener breaks, or the log cannot be written.
    pub async fn until_stopped(self, told: impl FnOnce() + Send) -> Result<Ended, InferenceServerError> {
        until_stopped(self.server, told).await
    }

    /// Stops: answers what is under way, and writes the rest of the log.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn stop(self) -> Result<(), ServerError> {
        Ok(self.server.stop().await?)
    }
}
