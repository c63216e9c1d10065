//! Recipes: how a blob of several chunks is put together again.

use ropewalk_types::Digest;

use crate::chunk::MAX_CHUNK;
use crate::codec::Reader;
use crate::error::StoreError;

const WHAT: &str = "recipe";
const MAGIC: [u8; 4] = *b"RWRC";
const VERSION: u8 = 1;
const ENTRY: usize = Digest::LEN + 4;

/// The chunks of a blob, in order.
///
/// Its encoding: `RWRC`, version (1 byte), count (4), then digest (32) and length (4) of each chunk, little-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Digest and length in bytes of each chunk.
    pub(crate) chunks: Vec<(Digest, u32)>,
}

impl Recipe {
    /// A blob of about 1 TiB; the recipe of such a blob takes 600 MB.
    pub(crate) const MAX_CHUNKS: usize = 1 << 24;
    pub(crate) const MAX_ENCODED: usize = 9 + Self::MAX_CHUNKS * ENTRY;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + self.chunks.len() * ENTRY);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
        for (digest, length) in &self.chunks {
            bytes.extend_from_slice(digest.as_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.header(MAGIC, VERSION)?;
        let count = reader.count(ENTRY)?;
        if !(2..=Self::MAX_CHUNKS).contains(&count) {
            return Err(reader.error(format!("it has {count} chunks")));
        }
        let mut chunks = Vec::with_capacity(count);
        for _ in 0..count {
            let (digest, length) = (reader.digest()?, reader.u32()?);
            if length == 0 || length as usize > MAX_CHUNK {
                return Err(reader.error(format!("a chunk has {length} bytes")));
            }
            chunks.push((digest, length));
        }
        reader.finish()?;
        Ok(Self { chunks })
    }

    /// Bytes of the blob.
    pub(crate) fn size(&self) -> u64 {
        self.chunks.iter().map(|(_, length)| u64::from(*length)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(chunks in prop::collection::vec((any::<[u8; 32]>(), 1..=MAX_CHUNK as u32), 2..30)) {
            let chunks = chunks.into_iter().map(|(bytes, length)| (Digest::from_bytes(bytes), length)).collect();
            let recipe = Recipe { chunks };
            prop_assert_eq!(Recipe::decode(&recipe.encode()).unwrap(), recipe);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), marked: bool) {
            if marked && bytes.len() > 5 {
                bytes[..5].copy_from_slice(b"RWRC\x01");
            }
            if let Ok(recipe) = Recipe::decode(&bytes) {
                prop_assert_eq!(recipe.encode(), bytes);
            }
        }
    }

    #[test]
    fn impossible_recipes() {
        let chunk = (Digest::of(b"x"), 1);
        for chunks in [vec![], vec![chunk], vec![chunk, (chunk.0, 0)], vec![chunk, (chunk.0, MAX_CHUNK as u32 + 1)]] {
            assert!(Recipe::decode(&Recipe { chunks }.encode()).is_err());
        }
        assert!(Recipe::decode(b"RWRC\x01\xff\xff\xff\xff").is_err());
    }
}
