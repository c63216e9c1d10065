use std::collections::HashMap;
use std::fmt::Debug;

use super::attributes::{EnsembleAttributes, Mode, NodeRow, Reals, VoteRow};
use super::bits::{BitTree, Branch, LEAVES_LIMIT};
use super::columns::{Columns, ColumnsBuilder, LEAF_THRESHOLD, Missing};
use super::structure::{Structure, structure};
use super::walk::{Link, Node};
use crate::classical::fault::Fault;

/// A floating-point type in which weights are added.
pub(super) trait Real:
    Copy + Debug + Send + Sync + PartialOrd + std::ops::AddAssign + Default + 'static
{
    const INFINITY: Self;
    fn from_reals(reals: &Reals) -> Vec<Self>;
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
    fn negated(self) -> Self;
    fn divided(self, divisor: usize) -> Self;
}

macro_rules! real {
    ($type:ident, $reals:ident => $from:expr) => {
        impl Real for $type {
            const INFINITY: Self = $type::INFINITY;
            fn from_reals($reals: &Reals) -> Vec<Self> {
                $from
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
});
real!(f64, reals => reals.widened());

/// The largest index of a feature.
const FEATURE_LIMIT: i64 = 1 << 30;

/// The place of a tree's root and the number of branches of its longest path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) place: u32,
    pub(super) depth: u32,
}

/// The nodes of all trees, in the narrowest form that they fit.
#[derive(Debug)]
pub(super) enum Nodes {
    Narrow(Vec<Node<u32>>),
    Wide(Vec<Node<(u32, u32)>>),
}

/// What the leaves say.
#[derive(Debug)]
pub(super) enum Leaves<W> {
    /// Every leaf of a tree says one number about the tree's one column; by place, 0 for branches.
    One { columns: Vec<u32>, values: Vec<W> },
    /// Leaf at place `p` casts the votes from `starts[p]` to `starts[p + 1]`.
    Many { starts: Vec<u32>, votes: Vec<(u32, W)> },
}

/// How an ensemble is laid out; tests try what would not be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Nodes in the wide form, though they would fit the narrow one.
    pub(super) wide: bool,
    /// Whether a tree of few leaves and this mean depth is evaluated as bits when there are rows enough.
    pub(super) bits: fn(&BitTree, usize) -> bool,
}

/// What is fastest.
pub(super) const BEST: Layout = Layout { wide: false, bits: BitTree::pays };

/// An ensemble that adds in `W`.
#[derive(Debug)]
pub(super) struct Forest<W> {
    pub(super) columns: Columns,
    pub(super) nodes: Nodes,
    pub(super) roots: Vec<Root>,
    /// For each tree.
    pub(super) bits: Vec<Option<BitTree>>,
    pub(super) leaves: Leaves<W>,
    /// The number of columns that the input must at least have.
    pub(super) features: usize,
    /// What a row costs at most, in units of work.
    pub(super) row_cost: u64,
}

impl<W: Real> Forest<W> {
    /// Checks and lays out an ensemble that compares in f64, if `double`, or in f32; `summed` says that votes are added.
    pub(super) fn new(attributes: &EnsembleAttributes, double: bool, summed: bool) -> Result<Self, Fault> {
        Self::laid_out(attributes, double, summed, BEST)
    }

    pub(super) fn laid_out(
        attributes: &EnsembleAttributes,
        double: bool,
        summed: bool,
        layout: Layout,
    ) -> Result<Self, Fault> {
        let laid = structure(&attributes.nodes)?;
        let tests = tests(attributes, double)?;
        let mut builder = ColumnsBuilder::new(&attributes.sets, double, cuts(&tests, double));
        let mut compared = Vec::with_capacity(laid.order.len());
        for line in &laid.order {
            let (Some(row), Some(test)) = (attributes.nodes.get(*line), tests.get(*line)) else {
                return Err(Fault::invalid("a node is out of range"));
            };
            compared.push(test.compile(row, &mut builder)?);
        }
        let features = tests.iter().map(|test| test.feature + 1).max().unwrap_or(1);
        let leaves = leaves(attributes, &laid, summed)?;
        let roots = laid.roots.iter().map(|(place, depth)| Root { place: *place, depth: *depth }).collect::<Vec<_>>();
        let bits = bit_trees(&laid, &compared, layout);
        let (columns, nodes, row_cost) =
            (builder.finish(), nodes(&laid, &compared, layout)?, row_cost(&roots, &leaves));
        Ok(Self { columns, nodes, roots, bits, leaves, features, row_cost })
    }

