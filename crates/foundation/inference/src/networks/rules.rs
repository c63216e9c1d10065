//! Where `rten` 0.27 takes a node and evaluates it otherwise than the specification says, as read in its source.

use ropewalk_types::ElementType;

use super::scope::Scope;
use super::types::{attribute, int, text};
use crate::onnx::{NodeProto, main_domain_normalized};

/// Why this node would be evaluated wrongly; none if it would not.
pub(super) fn operator_rule(node: &NodeProto, scope: &Scope) -> Option<String> {
    let given = |index: usize| node.input.get(index).is_some_and(|name| !name.is_empty());
    let opset = scope.opset(main_domain_normalized(&node.domain)).unwrap_or(0);
    let reason = match node.op_type.as_str() {
        // Until version 13 the axes from `axis` on were taken as one.
        "Softmax" | "LogSoftmax" if opset < 13 && !last_axis(node, scope) => {
            "before opset 13 its axis must be known to be the last one"
        }
        "Resize" if text(node, "mode") == Some(b"cubic") => "cubic interpolation is not implemented",
        "Cast" if int(node, "to") == Some(9) && first_type(node, scope) != Some(ElementType::Bool) => {
            "numbers are not turned into BOOL"
        }
        "ArgMax" | "ArgMin" => "of equal values it takes the last, not the first",
        "Sign" => "it has no zero",
        "MatMul" if node.input.get(1).is_some_and(|name| scope.rank(name) == Some(1)) => {
            "a vector on the right leaves a dimension too many"
        }
        "ReduceMax" | "ReduceMin" if first_type(node, scope) == Some(ElementType::Bool) => {
            "of no BOOL at all it gives the wrong value"
        }
        "Pow" if is_whole(node, scope) && second_is_real(node, scope) => "whole numbers to a real power lose digits",
        "CastLike" => "the type that it casts to is not followed",
        "BitCast" => "bits of 64-bit types are not kept",
        "QuantizeLinear" if attribute(node, "axis").is_none() && !single_scale(node, scope) => {
            "more than one scale needs an explicit axis"
        }
        "LSTM" | "GRU" | "DynamicQuantizeLSTM" if given(4) => "lengths of sequences are not followed",
        "LSTM" if given(7) => "peephole weights are not implemented",
        _ if text(node, "auto_pad") == Some(b"SAME_LOWER") => "auto_pad SAME_LOWER is not implemented",
        _ if more_outputs(node) => "only its first output is implemented",
        _ => return None,
    };
    Some(reason.to_owned())
}

fn first_type(node: &NodeProto, scope: &Scope) -> Option<ElementType> {
    node.input.first().and_then(|name| scope.element_type(name))
}

fn is_whole(node: &NodeProto, scope: &Scope) -> bool {
    matches!(first_type(node, scope), Some(ElementType::Int32 | ElementType::Int64))
}

fn second_is_real(node: &NodeProto, scope: &Scope) -> bool {
    let second = node.input.get(1).and_then(|name| scope.element_type(name));
    !matches!(second, Some(ElementType::Int32 | ElementType::Int64))
}

fn last_axis(node: &NodeProto, scope: &Scope) -> bool {
    let axis = int(node, "axis").unwrap_or(1);
    let rank = node.input.iter().chain(&node.output).find_map(|name| scope.rank(name));
    axis == -1 || rank.is_some_and(|rank| usize::try_from(axis).is_ok_and(|axis| axis + 1 == rank))
}

fn single_scale(node: &NodeProto, scope: &Scope) -> bool {
    node.input.get(1).and_then(|name| scope.facts(name)).is_some_and(|facts| facts.single)
}

/// Outputs that the specification has and the engine has not.
fn more_outputs(node: &NodeProto) -> bool {
    let first_only = matches!(
        node.op_type.as_str(),
        "MaxPool" | "LayerNormalization" | "BatchNormalization" | "SkipLayerNormalization" | "Attention"
    );
    first_only && node.output.iter().skip(1).any(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Attribute, GraphBuilder};

    /// What is said of the first node of a graph.
    fn rule(opset: i64, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Option<String> {
        let model = GraphBuilder::new("one")
            .opset("", opset)
            .input("x", ElementType::Fp32, &[-1, 2, 4])
            .node("", operator, inputs, &["y"], attributes)
            .into_model();
        let graph = model.graph.as_ref().unwrap();
        operator_rule(&graph.node[0], &Scope::of(&model, graph, 1 << 20))
    }

    #[test]
    fn softmax_before_opset_13_took_axes_together() {
        let axis = |axis: i64| vec![Attribute::new("axis", axis)];
        assert!(rule(11, "Softmax", &["x"], axis(1)).is_some());
        assert!(rule(11, "Softmax", &["x"], vec![]).is_some());
        assert_eq!(rule(11, "Softmax", &["x"], axis(2)), None);
        assert_eq!(rule(11, "Softmax", &["x"], axis(-1)), None);
        assert_eq!(rule(13, "Softmax", &["x"], axis(1)), None);
    }

    #[test]
    fn what_would_be_left_out_is_refused() {
        assert!(rule(17, "LSTM", &["x", "w", "r", "b", "lengths"], vec![]).unwrap().contains("lengths"));
        assert_eq!(rule(17, "LSTM", &["x", "w", "r", "b", "", "h", "c"], vec![]), None);
        assert!(rule(17, "LSTM", &["x", "w", "r", "", "", "", "", "p"], vec![]).unwrap().contains("peephole"));
        assert!(rule(17, "Conv", &["x", "w"], vec![Attribute::new("auto_pad", "SAME_LOWER")]).is_some());
        assert_eq!(rule(17, "Conv", &["x", "w"], vec![Attribute::new("auto_pad", "SAME_UPPER")]), None);
        assert!(rule(17, "Cast", &["x"], vec![Attribute::new("to", 9_i64)]).unwrap().contains("BOOL"));
        assert_eq!(rule(17, "Cast", &["x"], vec![Attribute::new("to", 7_i64)]), None);
        assert!(rule(17, "QuantizeLinear", &["x", "scale"], vec![]).is_some());
    }
}
