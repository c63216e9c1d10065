//! Neural networks, evaluated by `rten`: convolutions, attention, recurrence, 8-bit weights, control flow.
//!
//! `rten` computes in FP32, INT32, INT8 and UINT8. INT64 and BOOL are INT32 inside: inputs are checked on the way in
//! and outputs widened on the way out, so that the signature is the model's own. What it would narrow in silence, or
//! evaluate otherwise than the ONNX operator specification says, is refused when the model is loaded ([`refusal`]).
//! FP16 weights are widened exactly, computed with in FP32, and rounded on the way out. Integers that the graph itself
//! computes must be known to stay within INT32 ([`bounds`]).

mod bounds;
mod convert;
mod model;
mod probe;
mod refusal;
mod rules;
mod scope;
#[cfg(test)]
mod specification;
mod types;
mod workers;

use std::sync::Arc;

use crate::missing::{Missing, unsupported};
use crate::onnx::{GraphProto, ModelProto, NodeProto, main_domain_normalized};
use crate::{InferenceError, LoadOptions, Model};

use bounds::OPEN_LIMITS;
pub(crate) use probe::probe;
pub(crate) use refusal::refusal;
pub(crate) use scope::Scope;

/// Loads a graph as a whole; `bytes` are those of `model`.
pub(crate) fn load(model: &ModelProto, bytes: &[u8], options: &LoadOptions) -> Result<Arc<dyn Model>, InferenceError> {
    let graph = graph(model)?;
    let (scope, limit) = fitting(model, graph)?;
    match model::NetworkModel::load(graph, &scope, limit, bytes, options) {
        Ok(model) => Ok(Arc::new(model)),
        Err(whole @ InferenceError::Unsupported { .. }) => {
            let refused = missing(graph, &scope, |node| probe(node, model));
            Err(unsupported(&refused).unwrap_or(whole))
        }
        Err(error) => Err(error),
    }
}

/// The values of a graph all of whose nodes are fit for the engine, and how large the open extents of its inputs may
/// then be.
fn fitting(model: &ModelProto, graph: &GraphProto) -> Result<(Scope, usize), InferenceError> {
    let mut refused = Vec::new();
    for limit in OPEN_LIMITS {
        let scope = Scope::of(model, graph, limit);
        refused = missing(graph, &scope, |node| refusal(node, &scope));
        if refused.is_empty() {
            return Ok((scope, limit));
        }
    }
    let nothing = || InferenceError::Malformed { reason: "the graph has no node".to_owned() };
    Err(unsupported(&refused).unwrap_or_else(nothing))
}

/// The graph of a model.
pub(crate) fn graph(model: &ModelProto) -> Result<&GraphProto, InferenceError> {
    model.graph.as_ref().ok_or_else(|| InferenceError::Malformed { reason: "the model has no graph".to_owned() })
}

fn missing(graph: &GraphProto, scope: &Scope, reason: impl Fn(&NodeProto) -> Option<String>) -> Vec<Missing> {
    graph.node.iter().filter_map(|node| reason(node).map(|reason| missing_node(node, scope, reason))).collect()
}

/// The entry of a node in the list of what is missing.
pub(crate) fn missing_node(node: &NodeProto, scope: &Scope, reason: String) -> Missing {
    let domain = main_domain_normalized(&node.domain);
    Missing {
        node: node_name(node).to_owned(),
        domain: if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() },
        operator: node.op_type.clone(),
        opset: scope.opset(domain).unwrap_or(0),
        reason,
    }
}

/// A node's name, or that of its first output.
pub(crate) fn node_name(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name }
}

/// The graphs inside a node: bodies of control flow.
pub(crate) fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// Names that a node uses: its inputs, and what its bodies take from around them.
pub(crate) fn names_used(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for body in bodies(node) {
        let made = body.node.iter().flat_map(|inner| &inner.output).map(String::as_str);
        let own: std::collections::HashSet<&str> = made
            .chain(body.input.iter().map(|one| one.name.as_str()))
            .chain(body.initializer.iter().map(|one| one.name.as_str()))
            .collect();
        let outputs = body.output.iter().map(|one| one.name.as_str());
        names.extend(body.node.iter().flat_map(names_used).chain(outputs).filter(|name| !own.contains(name)));
    }
    names
}