    /// Whether an input has the columns that the nodes look at.
    pub(super) fn check_columns(&self, columns: usize) -> Result<(), Fault> {
        if columns < self.features {
            return Err(Fault::invalid(format!("the trees use {} features, found {columns} columns", self.features)));
        }
        Ok(())
    }
}

/// The longest path of each tree, and the most votes at the end of one.
fn row_cost<W>(roots: &[Root], leaves: &Leaves<W>) -> u64 {
    let votes = match leaves {
        Leaves::One { .. } => 1,
        Leaves::Many { starts, .. } => {
            let cast = starts.array_windows().map(|[start, end]| u64::from(end - start));
            cast.max().unwrap_or(0)
        }
    };
    roots.iter().map(|root| u64::from(root.depth) + votes).sum()
}

/// What a node asks, brought to `<=` where it asks for order.
#[derive(Clone, Copy, Debug)]
struct Test {
    feature: usize,
    /// None if it is below all numbers.
    threshold: Option<f64>,
}

fn tests(attributes: &EnsembleAttributes, double: bool) -> Result<Vec<Test>, Fault> {
    let thresholds = attributes.thresholds.widened();
    attributes.nodes.iter().zip(thresholds).map(|(row, threshold)| test(row, threshold, double)).collect()
}

fn test(row: &NodeRow, threshold: f64, double: bool) -> Result<Test, Fault> {
    if row.mode == Mode::Leaf {
        return Ok(Test { feature: 0, threshold: None });
    }
    let feature = usize::try_from(row.feature).ok().filter(|_| row.feature < FEATURE_LIMIT);
    let feature = feature.ok_or_else(|| Fault::invalid(format!("feature id {} is out of range", row.feature)))?;
    // `x > NaN` fails as `x <= NaN` does, so swapping the children is only right for a threshold that is a number.
    if threshold.is_nan() && row.mode != Mode::Member {
        return Err(Fault::invalid(format!("threshold of node {} in tree {} is not a number", row.node, row.tree)));
    }
    let threshold = match row.mode {
        Mode::Less | Mode::GreaterOrEqual => below(threshold, double),
        _ => Some(threshold),
    };
    Ok(Test { feature, threshold })
}

/// The `t` for which `x <= t` is `x < threshold`; nothing is below minus infinity.
fn below(threshold: f64, double: bool) -> Option<f64> {
    let next = || if double { threshold.next_down() } else { f64::from((threshold as f32).next_down()) };
    (threshold != f64::NEG_INFINITY).then(next)
}

fn cuts(tests: &[Test], double: bool) -> HashMap<usize, Vec<f64>> {
    let mut cuts: HashMap<usize, Vec<f64>> = HashMap::new();
    for test in tests.iter().filter(|_| double) {
        cuts.entry(test.feature).or_default().extend(test.threshold.filter(|threshold| !threshold.is_nan()));
    }
    cuts
}

/// The column that a node compares and the largest key that takes the first child; none for a leaf.
type Compared = Option<(u32, i32)>;

impl Test {
    /// A missing value fails every test but `!=`, unless the model says that it passes.
    fn compile(self, row: &NodeRow, builder: &mut ColumnsBuilder<'_>) -> Result<Compared, Fault> {
        let passes = row.missing_is_true || row.mode == Mode::NotEqual;
        let missing = if passes == row.mode.swaps() { Missing::Second } else { Missing::First };
        Ok(Some(match row.mode {
            Mode::Leaf => return Ok(None),
            Mode::Equal | Mode::NotEqual => builder.equal(self.feature, self.threshold.unwrap_or_default(), missing),
            Mode::Member => builder.member(self.feature, row.set, missing)?,
            _ => builder.at_most(self.feature, self.threshold, missing),
        }))
    }
}

fn nodes(laid: &Structure, compared: &[Compared], layout: Layout) -> Result<Nodes, Fault> {
    if !layout.wide
        && let Some(nodes) = linked(laid, compared)
    {
        return Ok(Nodes::Narrow(nodes));
    }
    linked(laid, compared).map(Nodes::Wide).ok_or_else(|| Fault::invalid("a node is out of range"))
}

