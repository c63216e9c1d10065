//! Names of values: all that a node holds, the bodies inside it included.

use std::collections::HashSet;

use crate::onnx::{GraphProto, ModelProto, NodeProto};

/// The graphs inside a node.
pub(super) fn bodies_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute.iter_mut().flat_map(|attribute| attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs))
}

fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// Gives each name in a node, empty ones excepted, another.
pub(super) fn rename(node: &mut NodeProto, new: &dyn Fn(&str) -> String) {
    for name in node.input.iter_mut().chain(&mut node.output).filter(|name| !name.is_empty()) {
        *name = new(name);
    }
    for body in bodies_mut(node) {
        rename_graph(body, new);
    }
}

fn rename_graph(graph: &mut GraphProto, new: &dyn Fn(&str) -> String) {
    for info in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        info.name = new(&info.name);
    }
    for tensor in &mut graph.initializer {
        tensor.name = new(&tensor.name);
    }
    for node in &mut graph.node {
        rename(node, new);
    }
}

/// Names that a graph itself gives to values.
pub(super) fn own(graph: &GraphProto) -> HashSet<String> {
    let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let given = graph.input.iter().map(|info| info.name.as_str());
    let constant = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    made.chain(given).chain(constant).map(str::to_owned).collect()
}

/// Text with which no name of a model begins, so that names made with it are new.
pub(super) fn unused_prefix(model: &ModelProto) -> String {
    let mut prefix = String::from("inlined");
    while model.graph.as_ref().is_some_and(|graph| any_begins_with(graph, &prefix)) {
        prefix.push('_');
    }
    prefix
}

fn any_begins_with(graph: &GraphProto, prefix: &str) -> bool {
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let mut declared = graph.input.iter().chain(&graph.output).map(|info| &info.name).chain(constants);
    declared.any(|name| name.starts_with(prefix))
        || graph.node.iter().any(|node| {
            node.input.iter().chain(&node.output).any(|name| name.starts_with(prefix))
                || bodies(node).any(|body| any_begins_with(body, prefix))
        })
}
