use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ropewalk_inference::{InferenceError, Model, NamedTensor};
use ropewalk_types::{Digest, ModelName, Signature, TensorSpec};

use crate::statistics::Counters;
use crate::{ModelMetadata, ModelStatistics, ServingError};

/// One loaded version.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: ModelName,
    pub(super) version: u64,
    pub(super) digest: Digest,
    pub(super) model: Arc<dyn Model>,
    pub(super) signature: Arc<Signature>,
    pub(super) counters: Counters,
}

/// The versions of one model; never empty.
#[derive(Debug, Default)]
struct Versions {
    /// The default version, if it is not the highest.
    default: Option<u64>,
    loaded: BTreeMap<u64, Arc<Loaded>>,
}

/// All models by name. The lock is held for look-ups only.
#[derive(Debug, Default)]
pub(super) struct Models {
    names: RwLock<BTreeMap<String, Versions>>,
}

impl Loaded {
    pub(super) fn new(name: ModelName, version: u64, digest: Digest, model: Arc<dyn Model>) -> Self {
        let signature = Arc::new(model.signature().clone());
        Self { name, version, digest, model, signature, counters: Counters::default() }
    }

    /// Whether `inputs` are those of the signature, each once, in its type and shape: the same words for every engine.
    pub(super) fn check_inputs(&self, inputs: &[NamedTensor]) -> Result<(), ServingError> {
        let specs = &self.signature.inputs;
        for (position, input) in inputs.iter().enumerate() {
            let Some(spec) = specs.iter().find(|spec| spec.name == input.name) else {
                let known = specs.iter().map(|spec| format!("`{}`", spec.name));
                return Err(invalid_input(
                    &input.name,
                    format!("one of {}", list(known)),
                    "a name that is none of them",
                ));
            };
            // What came before is known and told apart, so it is no longer than the signature.
            if inputs.iter().take(position).any(|before| before.name == input.name) {
                return Err(invalid_input(&input.name, "one tensor", "a second one"));
            }
            check_input(spec, input)?;
        }
        match specs.iter().find(|spec| !inputs.iter().any(|input| input.name == spec.name)) {
            Some(spec) => Err(invalid_input(&spec.name, expected(spec), "no tensor")),
            None => Ok(()),
        }
    }

    /// Whether each of `wanted` is an output and is asked for once.
    pub(super) fn check_outputs(&self, wanted: &[String]) -> Result<(), ServingError> {
        let outputs = &self.signature.outputs;
        for (position, output) in wanted.iter().enumerate() {
            if !outputs.iter().any(|spec| spec.name == *output) {
                let known = list(outputs.iter().map(|spec| &spec.name));
                return Err(ServingError::UnknownOutput {
                    model: self.name.to_string(),
                    output: output.clone(),
                    known,
                });
            }
            // What came before is known and told apart, so it is no longer than the signature.
            if wanted.iter().take(position).any(|before| before == output) {
                return Err(ServingError::RepeatedOutput { output: output.clone() });
            }
        }
        Ok(())
    }

    /// The outputs in the order wanted; all of them if none is wanted.
    pub(super) fn choose(&self, outputs: &[NamedTensor], wanted: &[String]) -> Result<Vec<NamedTensor>, ServingError> {
        let choose = |name: &String| {
            let found = outputs.iter().find(|output| output.name == *name);
            let missing = || ServingError::MissingOutput { model: self.name.to_string(), output: name.clone() };
            found.cloned().ok_or_else(missing)
        };
        if wanted.is_empty() {
            self.signature.outputs.iter().map(|spec| choose(&spec.name)).collect()
        } else {
            wanted.iter().map(choose).collect()
        }
    }
}

fn check_input(spec: &TensorSpec, input: &NamedTensor) -> Result<(), ServingError> {
    let tensor = &input.tensor;
    let shape: Vec<i64> = tensor.shape.iter().map(|extent| i64::try_from(*extent).unwrap_or(i64::MAX)).collect();
    if spec.datatype == tensor.element_type() && spec.accepts(&shape) {
        return Ok(());
    }
    Err(invalid_input(&spec.name, expected(spec), format!("{}{shape:?}", tensor.element_type())))
}

