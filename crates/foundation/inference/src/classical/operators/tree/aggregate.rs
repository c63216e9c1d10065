use rayon::prelude::*;

use super::forest::{Forest, Leaves, Real, Root};
use super::walk::walk;

/// How the votes of the trees become one score (attribute `aggregate_function`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
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

    fn start<W: Real>(self) -> W {
        match self {
            Self::Sum | Self::Average => W::default(),
            Self::Min => W::INFINITY,
            Self::Max => W::INFINITY.negated(),
        }
    }

    fn add<W: Real>(self, score: &mut W, vote: W) {
        match self {
            Self::Sum | Self::Average => *score += vote,
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
            Self::Sum | Self::Min | Self::Max => score,
        }
    }
}

/// Paths walked at once.
const LANES: usize = 8;
/// Rows that pass a tree together: their values and scores stay in the first-level cache beside the tree.
const BLOCK: usize = 64;
/// Below so many walks (rows x trees) a second thread costs more than it brings.
const PARALLEL_WALKS: usize = 1 << 17;

impl<C: Real, W: Real> Forest<C, W> {
    /// Scores of `values` (rows of `columns`): `width` for each row, votes added in the order of the trees.
    pub(super) fn scores(&self, values: &[C], columns: usize, width: usize, aggregate: Aggregate) -> Vec<W> {
        let rows = values.len() / columns;
        let mut scores = vec![aggregate.start::<W>(); rows * width];
        let block = |(scores, values): (&mut [W], &[C])| {
            if self.flagged {
                self.block::<true>(scores, values, columns, width, aggregate);
            } else {
                self.block::<false>(scores, values, columns, width, aggregate);
            }
        };
        if rows > BLOCK && rows * self.roots.len() >= PARALLEL_WALKS {
            let blocks = scores.par_chunks_mut(BLOCK * width).zip(values.par_chunks(BLOCK * columns));
            blocks.for_each(block);
        } else {
            scores.chunks_mut(BLOCK * width).zip(values.chunks(BLOCK * columns)).for_each(block);
        }
        if aggregate != Aggregate::Sum {
            let trees = self.roots.len();
            for score in &mut scores {
                *score = aggregate.finish(*score, trees);
            }
        }
        scores
    }

    fn block<const FLAGS: bool>(
        &self,
        scores: &mut [W],
        values: &[C],
        columns: usize,
        width: usize,
        aggregate: Aggregate,
    ) {
        let whole = values.len() / columns / LANES * LANES;
        let (scores, rest_scores) = scores.split_at_mut(whole * width);
        let (values, rest_values) = values.split_at(whole * columns);
        if whole > 0 {
            for root in &self.roots {
                self.rows_of_tree::<FLAGS>(*root, scores, values, columns, width, aggregate);
            }
        }
        for (scores, row) in rest_scores.chunks_mut(width).zip(rest_values.chunks(columns)) {
            self.trees_of_row::<FLAGS>(scores, row, aggregate);
        }
    }

    /// One tree for many rows: lanes are rows.
    fn rows_of_tree<const FLAGS: bool>(
        &self,
        root: Root,
        scores: &mut [W],
        values: &[C],
        columns: usize,
        width: usize,
        aggregate: Aggregate,
    ) {
        let offsets: [usize; LANES] = std::array::from_fn(|lane| lane * columns);
        for (scores, values) in scores.chunks_mut(LANES * width).zip(values.chunks(LANES * columns)) {
            let mut places = [root.place; LANES];
            walk::<C, LANES, FLAGS>(&self.nodes, values, &offsets, &mut places, root.depth);
            for (scores, place) in scores.chunks_mut(width).zip(places) {
                self.vote(scores, place, aggregate);
            }
        }
    }

    /// Many trees for one row: lanes are trees.
    fn trees_of_row<const FLAGS: bool>(&self, scores: &mut [W], row: &[C], aggregate: Aggregate) {
        let (groups, rest) = self.roots.as_chunks::<LANES>();
        for group in groups {
            let mut places = group.map(|root| root.place);
            let depth = group.iter().map(|root| root.depth).max().unwrap_or(0);
            walk::<C, LANES, FLAGS>(&self.nodes, row, &[0; LANES], &mut places, depth);
            for place in places {
                self.vote(scores, place, aggregate);
            }
        }
        for root in rest {
            let mut places = [root.place];
            walk::<C, 1, FLAGS>(&self.nodes, row, &[0], &mut places, root.depth);
            self.vote(scores, places[0], aggregate);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "places and columns were checked when the forest was laid out")]
    #[inline]
    fn vote(&self, scores: &mut [W], place: u32, aggregate: Aggregate) {
        let place = place as usize;
        match &self.leaves {
            Leaves::One { column, values } => aggregate.add(&mut scores[*column], values[place]),
            Leaves::Many { starts, votes } => {
                for (column, weight) in &votes[starts[place] as usize..starts[place + 1] as usize] {
                    aggregate.add(&mut scores[*column as usize], *weight);
                }
            }
        }
    }
}
