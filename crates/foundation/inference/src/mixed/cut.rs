use std::collections::HashSet;

use super::ability::Ability;
use crate::InferenceError;
use crate::networks::{names_used, node_name};
use crate::onnx::GraphProto;

/// The two engines inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Classical,
    Network,
}

impl Side {
    fn other(self) -> Self {
        if self == Self::Classical { Self::Network } else { Self::Classical }
    }

    fn takes(self, ability: &Ability) -> bool {
        let refused = if self == Self::Classical { &ability.classical } else { &ability.network };
        refused.is_none()
    }
}

/// Consecutive nodes for one engine, by their places in the graph.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) side: Side,
    pub(super) nodes: Vec<usize>,
}

/// Cuts the graph: each engine in turn takes all that it can, and the beginning that needs fewer parts is chosen.
///
/// # Errors
/// [`InferenceError::InvalidGraph`] if the nodes wait for each other.
pub(super) fn parts(graph: &GraphProto, abilities: &[Ability]) -> Result<Vec<Part>, InferenceError> {
    let one = parts_from(Side::Classical, graph, abilities)?;
    let other = parts_from(Side::Network, graph, abilities)?;
    Ok(if other.len() < one.len() { other } else { one })
}

fn parts_from(first: Side, graph: &GraphProto, abilities: &[Ability]) -> Result<Vec<Part>, InferenceError> {
    let made: HashSet<&str> = graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let mut waiting: Vec<(usize, Vec<&str>)> = graph
        .node
        .iter()
        .map(|node| names_used(node).into_iter().filter(|name| made.contains(name)).collect())
        .enumerate()
        .collect();
    let mut there: HashSet<&str> = HashSet::new();
    let (mut parts, mut side, mut idle) = (Vec::new(), first, 0);
    while !waiting.is_empty() {
        let mut nodes = Vec::new();
        // Nodes stand in topological order, so that one walk finds all.
        waiting.retain(|(place, needs)| {
            let fits = abilities.get(*place).is_some_and(|ability| side.takes(ability));
            if !fits || !needs.iter().all(|name| there.contains(name)) {
                return true;
            }
            there.extend(graph.node.get(*place).into_iter().flat_map(|node| &node.output).map(String::as_str));
            nodes.push(*place);
            false
        });
        idle = if nodes.is_empty() { idle + 1 } else { 0 };
        if idle > 1 {
            let stuck = waiting.first().and_then(|(place, _)| graph.node.get(*place));
            let place = stuck.map_or_else(String::new, |node| format!("node `{}` ({})", node_name(node), node.op_type));
            let reason = "it uses what itself or a later node makes: a cycle, or nodes out of order".to_owned();
            return Err(InferenceError::InvalidGraph { place, reason });
        }
        if !nodes.is_empty() {
            parts.push(Part { side, nodes });
        }
        side = side.other();
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use ropewalk_types::ElementType;

    use super::*;
    use crate::onnx::GraphBuilder;

    fn abilities(text: &str) -> Vec<Ability> {
        let no = |is: bool| is.then(|| "no".to_owned());
        text.chars().map(|side| Ability { classical: no(side == 'n'), network: no(side == 'c') }).collect()
    }

    /// A chain of nodes, one for each letter: `c`lassical, `n`etwork or `b`oth; the parts as letters and counts.
    fn cut(text: &str) -> String {
        let mut builder = GraphBuilder::new("chain").input("v0", ElementType::Fp32, &[-1]);
        for place in 0..text.len() {
            builder = builder.node("", "Abs", &[&format!("v{place}")], &[&format!("v{}", place + 1)], vec![]);
        }
        let model = builder.into_model();
        let parts = parts(model.graph.as_ref().unwrap(), &abilities(text)).unwrap();
        let letter = |side| if side == Side::Classical { 'c' } else { 'n' };
        parts.iter().map(|part| format!("{}{}", letter(part.side), part.nodes.len())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_part_is_as_long_as_it_can_be() {
        assert_eq!(cut("cbn"), "c2 n1");
        assert_eq!(cut("nbbc"), "n3 c1");
        assert_eq!(cut("cbnbnc"), "c2 n3 c1");
        assert_eq!(cut("bb"), "c2");
    }

    #[test]
    fn nodes_that_wait_for_each_other_are_refused() {
        let model = GraphBuilder::new("cycle")
            .node("", "Add", &["b", "b"], &["a"], vec![])
            .node("", "Add", &["a", "a"], &["b"], vec![])
            .into_model();
        let error = parts(model.graph.as_ref().unwrap(), &abilities("cn")).unwrap_err();
        assert!(error.to_string().contains("a cycle"), "{error}");
    }
}
