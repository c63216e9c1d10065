//! The evaluator of classical graphs: what a graph means is settled when it is loaded, so that answering is a walk
//! over a list of steps and numbered slots.
//!
//! Operators follow the ONNX operator specification (<https://onnx.ai/onnx/operators/>), and onnxruntime where the
//! specification leaves a choice (order of additions, one weight for two classes). Where onnxruntime contradicts the
//! specification the operator says which of both it follows, or refuses the model.

mod attributes;
mod body;
mod fault;
mod fusion;
mod graph;
mod inputs;
pub(crate) mod interface;
mod model;
mod operators;
mod work;

use std::sync::Arc;

use crate::{InferenceError, Model, lowering, onnx};
use model::ClassicalModel;
pub(crate) use work::Folding;

/// Our own engine for classical ONNX graphs: domain `ai.onnx.ml` 1-5 and the plain operators of `ai.onnx` 7-25.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassicalEngine;

impl ClassicalEngine {
    /// By which reports know the evaluator.
    pub const NAME: &'static str = "classical";

    /// Reads and checks an ONNX file; what cannot be evaluated is refused here.
    ///
    /// # Errors
    /// [`InferenceError::Malformed`], [`InferenceError::InvalidGraph`], [`InferenceError::Unsupported`] or
    /// [`InferenceError::TooLarge`].
    pub fn load(self, model: &[u8]) -> Result<Arc<dyn Model>, InferenceError> {
        Self::load_within(model, &Folding::default())
    }

    /// The same for one of several models that are loaded together, and may not do more at that than one.
    pub(crate) fn load_within(model: &[u8], folding: &Folding) -> Result<Arc<dyn Model>, InferenceError> {
        let mut proto = onnx::decode_model(model)?;
        lowering::lower(&mut proto)?;
        Ok(Arc::new(ClassicalModel::new(&proto, folding)?))
    }
}
