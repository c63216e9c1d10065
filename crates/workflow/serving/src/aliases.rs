//! Following the registry's aliases: the version that an alias moves to is loaded, takes the requests, and the one
//! before it goes.

mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ropewalk_types::{Alias, ModelName, Uri};
use serde::Serialize;

pub use watching::run_alias_watch;

/// Longest pause after a version that could not be loaded.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A model that is served from the registry, and the version that is loaded for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedUri {
    /// By version or by alias; others are not followed.
    pub uri: Uri,
    /// The version that answers.
    pub version: u64,
}

/// What is to be done next, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchAction {
    /// This version is to be loaded; [`AliasWatcher::loaded`] wants to know how it went.
    Load {
        /// The model.
        model: ModelName,
        /// The version.
        version: u64,
    },
    /// This version is loaded and is to answer.
    Switch {
        /// The model.
        model: ModelName,
        /// The alias that points at it now.
        alias: Alias,
        /// The version.
        version: u64,
        /// Whether it also answers where no version is asked for.
        is_default: bool,
    },
    /// Nothing points at this version any more; [`AliasWatcher::unloaded`] wants to know that it went.
    Unload {
        /// The model.
        model: ModelName,
        /// The version.
        version: u64,
    },
}

/// An alias that is followed, as of the last look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WatchedAlias {
    /// As MLflow writes it: `models:/NAME@ALIAS`.
    pub uri: String,
    /// The version that answers.
    pub version: u64,
    /// The version at which the registry's alias points, if it could be asked.
    pub wanted: Option<u64>,
    /// Why the two differ, or why the registry could not be asked.
    pub problem: Option<String>,
    /// Failed loads of the wanted version in a row.
    pub failures: u32,
    /// How often another version was switched to.
    pub moves: u64,
}

/// Decides what follows from where the registry's aliases point. Asks nobody and does nothing by itself.
///
/// The first URI of a model decides on its default version. A version that cannot be loaded leaves the one before it in
/// place, and is tried again after a pause that doubles up to five minutes, or at once when the alias moves on.
#[derive(Debug)]
pub struct AliasWatcher {
    pause: Duration,
    followed: Vec<Followed>,
    /// Versions that were asked for by their number: these stay.
    fixed: BTreeSet<(ModelName, u64)>,
    /// Versions that were loaded for an alias and not yet unloaded.
    held: BTreeSet<(ModelName, u64)>,
}

#[derive(Debug)]
struct Followed {
    model: ModelName,
    alias: Alias,
    is_default: bool,
    version: u64,
    /// The version before that.
    before: u64,
    wanted: Option<u64>,
    problem: Option<String>,
    /// Failed loads of the wanted version in a row, and when it may be tried again.
    failures: u32,
    again: Duration,
    moves: u64,
}

impl AliasWatcher {
    /// A watcher of what was loaded. `pause` is the first one after a failed load.
    pub fn new(uris: impl IntoIterator<Item = WatchedUri>, pause: Duration) -> Self {
        let (mut followed, mut fixed, mut held) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut seen = BTreeSet::new();
        for WatchedUri { uri, version } in uris {
            match uri {
                Uri::ModelVersion { name, version } => {
                    seen.insert(name.clone());
                    fixed.insert((name, version));
                }
                Uri::ModelAlias { name, alias } => {
                    let is_default = seen.insert(name.clone());
                    held.insert((name.clone(), version));
                    followed.push(Followed::new(name, alias, is_default, version));
                }
                _ => {}
            }
        }
        Self { pause, followed, fixed, held }
    }

    /// The aliases to ask the registry for.
    pub fn uris(&self) -> Vec<Uri> {
        self.followed.iter().map(Followed::uri).collect()
    }

