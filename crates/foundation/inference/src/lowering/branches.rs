//! `If` on a constant: the branch that it takes stands in its place, the other is gone.

use std::collections::{HashMap, HashSet, VecDeque};

use super::names::{bodies_mut, own, rename, unused_prefix};
use crate::TensorData;
use crate::onnx::{GraphProto, ModelProto, NodeProto, TensorProto, main_domain_normalized, tensor_from_proto};

/// Folds what can be folded; says whether there was any.
pub(super) fn fold(model: &mut ModelProto) -> bool {
    let prefix = format!("{}branch", unused_prefix(model));
    let Some(graph) = model.graph.as_mut() else { return false };
    let mut folding = Folding { prefix, folded: 0 };
    folding.graph(graph, &HashMap::new());
    folding.folded > 0
}

/// Values of BOOL constants by name.
type Truths = HashMap<String, bool>;

struct Folding {
    prefix: String,
    folded: usize,
}

fn truth(tensor: &TensorProto) -> Option<bool> {
    // Looked at only where it is small: weights are not read twice.
    if tensor.dims.iter().any(|extent| *extent != 1) {
        return None;
    }
    match tensor_from_proto(tensor).ok()?.data {
        TensorData::Bool(values) => values.first().copied(),
        _ => None,
    }
}

fn is_main(node: &NodeProto, operator: &str) -> bool {
    node.op_type == operator && main_domain_normalized(&node.domain).is_empty()
}

/// The value of a `Constant` that is one BOOL.
fn constant(node: &NodeProto) -> Option<(String, bool)> {
    let tensor = node.attribute.iter().find(|one| one.name == "value").and_then(|one| one.t.as_ref());
    let name = node.output.first().filter(|_| is_main(node, "Constant"))?;
    Some((name.clone(), truth(tensor?)?))
}

impl Folding {
    fn graph(&mut self, graph: &mut GraphProto, around: &Truths) {
        let mut truths = around.clone();
        for name in own(graph) {
            truths.remove(&name);
        }
        truths.extend(graph.initializer.iter().filter_map(|one| Some((one.name.clone(), truth(one)?))));
        let mut waiting: VecDeque<NodeProto> = std::mem::take(&mut graph.node).into();
        while let Some(mut node) = waiting.pop_front() {
            truths.extend(constant(&node));
            let condition = node.input.first().filter(|_| is_main(&node, "If")).and_then(|name| truths.get(name));
            if let Some(branch) = condition.and_then(|condition| branch(&mut node, *condition)) {
                let (constants, nodes) = self.written_out(branch, &node.output);
                truths.extend(constants.iter().filter_map(|one| Some((one.name.clone(), truth(one)?))));
                graph.initializer.extend(constants);
                nodes.into_iter().rev().for_each(|node| waiting.push_front(node));
                continue;
            }
            for body in bodies_mut(&mut node) {
                self.graph(body, &truths);
            }
            graph.node.push(node);
        }
    }

    /// The constants and nodes of a branch under names of their own, its results under those of the `If`.
    fn written_out(&mut self, branch: GraphProto, outputs: &[String]) -> (Vec<TensorProto>, Vec<NodeProto>) {
        self.folded += 1;
        let prefix = format!("{}{}/", self.prefix, self.folded);
        let made: HashSet<&String> = branch.node.iter().flat_map(|node| &node.output).collect();
        let mut known: HashMap<String, String> =
            own(&branch).into_iter().map(|name| (name.clone(), format!("{prefix}{name}"))).collect();
        let mut copies = Vec::new();
        let mut named = HashSet::new();
        for (info, output) in branch.output.iter().zip(outputs).filter(|(_, output)| !output.is_empty()) {
            if made.contains(&info.name) && named.insert(info.name.clone()) {
                known.insert(info.name.clone(), output.clone());
            } else {
                copies.push((info.name.clone(), output.clone()));
            }
        }
        let new = |name: &str| known.get(name).map_or_else(|| name.to_owned(), Clone::clone);
        let (mut constants, mut nodes) = (branch.initializer, branch.node);
        for tensor in &mut constants {
            tensor.name = new(&tensor.name);
        }
        for node in &mut nodes {
            rename(node, &new);
        }
        nodes.extend(copies.into_iter().map(|(from, to)| NodeProto {
            input: vec![new(&from)],
            output: vec![to],
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        }));
        (constants, nodes)
    }
}

/// Takes the branch of an `If` out of it, if that is whole.
fn branch(node: &mut NodeProto, condition: bool) -> Option<GraphProto> {
    let name = if condition { "then_branch" } else { "else_branch" };
    let outputs = node.output.len();
    let attribute = node.attribute.iter_mut().find(|one| one.name == name)?;
    let whole = |graph: &GraphProto| {
        graph.output.len() >= outputs && graph.input.is_empty() && graph.sparse_initializer.is_empty()
    };
    attribute.g.as_deref().is_some_and(whole).then(|| attribute.g.take().map(|graph| *graph))?
}
