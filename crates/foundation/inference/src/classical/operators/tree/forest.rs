use std::borrow::Cow;
use std::fmt::Debug;

use super::attributes::{EnsembleAttributes, Mode, NodeRow, Reals, VoteRow};
use super::structure::{Structure, structure};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{as_f32, as_f64};

/// A floating-point type in which values are compared, or weights added.
pub(super) trait Real:
    Copy + Debug + Send + Sync + PartialOrd + std::ops::AddAssign + Default + 'static
{
    const INFINITY: Self;
    const NAN: Self;
    fn from_reals(reals: &Reals) -> Vec<Self>;
    /// The elements of an input; integers and, where `Self` is narrower, doubles are rounded.
    fn from_tensor(tensor: &Tensor) -> Result<Cow<'_, [Self]>, Fault>;
    fn next_down(self) -> Self;
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
    fn negated(self) -> Self;
    fn divided(self, divisor: usize) -> Self;
}

macro_rules! real {
    ($type:ident, $reals:ident => $from:expr, $tensor:ident => $convert:expr) => {
        impl Real for $type {
            const INFINITY: Self = $type::INFINITY;
            const NAN: Self = $type::NAN;
            fn from_reals($reals: &Reals) -> Vec<Self> {
                $from
            }
            fn next_down(self) -> Self {
                $type::next_down(self)
            }
            fn from_tensor($tensor: &Tensor) -> Result<Cow<'_, [Self]>, Fault> {
                $convert
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn negated(self) -> Self {
                -self
            }
            fn divided(self, divisor: usize) -> Self {
                self / divisor as $type
            }
        }
    };
}
real!(f32, reals => match reals {
    Reals::Single(values) => values.clone(),
    Reals::Double(values) => values.iter().map(|value| *value as f32).collect(),
}, tensor => as_f32(tensor));
real!(f64, reals => reals.widened(), tensor => as_f64(tensor));

/// Bits of [`Node::feature`]: a missing value takes the true child; the test is for equality.
pub(super) const MISSING_IS_TRUE: u32 = 1 << 31;
pub(super) const TESTS_EQUALITY: u32 = 1 << 30;
pub(super) const FEATURE: u32 = TESTS_EQUALITY - 1;

/// A node as it is walked: `value <= threshold` takes the true child. A leaf is its own child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<C> {
    pub(super) threshold: C,
    pub(super) feature: u32,
    pub(super) when_true: u32,
    pub(super) when_false: u32,
}

/// The place of a tree's root and the number of branches of its longest path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) place: u32,
    pub(super) depth: u32,
}

/// What the leaves say.
#[derive(Debug)]
pub(super) enum Leaves<W> {
    /// Every leaf says one number about the one column that is voted on; by place, 0 for branches.
    One { column: usize, values: Vec<W> },
    /// Leaf at place `p` casts the votes from `starts[p]` to `starts[p + 1]`.
    Many { starts: Vec<u32>, votes: Vec<(u32, W)> },
}

/// An ensemble, comparing in `C` and adding in `W`.
#[derive(Debug)]
pub(super) struct Forest<C, W> {
    pub(super) nodes: Vec<Node<C>>,
    pub(super) roots: Vec<Root>,
    pub(super) leaves: Leaves<W>,
    /// The number of columns that the input must at least have.
    pub(super) features: usize,
    /// Whether any node has a flag set, so that the walk must look at them.
    pub(super) flagged: bool,
}

impl<C: Real, W: Real> Forest<C, W> {
    /// Checks and lays out an ensemble; `summed` says that a leaf's votes are added.
    pub(super) fn new(attributes: &EnsembleAttributes, summed: bool) -> Result<Self, Fault> {
        let laid = structure(&attributes.nodes)?;
        let thresholds = C::from_reals(&attributes.thresholds);
        let mut nodes = Vec::with_capacity(laid.order.len());
        let mut features = 0;
        for (line, children) in laid.order.iter().zip(&laid.children) {
            let (Some(row), Some(threshold)) = (attributes.nodes.get(*line), thresholds.get(*line)) else {
                return Err(Fault::invalid("a node is out of range"));
            };
            let node = compile(row, *threshold, *children)?;
            features = features.max((node.feature & FEATURE) as usize + 1);
            nodes.push(node);
        }
        let flagged = nodes.iter().any(|node| node.feature & !FEATURE != 0);
        let leaves = leaves(attributes, &laid, summed)?;
        let roots = laid.roots.iter().map(|(place, depth)| Root { place: *place, depth: *depth }).collect();
        Ok(Self { nodes, roots, leaves, features, flagged })
    }

