//! Registered models are loaded, and their aliases followed while they are served.

use std::sync::Arc;
use std::time::Duration;

use ropewalk_config::{ModelPlace, Serve};
use ropewalk_inference_server::{model_settings, route_set};
use ropewalk_serving::{AliasWatcher, HostedModel, ModelHost, ModelSettings, WatchedUri, run_alias_watch};
use ropewalk_store::files::TemporaryDirectory;
use ropewalk_types::{ModelName, Uri};
use tokio::task::JoinHandle;

use super::Found;
use crate::{ServerError, TrackingHome};

/// A version that is loaded, with the folder of its files, if there is one.
type Kept = (ModelName, u64, Option<TemporaryDirectory>);

/// The task that follows aliases; it ends when this is dropped, and the folders with it.
#[derive(Debug)]
pub(super) struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TrackingHome {
    /// Loads the registered models of `serve` into the host, sets their routes, and begins to follow their aliases. The first
    /// URI of a model says which version answers where none is asked for.
    pub(super) async fn follow(&self, host: &Arc<ModelHost>, serve: &Serve) -> Result<Following, ServerError> {
        let (mut watched, mut kept): (Vec<WatchedUri>, Vec<Kept>) = (Vec::new(), Vec::new());
        for model in &serve.models {
            let ModelPlace::Uri(uri) = model else { continue };
            let (name, version, folder) = self.model_load(host, serve, uri).await?;
            if kept.iter().all(|(other, ..)| *other != name) {
                host.default_set(&name, Some(version))?;
            }
            if let Uri::ModelAlias { alias, .. } = uri {
                host.alias_set(&name, alias.clone(), Some(version))?;
            }
            watched.push(WatchedUri { uri: uri.clone(), version });
            kept.push((name, version, folder));
        }
        for (name, settings) in &serve.route {
            route_set(host, name, settings)?;
        }
        let every = Duration::from_secs(serve.alias_seconds.max(1));
        let watcher = AliasWatcher::new(watched, every);
        let (home, host, serve) = (self.clone(), Arc::clone(host), serve.clone());
        Ok(Following(tokio::spawn(async move { home.aliases_follow(host, serve, watcher, kept, every).await })))
    }

    async fn aliases_follow(
        self,
        host: Arc<ModelHost>,
        serve: Serve,
        watcher: AliasWatcher,
        kept: Vec<Kept>,
        every: Duration,
    ) {
        let resolve = |uri: Uri| {
            let registry = self.registry.clone();
            async move { registry.resolve(&uri).await.map(|version| version.version).map_err(|error| error.to_string()) }
        };
        let load = |name: ModelName, version: u64| {
            let (home, host, serve) = (self.clone(), Arc::clone(&host), serve.clone());
            async move {
                // By its number: the alias may have moved on meanwhile.
                let loaded = home.model_load(&host, &serve, &Uri::ModelVersion { name, version }).await;
                loaded.map(|(_, _, folder)| folder).map_err(|error| error.to_string())
            }
        };
        run_alias_watch(&host, watcher, kept, resolve, load, every).await;
    }

    /// Loads one version, which answers only whoever asks for it.
    async fn model_load(&self, host: &ModelHost, serve: &Serve, uri: &Uri) -> Result<Kept, ServerError> {
        let Found { name, version, digest, source, folder, .. } = self.model_find(uri).await?;
        let settings = model_settings(ModelSettings::default(), serve.model.get(name.as_str()))?;
        host.load(HostedModel { name: name.clone(), version, digest, source, settings }).await?;
        Ok((name, version, folder))
    }
}
