use super::{Bounds, MOST_ELEMENTS};
use crate::networks::types::{attribute, int};
use crate::onnx::NodeProto;

/// The largest extents that a value can have; none where not even its rank is known.
pub(super) type Extents = Option<Vec<f64>>;

/// What goes from its first input to its first output without a larger extent.
const KEEPS: [&str; 45] = [
    "Abs",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Cos",
    "CumSum",
    "DequantizeLinear",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "FastGelu",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Neg",
    "Not",
    "QuantizeLinear",
    "QuickGelu",
    "Reciprocal",
    "Relu",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Sigmoid",
    "Sign",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Tanh",
    "TopK",
    "Trilu",
];
/// What joins the extents of its inputs as in numpy.
const BROADCASTS: [&str; 20] = [
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

/// How many elements there are at most.
pub(super) fn count(extents: &Extents) -> f64 {
    let product = extents.as_ref().map_or(MOST_ELEMENTS, |extents| extents.iter().product());
    product.min(MOST_ELEMENTS)
}

/// The largest of the extents.
pub(super) fn largest(extents: &Extents) -> f64 {
    let largest = |extents: &Vec<f64>| extents.iter().fold(1.0, |most, one| f64::max(most, *one));
    extents.as_ref().map_or(MOST_ELEMENTS, largest).min(MOST_ELEMENTS)
}

/// The extents of a node's first output.
pub(super) fn of(node: &NodeProto, bounds: &Bounds) -> Extents {
    let input = |index: usize| bounds.extents_of(node.input.get(index)?);
    match node.op_type.as_str() {
        operator if KEEPS.contains(&operator) => input(0),
        operator if BROADCASTS.contains(&operator) => broadcast(node, bounds),
        "Shape" => Some(vec![input(0).map_or(64.0, |extents| extents.len() as f64)]),
        "Transpose" => transposed(&input(0)?, node),
        "Gather" => gathered(&input(0)?, &input(1)?, int(node, "axis").unwrap_or(0)),
        "Concat" => joined(node, bounds),
        "Flatten" => Some(vec![count(&input(0)); 2]),
        "Unsqueeze" => {
            let added = bounds.ints_of(node, "axes", 1)?.len();
            let extents = input(0)?;
            Some(vec![largest(&Some(extents.clone())); extents.len() + added])
        }
        "Squeeze" => without(&input(0)?, bounds.ints_of(node, "axes", 1)?),
        "Reshape" => reshaped(&input(0), node, bounds),
        "Expand" => expanded(&input(0)?, node, bounds),
        "ConstantOfShape" => asked(node, 0, bounds),
        "MatMul" => product(&input(0)?, &input(1)?),
        "Gemm" => Some(vec![largest(&input(0)), largest(&input(1))]),
        "Conv" => windows(&input(0)?, Some(*input(1)?.first()?), node),
        "AveragePool" | "MaxPool" => windows(&input(0)?, None, node),
        "GlobalAveragePool" | "GlobalMaxPool" => input(0),
        "ArgMax" | "ArgMin" => {
            let axis = [int(node, "axis").unwrap_or(0)];
            if int(node, "keepdims") == Some(0) { without(&input(0)?, &axis) } else { input(0) }
        }
        operator if operator.starts_with("Reduce") => match bounds.ints_of(node, "axes", 1) {
            _ if int(node, "keepdims") != Some(0) => input(0),
            Some(axes) => without(&input(0)?, axes),
            None => None,
        },
        "Range" => {
            let range = |index| bounds.range_of(node.input.get(index).map_or("", String::as_str));
            (range(2).low >= 1.0).then(|| vec![(range(1).high - range(0).low).max(0.0)])
        }
        _ => None,
    }
}

fn broadcast(node: &NodeProto, bounds: &Bounds) -> Extents {
    let all = node.input.iter().map(|name| bounds.extents_of(name)).collect::<Option<Vec<_>>>()?;
    all.into_iter().reduce(|one, other| together(&one, &other))
}

/// The larger of both, from the last extent on.
fn together(one: &[f64], other: &[f64]) -> Vec<f64> {
    let (long, short) = if one.len() >= other.len() { (one, other) } else { (other, one) };
    let from = long.len() - short.len();
    let mut joined = long.to_vec();
    joined.iter_mut().skip(from).zip(short).for_each(|(place, extent)| *place = place.max(*extent));
    joined
}

fn place(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|_| axis < rank)
}