fn expected(spec: &TensorSpec) -> String {
    format!("{}{:?}", spec.datatype, spec.shape)
}

fn invalid_input(input: &str, expected: impl Into<String>, found: impl Into<String>) -> ServingError {
    let (input, expected, found) = (input.to_owned(), expected.into(), found.into());
    ServingError::Inference(InferenceError::InvalidInput { input, expected, found })
}

impl Versions {
    fn default_version(&self) -> Option<u64> {
        self.default.or_else(|| self.loaded.keys().next_back().copied())
    }

    fn find(&self, name: &str, version: Option<&str>) -> Result<&Arc<Loaded>, ServingError> {
        let version = version.filter(|text| !text.is_empty());
        let version = match version {
            None => self.default_version().unwrap_or_default(),
            Some(text) => text.parse().map_err(|_| ServingError::InvalidVersion(text.to_owned()))?,
        };
        self.loaded.get(&version).ok_or_else(|| self.unknown(name, version))
    }

    fn unknown(&self, name: &str, version: u64) -> ServingError {
        ServingError::UnknownVersion { model: name.to_owned(), version, loaded: list(self.loaded.keys()) }
    }

    fn metadata(&self, loaded: &Loaded) -> ModelMetadata {
        ModelMetadata {
            name: loaded.name.clone(),
            version: loaded.version,
            default_version: self.default_version().unwrap_or(loaded.version),
            versions: self.loaded.keys().copied().collect(),
            digest: loaded.digest,
            engine: loaded.model.engine(),
            signature: Arc::clone(&loaded.signature),
        }
    }
}

impl Models {
    pub(super) fn insert(&self, loaded: Loaded) {
        let name = loaded.name.to_string();
        self.write().entry(name).or_default().loaded.insert(loaded.version, Arc::new(loaded));
    }

    pub(super) fn remove(&self, name: &ModelName, version: Option<u64>) -> bool {
        let mut names = self.write();
        let Some(version) = version else {
            return names.remove(name.as_str()).is_some();
        };
        let Some(versions) = names.get_mut(name.as_str()) else {
            return false;
        };
        let removed = versions.loaded.remove(&version).is_some();
        versions.default = versions.default.filter(|default| *default != version);
        if versions.loaded.is_empty() {
            names.remove(name.as_str());
        }
        removed
    }

    pub(super) fn default_set(&self, name: &ModelName, version: Option<u64>) -> Result<(), ServingError> {
        let mut names = self.write();
        if !names.contains_key(name.as_str()) {
            return Err(unknown_model(&names, name.as_str()));
        }
        let versions = names.entry(name.to_string()).or_default();
        if let Some(version) = version.filter(|version| !versions.loaded.contains_key(version)) {
            return Err(versions.unknown(name.as_str(), version));
        }
        versions.default = version;
        Ok(())
    }

    pub(super) fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Loaded>, ServingError> {
        let names = self.read();
        let versions = names.get(name).ok_or_else(|| unknown_model(&names, name))?;
        versions.find(name, version).cloned()
    }

    pub(super) fn metadata(&self, name: &str, version: Option<&str>) -> Result<ModelMetadata, ServingError> {
        let names = self.read();
        let versions = names.get(name).ok_or_else(|| unknown_model(&names, name))?;
        versions.find(name, version).map(|loaded| versions.metadata(loaded))
    }

    pub(super) fn list(&self) -> Vec<ModelMetadata> {
        let names = self.read();
        let each = |versions: &Versions| -> Vec<_> {
            versions.loaded.values().map(|loaded| versions.metadata(loaded)).collect()
        };
        names.values().flat_map(each).collect()
    }

    pub(super) fn statistics(&self) -> Vec<ModelStatistics> {
        let names = self.read();
        let loaded = names.values().flat_map(|versions| versions.loaded.values());
        loaded.map(|loaded| loaded.counters.read(loaded.name.clone(), loaded.version)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// No step under the lock leaves the map half changed, so a panic of another thread does not matter.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Versions>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Versions>> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown_model(names: &BTreeMap<String, Versions>, model: &str) -> ServingError {
    let loaded = if names.is_empty() { "none".to_owned() } else { list(names.keys()) };
    ServingError::UnknownModel { model: model.to_owned(), loaded }
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
