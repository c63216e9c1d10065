//! Support vector machines (`ai.onnx.ml`).

mod classifier;
mod kernel;
mod probability;
mod regressor;

pub(super) use classifier::svm_classifier;
pub(super) use regressor::svm_regressor;
