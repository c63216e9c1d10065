//! Models of files and folders: found, loaded, unloaded, and looked at again.

mod control;
mod layout;
mod mlflow;
mod settings;
mod text_format;
mod triton;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ropewalk_config::{ModelControl, ModelSettingsTable};
use ropewalk_inference::ModelSource;
use ropewalk_serving::{HostedModel, ModelHost};
use ropewalk_store::files;
use ropewalk_types::{Diagnose as _, Digest, ModelName, Signature};
use tokio::sync::Mutex;

use crate::InferenceServerError;
use layout::{Found, FoundModel, ModelFile, disagreement, wrong};
use mlflow::MLMODEL;
pub use settings::model_settings;

/// Largest graph that is loaded: a file of ONNX cannot be larger, whose format is Protocol Buffers.
const ONNX_BYTES: u64 = 2 << 30;

/// A file or folder of models, and the name that it was given.
pub type NamedPath = (Option<ModelName>, PathBuf);

/// What a version was when it was loaded: a change is seen by it.
type Stamp = (PathBuf, u64, Option<std::time::SystemTime>);

/// One version of a model in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryEntry {
    /// The model.
    pub name: ModelName,
    /// Its version.
    pub version: u64,
    /// Whether it is loaded.
    pub loaded: bool,
    /// Why it is not, where that is known.
    pub reason: String,
}

#[derive(Debug, Default)]
struct State {
    loaded: BTreeMap<(ModelName, u64), Stamp>,
    failures: BTreeMap<ModelName, String>,
}

/// The models of files and folders behind a host.
#[derive(Debug)]
pub struct ModelRepository {
    paths: Vec<NamedPath>,
    tables: BTreeMap<String, ModelSettingsTable>,
    control: ModelControl,
    host: Arc<ModelHost>,
    /// One load or unload at a time.
    state: Mutex<State>,
}

impl ModelRepository {
    /// A repository of these files and folders; `tables` say how single models are served.
    pub fn new(
        host: Arc<ModelHost>,
        paths: Vec<NamedPath>,
        tables: BTreeMap<String, ModelSettingsTable>,
        control: ModelControl,
    ) -> Self {
        Self { paths, tables, control, host, state: Mutex::default() }
    }

    /// Whether clients load and unload its models.
    pub fn is_explicit(&self) -> bool {
        self.control == ModelControl::Explicit && !self.paths.is_empty()
    }

    /// Whether it is looked at again and again.
    pub fn is_polled(&self) -> bool {
        self.control == ModelControl::Poll && !self.paths.is_empty()
    }

    /// Loads everything, or nothing where clients say what is loaded. Tells what was passed over and what has no effect.
    ///
    /// # Errors
    /// A file or folder holds no model, or one of them cannot be loaded.
    pub async fn start(&self) -> Result<Vec<String>, InferenceServerError> {
        let found = self.find().await?;
        let mut notes = found.passed_over;
        for model in &found.models {
            let all: Vec<&str> = model.config.without_effect.iter().map(String::as_str).collect();
            if !all.is_empty() {
                notes.push(format!("config.pbtxt of {}: without effect here: {}", model.name, all.join(", ")));
            }
        }
        if self.is_explicit() {
            return Ok(notes);
        }
        let mut state = self.state.lock().await;
        for model in &found.models {
            self.model_load(&mut state, model, true).await?;
        }
        Ok(notes)
    }

    /// Loads a model by its name, or loads it again; versions that are there no more are unloaded.
    ///
    /// # Errors
    /// No file or folder holds it, or it cannot be loaded; what was loaded before then stays.
    pub async fn load(&self, name: &str) -> Result<(), InferenceServerError> {
        let model = self.model(name).await?;
        let mut state = self.state.lock().await;
        self.model_load(&mut state, &model, true).await
    }

    /// Unloads all versions of a model that were loaded from here; says whether there were any.
    pub async fn unload(&self, name: &str) -> bool {
        let Ok(name) = ModelName::new(name) else { return false };
        let mut state = self.state.lock().await;
        state.failures.remove(&name);
        self.unload_those(&mut state, |loaded, _| *loaded == name)
    }

