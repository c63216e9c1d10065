//! Runs models: the seam behind which every engine stands, and our own engine for classical ONNX graphs.
//!
//! A [`Model`] takes named tensors and gives named tensors, as its [`Signature`](ropewalk_types::Signature) says; an
//! [`Engine`] makes one from bytes. [`ClassicalEngine`] evaluates what scikit-learn, XGBoost, LightGBM and our own
//! trainers export (`ai.onnx.ml` and the plain operators around it), in the arithmetic of onnxruntime;
//! [`EmbeddedEngine`] adds neural networks and graphs that mix both. [`onnx`] reads and writes the format.
//!
//! This crate reads no file but the tensors that a model keeps beside itself, starts no thread of its own beyond the
//! pools of rayon, and never guesses: an operator, attribute or type that it cannot evaluate rightly is refused when
//! the model is loaded.

mod classical;
mod embedded;
mod engine;
mod engines;
mod error;
mod external;
mod missing;
mod mixed;
mod networks;
pub mod onnx;
mod request;
mod tensor;

pub use classical::ClassicalEngine;
pub use embedded::EmbeddedEngine;
pub use engine::{Engine, EngineName, LoadOptions, Model, ModelSource, UnknownEngine};
pub use engines::Engines;
pub use error::InferenceError;
pub use tensor::{NamedTensor, Tensor, TensorData};