    /// Whether an input has the columns that the nodes look at.
    pub(super) fn check_columns(&self, columns: usize) -> Result<(), Fault> {
        if columns < self.features {
            return Err(Fault::invalid(format!("the trees use {} features, found {columns} columns", self.features)));
        }
        Ok(())
    }
}

/// Brings a node to `<=` or `==`. A missing value fails every test but `!=`, unless the model says where it goes.
fn compile<C: Real>(row: &NodeRow, threshold: C, (when_true, when_false): (u32, u32)) -> Result<Node<C>, Fault> {
    if row.mode == Mode::Leaf {
        return Ok(Node { threshold: C::INFINITY, feature: 0, when_true, when_false });
    }
    let feature = u32::try_from(row.feature).ok().filter(|feature| *feature <= FEATURE);
    let feature = feature.ok_or_else(|| Fault::invalid(format!("feature id {} is out of range", row.feature)))?;
    // `x > NaN` fails as `x <= NaN` does, so swapping the children is only right for a threshold that is a number.
    if threshold.partial_cmp(&threshold).is_none() {
        return Err(Fault::invalid(format!("threshold of node {} in tree {} is not a number", row.node, row.tree)));
    }
    let (swapped, threshold, equality) = match row.mode {
        Mode::LessOrEqual | Mode::Leaf => (false, threshold, false),
        Mode::Greater => (true, threshold, false),
        Mode::Less => (false, below(threshold), false),
        Mode::GreaterOrEqual => (true, below(threshold), false),
        Mode::Equal => (false, threshold, true),
        Mode::NotEqual => (true, threshold, true),
    };
    let missing_is_true = row.missing_is_true || row.mode == Mode::NotEqual;
    let mut flags = if missing_is_true == swapped { 0 } else { MISSING_IS_TRUE };
    if equality {
        flags |= TESTS_EQUALITY;
    }
    let (when_true, when_false) = if swapped { (when_false, when_true) } else { (when_true, when_false) };
    Ok(Node { threshold, feature: feature | flags, when_true, when_false })
}

/// The `t` for which `x <= t` is `x < threshold`; nothing is below minus infinity.
fn below<C: Real>(threshold: C) -> C {
    if threshold == C::INFINITY.negated() { C::NAN } else { threshold.next_down() }
}

/// Attaches the votes to their leaves. Votes of branches are never cast; some exporters write them.
fn leaves<W: Real>(attributes: &EnsembleAttributes, laid: &Structure, summed: bool) -> Result<Leaves<W>, Fault> {
    let weights = W::from_reals(&attributes.weights);
    let mut of_place = vec![Vec::new(); laid.order.len()];
    for (vote, weight) in attributes.votes.iter().zip(weights) {
        let VoteRow { tree, node, column } = *vote;
        if !weight.to_f64().is_finite() {
            return Err(Fault::invalid(format!("weight of node {node} in tree {tree} is not finite")));
        }
        let place = laid.places.get(&(tree, node)).copied();
        let place =
            place.ok_or_else(|| Fault::invalid(format!("vote of node {node} of tree {tree}, which does not exist")))?;
        if laid.children.get(place as usize) == Some(&(place, place))
            && let Some(votes) = of_place.get_mut(place as usize)
        {
            votes.push((column as u32, weight));
        }
    }
    let is_leaf = |place: usize| laid.children.get(place).is_some_and(|(child, _)| *child as usize == place);
    Ok(match one_per_leaf(&of_place, is_leaf, summed) {
        Some((column, values)) => Leaves::One { column: column as usize, values },
        None => many(of_place),
    })
}

/// One number for each leaf, if all votes are for one column and adding nothing or adding first changes nothing.
fn one_per_leaf<W: Real>(
    votes: &[Vec<(u32, W)>],
    is_leaf: impl Fn(usize) -> bool,
    summed: bool,
) -> Option<(u32, Vec<W>)> {
    let column = votes.iter().flatten().map(|(column, _)| *column).next()?;
    if votes.iter().flatten().any(|(other, _)| *other != column) {
        return None;
    }
    if !summed && votes.iter().enumerate().any(|(place, votes)| is_leaf(place) && votes.len() != 1) {
        return None;
    }
    Some((column, votes.iter().map(|votes| sum(votes)).collect()))
}

fn sum<W: Real>(votes: &[(u32, W)]) -> W {
    votes.iter().fold(W::default(), |mut sum, (_, weight)| {
        sum += *weight;
        sum
    })
}

fn many<W: Real>(of_place: Vec<Vec<(u32, W)>>) -> Leaves<W> {
    let mut starts = Vec::with_capacity(of_place.len() + 1);
    let mut votes = Vec::new();
    for cast in of_place {
        starts.push(votes.len() as u32);
        votes.extend(cast);
    }
    starts.push(votes.len() as u32);
    Leaves::Many { starts, votes }
}
