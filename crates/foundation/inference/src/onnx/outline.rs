//! Which operators a model uses, without a copy of its constants.

use prost::Message;

use super::decode::check;
use super::main_domain_normalized;
use crate::InferenceError;

#[derive(Clone, PartialEq, Message)]
struct ModelOutline {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphOutline>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphOutline {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct FunctionOutline {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeOutline>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeOutline {
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(string, tag = "7")]
    domain: String,
}

/// Whether one of these operators of the main domain is in the graph of a model or in its functions; the graphs inside of
/// `If` and `Loop` are not looked at.
///
/// # Errors
/// As [`decode_model`](super::decode_model).
pub(crate) fn uses_any(bytes: &[u8], operators: &[&str]) -> Result<bool, InferenceError> {
    check(bytes)?;
    let model = ModelOutline::decode(bytes).map_err(|error| InferenceError::Malformed { reason: error.to_string() })?;
    let graph = model.graph.into_iter().flat_map(|graph| graph.node);
    let functions = model.functions.into_iter().flat_map(|function| function.node);
    let wanted = |node: NodeOutline| {
        main_domain_normalized(&node.domain).is_empty() && operators.contains(&node.op_type.as_str())
    };
    Ok(graph.chain(functions).any(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{FunctionProto, GraphProto, ModelProto, NodeProto};

    fn model(domain: &str, operator: &str) -> ModelProto {
        let node = NodeProto { op_type: operator.to_owned(), domain: domain.to_owned(), ..NodeProto::default() };
        ModelProto {
            graph: Some(GraphProto { node: vec![NodeProto::default(), node], ..GraphProto::default() }),
            ..ModelProto::default()
        }
    }

    #[test]
    fn an_operator_is_found_in_graph_and_functions() {
        let found = |model: &ModelProto| uses_any(&model.encode_to_vec(), &["Conv", "LSTM"]).unwrap();
        assert!(found(&model("", "Conv")));
        assert!(found(&model("ai.onnx", "LSTM")));
        assert!(!found(&model("", "Gemm")));
        assert!(!found(&model("com.example", "Conv")), "another domain's operator of that name");
        let mut called = model("com.example", "Block");
        let node = model("", "Conv").graph.unwrap().node;
        called.functions.push(FunctionProto { node, ..FunctionProto::default() });
        assert!(found(&called));
    }

    #[test]
    fn what_is_no_model_is_refused() {
        assert!(matches!(uses_any(b"\x3a\x7f", &["Conv"]), Err(InferenceError::Malformed { .. })));
        let flood = [0x42, 0x00].repeat(1 << 19);
        assert!(matches!(uses_any(&flood, &["Conv"]), Err(InferenceError::TooLarge { .. })));
    }
}
