//! Registered models behind the inference server: resolved, taken out of the store, and handed to its host.

mod folder;
mod found;

use std::sync::Arc;

use ropewalk_config::{ModelPlace, Serve};
use ropewalk_inference_server::{
    Ended, Environment, InferenceServer, InferenceServerError, Started, begin, engines, model_settings, until_stopped,
};
use ropewalk_serving::{HostedModel, ModelHost, ModelSettings, NoPredictionLog};
use ropewalk_store::files::TemporaryDirectory;
use ropewalk_types::{Ambient, Uri};

use crate::{OpenProject, ServerError, SystemAmbient, TrackingHome};
pub(crate) use found::Found;

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
        let Found { name, version, digest, source, folder, .. } = self.model_find(uri).await?;
        let settings = model_settings(ModelSettings::default(), serve.model.get(name.as_str()))?;
        host.load(HostedModel { name: name.clone(), version, digest, source, settings }).await?;
        host.default_set(&name, Some(version))?;
        Ok(folder)
    }
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
