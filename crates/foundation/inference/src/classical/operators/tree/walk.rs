use super::forest::{FEATURE, MISSING_IS_TRUE, Node, Real, TESTS_EQUALITY};

/// Walks `LANES` paths at once, each from a node over a row that starts at an offset of `values`; afterwards the
/// nodes are leaves. Lanes do not wait for each other's loads, which is where a single path spends its time.
///
/// `FLAGS` says whether nodes may test equality or send missing values to their true child.
pub(super) fn walk<C: Real, const LANES: usize, const FLAGS: bool>(
    nodes: &[Node<C>],
    values: &[C],
    offsets: &[usize; LANES],
    places: &mut [u32; LANES],
    depth: u32,
) {
    for _ in 0..depth {
        let mut moved = 0;
        for (place, offset) in places.iter_mut().zip(offsets) {
            let next = step::<C, FLAGS>(nodes, values, *offset, *place);
            moved |= next ^ *place;
            *place = next;
        }
        if moved == 0 {
            break;
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "children and features were checked when the forest was laid out")]
#[inline]
fn step<C: Real, const FLAGS: bool>(nodes: &[Node<C>], values: &[C], offset: usize, place: u32) -> u32 {
    let node = &nodes[place as usize];
    let value = values[offset + (node.feature & FEATURE) as usize];
    let mut holds = value <= node.threshold;
    if FLAGS {
        let missing = value.partial_cmp(&value).is_none();
        if node.feature & TESTS_EQUALITY != 0 {
            holds = value == node.threshold;
        }
        holds |= missing && node.feature & MISSING_IS_TRUE != 0;
    }
    if holds { node.when_true } else { node.when_false }
}
