//! The encoding of what lies in packs.

use ropewalk_types::Digest;

use super::pack_id::PackId;
use crate::chunk::{Encoding, MAX_CHUNK};
use crate::codec::Reader;
use crate::error::StoreError;
use crate::recipe::Recipe;

const WHAT: &str = "index";
const MAGIC: [u8; 4] = *b"RWIX";
const VERSION: u8 = 1;
/// Pack and count of its entries.
const LEAST_PACK: usize = PackId::LEN + 4;
/// Digest, tag, stored length, raw length.
const ENTRY: usize = Digest::LEN + 1 + 4 + 4;

const TAG_ZSTD: u8 = 1;
const TAG_RECIPE: u8 = 2;
const TAG_TREE: u8 = 4;
const TAG_GAP: u8 = 8;

/// What bytes in a pack are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A chunk, named by its digest; also a blob if it is one in full.
    Chunk,
    /// The recipe of a blob, named by the digest of the blob.
    Recipe,
}

/// One piece of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) digest: Digest,
    pub(crate) kind: Kind,
    /// The blob that it is, or is the recipe of, was added as a tree.
    pub(crate) tree: bool,
    pub(crate) encoding: Encoding,
    pub(crate) stored_length: u32,
    pub(crate) raw_length: u32,
}

/// What lies in a pack behind the slot before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Piece(Entry),
    /// So many bytes of what was a piece.
    Gap(u32),
}

/// The slots of one pack, in the order in which they lie there without gaps, so that offsets need not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackEntries {
    pub(crate) pack: PackId,
    pub(crate) slots: Vec<Slot>,
}

impl PackEntries {
    /// The pieces, each with its offset.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let mut end = PackId::MARK.len() as u64;
        self.slots.iter().filter_map(move |slot| {
            let offset = end;
            end += u64::from(slot.length());
            match slot {
                Slot::Piece(entry) => Some((offset, entry)),
                Slot::Gap(_) => None,
            }
        })
    }

    /// Bytes of the pack.
    pub(crate) fn size(&self) -> u64 {
        PackId::MARK.len() as u64 + self.slots.iter().map(|slot| u64::from(slot.length())).sum::<u64>()
    }

    /// Makes a gap of every piece that `gone` names.
    pub(crate) fn remove(&mut self, gone: impl Fn(&Entry) -> bool) {
        let mut slots: Vec<Slot> = Vec::with_capacity(self.slots.len());
        for slot in self.slots.drain(..) {
            let length = match slot {
                Slot::Piece(entry) if !gone(&entry) => {
                    slots.push(slot);
                    continue;
                }
                _ => slot.length(),
            };
            match slots.last_mut() {
                // Two become one, if that can be written.
                Some(Slot::Gap(before)) if before.checked_add(length).is_some() => *before += length,
                _ => slots.push(Slot::Gap(length)),
            }
        }
        self.slots = slots;
    }
}

impl Slot {
    fn length(&self) -> u32 {
        match self {
            Self::Piece(entry) => entry.stored_length,
            Self::Gap(length) => *length,
        }
    }
}

/// Encodes `RWIX`, version (1), number of packs (4), then for each pack its name (16), number of slots (4) and for each
/// slot digest (32), tag (1), stored length (4), raw length (4), little-endian.
///
/// The bits of a tag mean zstd (1), recipe (2), tree (4); of a gap (8), digest and raw length are zero.
pub(super) fn encode(packs: &[PackEntries]) -> Vec<u8> {
    let entries: usize = packs.iter().map(|pack| pack.slots.len()).sum();
    let mut bytes = Vec::with_capacity(9 + packs.len() * LEAST_PACK + entries * ENTRY);
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&(packs.len() as u32).to_le_bytes());
    for pack in packs {
        bytes.extend_from_slice(pack.pack.as_bytes());
        bytes.extend_from_slice(&(pack.slots.len() as u32).to_le_bytes());
        pack.slots.iter().for_each(|slot| encode_slot(slot, &mut bytes));
    }
    bytes
}

fn encode_slot(slot: &Slot, bytes: &mut Vec<u8>) {
    let (digest, tag, stored_length, raw_length) = match slot {
        Slot::Piece(entry) => (*entry.digest.as_bytes(), tag(entry), entry.stored_length, entry.raw_length),
        Slot::Gap(length) => ([0; Digest::LEN], TAG_GAP, *length, 0),
    };
    bytes.extend_from_slice(&digest);
    bytes.push(tag);
    bytes.extend_from_slice(&stored_length.to_le_bytes());
    bytes.extend_from_slice(&raw_length.to_le_bytes());
}

