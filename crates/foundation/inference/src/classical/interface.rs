//! What a graph declares about its inputs and outputs, and what is true.

use std::collections::HashSet;

use ropewalk_types::{ElementType, TensorSpec};

use super::fault::Fault;
use crate::onnx::{DimensionValue, GraphProto, TensorShapeProto, TypeValue, ValueInfoProto, element_type_of};
use crate::{InferenceError, Tensor};

/// A graph's input that is not an initializer.
#[derive(Debug)]
pub(crate) struct InputInfo<'a> {
    pub(crate) name: &'a str,
    pub(crate) element_type: ElementType,
    pub(crate) shape: Vec<i64>,
}

impl InputInfo<'_> {
    pub(crate) fn spec(&self) -> TensorSpec {
        TensorSpec { name: self.name.to_owned(), datatype: self.element_type, shape: self.shape.clone() }
    }
}

/// The most dimensions that a declared shape may have.
const RANK_LIMIT: usize = 64;

fn invalid(kind: &str, name: &str, reason: impl Into<String>) -> InferenceError {
    InferenceError::InvalidGraph { place: format!("{kind} `{name}`"), reason: reason.into() }
}

/// The inputs that a request must give. An initializer of the same name is a constant, not a default.
pub(crate) fn inputs(graph: &GraphProto) -> Result<Vec<InputInfo<'_>>, InferenceError> {
    let constants: HashSet<&str> = graph.initializer.iter().map(|one| one.name.as_str()).collect();
    let given = graph.input.iter().filter(|input| !constants.contains(input.name.as_str()));
    given.map(|info| input(graph, info)).collect()
}

/// A map or a sequence has no place among tensors; the operator that takes it is named.
fn not_a_tensor(graph: &GraphProto, name: &str) -> InferenceError {
    let reason = format!("its input `{name}` is not a tensor");
    match graph.node.iter().find(|node| node.input.iter().any(|input| input == name)) {
        None => invalid("input", name, "it is not a tensor"),
        Some(node) => {
            let label = if node.name.is_empty() { node.output.first().unwrap_or(&node.op_type) } else { &node.name };
            Fault::unsupported(reason).at_load(label, &node.domain, &node.op_type, 0)
        }
    }
}

fn input<'a>(graph: &GraphProto, info: &'a ValueInfoProto) -> Result<InputInfo<'a>, InferenceError> {
    let name = info.name.as_str();
    let Some(TypeValue::TensorType(tensor)) = info.r#type.as_ref().and_then(|one| one.value.as_ref()) else {
        return Err(not_a_tensor(graph, name));
    };
    let element_type = element_type_of(tensor.elem_type)
        .ok_or_else(|| invalid("input", name, format!("data type {} is not supported", tensor.elem_type)))?;
    let shape = tensor.shape.as_ref().ok_or_else(|| invalid("input", name, "its rank is not declared"))?;
    let shape = extents(shape).ok_or_else(|| invalid("input", name, "it has too many dimensions"))?;
    Ok(InputInfo { name, element_type, shape })
}

/// Extents, -1 where one is named, anonymous or negative.
fn extents(shape: &TensorShapeProto) -> Option<Vec<i64>> {
    let extent = |value: &Option<DimensionValue>| match value {
        Some(DimensionValue::DimValue(extent @ 0..)) => *extent,
        _ => -1,
    };
    (shape.dim.len() <= RANK_LIMIT).then(|| shape.dim.iter().map(|dimension| extent(&dimension.value)).collect())
}

/// The declared shape of an output, if it is declared as a tensor; its declared type must be the real one.
pub(crate) fn declared_shape(info: &ValueInfoProto, found: ElementType) -> Result<Option<Vec<i64>>, InferenceError> {
    let Some(TypeValue::TensorType(tensor)) = info.r#type.as_ref().and_then(|one| one.value.as_ref()) else {
        return Ok(None);
    };
    // Type 0 is "undefined": some exporters leave the type to be inferred.
    if tensor.elem_type != 0 && element_type_of(tensor.elem_type) != Some(found) {
        let reason = format!("it is declared with data type {}, but is {found}", tensor.elem_type);
        return Err(invalid("output", &info.name, reason));
    }
    match &tensor.shape {
        None => Ok(None),
        Some(shape) => {
            extents(shape).map(Some).ok_or_else(|| invalid("output", &info.name, "it has too many dimensions"))
        }
    }
}

/// The most elements of an input that a graph is tried with at load.
const TRIAL_ELEMENTS_LIMIT: usize = 1 << 22;

/// An input to try the graph with: zeros (as text `0`), with `open` for each open extent; none if it would be large.
pub(crate) fn trial(input: &InputInfo<'_>, open: usize) -> Option<Tensor> {
    Tensor::zeros(input.element_type, &input.shape, open, TRIAL_ELEMENTS_LIMIT)
}

/// The shape that two trials of different size agree on; -1 where they don't, and where nothing was made: zeros turn no
/// loop and find nothing.
pub(crate) fn common_shape(one: &[usize], other: &[usize]) -> Option<Vec<i64>> {
    let extents = one.iter().zip(other).map(|(one, other)| if one == other && *one > 0 { *one as i64 } else { -1 });
    (one.len() == other.len()).then(|| extents.collect())
}
