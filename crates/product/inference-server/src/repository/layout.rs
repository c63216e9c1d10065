//! What a file or folder holds: which models, in which versions, served how.
//!
//! Folders come from anywhere. A link is followed if it ends inside of the folder that was named, which is how volumes of
//! Kubernetes are laid out, and is refused otherwise; hidden names are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::files::{self, Entry, EntryKind};
use ropewalk_types::ModelName;

use super::mlflow::{self, MLMODEL};
use super::triton::{ConfiguredTensor, TritonConfig};
use crate::InferenceServerError;

/// The file that a folder holds which is one model.
const MODEL_FILE: &str = "model.onnx";
/// Triton's configuration of a model.
const CONFIG_FILE: &str = "config.pbtxt";
/// Longest configuration that is read, in bytes.
const LONGEST_CONFIG: u64 = 1 << 20;
/// Longest file of labels that is read, in bytes.
const LONGEST_LABELS: u64 = 4 << 20;
/// Most models of a folder.
const MODELS: usize = 4096;

/// What a version is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelFile {
    /// A file of ONNX.
    Onnx(PathBuf),
    /// A folder with an `MLmodel`, for the Python engine.
    Folder(PathBuf),
}

impl ModelFile {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Onnx(path) | Self::Folder(path) => path,
        }
    }
}

/// A model as it was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundModel {
    pub(crate) name: ModelName,
    /// What is served, by version.
    pub(crate) versions: BTreeMap<u64, ModelFile>,
    /// How, as the folder itself says.
    pub(crate) config: TritonConfig,
    /// The files that say so.
    pub(crate) configured: Vec<PathBuf>,
    /// Whether it is a file that was named, whose folder may hold anything.
    pub(crate) alone: bool,
}

/// Everything that was found, what was passed over, each for a reason, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) models: Vec<FoundModel>,
    pub(crate) passed_over: Vec<String>,
    /// Models that are not right, by the name of their folder.
    pub(crate) failures: Vec<(String, InferenceServerError)>,
    /// Why a file or folder that was named could not be looked at.
    pub(crate) unread: Vec<InferenceServerError>,
    /// Whether there may be more than could be looked at.
    pub(crate) partial: bool,
}

impl Found {
    /// Everything, if all of it is right.
    ///
    /// # Errors
    /// The first thing that is not.
    pub(crate) fn whole(mut self) -> Result<Self, InferenceServerError> {
        self.unread.extend(self.failures.drain(..).map(|(_, error)| error));
        if self.unread.is_empty() { Ok(self) } else { Err(self.unread.swap_remove(0)) }
    }
}

pub(crate) fn wrong(path: &Path, reason: &str, hint: &str) -> InferenceServerError {
    InferenceServerError::Place { path: path.to_owned(), reason: reason.to_owned(), hint: hint.to_owned() }
}

/// Looks at a file or folder, of whose models all have to be right. Blocks.
///
/// # Errors
/// As those of [`look`], or one of its models cannot be read.
pub(crate) fn find(path: &Path, name: Option<&ModelName>) -> Result<Found, InferenceServerError> {
    look(path, name)?.whole()
}

/// Looks at a file or folder; a model that is not right hides no other. Blocks.
///
/// # Errors
/// There is nothing, or nothing of it is a model.
pub(crate) fn look(path: &Path, name: Option<&ModelName>) -> Result<Found, InferenceServerError> {
    let root =
        path.canonicalize().map_err(|error| wrong(path, &error.to_string(), "name a file or folder that is there"))?;
    if !root.is_dir() {
        let name = name.cloned().map_or_else(|| stem(path), Ok)?;
        return Ok(alone(name, ModelFile::Onnx(root), path));
    }
    let looking = Looking { root: &root };
    let entries = files::list(&root)?;
    match looking.model(&root, file_name(path, &root), &entries) {
        Ok(None) => {}
        Ok(Some(mut model)) => {
            model.name = name.cloned().unwrap_or(model.name);
            return Ok(Found { models: vec![model], ..Found::default() });
        }
        Err(error) => {
            let called = name.map_or_else(|| file_name(path, &root), |name| Ok(name.to_string()))?;
            return Ok(Found { failures: vec![(called, error)], partial: true, ..Found::default() });
        }
    }
    if let Some(name) = name {
        let hint = "leave the name out: each model of a folder has that of its own folder";
        return Err(wrong(path, &format!("it holds no single model that could be called `{name}`"), hint));
    }
    looking.models(path, &entries)
}

