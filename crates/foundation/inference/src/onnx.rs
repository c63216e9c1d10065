//! The part of the ONNX format that we read and write.
//!
//! Field numbers and meanings are those of `onnx.proto` (ONNX IR specification, <https://onnx.ai/onnx/repo-docs/IR.html>);
//! fields that we do not use are skipped on reading. [`GraphBuilder`] writes models; the same calls give the same bytes.

mod builder;
mod decode;
mod messages;
mod outline;
mod tensor;

pub use builder::{Attribute, AttributeValue, GraphBuilder};
pub use decode::decode_model;
pub use messages::*;
pub(crate) use outline::uses_any;
pub use tensor::{element_type_of, onnx_type_of, tensor_from_proto, tensor_to_proto};
