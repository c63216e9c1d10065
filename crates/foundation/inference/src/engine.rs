use std::fmt::{self, Debug};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use ropewalk_types::Signature;
use serde::{Serialize, Serializer};

use crate::{InferenceError, NamedTensor, TensorData};

/// The engines, by the names by which configuration, logs and metrics know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineName {
    /// Ours and what is linked into the program: no library, no process.
    Embedded,
    /// ONNX Runtime, where its library is found.
    OnnxRuntime,
    /// Worker processes of the model's own Python environment.
    Python,
}

/// A text that names no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no engine: use embedded, onnxruntime or python")]
pub struct UnknownEngine(pub String);

impl EngineName {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::OnnxRuntime => "onnxruntime",
            Self::Python => "python",
        }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for EngineName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for EngineName {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Embedded, Self::OnnxRuntime, Self::Python];
        all.into_iter().find(|one| one.as_str() == text).ok_or_else(|| UnknownEngine(text.to_owned()))
    }
}

/// Where a model's definition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// The bytes of an ONNX file.
    Onnx {
        /// The file.
        bytes: Bytes,
        /// The folder in which the file lies, where tensors that it keeps outside of itself are looked for (ONNX
        /// "External Data"); none refuses such tensors.
        folder: Option<PathBuf>,
    },
    /// A folder as MLflow lays a model down, with its `MLmodel`.
    Folder(PathBuf),
}

impl From<Bytes> for ModelSource {
    fn from(bytes: Bytes) -> Self {
        Self::Onnx { bytes, folder: None }
    }
}

/// How a model is to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads that one evaluation may use.
    pub threads: usize,
    /// Worker processes, for an engine that has such.
    pub workers: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { threads: 1, workers: 1 }
    }
}

/// Makes models from their definitions.
pub trait Engine: Send + Sync + Debug {
    /// The engine's name.
    fn name(&self) -> EngineName;

    /// Whether it can be used here, and in which version; the error says what is missing.
    fn available(&self) -> Result<String, InferenceError>;

    /// Whether it takes this kind of definition at all.
    fn takes(&self, source: &ModelSource) -> bool;

    /// Whether it is here and faster at such a model than those that are tried before it, as models like it were measured: then
    /// it comes first where no engine is asked for. Blocks.
    fn suits(&self, source: &ModelSource) -> bool {
        let _ = source;
        false
    }

    /// Reads and checks a model; what loads can be evaluated, and what cannot be is refused here. Blocks.
    ///
    /// # Errors
    /// [`InferenceError::Malformed`], [`InferenceError::InvalidGraph`], [`InferenceError::Unsupported`] or
    /// [`InferenceError::TooLarge`].
    fn load(&self, source: &ModelSource, options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError>;
}

/// A loaded model: stateless, so that any number of threads may ask it at once.
pub trait Model: Send + Sync + Debug {
    /// The engine that runs it.
    fn engine(&self) -> EngineName {
        EngineName::Embedded
    }

    /// What the model takes and gives; -1 stands for an extent that a request chooses, such as the batch.
    fn signature(&self) -> &Signature;

    /// Answers one batch: outputs in the signature's order. Blocks.
    ///
    /// # Errors
    /// [`InferenceError::InvalidInput`] if the inputs do not fit the signature, [`InferenceError::Evaluation`] if
    /// their values cannot be evaluated, [`InferenceError::TooLarge`] if an intermediate result would be.
    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, InferenceError>;

    /// The labels of the columns of `output`, where the model names them (ONNX `ZipMap`): INT64 or BYTES.
    fn class_labels(&self, output: &str) -> Option<&TensorData> {
        let _ = output;
        None
    }

    /// Whether it can answer now; the error says why not. A model in this process always can.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}
