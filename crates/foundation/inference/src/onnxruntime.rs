//! ONNX Runtime, where its library is found; nothing of it is part of the program.

mod external;
mod fault;
mod library;
mod maps;
mod model;
mod sessions;
mod trial;
mod values;
mod wire;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::{Engine, EngineName, InferenceError, LoadOptions, Model, ModelSource, onnx};
use library::Library;
use model::OnnxRuntimeModel;

/// Operators at which the library is faster than the embedded engine. Networks with Conv and with LSTM were measured, at
/// 1.7 to 4 times as fast a row at a time (`docs/benchmarks.md`); the others are alike. The embedded engine has no RNN:
/// such a network comes here in the ordinary order.
const SUITING: [&str; 5] = ["Conv", "ConvTranspose", "ConvInteger", "LSTM", "GRU"];

/// Where the library of ONNX Runtime is looked for. The first that loads is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxRuntimeSearch {
    /// The library itself, or the folder in which it lies; if given, it is looked for nowhere else.
    pub path: Option<PathBuf>,
    /// `site-packages` folders of Pythons that may have the package `onnxruntime`.
    pub pythons: Vec<PathBuf>,
    /// More folders; those of the system come after them.
    pub folders: Vec<PathBuf>,
}

/// The engine of Microsoft's ONNX Runtime, from version 1.17 on, on the processor.
///
/// The library is looked for when it is first needed, and what was found is remembered. A process loads one library:
/// a second engine with another search uses the one that is there.
#[derive(Debug)]
pub struct OnnxRuntimeEngine {
    search: OnnxRuntimeSearch,
    found: OnceLock<Result<Library, InferenceError>>,
}

impl OnnxRuntimeEngine {
    /// An engine whose library is looked for as `search` says.
    pub fn new(search: OnnxRuntimeSearch) -> Self {
        Self { search, found: OnceLock::new() }
    }

    fn library(&self) -> Result<&Library, InferenceError> {
        self.found.get_or_init(|| library::find(&self.search)).as_ref().map_err(Clone::clone)
    }
}

impl Engine for OnnxRuntimeEngine {
    fn name(&self) -> EngineName {
        EngineName::OnnxRuntime
    }

    fn available(&self) -> Result<String, InferenceError> {
        self.library().map(ToString::to_string)
    }

    fn takes(&self, source: &ModelSource) -> bool {
        matches!(source, ModelSource::Onnx { .. })
    }

    fn suits(&self, source: &ModelSource) -> bool {
        // The library is looked for only for a model that gains by it.
        let gains = |bytes| onnx::uses_any(bytes, &SUITING).unwrap_or(false);
        matches!(source, ModelSource::Onnx { bytes, .. } if gains(bytes)) && self.library().is_ok()
    }

    fn load(&self, source: &ModelSource, options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
        match source {
            ModelSource::Onnx { bytes, folder } => {
                let model = OnnxRuntimeModel::new(self.library()?, bytes, folder.as_deref(), options)?;
                Ok(Arc::new(model))
            }
            ModelSource::Folder(folder) => {
                Err(InferenceError::Malformed { reason: format!("{} is a folder, not an ONNX file", folder.display()) })
            }
        }
    }
}