fn linked<L: Link>(laid: &Structure, compared: &[Compared]) -> Option<Vec<Node<L>>> {
    let places = laid.children.iter().zip(compared).enumerate();
    places
        .map(|(place, (child, compared))| {
            let (column, threshold) = compared.unwrap_or((0, LEAF_THRESHOLD));
            Some(Node { threshold, link: L::new(column, child.checked_sub(place as u32)?)? })
        })
        .collect()
}

fn bit_trees(laid: &Structure, compared: &[Compared], layout: Layout) -> Vec<Option<BitTree>> {
    let ends = laid.roots.iter().skip(1).map(|(place, _)| *place).chain([laid.order.len() as u32]);
    let trees = laid.roots.iter().zip(ends).map(|((root, _), end)| {
        // A binary tree of n leaves has 2n - 1 nodes.
        if (end - root) as usize >= 2 * LEAVES_LIMIT {
            return None;
        }
        let mut found = InOrder::default();
        found.visit(laid, compared, *root, 0);
        let mean_depth = found.depths / found.leaves.len().max(1);
        let tree = BitTree::new(&found.branches, found.leaves);
        (layout.bits)(&tree, mean_depth).then_some(tree)
    });
    trees.collect()
}

/// A tree from the left to the right.
#[derive(Default)]
struct InOrder {
    branches: Vec<Branch>,
    leaves: Vec<u32>,
    /// Sum over the leaves.
    depths: usize,
}

impl InOrder {
    /// As deep as the tree, which has few leaves.
    fn visit(&mut self, laid: &Structure, compared: &[Compared], place: u32, depth: usize) {
        let child = laid.children.get(place as usize).copied();
        if let (Some(child), Some(Some((column, threshold)))) = (child, compared.get(place as usize)) {
            let from = self.leaves.len();
            self.visit(laid, compared, child, depth + 1);
            let first = (from, self.leaves.len());
            self.branches.push(Branch { column: *column, threshold: *threshold, first });
            self.visit(laid, compared, child + 1, depth + 1);
        } else {
            self.leaves.push(place);
            self.depths += depth;
        }
    }
}

/// Attaches the votes to their leaves. Votes of branches are never cast; some exporters write them.
fn leaves<W: Real>(attributes: &EnsembleAttributes, laid: &Structure, summed: bool) -> Result<Leaves<W>, Fault> {
    let weights = W::from_reals(&attributes.weights);
    let is_leaf = |place: usize| laid.children.get(place).is_some_and(|child| *child as usize == place);
    let mut of_place = vec![Vec::new(); laid.order.len()];
    for (vote, weight) in attributes.votes.iter().zip(weights) {
        let VoteRow { tree, node, column } = *vote;
        if !weight.to_f64().is_finite() {
            return Err(Fault::invalid(format!("weight of node {node} in tree {tree} is not finite")));
        }
        let place = laid.places.get(&(tree, node)).map(|place| *place as usize);
        let place =
            place.ok_or_else(|| Fault::invalid(format!("vote of node {node} of tree {tree}, which does not exist")))?;
        if is_leaf(place)
            && let Some(votes) = of_place.get_mut(place)
        {
            votes.push((column as u32, weight));
        }
    }
    let least = |place: usize| usize::from(!summed && is_leaf(place));
    let single = of_place.iter().enumerate().all(|(place, votes)| (least(place)..=1).contains(&votes.len()));
    if single && let Some(columns) = columns_of_trees(&of_place, laid) {
        let values = of_place.iter().map(|votes| votes.first().map(|(_, weight)| *weight).unwrap_or_default());
        return Ok(Leaves::One { columns, values: values.collect() });
    }
    Ok(many(of_place))
}

/// The one column that each tree votes on, if that is so for all.
fn columns_of_trees<W>(votes: &[Vec<(u32, W)>], laid: &Structure) -> Option<Vec<u32>> {
    let ends = laid.roots.iter().skip(1).map(|(place, _)| *place).chain([laid.order.len() as u32]);
    let of_tree = laid.roots.iter().zip(ends).map(|((start, _), end)| {
        let mut columns = votes.get(*start as usize..end as usize)?.iter().flatten().map(|(column, _)| *column);
        let first = columns.next().unwrap_or(0);
        columns.all(|column| column == first).then_some(first)
    });
    of_tree.collect()
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
