//! The laid-out, interleaved walk against the definition, on random trees.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::post_transform::PostTransform;
use super::aggregate::{Aggregate, Scores};
use super::attributes::{EnsembleAttributes, Mode, NodeRow, Reals, Set, VoteRow};
use super::bits::BitTree;
use super::columns::ordered;
use super::forest::{BEST, Forest, Layout};
use super::single::{SingleTree, leaf_tables, sum_of_trees};
use crate::classical::inputs::Inputs;
use crate::{Tensor, TensorData};

const FEATURES: usize = 3;

/// Thresholds and values from few numbers, so that they often meet, with the edges of the line and NaN.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => (-2_i8..=2).prop_map(|value| f32::from(value) / 2.0),
        1 => Just(-0.0),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NEG_INFINITY),
        1 => Just(f32::MIN_POSITIVE),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![
        Mode::LessOrEqual,
        Mode::Less,
        Mode::GreaterOrEqual,
        Mode::Greater,
        Mode::Equal,
        Mode::NotEqual,
    ])
}

/// What makes a branch: mode, feature, threshold, and whether a missing value takes the true child.
fn branch() -> impl Strategy<Value = (Mode, i64, f32, bool)> {
    (mode(), 0..FEATURES as i64, number(), any::<bool>())
}

/// A leaf to split, and the branch that takes its place.
type Split = (prop::sample::Index, (Mode, i64, f32, bool));

/// Trees grown by splitting leaves.
fn trees() -> impl Strategy<Value = Vec<Vec<Split>>> {
    prop_oneof![
        4 => prop::collection::vec(prop::collection::vec((any::<prop::sample::Index>(), branch()), 0..12), 1..20),
        // More leaves than one word has bits, and than two have.
        1 => prop::collection::vec(prop::collection::vec((any::<prop::sample::Index>(), branch()), 28..70), 1..3),
    ]
}

fn leaf(tree: i64, node: i64) -> NodeRow {
    NodeRow { tree, node, feature: 0, mode: Mode::Leaf, when_true: 0, when_false: 0, missing_is_true: false, set: 0 }
}

fn ensemble(trees: &[Vec<Split>], columns: usize) -> EnsembleAttributes {
    let (mut nodes, mut thresholds, mut votes, mut weights) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (tree, splits) in trees.iter().enumerate() {
        let tree = tree as i64;
        let mut grown = vec![(leaf(tree, 0), 0.0)];
        for (pick, (mode, feature, threshold, missing_is_true)) in splits {
            let leaves: Vec<usize> =
                grown.iter().enumerate().filter(|(_, (row, _))| row.mode == Mode::Leaf).map(|(at, _)| at).collect();
            let (at, next) = (leaves[pick.index(leaves.len())], grown.len() as i64);
            let row = NodeRow {
                feature: *feature,
                mode: *mode,
                when_true: next,
                when_false: next + 1,
                missing_is_true: *missing_is_true,
                ..leaf(tree, at as i64)
            };
            grown[at] = (row, *threshold);
            grown.extend([(leaf(tree, next), 0.0), (leaf(tree, next + 1), 0.0)]);
        }
        for (row, threshold) in grown {
            for column in (0..columns).filter(|_| row.mode == Mode::Leaf) {
                votes.push(VoteRow { tree, node: row.node, column });
                weights.push((weights.len() % 17) as f32 - 8.0);
            }
            nodes.push(row);
            thresholds.push(threshold);
        }
    }
    EnsembleAttributes {
        nodes,
        thresholds: Reals::Single(thresholds),
        votes,
        weights: Reals::Single(weights),
        base_values: Reals::Single(Vec::new()),
        post_transform: PostTransform::None,
        sets: Vec::new(),
    }
}

