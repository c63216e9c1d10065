use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use ropewalk_types::{ModelName, Uri};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{AliasWatcher, WatchAction};
use crate::{ModelHost, ServingError};

/// How long the registry may take to say where one alias points.
const ASKING: Duration = Duration::from_secs(30);
/// How long one version may take to be found and loaded.
const LOADING: Duration = Duration::from_mins(30);
/// How long requests of a version that goes are waited for; those that are left are answered all the same.
const DRAINING: Duration = Duration::from_mins(1);

/// Follows the registry's aliases until it is dropped: asks every `every`, and does what the watcher says, one thing
/// after the other.
///
/// `resolve` gives the version at which an alias points. `load` loads one version into the host, without setting the
/// default, and gives what must be kept as long as it is loaded, such as a folder of its files; `kept` is that of the
/// versions loaded before. How it goes is in [`HostStatistics::routing`](crate::HostStatistics::routing).
pub async fn run_alias_watch<Asked, Loading, Kept>(
    host: &ModelHost,
    watcher: AliasWatcher,
    kept: Vec<(ModelName, u64, Kept)>,
    resolve: impl Fn(Uri) -> Asked,
    load: impl Fn(ModelName, u64) -> Loading,
    every: Duration,
) where
    Asked: Future<Output = Result<u64, String>>,
    Loading: Future<Output = Result<Kept, String>>,
    Kept: Send + 'static,
{
    let kept = kept.into_iter().map(|(model, version, kept)| ((model, version), kept)).collect();
    let mut watch = Watch { host, watcher, kept, started: Instant::now() };
    watch.begin();
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut found = BTreeMap::new();
        for uri in watch.watcher.uris() {
            let version = timeout(ASKING, resolve(uri.clone())).await;
            found.insert(uri, version.unwrap_or_else(|_| Err(format!("no answer within {ASKING:?}"))));
        }
        watch.follow(&found, &load).await;
    }
}

struct Watch<'a, Kept> {
    host: &'a ModelHost,
    watcher: AliasWatcher,
    kept: BTreeMap<(ModelName, u64), Kept>,
    started: Instant,
}

impl<Kept: Send + 'static> Watch<'_, Kept> {
    /// Tells the host where the aliases point now.
    fn begin(&self) {
        for followed in &self.watcher.followed {
            // A version that somebody took out since is found missing by those who ask for it.
            let _ = self.host.alias_set(&followed.model, followed.alias.clone(), Some(followed.version));
        }
        self.host.watched_set(self.watcher.watched());
    }

    async fn follow<Loading: Future<Output = Result<Kept, String>>>(
        &mut self,
        found: &BTreeMap<Uri, Result<u64, String>>,
        load: &impl Fn(ModelName, u64) -> Loading,
    ) {
        let actions = self.watcher.polled(self.started.elapsed(), found);
        self.host.watched_set(self.watcher.watched());
        let (loads, others): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| matches!(action, WatchAction::Load { .. }));
        self.carry_out(others).await;
        for action in loads {
            let WatchAction::Load { model, version } = action else { continue };
            let loaded = timeout(LOADING, load(model.clone(), version)).await;
            let loaded = loaded.unwrap_or_else(|_| Err(format!("not loaded within {LOADING:?}")));
            let result = loaded.map(|kept| {
                self.kept.insert((model.clone(), version), kept);
            });
            let next = self.watcher.loaded(self.started.elapsed(), &model, version, result);
            self.carry_out(next).await;
            self.host.watched_set(self.watcher.watched());
        }
    }

    async fn carry_out(&mut self, actions: Vec<WatchAction>) {
        for action in actions {
            match action {
                // Each load is begun, and its end told, in `follow`.
                WatchAction::Load { .. } => {}
                WatchAction::Switch { model, alias, version, is_default } => {
                    let switched = self.switch(&model, alias, version, is_default);
                    if let Err(problem) = switched {
                        self.watcher.lost(&model, version, &problem.to_string());
                    }
                }
                WatchAction::Unload { model, version } => self.unload(model, version).await,
            }
        }
    }

    fn switch(
        &self,
        model: &ModelName,
        alias: ropewalk_types::Alias,
        version: u64,
        is_default: bool,
    ) -> Result<(), ServingError> {
        self.host.alias_set(model, alias, Some(version))?;
        if is_default { self.host.default_set(model, Some(version)) } else { Ok(()) }
    }

    /// Unloads a version that nobody names; else it is looked at again later.
    async fn unload(&mut self, model: ModelName, version: u64) {
        let is_default = self.host.metadata(model.as_str(), None).is_ok_and(|known| known.default_version == version);
        if is_default || self.host.route_uses(&model, version) {
            return;
        }
        self.host.unload_drained(&model, Some(version), DRAINING).await;
        self.watcher.unloaded(&model, version);
        if let Some(kept) = self.kept.remove(&(model, version)) {
            // It may be a folder, whose files take their time to be removed.
            drop(tokio::task::spawn_blocking(move || drop(kept)));
        }
    }
}
