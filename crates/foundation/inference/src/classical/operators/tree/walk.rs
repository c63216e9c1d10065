/// Rows that pass a tree together: their keys stay in the first-level cache beside the tree.
pub(super) const BLOCK: usize = 64;

/// Branches taken before a lane asks whether it has arrived.
const STRIDE: u32 = 4;
/// Paths walked side by side.
const LANES: usize = 8;
/// Trees so flat are walked to their depth without asking.
const FLAT: u32 = 8;

/// The column that a node compares, and how far on its first child lies; the second lies next to the first.
pub(super) trait Link: Copy + Send + Sync + std::fmt::Debug {
    /// None if a part does not fit.
    fn new(column: u32, distance: u32) -> Option<Self>;
    fn column(self) -> usize;
    fn distance(self) -> u32;
}

const COLUMN_BITS: u32 = 12;

/// 12 bits of column, 20 of distance.
impl Link for u32 {
    fn new(column: u32, distance: u32) -> Option<Self> {
        (column >> COLUMN_BITS == 0 && distance >> (32 - COLUMN_BITS) == 0).then_some(column | distance << COLUMN_BITS)
    }
    #[inline]
    fn column(self) -> usize {
        (self & ((1 << COLUMN_BITS) - 1)) as usize
    }
    #[inline]
    fn distance(self) -> u32 {
        self >> COLUMN_BITS
    }
}

impl Link for (u32, u32) {
    fn new(column: u32, distance: u32) -> Option<Self> {
        Some((column, distance))
    }
    #[inline]
    fn column(self) -> usize {
        self.0 as usize
    }
    #[inline]
    fn distance(self) -> u32 {
        self.1
    }
}

/// A key above the threshold takes the second child. A leaf is its own first child, and no key is above its threshold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<L> {
    pub(super) threshold: i32,
    pub(super) link: L,
}

#[expect(clippy::indexing_slicing, reason = "children and columns were checked when the forest was laid out")]
#[inline]
fn step<L: Link, const ROWS: usize>(nodes: &[Node<L>], keys: &[i32], row: usize, place: u32) -> u32 {
    let node = nodes[place as usize];
    let key = keys[node.link.column() * ROWS + row];
    place + node.link.distance() + u32::from(key > node.threshold)
}

/// Takes some branches on several paths side by side, so that they do not wait for each other's loads.
#[inline]
fn advance<L: Link, const ROWS: usize, const LANES: usize>(
    nodes: &[Node<L>],
    keys: &[i32],
    rows: [usize; LANES],
    mut places: [u32; LANES],
    branches: u32,
) -> [u32; LANES] {
    for _ in 0..branches {
        for (place, row) in places.iter_mut().zip(rows) {
            *place = step::<L, ROWS>(nodes, keys, row, *place);
        }
    }
    places
}

/// Walks all lanes to their leaves, at most [`BLOCK`]. With `ROWS` of 1 lanes are trees of one row, else rows of one
/// tree. There is no branch to mispredict: lanes take a few branches of the tree, and stay in the list if they have not
/// arrived.
pub(super) fn walk<L: Link, const ROWS: usize>(nodes: &[Node<L>], keys: &[i32], places: &mut [u32], depth: u32) {
    let row = |lane: usize| if ROWS == 1 { 0 } else { lane };
    if depth > FLAT {
        return walk_deep::<L, ROWS>(nodes, keys, places);
    }
    let (groups, rest) = places.as_chunks_mut::<LANES>();
    let first = groups.len() * LANES;
    for (group, places) in groups.iter_mut().enumerate() {
        let rows = std::array::from_fn(|lane| row(group * LANES + lane));
        *places = advance::<L, ROWS, LANES>(nodes, keys, rows, *places, depth);
    }
    for (lane, place) in rest.iter_mut().enumerate() {
        [*place] = advance::<L, ROWS, 1>(nodes, keys, [row(first + lane)], [*place], depth);
    }
}

#[expect(clippy::indexing_slicing, reason = "lanes are counted below the block's size")]
fn walk_deep<L: Link, const ROWS: usize>(nodes: &[Node<L>], keys: &[i32], places: &mut [u32]) {
    let mut active: [u8; BLOCK] = std::array::from_fn(|lane| lane as u8);
    let mut count = places.len().min(BLOCK);
    while count > 0 {
        let mut kept = 0;
        for first in (0..count).step_by(LANES) {
            // A lane that is there twice is answered twice alike.
            let lanes: [u8; LANES] = std::array::from_fn(|lane| active[(first + lane).min(count - 1)]);
            let rows = lanes.map(|lane| if ROWS == 1 { 0 } else { lane as usize });
            let started = lanes.map(|lane| places[lane as usize]);
            let before = advance::<L, ROWS, LANES>(nodes, keys, rows, started, STRIDE - 1);
            let after = advance::<L, ROWS, LANES>(nodes, keys, rows, before, 1);
            for (lane, (before, after)) in lanes.iter().zip(before.iter().zip(after)).take(count - first) {
                places[*lane as usize] = after;
                active[kept] = *lane;
                kept += usize::from(*before != after);
            }
        }
        count = kept;
    }
}
