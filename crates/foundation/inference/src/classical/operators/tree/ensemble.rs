use std::collections::HashSet;
use std::sync::Arc;

use half::f16;
use ropewalk_types::ElementType;

use super::super::post_transform::PostTransform;
use super::super::{Built, Definition, Operator};
use super::aggregate::{Aggregate, Scores};
use super::attributes::{EnsembleAttributes, Mode, NodeRow, Reals, Set, VoteRow};
use super::forest::Forest;
use super::regressor::{TreeRegressor, checked, targets};
use crate::classical::attributes::Attributes;
use crate::classical::fault::{Fault, checked_count};
use crate::classical::inputs::{Inputs, rows_and_columns, values};
use crate::{Tensor, TensorData};

/// `TreeEnsemble` (`ai.onnx.ml` 5): [N, F] -> [N, targets], in the type of the input.
///
/// Half precision is compared exactly and added in f32, and the sum is rounded once.
pub(in super::super) fn tree_ensemble(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    let input = definition.input_of(0, &[ElementType::Fp32, ElementType::Fp64, ElementType::Fp16])?;
    let targets = targets(&mut definition.attributes)?;
    let aggregate = match definition.attributes.int("aggregate_function")?.unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(Fault::invalid(format!("aggregate function {other}"))),
    };
    let attributes = Table::read(&mut definition.attributes, input)?.attributes(targets)?;
    checked(&attributes, targets)?;
    let outputs = vec![input];
    Ok(match input {
        ElementType::Fp64 if attributes.post_transform != PostTransform::None => {
            return Err(Fault::unsupported("a post_transform of FP64"));
        }
        ElementType::Fp64 => {
            let forest = Forest::new(&attributes, true, aggregate.is_sum())?;
            Built::new(DoubleEnsemble { forest, scores: Scores { width: targets, aggregate } }, outputs)
        }
        ElementType::Fp16 => {
            Built::new(HalfEnsemble(TreeRegressor::new(&attributes, false, aggregate, targets)?), outputs)
        }
        _ => Built::new(TreeRegressor::<f32>::new(&attributes, false, aggregate, targets)?, outputs),
    })
}

#[derive(Debug)]
struct DoubleEnsemble {
    forest: Forest<f64>,
    scores: Scores,
}

impl Operator for DoubleEnsemble {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        inputs.count_with_rows(self.forest.row_cost)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let (rows, columns) = rows_and_columns(&input.shape)?;
        self.forest.check_columns(columns)?;
        let shape = vec![rows, self.scores.width];
        checked_count(&shape)?;
        Ok(vec![Tensor { shape, data: self.forest.scores(input, columns, self.scores)?.into() }])
    }
}

#[derive(Debug)]
struct HalfEnsemble(TreeRegressor<f32>);

impl Operator for HalfEnsemble {
    fn cost(&self, inputs: Inputs<'_>) -> u64 {
        self.0.cost(inputs)
    }

    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let wide: Vec<f32> = values::<f16>(input)?.iter().map(|value| value.to_f32()).collect();
        let wide = Tensor { shape: input.shape.clone(), data: wide.into() };
        let mut made = self.0.evaluate(Inputs(&[Some(&wide)]))?;
        for tensor in &mut made {
            let narrow: Vec<f16> = values::<f32>(tensor)?.iter().map(|value| f16::from_f32(*value)).collect();
            tensor.data = narrow.into();
        }
        Ok(made)
    }
}

/// A child: a leaf or a node, by its index among those.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Child {
    leaf: bool,
    index: usize,
}

/// The attributes: one table of branches, one of leaves.
struct Table {
    features: Vec<i64>,
    modes: Vec<Mode>,
    splits: Reals,
    missing: Vec<i64>,
    children: Vec<[Child; 2]>,
    sets: Vec<Option<Arc<Set>>>,
    targets: Vec<i64>,
    weights: Reals,
    roots: Vec<i64>,
    post_transform: PostTransform,
}

fn reals(attributes: &mut Attributes<'_>, name: &str, input: ElementType) -> Result<Option<Reals>, Fault> {
    let Some(tensor) = attributes.tensor(name)? else { return Ok(None) };
    if tensor.element_type() != input {
        return Err(Fault::invalid(format!("`{name}` is {}, but the input is {input}", tensor.element_type())));
    }
    Ok(Some(match tensor.data {
        TensorData::Fp64(values) => Reals::Double(values),
        TensorData::Fp16(values) => Reals::Single(values.iter().map(|value| value.to_f32()).collect()),
        TensorData::Fp32(values) => Reals::Single(values),
        other => return Err(Fault::invalid(format!("`{name}` is of type {}", other.element_type()))),
    }))
}

