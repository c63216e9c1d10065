//! `config.pbtxt` of a Triton model repository, as far as it says how a model is served
//! (<https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto>).

mod batching;
mod fields;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ropewalk_serving::ModelSettings;
use ropewalk_types::ElementType;

use super::text_format::{self, Field, Message, Value};
use crate::InferenceServerError;
use batching::Delay;
use fields::{number, numbers, sub, text, word};

/// The file that a version's folder holds where nothing else is said.
const MODEL_FILE: &str = "model.onnx";
/// Most versions that a policy can name.
const VERSIONS: usize = 4096;

/// Which versions are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VersionPolicy {
    /// So many of the highest.
    Latest(usize),
    All,
    Specific(BTreeSet<u64>),
}

/// A tensor as the configuration declares it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConfiguredTensor {
    pub(crate) name: String,
    /// None for one that has no name here.
    pub(crate) datatype: Option<ElementType>,
}

/// What a model's configuration says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TritonConfig {
    pub(crate) model_file: String,
    pub(crate) policy: VersionPolicy,
    pub(crate) inputs: Vec<ConfiguredTensor>,
    pub(crate) outputs: Vec<ConfiguredTensor>,
    pub(crate) settings: ModelSettings,
    /// The files that name the classes of outputs, in the model's folder.
    pub(crate) label_files: BTreeMap<String, String>,
    /// What is written there and has no effect here, each once.
    pub(crate) without_effect: BTreeSet<String>,
}

impl Default for TritonConfig {
    fn default() -> Self {
        Self {
            model_file: MODEL_FILE.to_owned(),
            policy: VersionPolicy::Latest(1),
            inputs: Vec::new(),
            outputs: Vec::new(),
            settings: ModelSettings::default(),
            label_files: BTreeMap::new(),
            without_effect: BTreeSet::new(),
        }
    }
}

/// A field that does not say what it should.
type Wrong = text_format::Malformed;

impl TritonConfig {
    /// Reads the configuration of the model whose folder is called `model`.
    ///
    /// # Errors
    /// It is malformed, names another model, or asks for a back-end that is none of ours.
    pub(crate) fn read(path: &Path, text: &str, model: &str) -> Result<Self, InferenceServerError> {
        let said = |wrong: Wrong| InferenceServerError::ModelConfig {
            path: path.to_owned(),
            line: wrong.line,
            reason: wrong.reason,
        };
        let message = text_format::read(text).map_err(said)?;
        let mut config = Self::default();
        let mut rows = 0;
        let mut delay = None;
        for field in &message.fields {
            config.take(field, model, &mut rows, &mut delay).map_err(said)?;
        }
        config.batch(rows, delay).map_err(said)?;
        Ok(config)
    }

    fn take(&mut self, field: &Field, model: &str, rows: &mut usize, delay: &mut Option<Delay>) -> Result<(), Wrong> {
        match field.name.as_str() {
            "name" => check_name(field, model)?,
            "platform" | "backend" => check_engine(field)?,
            "default_model_filename" => self.model_file = file_name(field)?,
            "max_batch_size" => *rows = number(field)?,
            "version_policy" => self.policy = policy(sub(field)?)?,
            "input" => {
                let (tensor, labels) = self.tensor(field)?;
                if labels.is_some() {
                    self.no_effect("input.label_filename");
                }
                self.inputs.push(tensor);
            }
            "output" => {
                let (tensor, labels) = self.tensor(field)?;
                self.label_files.extend(labels.map(|file| (tensor.name.clone(), file)));
                self.outputs.push(tensor);
            }
            "dynamic_batching" => *delay = Some(self.dynamic_batching(field)?),
            "instance_group" => self.instances(sub(field)?)?,
            "model_warmup" => self.warm_up(sub(field)?)?,
            "parameters" => self.parameter(sub(field)?)?,
            name => self.no_effect(name),
        }
        Ok(())
    }

    fn no_effect(&mut self, name: &str) {
        self.without_effect.insert(name.to_owned());
    }

    fn instances(&mut self, message: &Message) -> Result<(), Wrong> {
        let mut count = 1;
        for field in &message.fields {
            match field.name.as_str() {
                "count" => count = number::<usize>(field)?.max(1),
                "kind" => match word(field)? {
                    "KIND_CPU" | "KIND_AUTO" => {}
                    kind => self.no_effect(&format!("instance_group.kind: {kind}")),
                },
                "name" => {}
                name => self.no_effect(&format!("instance_group.{name}")),
            }
        }
        self.settings.concurrency = Some(self.settings.concurrency.unwrap_or(0).saturating_add(count));
        Ok(())
    }

