//! One tree alone: what it answers is one of the values of its leaves, so that what becomes of each answer by itself
//! can be computed for the leaves once, when the model is loaded.

use std::collections::HashSet;

use super::super::Operator;
use super::super::post_transform::PostTransform;
use super::aggregate::{Aggregate, Scores};
use super::attributes::{EnsembleAttributes, Mode, NodeRow, Reals, VoteRow};
use super::forest::Forest;
use super::regressor::TreeRegressor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, elements_at, rows_and_columns};
use crate::tensor::for_any_type;
use crate::{Tensor, TensorData};

/// The most leaves of a tree whose answers are tabled: what f32 can count.
const LEAVES_LIMIT: usize = 1 << 20;

/// A tree of one target whose every leaf has one vote.
#[derive(Debug)]
pub(in super::super::super) struct SingleTree {
    attributes: EnsembleAttributes,
    double: bool,
}

impl SingleTree {
    pub(super) fn of(
        attributes: &EnsembleAttributes,
        double: bool,
        aggregate: Aggregate,
        targets: usize,
    ) -> Option<Self> {
        let plain = targets == 1
            && aggregate == Aggregate::Sum
            && attributes.post_transform == PostTransform::None
            && attributes.base_values.len() == 0
            && !attributes.is_double();
        let tree = attributes.nodes.first()?.tree;
        let one = plain && attributes.nodes.iter().all(|row| row.tree == tree);
        let leaves = attributes.nodes.iter().filter(|row| row.mode == Mode::Leaf).map(|row| row.node);
        let leaves: HashSet<i64> = if one { leaves.collect() } else { return None };
        let votes: HashSet<i64> = attributes.votes.iter().map(|vote| vote.node).collect();
        let complete = votes.len() == attributes.votes.len() && votes == leaves && leaves.len() <= LEAVES_LIMIT;
        complete.then(|| Self { attributes: attributes.clone(), double })
    }

    /// What each leaf answers: [leaves, 1].
    pub(in super::super::super) fn table(&self) -> Tensor {
        // As sums start from 0, -0 is never answered.
        let answers: Vec<f32> = self.attributes.weights.widened().iter().map(|weight| 0.0 + *weight as f32).collect();
        Tensor { shape: vec![answers.len(), 1], data: answers.into() }
    }
}

/// An ensemble whose answer is that of `Sum` over the tabled answers of its trees, all of one input; none if that
/// cannot be.
pub(in super::super::super) fn sum_of_trees(trees: &[(&SingleTree, &Tensor)]) -> Option<Box<dyn Operator>> {
    let double = trees.first()?.0.double;
    let (mut nodes, mut votes) = (Vec::new(), Vec::new());
    let (mut thresholds, mut weights, mut sets) = (Vec::new(), Vec::new(), Vec::new());
    for (tree, (single, table)) in trees.iter().enumerate() {
        let attributes = &single.attributes;
        let (Reals::Single(cuts), TensorData::Fp32(values)) = (&attributes.thresholds, &table.data) else {
            return None;
        };
        if single.double != double || values.len() != attributes.votes.len() {
            return None;
        }
        let (tree, first_set) = (tree as i64, sets.len() as u32);
        nodes.extend(attributes.nodes.iter().map(|row| NodeRow { tree, set: row.set + first_set, ..*row }));
        votes.extend(attributes.votes.iter().map(|vote| VoteRow { tree, ..*vote }));
        thresholds.extend(cuts);
        weights.extend(values);
        sets.extend(attributes.sets.iter().cloned());
    }
    let attributes = EnsembleAttributes {
        nodes,
        thresholds: Reals::Single(thresholds),
        votes,
        weights: Reals::Single(weights),
        base_values: Reals::Single(Vec::new()),
        post_transform: PostTransform::None,
        sets,
    };
    let operator = TreeRegressor::<f32>::new(&attributes, double, Aggregate::Chain, 1).ok()?;
    Some(Box::new(operator))
}

/// A tree that answers several tables at once, each by the row of the leaf.
#[derive(Debug)]
struct LeafTables {
    /// Answers the number of the leaf.
    forest: Forest<f32>,
    tables: Vec<TensorData>,
}

/// The operator that answers `tables` in place of the tree's own answer.
pub(in super::super::super) fn leaf_tables(
    tree: &SingleTree,
    tables: Vec<TensorData>,
) -> Result<Box<dyn Operator>, Fault> {
    let numbers = (0..tree.attributes.votes.len()).map(|leaf| leaf as f32).collect();
    let attributes = EnsembleAttributes { weights: Reals::Single(numbers), ..tree.attributes.clone() };
    Ok(Box::new(LeafTables { forest: Forest::new(&attributes, tree.double, true)?, tables }))
}

impl Operator for LeafTables {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_with_rows(self.forest.row_cost)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (rows, columns) = rows_and_columns(&input.shape)?;
        self.forest.check_columns(columns)?;
        let leaves = self.forest.scores(input, columns, Scores { width: 1, aggregate: Aggregate::Sum })?;
        let indices = || leaves.iter().map(|leaf| *leaf as usize);
        let answer = |table: &TensorData| {
            let data = for_any_type!(table, values => elements_at(values, indices()))?;
            Ok(Tensor { shape: vec![rows, 1], data })
        };
        self.tables.iter().map(answer).collect()
    }
}
