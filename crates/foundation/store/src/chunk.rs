//! Cutting bytes into chunks by their content, and encoding one chunk for a pack.
//!
//! FastCDC as of W. Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage
//! Systems", IEEE TPDS 31 (2020): an insertion moves the cut points near it and no others.

use bytes::Bytes;
use fastcdc::v2020::FastCDC;
use ropewalk_types::Digest;

use crate::error::StoreError;

/// The smallest chunk but for the last of a blob, in bytes.
pub(crate) const MIN_CHUNK: usize = 16 << 10;
/// The size that chunks have on average.
pub(crate) const AVERAGE_CHUNK: usize = 64 << 10;
/// The largest chunk.
pub(crate) const MAX_CHUNK: usize = 256 << 10;

/// What is held in memory of a blob that is being cut.
const WINDOW: usize = 2 << 20;
/// The fastest level still takes most of what text and tables have to give.
const LEVEL: i32 = 1;
/// Of a chunk at least this large, a part is tried first.
const SAMPLED_FROM: usize = 16 << 10;
const SAMPLE: usize = 4 << 10;

/// Reads a blob to its end through `read` and gives every chunk to `each`, in order.
pub(crate) fn cut<E>(
    mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut window = vec![0; WINDOW];
    let mut filled = 0;
    loop {
        let mut ended = false;
        while filled < window.len() && !ended {
            let length = read(&mut window[filled..])?;
            ended = length == 0;
            filled += length;
        }
        let cutter = cutter(&window[..filled]);
        let mut start = 0;
        // A cut depends on nothing beyond the largest chunk, so that windows do not show in the result.
        while filled - start >= MAX_CHUNK || (ended && start < filled) {
            let (_, end) = cutter.cut(start, filled - start);
            each(&window[start..end])?;
            start = end;
        }
        if ended {
            return Ok(());
        }
        window.copy_within(start..filled, 0);
        filled -= start;
    }
}

/// The chunks of a blob that is in memory.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    cutter(bytes).map(|chunk| &bytes[chunk.offset..chunk.offset + chunk.length])
}

fn cutter(bytes: &[u8]) -> FastCDC<'_> {
    FastCDC::new(bytes, MIN_CHUNK, AVERAGE_CHUNK, MAX_CHUNK)
}

/// Chunks of a body that does not compress are larger …
const COARSE_MIN_CHUNK: usize = 128 << 10;
/// … and about this large, or the largest.
const COARSE_AVERAGE_CHUNK: usize = 160 << 10;
/// After so many chunks it is known whether a body compresses.
const LOOKED_AT: u32 = 16;

/// How finely a body is cut.
///
/// Looking for a cut costs more than hashing. What does not compress, as weights and images, is seldom edited within: its
/// chunks are larger, so that most of it is passed over, and there are fewer to be known. The bytes alone decide, so that
/// the same body is always cut at the same places.
#[derive(Debug, Default)]
pub(crate) struct Grain {
    looked_at: u32,
    compresses: bool,
}

impl Grain {
    /// The length of the chunk with which `bytes` begin: at least [`MAX_CHUNK`], or the end of the body.
    pub(crate) fn cut(&self, bytes: &[u8]) -> usize {
        let coarse = self.looked_at == LOOKED_AT && !self.compresses;
        let cutter =
            if coarse { FastCDC::new(bytes, COARSE_MIN_CHUNK, COARSE_AVERAGE_CHUNK, MAX_CHUNK) } else { cutter(bytes) };
        cutter.cut(0, bytes.len()).1
    }

    /// Takes notice of the next chunk.
    pub(crate) fn look(&mut self, encoder: &mut Encoder, raw: &[u8]) {
        if self.looked_at < LOOKED_AT {
            self.looked_at += 1;
            let length = raw.len().min(SAMPLE);
            let start = (raw.len() - length) / 2;
            self.compresses |= encoder.pays(&raw[start..start + length]);
        }
    }
}

/// How bytes lie in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are.
    Plain,
    /// One zstd frame (RFC 8878).
    Zstd,
}

/// After so many chunks in a row that compression gained too little of …
const HOPELESS_FROM: u32 = 16;
/// … only one of so many is still tried: whole files are compressed already, or are not.
const TRIED_OF_HOPELESS: u32 = 8;

/// Compresses where it pays; keeps its working memory between chunks.
pub(crate) struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
    /// Chunks since the last one that compression paid for.
    in_vain: u32,
}

