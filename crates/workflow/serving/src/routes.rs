//! Which version answers where none is asked for: by header, by share, on trial, with a shadow beside it.

mod canary;
mod chance;
mod compare;
mod events;
mod live;
mod outputs;
mod point;
mod route;
mod shadow;
mod statistics;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ropewalk_types::{Alias, ModelName};

use crate::WatchedAlias;
use events::Events;
pub(crate) use live::{LiveRoute, Way};
pub(crate) use outputs::Observation;
pub use route::{CanarySettings, HeaderRule, Route, RouteSettings, RouteTarget, ShadowSettings, SplitPart};
pub use statistics::{
    CanaryState, CanaryStatistics, RouteChange, RouteEvent, RouteStatistics, RoutingStatistics, ShadowStatistics,
    SideStatistics, TargetStatistics,
};

/// All routes by model, and the aliases that they may name. The lock is held for look-ups only.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    table: RwLock<Table>,
    /// Whether there is a route at all, so that hosts without one need no lock.
    any: AtomicBool,
    events: Arc<Events>,
}

#[derive(Debug)]
struct Table {
    routes: BTreeMap<String, Arc<LiveRoute>>,
    aliases: BTreeMap<ModelName, BTreeMap<Alias, u64>>,
    /// Headers that rules look at, in lower case.
    labels: Arc<[String]>,
    watched: Vec<WatchedAlias>,
}

impl Default for Table {
    fn default() -> Self {
        Self { routes: BTreeMap::new(), aliases: BTreeMap::new(), labels: Arc::new([]), watched: Vec::new() }
    }
}

impl Routes {
    pub(crate) fn set(&self, route: Route, at_ms: i64) {
        let model = route.model.clone();
        let live = Arc::new(LiveRoute::new(route, Arc::clone(&self.events)));
        let mut table = self.write();
        table.routes.insert(model.to_string(), live);
        self.changed(&mut table);
        self.events.push(at_ms, &model, RouteChange::Set);
    }

    pub(crate) fn remove(&self, model: &ModelName, at_ms: i64) -> bool {
        let mut table = self.write();
        let removed = table.routes.remove(model.as_str()).is_some();
        if removed {
            self.changed(&mut table);
            self.events.push(at_ms, model, RouteChange::Removed);
        }
        removed
    }

    fn changed(&self, table: &mut Table) {
        let labels: BTreeSet<String> = table.routes.values().flat_map(|live| live.headers()).cloned().collect();
        table.labels = labels.into_iter().collect();
        self.any.store(!table.routes.is_empty(), Ordering::Release);
    }

    pub(crate) fn labels(&self) -> Arc<[String]> {
        Arc::clone(&self.read().labels)
    }

    pub(crate) fn get(&self, model: &str) -> Option<Arc<LiveRoute>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.read().routes.get(model).cloned()
    }

    pub(crate) fn list(&self) -> Vec<Arc<LiveRoute>> {
        self.read().routes.values().cloned().collect()
    }

    pub(crate) fn alias_set(&self, model: &ModelName, alias: Alias, version: Option<u64>) {
        let mut table = self.write();
        let aliases = table.aliases.entry(model.clone()).or_default();
        match version {
            Some(version) => aliases.insert(alias, version),
            None => aliases.remove(&alias),
        };
    }

    /// The number of a target; none for an alias that points nowhere.
    pub(crate) fn version(&self, model: &ModelName, target: &RouteTarget) -> Option<u64> {
        match target {
            RouteTarget::Version(version) => Some(*version),
            RouteTarget::Alias(alias) => self.read().aliases.get(model)?.get(alias).copied(),
        }
    }

    /// Whether an alias points at the version, or a route names it.
    pub(crate) fn is_used(&self, model: &ModelName, version: u64) -> bool {
        let table = self.read();
        let aliased = table.aliases.get(model).is_some_and(|aliases| aliases.values().any(|one| *one == version));
        let named = |live: &Arc<LiveRoute>| {
            live.route().settings.targets().any(|target| *target == RouteTarget::Version(version))
        };
        aliased || table.routes.get(model.as_str()).is_some_and(named)
    }

    pub(crate) fn watched_set(&self, watched: Vec<WatchedAlias>) {
        self.write().watched = watched;
    }

    pub(crate) fn statistics(&self, routes: Vec<RouteStatistics>) -> RoutingStatistics {
        RoutingStatistics { routes, events: self.events.list(), aliases: self.read().watched.clone() }
    }

    /// No step under the lock leaves the table half changed, so a panic of another thread does not matter.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}