fn list(attributes: &mut Attributes<'_>, name: &str, length: usize) -> Result<Vec<i64>, Fault> {
    let found = attributes.ints(name)?.unwrap_or_default();
    if found.len() == length {
        return Ok(found);
    }
    Err(Fault::invalid(format!("attribute `{name}` has {} values, expected {length}", found.len())))
}

fn modes(attributes: &mut Attributes<'_>) -> Result<Vec<Mode>, Fault> {
    let Some(Tensor { data: TensorData::Uint8(codes), .. }) = attributes.tensor("nodes_modes")? else {
        return Err(Fault::invalid("`nodes_modes` is missing or not UINT8"));
    };
    let mode = |code: &u8| {
        Ok(match code {
            0 => Mode::LessOrEqual,
            1 => Mode::Less,
            2 => Mode::GreaterOrEqual,
            3 => Mode::Greater,
            4 => Mode::Equal,
            5 => Mode::NotEqual,
            6 => Mode::Member,
            other => return Err(Fault::invalid(format!("node mode {other}"))),
        })
    };
    codes.iter().map(mode).collect()
}

/// The sets of the nodes that test for membership, one after another in the order of the nodes, NaN after each.
fn sets(modes: &[Mode], members: Option<Reals>) -> Result<Vec<Option<Arc<Set>>>, Fault> {
    let mut members = members.map(|reals| reals.widened()).unwrap_or_default();
    if members.last().is_some_and(|last| last.is_nan()) {
        members.pop();
    }
    let mut given = members.split(|value| value.is_nan()).filter(|_| !members.is_empty());
    let sets = modes.iter().map(|mode| match mode {
        Mode::Member => {
            let members = given.next().ok_or_else(|| Fault::invalid("`membership_values` has too few sets"))?;
            Ok(Some(Arc::new(Set::new(members.to_vec()))))
        }
        _ => Ok(None),
    });
    let sets = sets.collect::<Result<Vec<_>, Fault>>()?;
    if given.next().is_some() {
        return Err(Fault::invalid("`membership_values` has more sets than nodes that test for membership"));
    }
    Ok(sets)
}