    fn warm_up(&mut self, message: &Message) -> Result<(), Wrong> {
        let counts = numbers::<u32>(message, "count")?;
        let times = counts.last().copied().unwrap_or(1).max(1);
        self.settings.warm_up = self.settings.warm_up.max(times);
        self.no_effect("model_warmup.inputs (a made-up batch is used)");
        Ok(())
    }

    /// Parameters of the ONNX Runtime back-end that have a meaning here.
    fn parameter(&mut self, message: &Message) -> Result<(), Wrong> {
        let of = |name: &str| message.fields.iter().find(|field| field.name == name);
        let Some(key) = of("key") else { return Ok(()) };
        let key = text(key)?;
        let value = of("value").map(sub).transpose()?.and_then(|value| value.fields.first());
        match (key.as_str(), value) {
            ("intra_op_thread_count", Some(value)) => {
                let threads = text(value)?;
                let threads: usize = threads.parse().map_err(|_| fields::wrong(value, "a number of threads"))?;
                // 0 leaves it to the engine.
                if threads > 0 {
                    self.settings.threads = threads;
                }
            }
            _ => self.no_effect(&format!("parameters.{key}")),
        }
        Ok(())
    }

    /// A tensor, and the file of its labels if it has one.
    fn tensor(&mut self, field: &Field) -> Result<(ConfiguredTensor, Option<String>), Wrong> {
        let mut tensor = ConfiguredTensor { name: String::new(), datatype: None };
        let mut labels = None;
        for field in &sub(field)?.fields {
            match field.name.as_str() {
                "name" => tensor.name = text(field)?,
                "data_type" => tensor.datatype = datatype(field)?,
                "dims" => drop(number::<i64>(field)?),
                "label_filename" => labels = Some(text(field)?).filter(|file| !file.is_empty()),
                name => self.no_effect(&format!("tensor.{name}")),
            }
        }
        if tensor.name.is_empty() {
            return Err(fields::wrong(field, "a tensor with a name"));
        }
        Ok((tensor, labels))
    }
}

fn check_name(field: &Field, model: &str) -> Result<(), Wrong> {
    let name = text(field)?;
    if name.is_empty() || name == model {
        return Ok(());
    }
    Err(Wrong { line: field.line, reason: format!("the model is called `{name}`, but its folder `{model}`") })
}

fn check_engine(field: &Field) -> Result<(), Wrong> {
    let name = text(field)?;
    if matches!(name.as_str(), "" | "onnxruntime" | "onnxruntime_onnx" | "onnx") {
        return Ok(());
    }
    let reason = format!("`{name}` cannot be served: only ONNX models are, with platform `onnxruntime_onnx`");
    Err(Wrong { line: field.line, reason })
}

fn file_name(field: &Field) -> Result<String, Wrong> {
    let name = text(field)?;
    if name.is_empty() || name.contains(['/', '\\', '\0']) || name == "." || name == ".." {
        return Err(fields::wrong(field, "the name of a file in a version's folder"));
    }
    Ok(name)
}

fn policy(message: &Message) -> Result<VersionPolicy, Wrong> {
    let Some(field) = message.fields.first() else { return Ok(VersionPolicy::Latest(1)) };
    match field.name.as_str() {
        "all" => Ok(VersionPolicy::All),
        "latest" => {
            let counts = numbers::<usize>(sub(field)?, "num_versions")?;
            Ok(VersionPolicy::Latest(counts.last().copied().unwrap_or(1).max(1)))
        }
        "specific" => {
            let versions = numbers::<u64>(sub(field)?, "versions")?;
            if versions.len() > VERSIONS {
                return Err(fields::wrong(field, "4096 versions at most"));
            }
            Ok(VersionPolicy::Specific(versions.into_iter().collect()))
        }
        _ => Err(fields::wrong(field, "latest, all or specific")),
    }
}

impl VersionPolicy {
    /// The versions to serve of those that are there, ascending.
    pub(crate) fn choose(&self, there: &BTreeSet<u64>) -> BTreeSet<u64> {
        match self {
            Self::All => there.clone(),
            Self::Latest(count) => there.iter().rev().take(*count).copied().collect(),
            Self::Specific(wanted) => there.intersection(wanted).copied().collect(),
        }
    }
}

fn datatype(field: &Field) -> Result<Option<ElementType>, Wrong> {
    let name = word(field)?;
    let Some(name) = name.strip_prefix("TYPE_") else { return Err(fields::wrong(field, "a type such as TYPE_FP32")) };
    // What Triton calls a string the protocol calls BYTES.
    let name = if name == "STRING" { "BYTES" } else { name };
    Ok(name.parse().ok())
}

#[cfg(test)]
mod tests;
