//! What the fuzz targets call: the codecs of what lies in a store, which the crate itself keeps to itself.

use bytes::Bytes;

use crate::chunk::{self, Encoding, MAX_CHUNK};
use crate::index::Object;
use crate::recipe::Recipe;

/// An index object that is read is written again as it was.
///
/// # Panics
/// It is not.
pub fn index(bytes: &[u8]) {
    if let Ok(object) = Object::decode(bytes) {
        assert_eq!(object.encode(), bytes, "two encodings of one index object");
    }
}

/// A recipe that is read is written again as it was.
///
/// # Panics
/// It is not.
pub fn recipe(bytes: &[u8]) {
    if let Ok(recipe) = Recipe::decode(bytes) {
        assert_eq!(recipe.encode(), bytes, "two encodings of one recipe");
    }
}

/// A piece of a pack that is decoded has the length that the index promised.
///
/// # Panics
/// It has another.
pub fn piece(bytes: &[u8]) {
    let Some((head, stored)) = bytes.split_at_checked(4) else { return };
    let [first, second, third, fourth] = head else { return };
    let length = u32::from_le_bytes([*first, *second, *third, *fourth]) % (MAX_CHUNK as u32 + 1);
    for encoding in [Encoding::Plain, Encoding::Zstd] {
        if let Ok(raw) = chunk::decode(encoding, Bytes::copy_from_slice(stored), length) {
            assert_eq!(raw.len(), length as usize, "a piece of another length");
        }
    }
}