    /// Every version that the files and folders hold, loaded or not.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn index(&self) -> Result<Vec<RepositoryEntry>, InferenceServerError> {
        let found = self.find().await?;
        let state = self.state.lock().await;
        let mut entries = Vec::new();
        for model in &found.models {
            for version in model.versions.keys() {
                let loaded = state.loaded.contains_key(&(model.name.clone(), *version));
                let failure = state.failures.get(&model.name).filter(|_| !loaded);
                let reason = failure.cloned().unwrap_or_else(|| if loaded { "" } else { "unloaded" }.to_owned());
                entries.push(RepositoryEntry { name: model.name.clone(), version: *version, loaded, reason });
            }
        }
        Ok(entries)
    }

    /// Looks at the folders again: loads what is new or was changed, unloads what is gone. What cannot be loaded is told
    /// and tried again the next time; what was loaded before then stays.
    pub async fn poll(&self) -> Vec<String> {
        let found = match self.find().await {
            Ok(found) => found,
            Err(error) => return vec![error.to_string()],
        };
        let mut state = self.state.lock().await;
        let mut problems = Vec::new();
        for model in &found.models {
            if let Err(error) = self.model_load(&mut state, model, false).await {
                problems.push(error.to_string());
            }
        }
        let there: BTreeSet<&ModelName> = found.models.iter().map(|model| &model.name).collect();
        self.unload_those(&mut state, |name, _| !there.contains(name));
        problems
    }

    async fn find(&self) -> Result<Found, InferenceServerError> {
        let paths = self.paths.clone();
        let finding = tokio::task::spawn_blocking(move || {
            let mut all = Found::default();
            for (name, path) in &paths {
                let found = layout::find(path, name.as_ref())?;
                all.passed_over.extend(found.passed_over);
                for model in found.models {
                    if all.models.iter().any(|other| other.name == model.name) {
                        let hint = "give one of them another name: NAME=PATH";
                        return Err(wrong(path, &format!("there are two models called `{}`", model.name), hint));
                    }
                    all.models.push(model);
                }
            }
            Ok(all)
        });
        finding.await.map_err(|error| InferenceServerError::Serve(error.to_string()))?
    }

    async fn model(&self, name: &str) -> Result<FoundModel, InferenceServerError> {
        let found = self.find().await?;
        let model = found.models.into_iter().find(|model| model.name.as_str() == name);
        model.ok_or_else(|| InferenceServerError::UnknownModel(name.to_owned()))
    }

    /// Loads the versions of a model, those that are loaded and unchanged only if `again`.
    async fn model_load(&self, state: &mut State, model: &FoundModel, again: bool) -> Result<(), InferenceServerError> {
        let result = self.versions_load(state, model, again).await;
        match &result {
            Ok(()) => drop(state.failures.remove(&model.name)),
            Err(error) => drop(state.failures.insert(model.name.clone(), error.to_string())),
        }
        result
    }

    async fn versions_load(
        &self,
        state: &mut State,
        model: &FoundModel,
        again: bool,
    ) -> Result<(), InferenceServerError> {
        let settings = model_settings(model.config.settings.clone(), self.tables.get(model.name.as_str()))?;
        for (version, file) in &model.versions {
            let key = (model.name.clone(), *version);
            let Some((stamp, digest, source)) = read(file.clone(), state.loaded.get(&key).cloned(), again).await?
            else {
                continue;
            };
            let hosted =
                HostedModel { name: model.name.clone(), version: *version, digest, source, settings: settings.clone() };
            self.version_load(model, file, hosted).await?;
            state.loaded.insert(key, stamp);
        }
        self.unload_those(state, |name, version| *name == model.name && !model.versions.contains_key(&version));
        Ok(())
    }

    /// Loads a version if it is as `config.pbtxt` says; else what was loaded before stays.
    async fn version_load(
        &self,
        model: &FoundModel,
        file: &ModelFile,
        hosted: HostedModel,
    ) -> Result<(), InferenceServerError> {
        let (inputs, outputs) = (model.config.inputs.clone(), model.config.outputs.clone());
        let refused = Arc::new(OnceLock::new());
        let said = Arc::clone(&refused);
        let check = move |signature: &Signature| {
            let reason = disagreement("input", &inputs, &signature.inputs)
                .or_else(|| disagreement("output", &outputs, &signature.outputs));
            reason.map_or(Ok(()), |reason| Err(said.get_or_init(|| reason).clone()))
        };
        let hint = "correct config.pbtxt, or leave its input and output out";
        match (self.host.load_checked(hosted, check).await, refused.get()) {
            (Ok(_), _) => Ok(()),
            (Err(_), Some(reason)) => Err(wrong(file.path(), reason, hint)),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Unloads those versions of its own: others of the host are not the repository's. Says whether there were any.
    fn unload_those(&self, state: &mut State, those: impl Fn(&ModelName, u64) -> bool) -> bool {
        let keys: Vec<_> = state.loaded.keys().filter(|(name, version)| those(name, *version)).cloned().collect();
        for key in &keys {
            self.host.unload(&key.0, Some(key.1));
            state.loaded.remove(key);
        }
        !keys.is_empty()
    }
}

/// The one model that a file or folder holds, in its newest version, for whoever does not serve it: its name, the digest of what
/// describes it, and where its definition is. Blocks.
///
/// # Errors
/// There is no model, or more than one.
pub fn model_at(path: &Path) -> Result<(ModelName, Digest, ModelSource), InferenceServerError> {
    let found = layout::find(path, None)?;
    let [model] = found.models.as_slice() else {
        let hint = "name the folder of one of them";
        return Err(wrong(path, &format!("it holds {} models", found.models.len()), hint));
    };
    let newest = model.versions.values().next_back();
    let file = newest.ok_or_else(|| wrong(path, "it holds no version of a model", "name a file of ONNX"))?;
    let (_, digest, source) = read_file(file.clone())?;
    Ok((model.name.clone(), digest, source))
}

/// Reads a version; none if it is as it was when it was loaded, and is not wanted again.
async fn read(
    file: ModelFile,
    before: Option<Stamp>,
    again: bool,
) -> Result<Option<(Stamp, Digest, ModelSource)>, InferenceServerError> {
    let reading = tokio::task::spawn_blocking(move || {
        if !again && before.is_some() && before == Some(stamp(&file)?) {
            return Ok(None);
        }
        read_file(file).map(Some)
    });
    reading.await.map_err(|error| InferenceServerError::Serve(error.to_string()))?
}

/// The file that describes a version.
fn described(file: &ModelFile) -> PathBuf {
    match file {
        ModelFile::Onnx(path) => path.clone(),
        ModelFile::Folder(folder) => folder.join(MLMODEL),
    }
}

fn stamp(file: &ModelFile) -> Result<Stamp, InferenceServerError> {
    let path = described(file);
    let metadata = files::open(&path)?.metadata();
    let metadata = metadata.map_err(|error| wrong(&path, &error.to_string(), "make it readable"))?;
    Ok((path, metadata.len(), metadata.modified().ok()))
}

fn read_file(file: ModelFile) -> Result<(Stamp, Digest, ModelSource), InferenceServerError> {
    // Before the bytes, so that a change while they are read is seen the next time.
    let stamp = stamp(&file)?;
    let bytes = Bytes::from(files::read_bounded(&stamp.0, ONNX_BYTES)?);
    let digest = Digest::of(&bytes);
    let source = match file {
        ModelFile::Onnx(path) => ModelSource::Onnx { bytes, folder: path.parent().map(Path::to_owned) },
        ModelFile::Folder(folder) => ModelSource::Folder(folder),
    };
    Ok((stamp, digest, source))
}

/// An error with what to do about it, in one line.
pub(crate) fn in_one_line(error: &InferenceServerError) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
}
