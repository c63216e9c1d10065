//! Tensors to and from the bytes of the protocol.

mod binary;
mod json;
mod shape;

use ropewalk_types::{ElementType, UnknownElementType};

pub(crate) use binary::encoded_length;
pub use binary::{decode_binary, encode_binary};
pub use json::decode_json;
pub(crate) use shape::{extents, wire_shape};

/// The parameter of the classification extension.
pub(crate) const CLASSIFICATION: &str = "classification";
/// The parameter of the shared memory extension, which is not spoken here.
pub(crate) const SHARED_MEMORY: &str = "shared_memory_region";

/// What can be wrong with the elements of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The type has a name that the protocol does not know.
    #[error(transparent)]
    UnknownType(#[from] UnknownElementType),
    /// The shape is none.
    #[error("{shape:?} is no shape: {problem}")]
    Shape {
        /// The shape.
        shape: Vec<i64>,
        /// Why not.
        problem: &'static str,
    },
    /// No elements came.
    #[error("it has neither `data` nor binary data")]
    NoData,
    /// Elements came twice.
    #[error("it has both `data` and binary data")]
    TwoData,
    /// The bytes are not those of so many elements.
    #[error("{datatype}{shape:?} takes {expected} bytes, {found} came")]
    ByteCount {
        /// Type of the elements.
        datatype: ElementType,
        /// The shape.
        shape: Vec<usize>,
        /// Bytes of the tensor.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// The elements are too few or too many.
    #[error("a tensor of shape {shape:?} has {expected} elements, {found} came")]
    ElementCount {
        /// The shape.
        shape: Vec<usize>,
        /// Elements of the tensor.
        expected: usize,
        /// Elements that came, as far as they were counted.
        found: usize,
    },
    /// The bytes end inside an element, or go on after the last one.
    #[error("the bytes do not hold {expected} elements of type BYTES, each after its length in 4 bytes: {problem}")]
    Framing {
        /// Elements of the tensor.
        expected: usize,
        /// Where they differ.
        problem: String,
    },
    /// Nested arrays are not those of the shape.
    #[error("the data is neither flat nor nested as its shape {shape:?} says")]
    Nesting {
        /// The shape.
        shape: Vec<usize>,
    },
    /// An element is not of the tensor's type.
    #[error("element {position} is no {datatype}: {found}")]
    Element {
        /// Its position in row-major order, counted from 0.
        position: usize,
        /// Type of the elements.
        datatype: ElementType,
        /// What it is instead.
        found: String,
    },
    /// The elements came in a field of another type.
    #[error("the contents of a {datatype} tensor {problem}")]
    Field {
        /// Type of the elements.
        datatype: ElementType,
        /// Where they belong.
        problem: &'static str,
    },
}