/// The specification, read aloud.
fn holds(row: &NodeRow, value: f32, threshold: f32) -> bool {
    let test = match row.mode {
        Mode::LessOrEqual => value <= threshold,
        Mode::Less => value < threshold,
        Mode::GreaterOrEqual => value >= threshold,
        Mode::Greater => value > threshold,
        Mode::Equal => value == threshold,
        Mode::NotEqual => value != threshold,
        Mode::Member | Mode::Leaf => unreachable!(),
    };
    test || (value.is_nan() && row.missing_is_true)
}

/// The specification's tables by tree and node id.
struct Tables<'a> {
    attributes: &'a EnsembleAttributes,
    lines: HashMap<(i64, i64), usize>,
    votes: HashMap<(i64, i64), Vec<(usize, f32)>>,
}

impl<'a> Tables<'a> {
    fn new(attributes: &'a EnsembleAttributes) -> Self {
        let lines = attributes.nodes.iter().enumerate().map(|(line, row)| ((row.tree, row.node), line)).collect();
        let mut votes: HashMap<(i64, i64), Vec<(usize, f32)>> = HashMap::new();
        for (vote, weight) in attributes.votes.iter().zip(attributes.weights.widened()) {
            votes.entry((vote.tree, vote.node)).or_default().push((vote.column, weight as f32));
        }
        Self { attributes, lines, votes }
    }

    fn votes_of(&self, tree: i64, row: &[f32]) -> &[(usize, f32)] {
        let Reals::Single(thresholds) = &self.attributes.thresholds else { panic!("single precision was made") };
        let mut at = 0;
        loop {
            let line = self.lines[&(tree, at)];
            let node = &self.attributes.nodes[line];
            if node.mode == Mode::Leaf {
                return &self.votes[&(tree, at)];
            }
            let value = row[node.feature as usize];
            at = if holds(node, value, thresholds[line]) { node.when_true } else { node.when_false };
        }
    }

    fn scores(&self, trees: usize, row: &[f32], columns: usize, aggregate: Aggregate) -> Vec<f32> {
        let cast: Vec<(usize, f32)> = (0..trees as i64).flat_map(|tree| self.votes_of(tree, row)).copied().collect();
        let score = |column: usize| {
            let votes = cast.iter().filter(|(one, _)| *one == column).map(|(_, weight)| *weight);
            match aggregate {
                Aggregate::Sum => votes.sum(),
                Aggregate::Chain => votes.reduce(|left, right| left + right).unwrap_or_default(),
                Aggregate::Average => votes.sum::<f32>() / trees as f32,
                Aggregate::Min => votes.fold(f32::INFINITY, f32::min),
                Aggregate::Max => votes.fold(f32::NEG_INFINITY, f32::max),
            }
        };
        (0..columns).map(score).collect()
    }
}

