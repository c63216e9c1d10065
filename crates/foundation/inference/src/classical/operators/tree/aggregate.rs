use rayon::prelude::*;

use super::columns::{Value, Values, key_count};
use super::forest::{Forest, Leaves, Nodes, Real};
use super::walk::{BLOCK, Link, Node, walk};
use crate::Tensor;
use crate::classical::fault::Fault;

/// How the votes of the trees become one score (attribute `aggregate_function`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
    /// The first vote and the others added to it, as the operator `Sum` adds: unlike a sum from 0, it keeps -0.
    Chain,
}

impl Aggregate {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "SUM" => Self::Sum,
            "AVERAGE" => Self::Average,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            _ => return None,
        })
    }

    /// Whether votes are added, so that a leaf without a vote is one with a vote of 0.
    pub(super) fn is_sum(self) -> bool {
        matches!(self, Self::Sum | Self::Average)
    }

    fn start<W: Real>(self) -> W {
        match self {
            Self::Sum | Self::Average => W::default(),
            Self::Min => W::INFINITY,
            Self::Max => W::INFINITY.negated(),
            Self::Chain => W::default().negated(),
        }
    }

    #[inline]
    fn add<W: Real>(self, score: &mut W, vote: W) {
        match self {
            Self::Sum | Self::Average | Self::Chain => *score += vote,
            Self::Min if vote < *score => *score = vote,
            Self::Max if vote > *score => *score = vote,
            Self::Min | Self::Max => {}
        }
    }

    /// Weights are finite, so a start of infinity that is left means that nobody voted.
    fn finish<W: Real>(self, score: W, trees: usize) -> W {
        match self {
            Self::Average => score.divided(trees),
            Self::Min | Self::Max if score.to_f64().is_infinite() => W::default(),
            Self::Sum | Self::Min | Self::Max | Self::Chain => score,
        }
    }
}

/// From so many rows on a tree is walked by rows, below by row.
const ROWS_LEAST: usize = 6;
/// From so many rows in a block on its trees may be evaluated as bits.
const BITS_LEAST: usize = 24;
/// Below so many walks (rows x trees) a second thread costs more than it brings.
const PARALLEL_WALKS: usize = 1 << 17;

/// The scores of an answer: how wide a row is, and how votes are added to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scores {
    pub(super) width: usize,
    pub(super) aggregate: Aggregate,
}

impl<W: Real> Forest<W> {
    /// Scores of the rows of `input`, which has `columns`, votes added in the order of the trees.
    pub(super) fn scores(&self, input: &Tensor, columns: usize, wanted: Scores) -> Result<Vec<W>, Fault> {
        Ok(match self.columns.values(input)? {
            Values::Single(values) => self.scores_of(&values, columns, wanted),
            Values::Double(values) => self.scores_of(&values, columns, wanted),
        })
    }

    pub(super) fn scores_of<V: Value>(&self, values: &[V], columns: usize, wanted: Scores) -> Vec<W> {
        let rows = values.len() / columns;
        let Scores { width, aggregate } = wanted;
        let mut scores = vec![aggregate.start::<W>(); rows * width];
        let room = || vec![0_i32; if rows < ROWS_LEAST { self.columns.len() } else { key_count(&self.columns) }];
        let block = |keys: &mut Vec<i32>, (scores, values): (&mut [W], &[V])| match &self.nodes {
            Nodes::Narrow(nodes) => self.block(nodes, keys, (scores, values), columns, wanted),
            Nodes::Wide(nodes) => self.block(nodes, keys, (scores, values), columns, wanted),
        };
        if rows > BLOCK && rows * self.roots.len() >= PARALLEL_WALKS {
            let blocks = scores.par_chunks_mut(BLOCK * width).zip(values.par_chunks(BLOCK * columns));
            blocks.for_each_init(room, block);
        } else {
            let mut keys = room();
            let blocks = scores.chunks_mut(BLOCK * width).zip(values.chunks(BLOCK * columns));
            blocks.for_each(|one| block(&mut keys, one));
        }
        if aggregate != Aggregate::Sum {
            let trees = self.roots.len();
            for score in &mut scores {
                *score = aggregate.finish(*score, trees);
            }
        }
        scores
    }

    fn block<V: Value, L: Link>(
        &self,
        nodes: &[Node<L>],
        keys: &mut [i32],
        (scores, values): (&mut [W], &[V]),
        columns: usize,
        wanted: Scores,
    ) {
        let rows = values.len() / columns;
        if rows < ROWS_LEAST {
            for (scores, row) in scores.chunks_mut(wanted.width).zip(values.chunks(columns)) {
                self.columns.keys::<1, V>(row, columns, keys);
                self.trees_of_row(nodes, keys, scores, wanted.aggregate);
            }
            return;
        }
        self.columns.keys::<BLOCK, V>(values, columns, keys);
        for (tree, root) in self.roots.iter().enumerate() {
            let mut places = [root.place; BLOCK];
            match self.bits.get(tree) {
                Some(Some(bits)) if rows >= BITS_LEAST => bits.find(keys, &mut places),
                _ => {
                    let (places, _) = places.split_at_mut(rows.min(BLOCK));
                    walk::<L, BLOCK>(nodes, keys, places, root.depth);
                }
            }
            for (scores, place) in scores.chunks_mut(wanted.width).zip(places) {
                self.vote(scores, tree, place, wanted.aggregate);
            }
        }
    }

    /// Many trees for one row: lanes are trees.
    fn trees_of_row<L: Link>(&self, nodes: &[Node<L>], keys: &[i32], scores: &mut [W], aggregate: Aggregate) {
        for (group, roots) in self.roots.chunks(BLOCK).enumerate() {
            let mut places = [0; BLOCK];
            let (places, _) = places.split_at_mut(roots.len());
            places.iter_mut().zip(roots).for_each(|(place, root)| *place = root.place);
            let depth = roots.iter().map(|root| root.depth).max().unwrap_or(0);
            walk::<L, 1>(nodes, keys, places, depth);
            for (lane, place) in places.iter().enumerate() {
                self.vote(scores, group * BLOCK + lane, *place, aggregate);
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "places and columns were checked when the forest was laid out")]
    #[inline]
    fn vote(&self, scores: &mut [W], tree: usize, place: u32, aggregate: Aggregate) {
        let place = place as usize;
        match &self.leaves {
            Leaves::One { columns, values } => aggregate.add(&mut scores[columns[tree] as usize], values[place]),
            Leaves::Many { starts, votes } => {
                for (column, weight) in &votes[starts[place] as usize..starts[place + 1] as usize] {
                    aggregate.add(&mut scores[*column as usize], *weight);
                }
            }
        }
    }
}
