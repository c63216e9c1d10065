//! Models of files and folders: found, loaded, unloaded, and looked at again.

mod control;
mod layout;
mod mlflow;
mod settings;
mod stamp;
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
pub use settings::model_settings;
use stamp::{Stamp, described};

/// Largest graph that is loaded: a file of ONNX cannot be larger, whose format is Protocol Buffers.
const ONNX_BYTES: u64 = 2 << 30;

/// A file or folder of models, and the name that it was given.
pub type NamedPath = (Option<ModelName>, PathBuf);

/// One version of a model in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryEntry {
    /// The model, by the name of its folder where that is not right.
    pub name: String,
    /// Its version; none of a model that cannot be read and is not loaded.
    pub version: Option<u64>,
    /// Whether it is loaded.
    pub loaded: bool,
    /// Why it is not, or not anew, where that is known.
    pub reason: String,
}

#[derive(Debug, Default)]
struct State {
    loaded: BTreeMap<(ModelName, u64), Stamp>,
    failures: BTreeMap<ModelName, String>,
    /// What is to be told of what was loaded.
    notes: Vec<String>,
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
        let found = self.find().await?.whole()?;
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
        notes.append(&mut state.notes);
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

    /// Every version that the files and folders hold, loaded or not, and every model of theirs that cannot be read.
    ///
    /// # Errors
    /// The look at them failed as a whole.
    pub async fn index(&self) -> Result<Vec<RepositoryEntry>, InferenceServerError> {
        let found = self.find().await?;
        let state = self.state.lock().await;
        let mut entries = Vec::new();
        for model in &found.models {
            for version in model.versions.keys() {
                let loaded = state.loaded.contains_key(&(model.name.clone(), *version));
                let failure = state.failures.get(&model.name).filter(|_| !loaded);
                let reason = failure.cloned().unwrap_or_else(|| if loaded { "" } else { "unloaded" }.to_owned());
                let name = model.name.to_string();
                entries.push(RepositoryEntry { name, version: Some(*version), loaded, reason });
            }
        }
        for (name, error) in &found.failures {
            let entry = |version: Option<u64>| RepositoryEntry {
                name: name.clone(),
                version,
                loaded: version.is_some(),
                reason: error.to_string(),
            };
            let loaded = state.loaded.keys().filter(|(loaded, _)| loaded.as_str() == name);
            let before = entries.len();
            entries.extend(loaded.map(|(_, version)| entry(Some(*version))));
            if entries.len() == before {
                entries.push(entry(None));
            }
        }
        Ok(entries)
    }

    /// Looks at the folders again: loads what is new or was changed, unloads what is gone. What cannot be loaded is told
    /// and tried again the next time; what was loaded before then stays. What is loaded and watched in part is told, too.
    pub async fn poll(&self) -> Vec<String> {
        let found = match self.find().await {
            Ok(found) => found,
            Err(error) => return vec![error.to_string()],
        };
        let mut state = self.state.lock().await;
        let unreadable = found.unread.iter().chain(found.failures.iter().map(|(_, error)| error));
        let mut problems: Vec<String> = unreadable.map(ToString::to_string).collect();
        for model in &found.models {
            if let Err(error) = self.model_load(&mut state, model, false).await {
                problems.push(error.to_string());
            }
        }
        problems.append(&mut state.notes);
        // What cannot be looked at may still be there.
        if !found.partial {
            let there = found.models.iter().map(|model| model.name.as_str());
            let there: BTreeSet<&str> = there.chain(found.failures.iter().map(|(name, _)| name.as_str())).collect();
            self.unload_those(&mut state, |name, _| !there.contains(name.as_str()));
        }
        problems
    }

    /// Looks at all files and folders; what of them is not right is among what was found.
    async fn find(&self) -> Result<Found, InferenceServerError> {
        let paths = self.paths.clone();
        let finding = tokio::task::spawn_blocking(move || look_at_all(&paths));
        finding.await.map_err(|error| InferenceServerError::Serve(error.to_string()))
    }

    async fn model(&self, name: &str) -> Result<FoundModel, InferenceServerError> {
        let found = self.find().await?;
        if let Some(model) = found.models.into_iter().find(|model| model.name.as_str() == name) {
            return Ok(model);
        }
        let failure = found.failures.into_iter().find(|(failed, _)| failed == name).map(|(_, error)| error);
        // Where something could not be looked at, nobody knows whether it is there.
        let why = failure.or_else(|| found.unread.into_iter().next());
        Err(why.unwrap_or_else(|| InferenceServerError::UnknownModel(name.to_owned())))
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
            let before = state.loaded.get(&key).filter(|_| !again).cloned();
            let Some((stamp, digest, source)) = read(model.clone(), file.clone(), before).await? else { continue };
            let hosted =
                HostedModel { name: model.name.clone(), version: *version, digest, source, settings: settings.clone() };
            self.version_load(model, file, hosted).await?;
            state.notes.extend(stamp.note(model, *version).filter(|_| self.is_polled()));
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
    let (digest, source) = read_file(file.clone())?;
    Ok((model.name.clone(), digest, source))
}

/// Everything that these files and folders hold. Blocks.
fn look_at_all(paths: &[NamedPath]) -> Found {
    let (mut all, mut names) = (Found::default(), BTreeSet::new());
    for (name, path) in paths {
        let found = match layout::look(path, name.as_ref()) {
            Ok(found) => found,
            Err(error) => {
                all.unread.push(error);
                all.partial = true;
                continue;
            }
        };
        all.partial |= found.partial;
        all.passed_over.extend(found.passed_over);
        all.failures.extend(found.failures);
        for model in found.models {
            if names.insert(model.name.clone()) {
                all.models.push(model);
                continue;
            }
            // Neither: which of them is meant is not known.
            all.models.retain(|other| other.name != model.name);
            let hint = "give one of them another name: NAME=PATH";
            let error = wrong(path, &format!("there are two models called `{}`", model.name), hint);
            all.failures.push((model.name.to_string(), error));
        }
    }
    all
}

/// Reads a version; none if it is as it was before.
async fn read(
    model: FoundModel,
    file: ModelFile,
    before: Option<Stamp>,
) -> Result<Option<(Stamp, Digest, ModelSource)>, InferenceServerError> {
    let reading = tokio::task::spawn_blocking(move || {
        // Before the bytes, so that a change while they are read is seen the next time.
        let stamp = Stamp::of(&model, &file)?;
        if before.as_ref() == Some(&stamp) {
            return Ok(None);
        }
        let (digest, source) = read_file(file)?;
        Ok(Some((stamp, digest, source)))
    });
    reading.await.map_err(|error| InferenceServerError::Serve(error.to_string()))?
}

fn read_file(file: ModelFile) -> Result<(Digest, ModelSource), InferenceServerError> {
    let bytes = Bytes::from(files::read_bounded(&described(&file), ONNX_BYTES)?);
    let digest = Digest::of(&bytes);
    let source = match file {
        ModelFile::Onnx(path) => ModelSource::Onnx { bytes, folder: path.parent().map(Path::to_owned) },
        ModelFile::Folder(folder) => ModelSource::Folder(folder),
    };
    Ok((digest, source))
}

/// An error with what to do about it, in one line.
pub(crate) fn in_one_line(error: &InferenceServerError) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
}