fn tag(entry: &Entry) -> u8 {
    let bit = |set: bool, tag: u8| if set { tag } else { 0 };
    bit(entry.encoding == Encoding::Zstd, TAG_ZSTD)
        | bit(entry.kind == Kind::Recipe, TAG_RECIPE)
        | bit(entry.tree, TAG_TREE)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<PackEntries>, StoreError> {
    let mut reader = Reader::new(WHAT, bytes);
    reader.header(MAGIC, VERSION)?;
    let count = reader.count(LEAST_PACK)?;
    let mut packs = Vec::with_capacity(count);
    for _ in 0..count {
        let pack = PackId::from_bytes(reader.array()?);
        let count = reader.count(ENTRY)?;
        let slots = (0..count).map(|_| decode_slot(&mut reader)).collect::<Result<_, _>>()?;
        packs.push(PackEntries { pack, slots });
    }
    reader.finish()?;
    Ok(packs)
}

fn decode_slot(reader: &mut Reader<'_>) -> Result<Slot, StoreError> {
    let (digest, tag) = (reader.digest()?, reader.u8()?);
    let (stored_length, raw_length) = (reader.u32()?, reader.u32()?);
    if tag == TAG_GAP && raw_length == 0 && digest.as_bytes() == &[0; Digest::LEN] {
        return Ok(Slot::Gap(stored_length));
    }
    if tag & !(TAG_ZSTD | TAG_RECIPE | TAG_TREE) != 0 {
        return Err(reader.error(format!("an entry is of the unknown kind {tag}")));
    }
    let kind = if tag & TAG_RECIPE == 0 { Kind::Chunk } else { Kind::Recipe };
    let encoding = if tag & TAG_ZSTD == 0 { Encoding::Plain } else { Encoding::Zstd };
    let limit = match kind {
        Kind::Chunk => MAX_CHUNK,
        Kind::Recipe => Recipe::MAX_ENCODED,
    };
    if stored_length > raw_length || raw_length as usize > limit {
        return Err(reader.error(format!("an entry of {raw_length} bytes is stored in {stored_length}")));
    }
    Ok(Slot::Piece(Entry { digest, kind, tree: tag & TAG_TREE != 0, encoding, stored_length, raw_length }))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_entry()(bytes in any::<[u8; 32]>(), recipe: bool, tree: bool, zstd: bool, stored in 0..1000_u32,
            more in 0..1000_u32) -> Entry {
            Entry {
                digest: Digest::from_bytes(bytes),
                kind: if recipe { Kind::Recipe } else { Kind::Chunk },
                tree,
                encoding: if zstd { Encoding::Zstd } else { Encoding::Plain },
                stored_length: stored,
                raw_length: stored + more,
            }
        }
    }

    fn any_slot() -> impl Strategy<Value = Slot> {
        prop_oneof![4 => any_entry().prop_map(Slot::Piece), 1 => any::<u32>().prop_map(Slot::Gap)]
    }

    prop_compose! {
        fn any_packs()(packs in prop::collection::vec(
            (any::<[u8; 16]>(), prop::collection::vec(any_slot(), 0..10)), 0..5)) -> Vec<PackEntries> {
            packs.into_iter().map(|(pack, slots)| PackEntries { pack: PackId::from_bytes(pack), slots }).collect()
        }
    }

    proptest! {
        #[test]
        fn round_trip(packs in any_packs()) {
            prop_assert_eq!(decode(&encode(&packs)).unwrap(), packs);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), marked: bool) {
            if marked && bytes.len() > 9 {
                bytes[..9].copy_from_slice(b"RWIX\x01\x01\0\0\0");
            }
            if let Ok(packs) = decode(&bytes) {
                prop_assert_eq!(encode(&packs), bytes);
            }
        }

        #[test]
        fn what_stays_stays_where_it_is(packs in any_packs(), modulus in 1..4_u32) {
            for mut pack in packs {
                let goes = |entry: &Entry| entry.raw_length.is_multiple_of(modulus);
                let (size, stay) = (pack.size(), pack.pieces().filter(|(_, entry)| !goes(entry)));
                let expected: Vec<_> = stay.map(|(offset, entry)| (offset, *entry)).collect();
                pack.remove(goes);
                let found: Vec<_> = pack.pieces().map(|(offset, entry)| (offset, *entry)).collect();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(pack.size(), size);
            }
        }
    }
}
