//! Registered models behind the inference server: resolved, taken out of the store, and handed to its host.

mod folder;
mod following;
mod found;

use std::sync::Arc;

use ropewalk_config::Serve;
use ropewalk_inference_server::{
    Ended, Environment, InferenceServer, InferenceServerError, Started, begin, engines, until_stopped,
};
use ropewalk_serving::NoPredictionLog;
use ropewalk_types::Ambient;

use crate::{OpenProject, ServerError, SystemAmbient, TrackingHome};
use following::Following;
pub(crate) use found::Found;

/// What is said where predictions have nowhere to be kept.
const NOT_LOGGED: &str = "predictions are not logged: with --data FOLDER, or in a project, they are";

/// A server of registered models.
#[derive(Debug)]
pub struct ModelServer {
    server: InferenceServer,
    /// What was passed over or has no effect.
    notes: Vec<String>,
    /// Follows the registry's aliases, and keeps the folders that workers read their models from; it ends with the server.
    following: Option<Following>,
}

/// Serves models of files and folders, which need no project; their predictions are not logged.
///
/// # Errors
/// What keeps the server from what `serve` says. Nothing listens then.
pub async fn serve_files(serve: &Serve, environment: &Environment) -> Result<ModelServer, ServerError> {
    let (log, ambient) = (Arc::new(NoPredictionLog), Arc::new(SystemAmbient));
    let Started { server, mut notes, .. } = begin(serve, environment, engines(environment), log, ambient).await?;
    if serve.log.predictions {
        notes.push(NOT_LOGGED.to_owned());
    }
    server.ready();
    Ok(ModelServer { server, notes, following: None })
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
        let Started { server, notes, .. } = begin(serve, environment, engines(environment), log, ambient).await?;
        let following = self.follow(server.host(), serve).await?;
        server.ready();
        Ok(ModelServer { server, notes, following: Some(following) })
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
        let ended = until_stopped(self.server, told).await;
        drop(self.following);
        ended
    }

    /// Stops: answers what is under way, and writes the rest of the log.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn stop(self) -> Result<(), ServerError> {
        let stopped = self.server.stop().await;
        drop(self.following);
        Ok(stopped?)
    }
}
