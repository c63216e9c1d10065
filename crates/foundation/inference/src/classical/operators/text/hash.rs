use bytes::Bytes;
use ropewalk_types::ElementType;

use super::super::{Built, Definition, Operator};
use crate::Tensor;
use crate::classical::fault::Fault;
use crate::classical::inputs::{Inputs, values};

#[derive(Debug)]
struct MurmurHash3 {
    seed: u32,
    positive: bool,
}

/// `MurmurHash3` (com.microsoft): the 32-bit hash of each string, as UINT32 if `positive`, else as INT32. onnxruntime
/// hashes numbers too, which is refused.
pub(in super::super) fn murmur_hash(definition: &mut Definition<'_>) -> Result<Built, Fault> {
    definition.input_count(1, 1)?;
    definition.input_of(0, &[ElementType::Bytes])?;
    let seed = definition.attributes.int("seed")?.unwrap_or(0);
    let seed = u32::try_from(seed).map_err(|_| Fault::invalid(format!("a seed of {seed}")))?;
    let positive = definition.attributes.flag("positive", true)?;
    let output = if positive { ElementType::Uint32 } else { ElementType::Int32 };
    Ok(Built::new(MurmurHash3 { seed, positive }, vec![output]))
}

/// A. Appleby, MurmurHash3, 32 bits (public domain).
fn hash(bytes: &[u8], seed: u32) -> u32 {
    let mixed = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (blocks, rest) = bytes.as_chunks::<4>();
    let mut state = seed;
    for block in blocks {
        state = (state ^ mixed(u32::from_le_bytes(*block))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let tail = rest.iter().rev().fold(0_u32, |tail, byte| tail << 8 | u32::from(*byte));
    if !rest.is_empty() {
        state ^= mixed(tail);
    }
    state ^= bytes.len() as u32;
    state = (state ^ (state >> 16)).wrapping_mul(0x85eb_ca6b);
    state = (state ^ (state >> 13)).wrapping_mul(0xc2b2_ae35);
    state ^ (state >> 16)
}

impl Operator for MurmurHash3 {
    fn evaluate(&self, inputs: Inputs<'_>) -> Result<Vec<Tensor>, Fault> {
        let input = inputs.tensor(0)?;
        let hashes = values::<Bytes>(input)?.iter().map(|bytes| hash(bytes, self.seed));
        let data = if self.positive {
            hashes.collect::<Vec<u32>>().into()
        } else {
            hashes.map(u32::cast_signed).collect::<Vec<i32>>().into()
        };
        Ok(vec![Tensor { shape: input.shape.clone(), data }])
    }
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn hashes_are_the_published_ones() {
        assert_eq!(hash(b"", 0), 0);
        assert_eq!(hash(b"", 1), 0x514e_28b7);
        assert_eq!(hash(b"test", 0), 0xba6b_d213);
        assert_eq!(hash(b"Hello, world!", 0), 0xc036_3e43);
    }
}