impl Table {
    fn read(attributes: &mut Attributes<'_>, input: ElementType) -> Result<Self, Fault> {
        let modes = modes(attributes)?;
        let count = modes.len();
        let splits = reals(attributes, "nodes_splits", input)?.ok_or_else(|| Fault::invalid("no `nodes_splits`"))?;
        if splits.len() != count {
            return Err(Fault::invalid(format!("{} `nodes_splits` for {count} nodes", splits.len())));
        }
        let side = |attributes: &mut Attributes<'_>, ids: &str, leaves: &str| {
            let (ids, leaves) = (list(attributes, ids, count)?, list(attributes, leaves, count)?);
            let child = |(id, leaf): (&i64, &i64)| {
                let index = usize::try_from(*id).map_err(|_| Fault::invalid(format!("child {id} is negative")))?;
                Ok(Child { leaf: *leaf != 0, index })
            };
            ids.iter().zip(&leaves).map(child).collect::<Result<Vec<_>, Fault>>()
        };
        let when_true = side(attributes, "nodes_truenodeids", "nodes_trueleafs")?;
        let when_false = side(attributes, "nodes_falsenodeids", "nodes_falseleafs")?;
        let missing = match attributes.ints("nodes_missing_value_tracks_true")? {
            Some(values) if values.len() == count => values,
            None => vec![0; count],
            Some(values) if values.is_empty() => vec![0; count],
            Some(values) => {
                let found = values.len();
                return Err(Fault::invalid(format!("{found} `nodes_missing_value_tracks_true` for {count} nodes")));
            }
        };
        let members = reals(attributes, "membership_values", input)?;
        let weights = reals(attributes, "leaf_weights", input)?.ok_or_else(|| Fault::invalid("no `leaf_weights`"))?;
        // Counts of training rows: they play no part in an answer.
        reals(attributes, "nodes_hitrates", input)?;
        Ok(Self {
            features: list(attributes, "nodes_featureids", count)?,
            sets: sets(&modes, members)?,
            targets: list(attributes, "leaf_targetids", weights.len())?,
            roots: attributes.ints("tree_roots")?.unwrap_or_default(),
            post_transform: PostTransform::of_code(attributes.int("post_transform")?.unwrap_or(0))?,
            children: when_true.into_iter().zip(when_false).map(|(one, other)| [one, other]).collect(),
            modes,
            splits,
            missing,
            weights,
        })
    }

    /// The same as tables of nodes and votes, each leaf as often as something leads to it.
    fn attributes(&self, targets: usize) -> Result<EnsembleAttributes, Fault> {
        let splits = self.splits.widened();
        let weights = self.weights.widened();
        let mut walked = Walked::default();
        for (tree, root) in self.roots.iter().enumerate() {
            let root = usize::try_from(*root).map_err(|_| Fault::invalid(format!("root {root} is negative")))?;
            self.tree(tree as i64, root, (&splits, &weights, targets), &mut walked)?;
        }
        if walked.seen.len() != self.modes.len() {
            let lost = self.modes.len().saturating_sub(walked.seen.len());
            return Err(Fault::invalid(format!("{lost} nodes lie on no tree")));
        }
        let reals = |values: Vec<f64>, like: &Reals| match like {
            Reals::Double(_) => Reals::Double(values),
            Reals::Single(_) => Reals::Single(values.iter().map(|value| *value as f32).collect()),
        };
        Ok(EnsembleAttributes {
            nodes: walked.nodes,
            thresholds: reals(walked.thresholds, &self.splits),
            votes: walked.votes,
            weights: reals(walked.weights, &self.weights),
            base_values: Reals::Single(Vec::new()),
            post_transform: self.post_transform,
            sets: walked.sets,
        })
    }

    fn tree(
        &self,
        tree: i64,
        root: usize,
        (splits, weights, targets): (&[f64], &[f64], usize),
        walked: &mut Walked,
    ) -> Result<(), Fault> {
        let mut next = 1;
        let mut pending = vec![(0, Child { leaf: false, index: root })];
        while let Some((node, child)) = pending.pop() {
            if !child.leaf && child.index >= self.modes.len() {
                return Err(Fault::invalid(format!("node {} does not exist", child.index)));
            }
            let leaf = NodeRow { tree, node, ..NodeRow::LEAF };
            // A tree of nothing but a leaf is a node both of whose children are that leaf.
            let both = self.children.get(child.index).copied().filter(|_| !child.leaf);
            let only = both.filter(|[one, other]| one.leaf && one == other).map(|[one, _]| one);
            if !child.leaf && !walked.seen.insert(child.index) {
                return Err(Fault::invalid(format!("node {} is reached twice", child.index)));
            }
            let Some([when_true, when_false]) = both.filter(|_| only.is_none()) else {
                let index = only.unwrap_or(child).index;
                let (Some(weight), Some(target)) = (weights.get(index), self.targets.get(index)) else {
                    return Err(Fault::invalid(format!("a child {index} that does not exist")));
                };
                let column = usize::try_from(*target).ok().filter(|column| *column < targets);
                let column =
                    column.ok_or_else(|| Fault::invalid(format!("target {target} is not one of {targets}")))?;
                walked.push(leaf, 0.0);
                walked.votes.push(VoteRow { tree, node, column });
                walked.weights.push(*weight);
                continue;
            };
            let row = self.branch(child.index, leaf, next, walked)?;
            walked.push(row, splits.get(child.index).copied().unwrap_or_default());
            pending.extend([(next + 1, when_false), (next, when_true)]);
            next += 2;
        }
        Ok(())
    }

    fn branch(&self, index: usize, leaf: NodeRow, next: i64, walked: &mut Walked) -> Result<NodeRow, Fault> {
        let (Some(feature), Some(mode), Some(missing)) =
            (self.features.get(index), self.modes.get(index), self.missing.get(index))
        else {
            return Err(Fault::invalid(format!("node {index} does not exist")));
        };
        let set = match self.sets.get(index) {
            Some(Some(set)) => walked.set(set),
            _ => 0,
        };
        let missing_is_true = *missing != 0;
        let (when_true, when_false) = (next, next + 1);
        Ok(NodeRow { feature: *feature, mode: *mode, when_true, when_false, missing_is_true, set, ..leaf })
    }
}

/// What was met on the way through the trees.
#[derive(Default)]
struct Walked {
    seen: HashSet<usize>,
    nodes: Vec<NodeRow>,
    thresholds: Vec<f64>,
    votes: Vec<VoteRow>,
    weights: Vec<f64>,
    sets: Vec<Arc<Set>>,
    set_ids: std::collections::HashMap<Arc<Set>, u32>,
}

impl Walked {
    fn push(&mut self, row: NodeRow, threshold: f64) {
        self.nodes.push(row);
        self.thresholds.push(threshold);
    }

    /// Equal sets are one, so that a row looks into each once.
    fn set(&mut self, set: &Arc<Set>) -> u32 {
        let next = self.sets.len() as u32;
        let id = *self.set_ids.entry(Arc::clone(set)).or_insert(next);
        if id == next {
            self.sets.push(Arc::clone(set));
        }
        id
    }
}