    /// What follows from where the aliases point, at `now` on a clock of the caller's that only goes forward.
    pub fn polled(&mut self, now: Duration, found: &BTreeMap<Uri, Result<u64, String>>) -> Vec<WatchAction> {
        let mut loads = BTreeSet::new();
        let mut switched = Vec::new();
        for followed in &mut self.followed {
            match found.get(&followed.uri()) {
                Some(Ok(version)) => followed.want(*version),
                Some(Err(problem)) => {
                    followed.problem = Some(format!("the registry could not be asked: {problem}"));
                    continue;
                }
                None => continue,
            }
            let Some(version) = followed.wanted.filter(|version| *version != followed.version) else { continue };
            let key = (followed.model.clone(), version);
            if self.held.contains(&key) || self.fixed.contains(&key) {
                switched.push(followed.switch(version));
            } else if followed.failures == 0 || now >= followed.again {
                loads.insert(key);
            }
        }
        let loads = loads.into_iter().map(|(model, version)| WatchAction::Load { model, version });
        switched.into_iter().chain(self.unloads()).chain(loads).collect()
    }

    /// What follows from a load that succeeded or failed.
    pub fn loaded(
        &mut self,
        now: Duration,
        model: &ModelName,
        version: u64,
        result: Result<(), String>,
    ) -> Vec<WatchAction> {
        let waiting = self.followed.iter_mut().filter(|followed| {
            followed.model == *model && followed.wanted == Some(version) && followed.version != version
        });
        match result {
            Ok(()) => {
                self.held.insert((model.clone(), version));
                let switched: Vec<_> = waiting.map(|followed| followed.switch(version)).collect();
                switched.into_iter().chain(self.unloads()).collect()
            }
            Err(problem) => {
                waiting.for_each(|followed| followed.fail(now, self.pause, &problem));
                Vec::new()
            }
        }
    }

    /// A version went.
    pub fn unloaded(&mut self, model: &ModelName, version: u64) {
        self.held.remove(&(model.clone(), version));
    }

    /// A version that was to answer is not there any more: somebody else took it out. It is loaded anew at the next
    /// look.
    pub fn lost(&mut self, model: &ModelName, version: u64, problem: &str) {
        self.unloaded(model, version);
        let lost = self.followed.iter_mut().filter(|followed| followed.model == *model);
        for followed in lost.filter(|followed| followed.version == version) {
            followed.version = followed.before;
            followed.problem = Some(problem.to_owned());
        }
    }

    /// How things stand.
    pub fn watched(&self) -> Vec<WatchedAlias> {
        let watched = self.followed.iter().map(|followed| WatchedAlias {
            uri: followed.uri().to_string(),
            version: followed.version,
            wanted: followed.wanted,
            problem: followed.problem.clone(),
            failures: followed.failures,
            moves: followed.moves,
        });
        watched.collect()
    }

    /// Versions at which nothing points.
    fn unloads(&self) -> Vec<WatchAction> {
        let points = |model: &ModelName, version: u64| {
            self.followed.iter().any(|followed| followed.model == *model && followed.version == version)
        };
        let left = self.held.iter().filter(|key| !self.fixed.contains(key));
        let left = left.filter(|(model, version)| !points(model, *version));
        left.map(|(model, version)| WatchAction::Unload { model: model.clone(), version: *version }).collect()
    }
}

impl Followed {
    fn new(model: ModelName, alias: Alias, is_default: bool, version: u64) -> Self {
        Self {
            model,
            alias,
            is_default,
            version,
            before: version,
            wanted: None,
            problem: None,
            failures: 0,
            again: Duration::ZERO,
            moves: 0,
        }
    }

    fn uri(&self) -> Uri {
        Uri::ModelAlias { name: self.model.clone(), alias: self.alias.clone() }
    }

    /// The alias points there. What failed before is remembered as long as it does not move.
    fn want(&mut self, version: u64) {
        if self.wanted != Some(version) || version == self.version {
            (self.failures, self.problem) = (0, None);
        } else if self.failures == 0 {
            self.problem = None;
        }
        self.wanted = Some(version);
    }

    fn switch(&mut self, version: u64) -> WatchAction {
        (self.failures, self.problem) = (0, None);
        self.before = std::mem::replace(&mut self.version, version);
        self.moves += 1;
        let (model, alias) = (self.model.clone(), self.alias.clone());
        WatchAction::Switch { model, alias, version, is_default: self.is_default }
    }

    fn fail(&mut self, now: Duration, pause: Duration, problem: &str) {
        let doubled = pause.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        self.again = now.saturating_add(doubled.min(LONGEST_PAUSE.max(pause)));
        self.problem = Some(problem.to_owned());
    }
}

#[cfg(test)]
mod tests;
