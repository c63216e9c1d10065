use std::sync::Arc;

use crate::{ClassicalEngine, Engine, EngineName, InferenceError, LoadOptions, Model, ModelSource};

/// The engine inside the program: no library is looked for and no process is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbeddedEngine;

impl Engine for EmbeddedEngine {
    fn name(&self) -> EngineName {
        EngineName::Embedded
    }

    fn available(&self) -> Result<String, InferenceError> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn takes(&self, source: &ModelSource) -> bool {
        matches!(source, ModelSource::Onnx { .. })
    }

    fn load(&self, source: &ModelSource, _options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
        match source {
            ModelSource::Onnx { bytes, .. } => ClassicalEngine.load(bytes),
            ModelSource::Folder(folder) => {
                Err(InferenceError::Malformed { reason: format!("{} is a folder, not an ONNX file", folder.display()) })
            }
        }
    }
}
