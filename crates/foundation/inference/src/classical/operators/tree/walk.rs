/// Rows that pass a tree together: their keys stay in the first-level cache beside the tree.
pub(super) const BLOCK: usize = 64;

/// Branches taken before a lane asks whether it has arrived.
const STRIDE: usize = 4;
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
        (column >> COLUMN_BITS == 0 && distance >> (32 - COLUMN_BITS) == 0).then(|| column | distance << COLUMN_BITS)
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

/// Walks all lanes to their leaves, at most [`BLOCK`]. With `ROWS` of 1 lanes are trees of one row, else rows of one
/// tree. No lane waits for another's loads, and there is no branch to mispredict: a lane takes a few branches of the
/// tree, and stays in the list if it has not arrived.
#[expect(clippy::indexing_slicing, reason = "lanes are counted below the block's size")]
pub(super) fn walk<L: Link, const ROWS: usize>(nodes: &[Node<L>], keys: &[i32], places: &mut [u32], depth: u32) {
    let row = |lane: usize| if ROWS == 1 { 0 } else { lane };
    if depth <= FLAT {
        for (lane, place) in places.iter_mut().enumerate() {
            for _ in 0..depth {
                *place = step::<L, ROWS>(nodes, keys, row(lane), *place);
            }
        }
        return;
    }
    let mut active: [u8; BLOCK] = std::array::from_fn(|lane| lane as u8);
    let mut count = places.len().min(BLOCK);
    while count > 0 {
        let mut kept = 0;
        for at in 0..count {
            let lane = active[at];
            let mut place = places[lane as usize];
            let mut before = place;
            for _ in 0..STRIDE {
                before = place;
                place = step::<L, ROWS>(nodes, keys, row(lane as usize), place);
            }
            places[lane as usize] = place;
            active[kept] = lane;
            kept += usize::from(place != before);
        }
        count = kept;
    }
}