/// Every layout, in f32 and in f64, with what it must be called.
fn forests(attributes: &EnsembleAttributes, summed: bool) -> Vec<(String, Forest<f32>)> {
    let all = |_: &BitTree, _: usize| true;
    let none = |_: &BitTree, _: usize| false;
    let layouts = [
        ("best", BEST),
        ("narrow", Layout { wide: false, bits: none }),
        ("wide", Layout { wide: true, bits: none }),
        ("bits", Layout { wide: false, bits: all }),
        ("wide bits", Layout { wide: true, bits: all }),
    ];
    let both = layouts.iter().flat_map(|layout| [(layout, false), (layout, true)]);
    both.map(|((name, layout), double)| {
        let forest = Forest::laid_out(attributes, double, summed, *layout).unwrap();
        (format!("{name}, double: {double}"), forest)
    })
    .collect()
}

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![5 => number(), 1 => Just(f32::NAN), 1 => any::<f32>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_layout_is_the_specification(
        trees in trees(),
        values in prop::collection::vec(value(), FEATURES..FEATURES * 80),
        columns in 1_usize..3,
        aggregate in prop::sample::select(vec![Aggregate::Sum, Aggregate::Average, Aggregate::Min, Aggregate::Max]),
    ) {
        let attributes = ensemble(&trees, columns);
        let values = &values[..values.len() / FEATURES * FEATURES];
        let doubles: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        let tables = Tables::new(&attributes);
        let rows = values.chunks(FEATURES);
        let wanted: Vec<f32> = rows.flat_map(|row| tables.scores(trees.len(), row, columns, aggregate)).collect();
        let scores = Scores { width: columns, aggregate };
        for (name, forest) in forests(&attributes, aggregate.is_sum()) {
            let found = if name.ends_with("true") {
                forest.scores_of(&doubles, FEATURES, scores)
            } else {
                forest.scores_of(values, FEATURES, scores)
            };
            prop_assert_eq!(found, &wanted[..], "{}", name);
        }
    }

    #[test]
    fn a_sum_of_single_trees_is_the_operator_sum(trees in trees(), values in prop::collection::vec(value(), FEATURES * 7)) {
        let mut parts = Vec::new();
        for tree in &trees {
            let mut attributes = ensemble(std::slice::from_ref(tree), 1);
            if let Reals::Single(weights) = &mut attributes.weights {
                for weight in weights {
                    *weight *= -0.1;
                }
            }
            parts.push(SingleTree::of(&attributes, false, Aggregate::Sum, 1).unwrap());
        }
        let mut tables: Vec<Tensor> = parts.iter().map(SingleTree::table).collect();
        for table in &mut tables {
            if let TensorData::Fp32(values) = &mut table.data {
                for value in values {
                    *value = -*value;
                }
            }
        }
        let operator = sum_of_trees(&parts.iter().zip(&tables).collect::<Vec<_>>()).unwrap();
        let input = Tensor::new(vec![7, FEATURES], values).unwrap();
        let found = operator.evaluate(Inputs(&[Some(&input)])).unwrap();
        let answers = parts.iter().zip(&tables).map(|(part, table)| {
            let one = leaf_tables(part, vec![table.data.clone()]).unwrap().evaluate(Inputs(&[Some(&input)])).unwrap();
            one.into_iter().next().unwrap()
        });
        let sums = answers.map(|one| if let TensorData::Fp32(values) = one.data { values } else { vec![] });
        let wanted = sums.reduce(|left, right| left.iter().zip(right).map(|(left, right)| left + right).collect());
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let TensorData::Fp32(found) = &found[0].data else { panic!("f32 was summed") };
        prop_assert_eq!(bits(found), bits(&wanted.unwrap()));
    }

    #[test]
    fn an_order_of_integers_is_the_order_of_floats(left in value(), right in value()) {
        prop_assume!(!left.is_nan() && !right.is_nan());
        prop_assert_eq!(left <= right, ordered(left) <= ordered(right));
        prop_assert_eq!(left < right, ordered(left) < ordered(right));
        prop_assert!(left == f32::NEG_INFINITY || ordered(left.next_down()) == ordered(left) - 1);
    }

    #[test]
    fn a_set_holds_its_members(
        members in prop::collection::vec(prop_oneof![3 => (0_u16..9).prop_map(f64::from), 1 => any::<f32>().prop_map(f64::from)], 0..9),
        value in prop_oneof![3 => (0_u16..9).prop_map(f64::from), 1 => any::<f64>()],
    ) {
        let members: Vec<f64> = members.into_iter().filter(|member| !member.is_nan()).collect();
        prop_assert_eq!(Set::new(members.clone()).contains(value), members.contains(&value));
    }
}

#[test]
fn large_batches_are_shared_out_and_answered_alike() {
    let attributes = ensemble(&vec![Vec::new(); 3], 1);
    let forest: Forest<f32> = Forest::new(&attributes, false, true).unwrap();
    let rows = 50_000;
    let wanted = Scores { width: 1, aggregate: Aggregate::Sum };
    let scores = forest.scores_of(&vec![0.0_f32; rows * FEATURES], FEATURES, wanted);
    assert_eq!(scores, vec![-8.0 - 7.0 - 6.0; rows]);
}
