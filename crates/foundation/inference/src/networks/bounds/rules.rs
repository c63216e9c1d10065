//! The ranges of what operators make (ONNX operator specification).

use ropewalk_types::ElementType;

use super::extents::{count, largest};
use super::range::Range;
use super::{Bounds, MOST_ELEMENTS};
use crate::TensorData;
use crate::networks::types::{attribute, int};
use crate::onnx::{NodeProto, element_type_of, tensor_from_proto};

/// Elements of the first input in other places.
const MOVES: [&str; 27] = [
    "Compress",
    "DepthToSpace",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "Reshape",
    "ReverseSequence",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceErase",
    "Slice",
    "SpaceToDepth",
    "Split",
    "SplitToSequence",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];
/// What sums products: nothing is said of the result.
const GROWS: [&str; 8] =
    ["Einsum", "Gemm", "MatMul", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"];

/// Whether the nodes inside were looked at in place of this one.
pub(super) fn is_inside(node: &NodeProto) -> bool {
    matches!(node.op_type.as_str(), "If" | "Loop" | "Scan")
}

/// The range of an output; none where no rule says it.
pub(super) fn range(node: &NodeProto, index: usize, bounds: &Bounds) -> Option<Range> {
    let name = |at: usize| node.input.get(at).map_or("", String::as_str);
    let input = |at: usize| bounds.range_of(name(at));
    let given = |at: usize| Some(input(at)).filter(|_| !name(at).is_empty());
    let all = || node.input.iter().map(|name| bounds.range_of(name)).reduce(Range::union);
    let extents = |at: usize| bounds.extents_of(name(at));
    let zero = Range::new(0.0, 0.0);
    let range = match (node.op_type.as_str(), index) {
        ("TopK", 1) | ("ArgMax" | "ArgMin" | "NonZero" | "Shape", _) => Range::new(0.0, largest(&extents(0))),
        // Batch and box are places in the boxes, the class is one in the scores.
        ("NonMaxSuppression", _) => Range::new(0.0, largest(&extents(0)).max(largest(&extents(1)))),
        ("MaxPool", 1) | ("Size", _) => Range::new(0.0, count(&extents(0))),
        ("SequenceLength", _) => Range::new(0.0, MOST_ELEMENTS),
        (operator, _) if MOVES.contains(&operator) => input(0),
        ("TopK", _) => input(0),
        ("Trilu", _) => input(0).union(zero),
        ("Relu", _) => input(0).clipped(Some(zero), None),
        ("Pad", _) => [given(0), given(2)].into_iter().flatten().fold(zero, Range::union),
        ("Concat" | "ConcatFromSequence" | "Max" | "Min" | "Mean" | "SequenceInsert", _) => all()?,
        ("Where", _) => input(1).union(input(2)),
        ("OneHot", _) => input(2),
        ("Clip", _) => input(0).clipped(given(1), given(2)),
        ("Add", _) => input(0).plus(input(1)),
        ("Sub", _) => input(0).minus(input(1)),
        ("Mul", _) => input(0).times(input(1)),
        ("Sum", _) => node.input.iter().map(|name| bounds.range_of(name)).reduce(Range::plus)?,
        ("Div", _) => input(0).over(input(1), is_whole(node, bounds)),
        ("Mod", _) => input(0).modulo(input(1), int(node, "fmod") == Some(1), is_whole(node, bounds)),
        ("Pow", _) => input(0).power(input(1)),
        ("Neg", _) => zero.minus(input(0)),
        ("Abs", _) => input(0).absolute(),
        ("Floor" | "Ceil" | "Round", _) => Range::new(input(0).low.floor(), input(0).high.ceil()),
        ("Sigmoid" | "Softmax" | "EyeLike" | "HardSigmoid", _) => Range::new(0.0, 1.0),
        ("Sign" | "Tanh" | "Erf" | "Sin" | "Cos", _) => Range::new(-1.0, 1.0),
        ("Range", _) => input(0).union(input(1)),
        ("CumSum", _) => input(0).summed(largest(&extents(0))),
        ("ReduceSum", _) => input(0).summed(count(&extents(0))),
        ("ReduceProd", _) => multiplied(input(0), count(&extents(0))),
        ("Scatter" | "ScatterElements" | "ScatterND", _) => scattered(node, input(0), input(2)),
        ("Cast", _) => cast(node, bounds),
        ("ConstantOfShape", _) => filled(node),
        (operator, _) if GROWS.contains(&operator) => Range::ANY,
        _ => return None,
    };
    Some(range)
}

fn is_whole(node: &NodeProto, bounds: &Bounds) -> bool {
    let of = node.input.first().and_then(|name| bounds.types.get(name));
    !matches!(of, Some(ElementType::Fp16 | ElementType::Fp32))
}

fn multiplied(range: Range, count: f64) -> Range {
    range.union(Range::new(1.0, 1.0)).power(Range::new(0.0, count))
}

/// Without a reduction, elements of both; with one, anything.
fn scattered(node: &NodeProto, data: Range, updates: Range) -> Range {
    let reduction = attribute(node, "reduction").map_or(&b"none"[..], |attribute| &attribute.s);
    if matches!(reduction, b"none" | b"min" | b"max") { data.union(updates) } else { Range::ANY }
}

/// Real numbers lose their fraction, and what a narrow type cannot hold may become anything in it.
fn cast(node: &NodeProto, bounds: &Bounds) -> Range {
    let name = node.input.first().map_or("", String::as_str);
    if !bounds.types.contains_key(name) {
        return Range::ANY;
    }
    let range = bounds.range_of(name);
    let to = int(node, "to").and_then(|to| i32::try_from(to).ok()).and_then(element_type_of);
    if to == Some(ElementType::Int64) { Range::new(range.low.trunc(), range.high.trunc()) } else { range }
}

/// Zeros, or the value that an attribute holds.
fn filled(node: &NodeProto) -> Range {
    let Some(value) = attribute(node, "value").and_then(|attribute| attribute.t.as_ref()) else {
        return Range::new(0.0, 0.0);
    };
    match tensor_from_proto(value).map(|tensor| tensor.data) {
        Ok(TensorData::Int64(values)) => {
            let value = values.first().copied().unwrap_or(0) as f64;
            Range::new(value, value)
        }
        _ => Range::of(element_type_of(value.data_type)),
    }
}