/// The name of a file without what follows its last dot.
fn stem(path: &Path) -> Result<ModelName, InferenceServerError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    named(path, stem)
}

fn named(path: &Path, name: &str) -> Result<ModelName, InferenceServerError> {
    let hint = "give it another one: NAME=PATH";
    ModelName::new(name).map_err(|error| wrong(path, &error.to_string(), hint))
}

/// The name of a folder as it was written, or as it is where it was written as `.`.
fn file_name(path: &Path, root: &Path) -> Result<String, InferenceServerError> {
    let name = path.file_name().or_else(|| root.file_name()).and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| wrong(path, "it has no name", "give it one: NAME=PATH"))
}

fn alone(name: ModelName, file: ModelFile, path: &Path) -> Found {
    let mut found = Found::default();
    if path.extension().is_none_or(|extension| extension != "onnx") {
        found.passed_over.push(format!("{} is read as ONNX, whatever its name says", path.display()));
    }
    let (versions, config) = (BTreeMap::from([(1, file)]), TritonConfig::default());
    found.models.push(FoundModel { name, versions, config, configured: Vec::new(), alone: true });
    found
}

struct Looking<'r> {
    /// What may not be left, without links.
    root: &'r Path,
}

impl Looking<'_> {
    /// The models of the folders in a folder.
    fn models(&self, path: &Path, entries: &[Entry]) -> Result<Found, InferenceServerError> {
        let mut found = Found::default();
        for entry in entries.iter().filter(|entry| !entry.name.starts_with('.')) {
            match self.one_of_several(entry) {
                Ok(Ok(model)) => found.models.push(model),
                Ok(Err(why)) => found.passed_over.push(format!("{} {why}", entry.path.display())),
                Err(error) => found.failures.push((entry.name.clone(), error)),
            }
            if found.models.len() + found.failures.len() > MODELS {
                return Err(wrong(path, &format!("it holds more than {MODELS} models"), "serve parts of it"));
            }
        }
        if found.models.is_empty() && found.failures.is_empty() {
            let hint = "a model is a file of ONNX, a folder with model.onnx, with MLmodel, or with numbered folders of versions";
            return Err(wrong(path, "it holds no model", hint));
        }
        Ok(found)
    }

    /// The model that an entry is, or why it is none.
    fn one_of_several(&self, entry: &Entry) -> Result<Result<FoundModel, &'static str>, InferenceServerError> {
        let Some(folder) = self.folder(entry)? else { return Ok(Err("is no folder")) };
        let model = self.model(&folder, Ok(entry.name.clone()), &files::list(&folder)?)?;
        Ok(model.ok_or("holds no model"))
    }

    /// The one model that a folder is, if it is one.
    fn model(
        &self,
        folder: &Path,
        name: Result<String, InferenceServerError>,
        entries: &[Entry],
    ) -> Result<Option<FoundModel>, InferenceServerError> {
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        let numbered = self.numbered(entries)?;
        let single = if has(MLMODEL) {
            Some(mlflow::model_file(folder)?)
        } else if has(MODEL_FILE) {
            Some(ModelFile::Onnx(folder.join(MODEL_FILE)))
        } else {
            None
        };
        if single.is_none() && numbered.is_empty() && !has(CONFIG_FILE) {
            return Ok(None);
        }
        let name = name?;
        let model = named(folder, &name)?;
        let mut config = TritonConfig::default();
        if has(CONFIG_FILE) {
            let path = self.inside(&folder.join(CONFIG_FILE))?;
            config = TritonConfig::read(&path, &files::read_text(&path, LONGEST_CONFIG)?, &name)?;
        }
        for (output, file) in &config.label_files {
            config.settings.labels.insert(output.clone(), self.labels(&folder.join(file))?);
        }
        let said = [CONFIG_FILE, MLMODEL].into_iter().filter(|name| has(name));
        let configured = said.chain(config.label_files.values().map(String::as_str)).map(|name| folder.join(name));
        let configured = configured.collect();
        let versions = match single {
            Some(file) => BTreeMap::from([(1, self.checked(file)?)]),
            None => self.versions(folder, &config, &numbered)?,
        };
        Ok(Some(FoundModel { name: model, versions, config, configured, alone: false }))
    }

    /// The labels of an output's classes, one a line.
    fn labels(&self, path: &Path) -> Result<Arc<[String]>, InferenceServerError> {
        let real = self.inside(path)?;
        if !real.is_file() {
            return Err(wrong(path, "it is no file", "write a label for each class there, one a line"));
        }
        Ok(files::read_text(&real, LONGEST_LABELS)?.lines().map(str::to_owned).collect())
    }

    /// The folders whose names are numbers, which is what versions have.
    fn numbered(&self, entries: &[Entry]) -> Result<BTreeMap<u64, PathBuf>, InferenceServerError> {
        let mut numbered = BTreeMap::new();
        for entry in entries {
            // Triton passes over 0 and what begins with it, too.
            if entry.name.starts_with('0') || !entry.name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            if let (Ok(number), Some(folder)) = (entry.name.parse(), self.folder(entry)?) {
                numbered.insert(number, folder);
            }
        }
        Ok(numbered)
    }

    fn versions(
        &self,
        folder: &Path,
        config: &TritonConfig,
        numbered: &BTreeMap<u64, PathBuf>,
    ) -> Result<BTreeMap<u64, ModelFile>, InferenceServerError> {
        let there: BTreeSet<u64> = numbered.keys().copied().collect();
        let mut versions = BTreeMap::new();
        for version in config.policy.choose(&there) {
            let Some(folder) = numbered.get(&version) else { continue };
            let file = if files::exists(&folder.join(MLMODEL))? {
                mlflow::model_file(folder)?
            } else {
                ModelFile::Onnx(folder.join(&config.model_file))
            };
            versions.insert(version, self.checked(file)?);
        }
        if versions.is_empty() {
            let hint = "put the file into a folder that is called like its version: 1/model.onnx";
            return Err(wrong(folder, "it holds no version that its version_policy lets through", hint));
        }
        Ok(versions)
    }

    /// A folder, also at the end of a link; none for anything else.
    fn folder(&self, entry: &Entry) -> Result<Option<PathBuf>, InferenceServerError> {
        match entry.kind {
            EntryKind::Directory => Ok(Some(entry.path.clone())),
            EntryKind::Symlink => {
                let real = self.inside(&entry.path)?;
                Ok(real.is_dir().then_some(real))
            }
            EntryKind::File | EntryKind::Other => Ok(None),
        }
    }

    fn checked(&self, file: ModelFile) -> Result<ModelFile, InferenceServerError> {
        let real = self.inside(file.path())?;
        match file {
            // A pipe or device could be read for ever.
            ModelFile::Onnx(path) if !real.is_file() => Err(wrong(&path, "it is no file", "put the graph there")),
            ModelFile::Onnx(_) => Ok(ModelFile::Onnx(real)),
            ModelFile::Folder(_) => Ok(ModelFile::Folder(real)),
        }
    }

    /// Where a path really ends, which must be inside of the folder that was named.
    fn inside(&self, path: &Path) -> Result<PathBuf, InferenceServerError> {
        let real = path.canonicalize().map_err(|error| wrong(path, &error.to_string(), "put the file there"))?;
        if real.starts_with(self.root) {
            return Ok(real);
        }
        Err(wrong(path, "it is a link that leaves the folder", "name the folder that it leads to, or copy the file"))
    }
}

/// The tensors that a configuration declares and that are none of the model's, in words.
pub(crate) fn disagreement(
    what: &str,
    declared: &[ConfiguredTensor],
    specs: &[ropewalk_types::TensorSpec],
) -> Option<String> {
    declared.iter().find_map(|tensor| {
        let Some(spec) = specs.iter().find(|spec| spec.name == tensor.name) else {
            return Some(format!("config.pbtxt declares {what} `{}`, which the model does not have", tensor.name));
        };
        let declared = tensor.datatype.filter(|declared| *declared != spec.datatype)?;
        Some(format!("config.pbtxt declares {what} `{}` as {declared}, the model has {}", tensor.name, spec.datatype))
    })
}

#[cfg(test)]
mod tests;
