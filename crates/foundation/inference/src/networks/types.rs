use ropewalk_types::ElementType;

use crate::onnx::{AttributeProto, NodeProto, element_type_of};

/// The attribute of a node by name.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// An integer attribute.
pub(super) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|attribute| attribute.i)
}

/// A text attribute.
pub(super) fn text<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [u8]> {
    attribute(node, name).map(|attribute| attribute.s.as_slice())
}

fn named_type(node: &NodeProto, name: &str) -> Option<ElementType> {
    int(node, name).and_then(|value| i32::try_from(value).ok()).and_then(element_type_of)
}

fn tensor_type(node: &NodeProto, name: &str) -> Option<ElementType> {
    attribute(node, name)?.t.as_ref().and_then(|tensor| element_type_of(tensor.data_type))
}

/// The type of an operator's output, from those of its inputs (ONNX operator specification, "Type Constraints"); none
/// where the specification says no more than the graph.
pub(super) fn output_type(node: &NodeProto, index: usize, inputs: &[Option<ElementType>]) -> Option<ElementType> {
    let input = |at: usize| inputs.get(at).copied().flatten();
    match (node.op_type.as_str(), index) {
        ("Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" | "NonMaxSuppression" | "SequenceLength", _)
        | ("TopK" | "MaxPool", 1) => Some(ElementType::Int64),
        (
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "Not" | "And" | "Or" | "Xor" | "IsNaN"
            | "IsInf",
            _,
        ) => Some(ElementType::Bool),
        ("MatMulInteger" | "ConvInteger", _) => Some(ElementType::Int32),
        ("Cast", _) => named_type(node, "to"),
        ("CastLike" | "Where" | "DequantizeLinear", _) => input(1),
        ("OneHot", _) => input(2),
        ("EyeLike", _) => named_type(node, "dtype").or(input(0)),
        ("ConstantOfShape", _) => match tensor_type(node, "value") {
            None if attribute(node, "value").is_none() => Some(ElementType::Fp32),
            found => found,
        },
        ("Constant", _) => constant_type(node),
        ("QuantizeLinear", _) => named_type(node, "output_dtype").or(input(2)).or(Some(ElementType::Uint8)),
        ("DynamicQuantizeLinear", 1) => Some(ElementType::Fp32),
        ("DynamicQuantizeLinear", _) => Some(ElementType::Uint8),
        ("If" | "Loop" | "Scan", _) => None,
        // Of a sequence, the type of its elements.
        ("SequenceEmpty", _) => named_type(node, "dtype").or(Some(ElementType::Fp32)),
        ("SequenceInsert", _) => input(0).or(input(1)),
        _ => input(0),
    }
}

fn constant_type(node: &NodeProto) -> Option<ElementType> {
    let only = node.attribute.first()?;
    match only.name.as_str() {
        "value" => tensor_type(node, "value"),
        "value_int" | "value_ints" => Some(ElementType::Int64),
        "value_float" | "value_floats" => Some(ElementType::Fp32),
        "value_string" | "value_strings" => Some(ElementType::Bytes),
        _ => None,
    }
}
