use std::fmt::Debug;
use std::sync::Arc;

use ropewalk_types::Signature;

use crate::{InferenceError, NamedTensor, TensorData};

/// Makes models from bytes.
pub trait Engine: Send + Sync + Debug {
    /// The name by which configuration and logs know the engine.
    fn name(&self) -> &'static str;

    /// Reads and checks a model; what loads can be evaluated, and what cannot be is refused here.
    ///
    /// # Errors
    /// [`InferenceError::Malformed`], [`InferenceError::InvalidGraph`], [`InferenceError::Unsupported`] or
    /// [`InferenceError::TooLarge`].
    fn load(&self, model: &[u8]) -> Result<Arc<dyn Model>, InferenceError>;
}

/// A loaded model: stateless, so that any number of threads may ask it at once.
pub trait Model: Send + Sync + Debug {
    /// What the model takes and gives; -1 stands for an extent that a request chooses, such as the batch.
    fn signature(&self) -> &Signature;

    /// Answers one batch: outputs in the signature's order.
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
}