impl Encoder {
    pub(crate) fn new() -> Result<Self, StoreError> {
        match zstd::bulk::Compressor::new(LEVEL) {
            Ok(zstd) => Ok(Self { zstd, in_vain: 0 }),
            Err(error) => Err(StoreError::Malformed { what: "compression level", reason: error.to_string() }),
        }
    }

    /// `raw` as it should lie in a pack.
    pub(crate) fn encode(&mut self, raw: &[u8]) -> (Encoding, Bytes) {
        match self.tried(raw) {
            Some(compressed) => (Encoding::Zstd, compressed.into()),
            None => (Encoding::Plain, Bytes::copy_from_slice(raw)),
        }
    }

    /// Like [`Encoder::encode`], but what is stored as it is shares the memory of `raw`.
    pub(crate) fn encode_shared(&mut self, raw: &Bytes) -> (Encoding, Bytes) {
        match self.tried(raw) {
            Some(compressed) => (Encoding::Zstd, compressed.into()),
            None => (Encoding::Plain, raw.clone()),
        }
    }

    /// `None` when compression gains too little, or is not tried because it lately never did.
    fn tried(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        let skipped = self.in_vain >= HOPELESS_FROM && !self.in_vain.is_multiple_of(TRIED_OF_HOPELESS);
        let compressed = if skipped { None } else { self.compressed(raw) };
        self.in_vain = if compressed.is_some() { 0 } else { self.in_vain.saturating_add(1) };
        compressed
    }

    /// Whether compression makes `raw` much smaller.
    pub(crate) fn pays(&mut self, raw: &[u8]) -> bool {
        self.compressed(raw).is_some()
    }

    /// `None` when compression gains too little.
    fn compressed(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        if raw.len() >= SAMPLED_FROM {
            // From the middle: the beginning of a file is often a header unlike the rest.
            let start = (raw.len() - SAMPLE) / 2;
            let sample = &raw[start..start + SAMPLE];
            // An error is as good as no gain: the plain bytes are always right.
            let length = self.zstd.compress(sample).ok()?.len();
            if !pays(sample.len(), length) {
                return None;
            }
        }
        let compressed = self.zstd.compress(raw).ok()?;
        pays(raw.len(), compressed.len()).then_some(compressed)
    }
}

/// At least a twentieth smaller; less is not worth the time of every reader.
fn pays(raw: usize, compressed: usize) -> bool {
    compressed + raw / 20 < raw
}

/// The bytes that `stored` stands for, or what is wrong with it.
pub(crate) fn decode(encoding: Encoding, stored: Bytes, raw_length: u32) -> Result<Bytes, String> {
    let raw = match encoding {
        Encoding::Plain => stored,
        Encoding::Zstd => zstd::bulk::decompress(&stored, raw_length as usize)
            .map_err(|error| format!("it cannot be decompressed: {error}"))?
            .into(),
    };
    if raw.len() == raw_length as usize {
        Ok(raw)
    } else {
        Err(format!("it has {} bytes instead of {raw_length}", raw.len()))
    }
}

