use std::collections::BTreeMap;
use std::sync::Arc;

use ropewalk_types::ModelName;

use super::loaded::{Loaded, list};
use crate::{ModelMetadata, ModelState, ServingError, VersionState};

/// Versions of one model that are not loaded and are remembered for the repository index; the lowest are forgotten.
const ABSENT_VERSIONS: usize = 16;

/// Why a version is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// It will be, if all goes well.
    Loading,
    /// It could not be loaded.
    Failed(String),
    /// It was taken out.
    Unloaded,
}

/// The versions of one model.
#[derive(Debug)]
pub(super) struct Versions {
    name: ModelName,
    /// The default version, if it is not the highest.
    default: Option<u64>,
    loaded: BTreeMap<u64, Arc<Loaded>>,
    /// Versions that are not loaded, and loaded ones that could not be loaded again.
    absent: BTreeMap<u64, Absence>,
}

impl Versions {
    pub(super) fn new(name: ModelName) -> Self {
        Self { name, default: None, loaded: BTreeMap::new(), absent: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, loaded: Arc<Loaded>) -> Option<Arc<Loaded>> {
        self.absent.remove(&loaded.version);
        self.loaded.insert(loaded.version, loaded)
    }

    pub(super) fn absent_set(&mut self, version: u64, absence: Absence) {
        self.absent.insert(version, absence);
        while self.absent.len() > ABSENT_VERSIONS {
            let settled = self.absent.iter().find(|(_, absence)| **absence != Absence::Loading);
            let Some(version) = settled.map(|(version, _)| *version) else { break };
            self.absent.remove(&version);
        }
    }

    pub(super) fn remove(&mut self, version: Option<u64>) -> Vec<Arc<Loaded>> {
        let removed: Vec<_> = match version {
            Some(version) => self.loaded.remove(&version).into_iter().collect(),
            None => std::mem::take(&mut self.loaded).into_values().collect(),
        };
        for loaded in &removed {
            self.absent_set(loaded.version, Absence::Unloaded);
        }
        self.default = self.default.filter(|default| self.loaded.contains_key(default));
        removed
    }

    pub(super) fn default_set(&mut self, version: Option<u64>) -> Result<(), ServingError> {
        if let Some(version) = version.filter(|version| !self.loaded.contains_key(version)) {
            return Err(self.unknown(version));
        }
        self.default = version;
        Ok(())
    }

    pub(super) fn loaded(&self, version: u64) -> Option<&Arc<Loaded>> {
        self.loaded.get(&version)
    }

    pub(super) fn all_loaded(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.loaded.values()
    }

    pub(super) fn has_loaded(&self) -> bool {
        !self.loaded.is_empty()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.absent.values().any(|absence| matches!(absence, Absence::Failed(_)))
    }

    /// Whether a version is loaded or will be.
    pub(super) fn is_in_use(&self) -> bool {
        self.has_loaded() || self.absent.values().any(|absence| *absence == Absence::Loading)
    }

    /// The version that is asked for; an empty text is none, which takes the default.
    pub(super) fn find(&self, version: Option<&str>) -> Result<&Arc<Loaded>, ServingError> {
        match version.filter(|text| !text.is_empty()) {
            None => self.default_loaded().ok_or_else(|| self.no_version()),
            Some(text) => {
                let version = text.parse().map_err(|_| ServingError::InvalidVersion(text.to_owned()))?;
                self.loaded.get(&version).ok_or_else(|| self.unknown(version))
            }
        }
    }

    pub(super) fn metadata(&self, loaded: &Arc<Loaded>) -> ModelMetadata {
        ModelMetadata {
            name: loaded.name.clone(),
            version: loaded.version,
            default_version: self.default_loaded().map_or(loaded.version, |default| default.version),
            versions: self.loaded.keys().copied().collect(),
            digest: loaded.digest,
            engine: loaded.lane.model().engine(),
            signature: Arc::clone(&loaded.signature),
        }
    }

    pub(super) fn metadata_list(&self) -> Vec<ModelMetadata> {
        self.loaded.values().map(|loaded| self.metadata(loaded)).collect()
    }

    /// Whether the default version can answer, or why not; none if no version is loaded or will be.
    pub(super) fn readiness(&self) -> Option<Result<(), String>> {
        match self.default_loaded() {
            Some(loaded) => Some(ready(loaded).map_err(|reason| format!("model `{}`: {reason}", self.name))),
            None => self.is_in_use().then(|| Err(format!("model `{}` is being loaded", self.name))),
        }
    }

    pub(super) fn states(&self) -> Vec<VersionState> {
        let loaded = self.loaded.values().map(|loaded| self.loaded_state(loaded));
        let absent = self.absent.iter().filter(|(version, _)| !self.loaded.contains_key(version));
        let absent = absent.map(|(version, absence)| {
            let (state, reason) = match absence {
                Absence::Loading => (ModelState::Loading, String::new()),
                Absence::Failed(reason) => (ModelState::Unavailable, reason.clone()),
                Absence::Unloaded => (ModelState::Unavailable, "unloaded".to_owned()),
            };
            VersionState { model: self.name.clone(), version: *version, state, reason, notes: Vec::new() }
        });
        let mut states: Vec<_> = loaded.chain(absent).collect();
        states.sort_by_key(|state| state.version);
        states
    }

    fn loaded_state(&self, loaded: &Loaded) -> VersionState {
        let (state, reason) = match (ready(loaded), self.absent.get(&loaded.version)) {
            (Err(reason), _) => (ModelState::Unavailable, reason),
            (Ok(()), Some(Absence::Failed(reason))) => (ModelState::Ready, reason.clone()),
            (Ok(()), _) => (ModelState::Ready, String::new()),
        };
        let notes = loaded.notes.clone();
        VersionState { model: self.name.clone(), version: loaded.version, state, reason, notes }
    }

    fn default_loaded(&self) -> Option<&Arc<Loaded>> {
        let default = self.default.and_then(|default| self.loaded.get(&default));
        default.or_else(|| self.loaded.values().next_back())
    }

    fn unknown(&self, version: u64) -> ServingError {
        let model = self.name.to_string();
        if let Some(reason) = self.absent.get(&version).and_then(not_ready) {
            ServingError::NotReady { model: format!("{model} version {version}"), reason }
        } else {
            let loaded = if self.loaded.is_empty() { "none".to_owned() } else { list(self.loaded.keys()) };
            ServingError::UnknownVersion { model, version, loaded }
        }
    }

    /// No version is loaded, but one is being loaded or failed to: the highest tells.
    fn no_version(&self) -> ServingError {
        let model = self.name.to_string();
        let reason = self.absent.values().rev().find_map(not_ready);
        match reason {
            Some(reason) => ServingError::NotReady { model, reason },
            None => ServingError::UnknownModel { model, loaded: "none".to_owned() },
        }
    }
}

/// Whether a loaded version can answer now.
pub(super) fn ready(loaded: &Loaded) -> Result<(), String> {
    loaded.lane.model().ready()
}

fn not_ready(absence: &Absence) -> Option<String> {
    match absence {
        Absence::Loading => Some("it is being loaded".to_owned()),
        Absence::Failed(reason) => Some(reason.clone()),
        Absence::Unloaded => None,
    }
}
