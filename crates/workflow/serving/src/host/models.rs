use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use ropewalk_types::ModelName;

use super::loaded::{Loaded, list};
use super::versions::{Absence, Versions};
use crate::statistics::Counters;
use crate::{ModelMetadata, ModelStatistics, Readiness, ServingError, Target, VersionState};

/// Names without a loaded version that are remembered for the repository index.
const ABSENT_NAMES: usize = 1024;

/// All models by name. The lock is held for look-ups only.
#[derive(Debug, Default)]
pub(super) struct Models {
    names: RwLock<BTreeMap<String, Versions>>,
}

impl Models {
    /// Puts a version in; gives back the one whose place it takes.
    pub(super) fn insert(&self, loaded: Arc<Loaded>) -> Option<Arc<Loaded>> {
        let mut names = self.write();
        entry(&mut names, &loaded.name).insert(loaded)
    }

    /// Says why a version is not here, or not anew.
    pub(super) fn absent_set(&self, name: &ModelName, version: u64, absence: Absence) {
        let mut names = self.write();
        if !names.contains_key(name.as_str()) && names.len() >= ABSENT_NAMES {
            names.retain(|_, versions| versions.is_in_use());
        }
        entry(&mut names, name).absent_set(version, absence);
    }

    /// The counters of a version that may be replaced.
    pub(super) fn counters(&self, name: &ModelName, version: u64) -> Arc<Counters> {
        let names = self.read();
        let found = names.get(name.as_str()).and_then(|versions| versions.loaded(version));
        found.map(|loaded| Arc::clone(&loaded.counters)).unwrap_or_default()
    }

    pub(super) fn count_codec(&self, name: &ModelName, version: u64, input: Duration, output: Duration) {
        let names = self.read();
        // A version that was taken out meanwhile has no counters any more.
        if let Some(loaded) = names.get(name.as_str()).and_then(|versions| versions.loaded(version)) {
            loaded.counters.count_codec(input, output);
        }
    }

    /// Takes one version or all out.
    pub(super) fn remove(&self, name: &ModelName, version: Option<u64>) -> Vec<Arc<Loaded>> {
        self.write().get_mut(name.as_str()).map(|versions| versions.remove(version)).unwrap_or_default()
    }

    pub(super) fn default_set(&self, name: &ModelName, version: Option<u64>) -> Result<(), ServingError> {
        let mut names = self.write();
        if !names.get(name.as_str()).is_some_and(Versions::has_loaded) {
            return Err(unknown_model(&names, name.as_str()));
        }
        entry(&mut names, name).default_set(version)
    }

    /// The version that answers, entered.
    pub(super) fn target(&self, name: &str, version: Option<&str>) -> Result<Target, ServingError> {
        // Entered under the lock: whoever takes the version out of the map then finds the request in it.
        self.with(name, version, |_, loaded| Target::new(loaded))
    }

    /// The version of that number, entered; none if it is not loaded.
    pub(super) fn target_number(&self, name: &str, version: u64) -> Option<Target> {
        self.read().get(name)?.loaded(version).map(Target::new)
    }

    pub(super) fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Loaded>, ServingError> {
        self.with(name, version, |_, loaded| Arc::clone(loaded))
    }

    pub(super) fn metadata(&self, name: &str, version: Option<&str>) -> Result<ModelMetadata, ServingError> {
        self.with(name, version, Versions::metadata)
    }

    pub(super) fn list(&self) -> Vec<ModelMetadata> {
        self.read().values().flat_map(Versions::metadata_list).collect()
    }

    pub(super) fn states(&self) -> Vec<VersionState> {
        self.read().values().flat_map(Versions::states).collect()
    }

    pub(super) fn statistics(&self) -> Vec<ModelStatistics> {
        self.read().values().flat_map(Versions::all_loaded).map(|loaded| loaded.statistics()).collect()
    }

    /// Whether the default version of each model can answer, and there is one.
    pub(super) fn readiness(&self) -> Readiness {
        let names = self.read();
        let mut ready = false;
        for versions in names.values() {
            match versions.readiness() {
                Some(Ok(())) => ready = true,
                Some(Err(reason)) => return Readiness::NotReady { reason },
                None => {}
            }
        }
        if ready { Readiness::Ready } else { Readiness::NotReady { reason: "no model is loaded".to_owned() } }
    }

    fn with<T>(
        &self,
        name: &str,
        version: Option<&str>,
        give: impl FnOnce(&Versions, &Arc<Loaded>) -> T,
    ) -> Result<T, ServingError> {
        let names = self.read();
        let versions = names.get(name).filter(|versions| versions.is_in_use() || versions.has_failed());
        let versions = versions.ok_or_else(|| unknown_model(&names, name))?;
        versions.find(version).map(|loaded| give(versions, loaded))
    }

    /// No step under the lock leaves the map half changed, so a panic of another thread does not matter.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Versions>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Versions>> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry<'a>(names: &'a mut BTreeMap<String, Versions>, name: &ModelName) -> &'a mut Versions {
    names.entry(name.to_string()).or_insert_with(|| Versions::new(name.clone()))
}

fn unknown_model(names: &BTreeMap<String, Versions>, model: &str) -> ServingError {
    let loaded = list(names.iter().filter(|(_, versions)| versions.has_loaded()).map(|(name, _)| name));
    let loaded = if loaded.is_empty() { "none".to_owned() } else { loaded };
    ServingError::UnknownModel { model: model.to_owned(), loaded }
}
