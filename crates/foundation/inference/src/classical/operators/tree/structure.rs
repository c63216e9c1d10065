use std::collections::HashMap;

use super::attributes::{Mode, NodeRow};
use crate::classical::fault::Fault;

/// The most nodes that an ensemble may have.
const NODES_LIMIT: usize = 1 << 30;

/// A node's place after laying out: trees one after another, each breadth first, so that the levels that every row
/// passes lie together.
#[derive(Debug)]
pub(super) struct Structure {
    /// For each place, the line of the table of nodes.
    pub(super) order: Vec<usize>,
    /// For each place, the place of the first child, beside which the second lies; its own place for a leaf.
    pub(super) children: Vec<u32>,
    /// For each tree, the place of its root and its depth in branches.
    pub(super) roots: Vec<(u32, u32)>,
    /// Place of each node by tree and node id.
    pub(super) places: HashMap<(i64, i64), u32>,
}

/// Orders the nodes of all trees, in the order in which the trees first appear.
///
/// Each tree must have one root, and every other node exactly one parent that leads to it: this excludes cycles,
/// shared nodes, missing children and nodes that cannot be reached.
pub(super) fn structure(rows: &[NodeRow]) -> Result<Structure, Fault> {
    if rows.is_empty() {
        return Err(Fault::invalid("the ensemble has no node"));
    }
    if rows.len() > NODES_LIMIT {
        let (what, size, limit) = ("nodes".to_owned(), rows.len() as u64, NODES_LIMIT as u64);
        return Err(Fault::TooLarge { what, size, limit });
    }
    let lines = lines_by_id(rows)?;
    let has_parent = parents(rows, &lines)?;
    let roots = root_lines(rows, &has_parent)?;
    lay_out(rows, &lines, &roots)
}

fn lines_by_id(rows: &[NodeRow]) -> Result<HashMap<(i64, i64), usize>, Fault> {
    let mut lines = HashMap::with_capacity(rows.len());
    for (line, row) in rows.iter().enumerate() {
        if lines.insert((row.tree, row.node), line).is_some() {
            return Err(Fault::invalid(format!("tree {} has node {} twice", row.tree, row.node)));
        }
    }
    Ok(lines)
}

fn child(row: &NodeRow, node: i64, lines: &HashMap<(i64, i64), usize>) -> Result<usize, Fault> {
    lines
        .get(&(row.tree, node))
        .copied()
        .ok_or_else(|| Fault::invalid(format!("child {node} of node {} in tree {} does not exist", row.node, row.tree)))
}

fn parents(rows: &[NodeRow], lines: &HashMap<(i64, i64), usize>) -> Result<Vec<bool>, Fault> {
    let mut has_parent = vec![false; rows.len()];
    for row in rows.iter().filter(|row| row.mode != Mode::Leaf) {
        for node in [row.when_true, row.when_false] {
            let line = child(row, node, lines)?;
            if has_parent.get_mut(line).is_none_or(|flag| std::mem::replace(flag, true)) {
                return Err(Fault::invalid(format!("node {node} of tree {} has two parents", row.tree)));
            }
        }
    }
    Ok(has_parent)
}

fn root_lines(rows: &[NodeRow], has_parent: &[bool]) -> Result<Vec<usize>, Fault> {
    let mut root_of_tree = HashMap::new();
    let mut roots = Vec::new();
    for (line, row) in rows.iter().enumerate().filter(|(line, _)| has_parent.get(*line) == Some(&false)) {
        if root_of_tree.insert(row.tree, line).is_some() {
            return Err(Fault::invalid(format!("tree {} has two roots", row.tree)));
        }
        roots.push(line);
    }
    Ok(roots)
}

fn lay_out(rows: &[NodeRow], lines: &HashMap<(i64, i64), usize>, roots: &[usize]) -> Result<Structure, Fault> {
    let mut laid = Structure {
        order: Vec::with_capacity(rows.len()),
        children: Vec::with_capacity(rows.len()),
        roots: Vec::with_capacity(roots.len()),
        places: HashMap::with_capacity(rows.len()),
    };
    for root in roots {
        let start = laid.order.len() as u32;
        let depth = lay_out_tree(rows, lines, *root, &mut laid)?;
        laid.roots.push((start, depth));
    }
    // Parents are unique, so what was not reached from a root can only lie on a cycle.
    if laid.order.len() != rows.len() {
        return Err(Fault::invalid(format!("{} nodes lie on a cycle", rows.len() - laid.order.len())));
    }
    Ok(laid)
}

/// Appends one tree level by level and says how many branches its longest path has.
fn lay_out_tree(
    rows: &[NodeRow],
    lines: &HashMap<(i64, i64), usize>,
    root: usize,
    laid: &mut Structure,
) -> Result<u32, Fault> {
    let mut level = vec![root];
    let mut depth = 0;
    loop {
        let first = laid.order.len();
        let mut next = Vec::new();
        for (offset, line) in level.iter().enumerate() {
            let row = rows.get(*line).ok_or_else(|| Fault::invalid("a node is out of range"))?;
            let place = (first + offset) as u32;
            laid.order.push(*line);
            laid.places.insert((row.tree, row.node), place);
            if row.mode == Mode::Leaf {
                laid.children.push(place);
            } else {
                let below = (first + level.len() + next.len()) as u32;
                laid.children.push(below);
                let (first, second) =
                    if row.mode.swaps() { (row.when_false, row.when_true) } else { (row.when_true, row.when_false) };
                next.push(child(row, first, lines)?);
                next.push(child(row, second, lines)?);
            }
        }
        if next.is_empty() {
            return Ok(depth);
        }
        depth += 1;
        level = next;
    }
}
