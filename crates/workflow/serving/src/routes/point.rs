/// Where a request lies, the same for each request with the same id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// From 0 up to 1: which version it goes to.
    pub(super) place: f64,
    /// From 0 up to 1, without regard to the first: whether it is copied.
    pub(super) sample: f64,
}

impl Point {
    /// The point of a request for `model` with that id.
    pub(super) fn of(model: &str, id: &[u8]) -> Self {
        let (place, sample) = hash(&[model.as_bytes(), &[0], id]);
        Self { place: unit(place), sample: unit(sample) }
    }
}

/// Two independent numbers, evenly spread.
pub(super) fn hash(parts: &[&[u8]]) -> (u64, u64) {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let hash = hasher.finalize();
    let (words, _) = hash.as_bytes().as_chunks::<8>();
    let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
    (word(0), word(1))
}

/// The upper 53 bits as a fraction.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