/// Like [`decode`], and the bytes are those that `digest` names.
pub(crate) fn decode_verified(
    digest: &Digest,
    encoding: Encoding,
    stored: Bytes,
    raw_length: u32,
) -> Result<Bytes, String> {
    let raw = decode(encoding, stored, raw_length)?;
    if Digest::of(&raw) == *digest { Ok(raw) } else { Err("its bytes have another digest".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::testing::noise;

    fn streamed(bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut found = Vec::new();
        let read = |buffer: &mut [u8]| {
            let length = buffer.len().min(rest.len()).min(step);
            buffer[..length].copy_from_slice(&rest[..length]);
            rest = &rest[length..];
            Ok::<_, Infallible>(length)
        };
        let each = |chunk: &[u8]| {
            found.push(chunk.to_vec());
            Ok(())
        };
        let Ok(()) = cut(read, each);
        found
    }

    #[test]
    fn streams_are_cut_as_if_they_were_in_memory() {
        for length in [0, 1, MIN_CHUNK, MAX_CHUNK, MAX_CHUNK + 1, WINDOW, WINDOW + 1, 3 * WINDOW / 2] {
            let bytes = noise(7, length);
            let whole: Vec<_> = chunks(&bytes).map(<[u8]>::to_vec).collect();
            assert_eq!(streamed(&bytes, usize::MAX), whole, "{length}");
            assert_eq!(streamed(&bytes, 100_001), whole, "{length}");
            assert!(whole.iter().all(|chunk| chunk.len() <= MAX_CHUNK));
            assert_eq!(whole.concat(), bytes);
        }
        let zeros = vec![0; MAX_CHUNK * 3];
        assert_eq!(streamed(&zeros, 77_777).len(), 3);
    }

    #[test]
    fn bodies_are_cut_coarsely_only_when_they_do_not_compress_from_the_beginning() {
        let lengths = |bytes: &[u8]| {
            let (mut grain, mut encoder, mut rest, mut lengths) =
                (Grain::default(), Encoder::new().unwrap(), bytes, Vec::new());
            while !rest.is_empty() {
                let length = grain.cut(rest);
                let (chunk, after) = rest.split_at(length);
                grain.look(&mut encoder, chunk);
                lengths.push(length);
                rest = after;
            }
            lengths
        };
        let noise = noise(9, 24 << 20);
        let cut = lengths(&noise);
        let (fine, coarse) = cut.split_at(LOOKED_AT as usize);
        assert_eq!(fine, chunks(&noise).take(fine.len()).map(<[u8]>::len).collect::<Vec<_>>());
        let (last, coarse) = coarse.split_last().unwrap();
        assert!(coarse.iter().all(|length| (COARSE_MIN_CHUNK..=MAX_CHUNK).contains(length)) && *last <= MAX_CHUNK);
        // An insertion moves the cuts near it and no others.
        let mut edited = noise.clone();
        edited.splice(5 << 20..5 << 20, *b"hemp").for_each(drop);
        let ends = |bytes: &[u8]| {
            let ends = lengths(bytes).into_iter().scan(0, |end, length| {
                *end += length;
                Some(bytes.len() - *end)
            });
            ends.collect::<std::collections::HashSet<usize>>()
        };
        let kept = ends(&noise).intersection(&ends(&edited)).filter(|to_end| **to_end < 8 << 20).count();
        assert!(kept >= 20, "{kept} cuts behind the insertion are where they were");
        let text = b"hemp yarn strand rope ".repeat(1 << 16);
        let mixed = [&text[..], &noise].concat();
        assert_eq!(lengths(&mixed), chunks(&mixed).map(<[u8]>::len).collect::<Vec<_>>());
    }

    #[test]
    fn compression_only_where_it_pays() {
        let mut encoder = Encoder::new().unwrap();
        let text = b"hemp yarn strand rope ".repeat(2000);
        for (raw, expected) in [
            (&text[..], Encoding::Zstd),
            (&text[..2000], Encoding::Zstd),
            (&noise(1, 60_000), Encoding::Plain),
            (b"x", Encoding::Plain),
            (b"", Encoding::Plain),
        ] {
            let (encoding, stored) = encoder.encode(raw);
            assert_eq!(encoding, expected, "{} bytes", raw.len());
            let digest = Digest::of(raw);
            assert_eq!(decode_verified(&digest, encoding, stored.clone(), raw.len() as u32).unwrap(), raw);
            assert!(decode_verified(&Digest::of(b"other"), encoding, stored.clone(), raw.len() as u32).is_err());
            assert!(decode(encoding, stored, raw.len() as u32 + 1).is_err());
        }
    }

    #[test]
    fn a_file_that_turns_compressible_is_noticed() {
        let mut encoder = Encoder::new().unwrap();
        for seed in 0..100 {
            assert_eq!(encoder.encode(&noise(seed, 20_000)).0, Encoding::Plain);
        }
        let text = b"hemp yarn strand rope ".repeat(1000);
        let encodings: Vec<_> = (0..20).map(|_| encoder.encode(&text).0).collect();
        let first = encodings.iter().position(|encoding| *encoding == Encoding::Zstd).unwrap();
        assert!(first < TRIED_OF_HOPELESS as usize);
        assert!(encodings[first..].iter().all(|encoding| *encoding == Encoding::Zstd));
    }

    #[test]
    fn a_bomb_does_not_unfold() {
        let bomb: Bytes = zstd::bulk::compress(&vec![0; 10 << 20], 3).unwrap().into();
        assert!(decode(Encoding::Zstd, bomb, 1000).is_err());
    }
}