fn transposed(extents: &[f64], node: &NodeProto) -> Extents {
    match attribute(node, "perm") {
        None => Some(extents.iter().rev().copied().collect()),
        Some(order) => order.ints.iter().map(|axis| extents.get(place(*axis, extents.len())?).copied()).collect(),
    }
}

fn gathered(data: &[f64], indices: &[f64], axis: i64) -> Extents {
    let axis = place(axis, data.len())?;
    let (before, after) = data.split_at_checked(axis)?;
    Some(before.iter().chain(indices).chain(after.get(1..)?).copied().collect())
}

fn joined(node: &NodeProto, bounds: &Bounds) -> Extents {
    let all = node.input.iter().map(|name| bounds.extents_of(name)).collect::<Option<Vec<_>>>()?;
    let axis = place(int(node, "axis")?, all.first()?.len())?;
    let sum = all.iter().map(|extents| extents.get(axis)).sum::<Option<f64>>()?;
    let mut joined = all.into_iter().reduce(|one, other| together(&one, &other))?;
    *joined.get_mut(axis)? = sum;
    Some(joined)
}

fn without(extents: &[f64], axes: &[i64]) -> Extents {
    let gone = axes.iter().map(|axis| place(*axis, extents.len())).collect::<Option<Vec<_>>>()?;
    let kept = extents.iter().enumerate().filter(|(index, _)| !gone.contains(index));
    Some(kept.map(|(_, extent)| *extent).collect())
}

/// A tensor whose extents are the elements of an input.
fn asked(node: &NodeProto, index: usize, bounds: &Bounds) -> Extents {
    let name = node.input.get(index)?;
    if let Some(ints) = bounds.ints(name) {
        return Some(ints.iter().map(|extent| *extent as f64).collect());
    }
    let rank = *bounds.extents_of(name)?.first()?;
    (rank <= 64.0).then(|| vec![bounds.range_of(name).high.max(0.0); rank as usize])
}

/// An extent of 0 is that of the input, one of -1 whatever is left.
fn reshaped(from: &Extents, node: &NodeProto, bounds: &Bounds) -> Extents {
    let elements = count(from);
    let constant = node.input.get(1).and_then(|name| bounds.ints(name)).is_some();
    let given = asked(node, 1, bounds)?;
    let ranges = bounds.range_of(node.input.get(1)?);
    let extent = |(index, given): (usize, &f64)| {
        let own = || from.as_ref().and_then(|from| from.get(index).copied()).unwrap_or(elements);
        match *given {
            extent if !constant && ranges.low <= 0.0 => extent.max(elements),
            0.0 => own(),
            extent if extent < 0.0 => elements,
            extent => extent,
        }
    };
    Some(given.iter().enumerate().map(extent).collect())
}

fn expanded(from: &[f64], node: &NodeProto, bounds: &Bounds) -> Extents {
    Some(together(from, &asked(node, 1, bounds)?))
}

fn product(one: &[f64], other: &[f64]) -> Extents {
    let (rows, columns) = (*one.iter().nth_back(1)?, *other.last()?);
    let batch = |extents: &[f64]| Some(extents.get(..extents.len().checked_sub(2)?)?.to_vec());
    let mut extents = together(&batch(one)?, &batch(other)?);
    extents.extend([rows, columns]);
    Some(extents)
}

/// A window makes no more than one step for each element and each pad.
fn windows(extents: &[f64], channels: Option<f64>, node: &NodeProto) -> Extents {
    let pads: i64 = attribute(node, "pads").map_or(0, |pads| pads.ints.iter().sum());
    let (head, spatial) = extents.split_at_checked(2)?;
    let channels = channels.or(head.get(1).copied())?;
    let spatial = spatial.iter().map(|extent| extent + pads.max(0) as f64 + 1.0);
    Some([*head.first()?, channels].into_iter().chain(spatial).collect())
}
