//! Runs models: the seam behind which every engine stands, and our own engine for classical ONNX graphs.
//!
//! A [`Model`] takes named tensors and gives named tensors, as its [`Signature`](ropewalk_types::Signature) says; an
//! [`Engine`] makes one from bytes. [`ClassicalEngine`] evaluates what scikit-learn, XGBoost, LightGBM and our own
//! trainers export (`ai.onnx.ml` and the plain operators around it), in the arithmetic of onnxruntime;
//! [`EmbeddedEngine`] adds neural networks and graphs that mix both. [`onnx`] reads and writes the format.
//!
//! [`OnnxRuntimeEngine`] runs the library of ONNX Runtime where it is found, [`PythonEngine`] runs in worker processes
//! what only Python can run.
//!
//! The engine inside the program reads no file but the tensors that a model keeps beside itself, and starts no thread
//! beyond the pools of rayon; what the two others read and start, they do
//! through the store's `files` and the execution crate. The environment is read by none: paths come from the caller.
//! Nothing is guessed: an operator, attribute or type that cannot be evaluated rightly is refused when a model is loaded.

mod classical;
mod embedded;
mod engine;
mod engines;
mod error;
pub mod example;
mod external;
mod lowering;
mod missing;
mod mixed;
mod networks;
pub mod onnx;
mod onnxruntime;
mod python;
mod request;
mod tensor;

pub use classical::ClassicalEngine;
pub use embedded::EmbeddedEngine;
pub use engine::{Engine, EngineName, LoadOptions, Model, ModelSource, UnknownEngine};
pub use engines::Engines;
pub use error::InferenceError;
pub use example::Example;
pub use onnxruntime::{OnnxRuntimeEngine, OnnxRuntimeSearch};
pub use python::{PythonEngine, PythonSettings};
pub use tensor::{NamedTensor, Tensor, TensorData};
