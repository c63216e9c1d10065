//! Trees as bit vectors, after QuickScorer (C. Lucchese et al., "QuickScorer: a fast algorithm to rank documents with
//! additive ensembles of regression trees", SIGIR 2015) and its vectorized forms: each node whose test fails clears the
//! leaves below its first child, and the first leaf left is the answer. Here all nodes of a tree are tested for all
//! rows of a block, without order or early end, so that it is arithmetic on whole vectors.

use super::walk::BLOCK;

/// The most leaves of a tree that is laid out so.
pub(super) const LEAVES_LIMIT: usize = 64;
/// Leaves in one word.
const WORD: usize = 32;
/// What testing one node for a block costs, in branches walked by one row.
const TEST_COST: usize = 7;

/// Clears the leaves that are not kept if the key of a column is above the threshold.
#[derive(Clone, Copy, Debug)]
struct Cut {
    column: u32,
    threshold: i32,
    kept: u32,
}

/// One branch: its column and threshold, and the range of leaves below its first child, counted from the left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    pub(super) column: u32,
    pub(super) threshold: i32,
    pub(super) first: (usize, usize),
}

/// One tree.
#[derive(Debug)]
pub(super) struct BitTree {
    low: Vec<Cut>,
    /// For leaves from the 33rd on.
    high: Vec<Cut>,
    /// Places of the leaves, from the left.
    leaves: Vec<u32>,
}

impl BitTree {
    /// A tree of at most [`LEAVES_LIMIT`] leaves.
    pub(super) fn new(branches: &[Branch], leaves: Vec<u32>) -> Self {
        let cuts = |word: usize| {
            let start = word * WORD;
            let cut = |branch: &Branch| {
                let (from, to) = (branch.first.0.max(start), branch.first.1.min(start + WORD));
                let cleared = (from < to).then(|| (u64::MAX >> (64 - (to - from))) << (from - start))?;
                Some(Cut { column: branch.column, threshold: branch.threshold, kept: !(cleared as u32) })
            };
            branches.iter().filter_map(cut).collect()
        };
        Self { low: cuts(0), high: if leaves.len() > WORD { cuts(1) } else { Vec::new() }, leaves }
    }

    /// Whether this costs less than walking, given the mean number of branches on a path.
    pub(super) fn pays(&self, mean_depth: usize) -> bool {
        (self.low.len() + self.high.len()) * TEST_COST < mean_depth * BLOCK
    }

    /// The places of the leaves of a block of rows.
    pub(super) fn find(&self, keys: &[i32], places: &mut [u32; BLOCK]) {
        let low = left(&self.low, keys);
        if self.leaves.len() <= WORD {
            for (place, word) in places.iter_mut().zip(low) {
                *place = self.place(word.trailing_zeros());
            }
            return;
        }
        let high = left(&self.high, keys);
        for ((place, low), high) in places.iter_mut().zip(low).zip(high) {
            *place = self.place((u64::from(low) | u64::from(high) << WORD).trailing_zeros());
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a leaf is always left, as the branches are those of a tree")]
    #[inline]
    fn place(&self, leaf: u32) -> u32 {
        self.leaves[leaf as usize]
    }
}

/// The leaves that are left for each row of a block.
#[inline]
fn left(cuts: &[Cut], keys: &[i32]) -> [u32; BLOCK] {
    let (keys, _) = keys.as_chunks::<BLOCK>();
    let mut left = [u32::MAX; BLOCK];
    for cut in cuts {
        let Some(keys) = keys.get(cut.column as usize) else { continue };
        for (left, key) in left.iter_mut().zip(keys) {
            let above = u32::from(*key > cut.threshold).wrapping_neg();
            *left &= !above | cut.kept;
        }
    }
    left
}
