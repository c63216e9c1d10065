//! Index objects: which pack holds what. Being listed in one is what makes a chunk or a blob visible.

use std::collections::HashMap;
use std::fmt;

use object_store::path::Path;
use ropewalk_types::Digest;

use crate::chunk::{Encoding, MAX_CHUNK};
use crate::codec::Reader;
use crate::error::StoreError;
use crate::recipe::Recipe;

const WHAT: &str = "index";
const MAGIC: [u8; 4] = *b"RWIX";
const VERSION: u8 = 1;
/// Pack and count of its entries.
const LEAST_PACK: usize = 16 + 4;
/// Digest, kind, stored length, raw length.
const ENTRY: usize = Digest::LEN + 1 + 4 + 4;

/// The name of a pack: random, for a pack is named before its content is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PackId([u8; 16]);

impl PackId {
    /// The mark at the beginning of every pack.
    pub(crate) const MARK: &'static [u8] = b"RWPK\x01";

    pub(crate) fn random() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }

    pub(crate) fn path(self) -> Path {
        Path::from(format!("packs/{self}"))
    }

    /// The pack whose object is at `path`.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        uuid::Uuid::try_parse(path.filename()?).ok().map(|id| Self(*id.as_bytes()))
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackId({self})")
    }
}

/// What bytes in a pack are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A chunk, named by its digest; also a blob if it is one in full.
    Chunk,
    /// The recipe of a blob, named by the digest of the blob.
    Recipe,
}

/// One piece of a pack; pieces follow each other without gaps, so that offsets need not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) digest: Digest,
    pub(crate) kind: Kind,
    pub(crate) encoding: Encoding,
    pub(crate) stored_length: u32,
    pub(crate) raw_length: u32,
}

/// The pieces of one pack, in the order in which they lie there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackEntries {
    pub(crate) pack: PackId,
    pub(crate) entries: Vec<Entry>,
}

/// Encodes an index object: `RWIX`, version (1), number of packs (4), then for each pack its name (16), number of
/// entries (4) and for each entry digest (32), kind and encoding (1), stored length (4), raw length (4), little-endian.
pub(crate) fn encode(packs: &[PackEntries]) -> Vec<u8> {
    let entries: usize = packs.iter().map(|pack| pack.entries.len()).sum();
    let mut bytes = Vec::with_capacity(9 + packs.len() * LEAST_PACK + entries * ENTRY);
    bytes.extend_from_slice(&MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&(packs.len() as u32).to_le_bytes());
    for pack in packs {
        bytes.extend_from_slice(&pack.pack.0);
        bytes.extend_from_slice(&(pack.entries.len() as u32).to_le_bytes());
        for entry in &pack.entries {
            bytes.extend_from_slice(entry.digest.as_bytes());
            bytes.push(tag(entry.kind, entry.encoding));
            bytes.extend_from_slice(&entry.stored_length.to_le_bytes());
            bytes.extend_from_slice(&entry.raw_length.to_le_bytes());
        }
    }
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<PackEntries>, StoreError> {
    let mut reader = Reader::new(WHAT, bytes);
    reader.header(MAGIC, VERSION)?;
    let count = reader.count(LEAST_PACK)?;
    let mut packs = Vec::with_capacity(count);
    for _ in 0..count {
        let mut pack = [0; 16];
        pack.copy_from_slice(reader.take(16)?);
        let count = reader.count(ENTRY)?;
        let entries = (0..count).map(|_| decode_entry(&mut reader)).collect::<Result<_, _>>()?;
        packs.push(PackEntries { pack: PackId(pack), entries });
    }
    reader.finish()?;
    Ok(packs)
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Entry, StoreError> {
    let digest = reader.digest()?;
    let (kind, encoding) = match reader.u8()? {
        0 => (Kind::Chunk, Encoding::Plain),
        1 => (Kind::Chunk, Encoding::Zstd),
        2 => (Kind::Recipe, Encoding::Plain),
        3 => (Kind::Recipe, Encoding::Zstd),
        other => return Err(reader.error(format!("an entry is of the unknown kind {other}"))),
    };
    let (stored_length, raw_length) = (reader.u32()?, reader.u32()?);
    let limit = match kind {
        Kind::Chunk => MAX_CHUNK,
        Kind::Recipe => Recipe::MAX_ENCODED,
    };
    if stored_length > raw_length || raw_length as usize > limit {
        return Err(reader.error(format!("an entry of {raw_length} bytes is stored in {stored_length}")));
    }
    Ok(Entry { digest, kind, encoding, stored_length, raw_length })
}

fn tag(kind: Kind, encoding: Encoding) -> u8 {
    match (kind, encoding) {
        (Kind::Chunk, Encoding::Plain) => 0,
        (Kind::Chunk, Encoding::Zstd) => 1,
        (Kind::Recipe, Encoding::Plain) => 2,
        (Kind::Recipe, Encoding::Zstd) => 3,
    }
}

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pack: PackId,
    pub(crate) offset: u64,
    pub(crate) stored_length: u32,
    pub(crate) raw_length: u32,
    pub(crate) encoding: Encoding,
}

impl Location {
    /// The first byte after the piece.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.stored_length)
    }
}

/// All that this process knows to be visible.
#[derive(Debug, Default)]
pub(crate) struct Index {
    chunks: HashMap<Digest, Location>,
    recipes: HashMap<Digest, Location>,
    packs: HashMap<PackId, u64>,
    /// The index objects that are in here, with their sizes.
    objects: HashMap<Digest, u64>,
}

impl Index {
    /// Takes in the content of the index object called `name`.
    pub(crate) fn insert(&mut self, name: Digest, size: u64, packs: &[PackEntries]) {
        self.objects.insert(name, size);
        for PackEntries { pack, entries } in packs {
            let mut offset = PackId::MARK.len() as u64;
            for entry in entries {
                let &Entry { stored_length, raw_length, encoding, .. } = entry;
                let location = Location { pack: *pack, offset, stored_length, raw_length, encoding };
                offset = location.end();
                self.map_mut(entry.kind).entry(entry.digest).or_insert(location);
            }
            self.packs.insert(*pack, offset);
        }
    }

    pub(crate) fn find(&self, kind: Kind, digest: &Digest) -> Option<Location> {
        let map = match kind {
            Kind::Chunk => &self.chunks,
            Kind::Recipe => &self.recipes,
        };
        map.get(digest).copied()
    }

    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.chunks.contains_key(digest) || self.recipes.contains_key(digest)
    }

    pub(crate) fn has_object(&self, name: &Digest) -> bool {
        self.objects.contains_key(name)
    }

    pub(crate) fn has_pack(&self, pack: &PackId) -> bool {
        self.packs.contains_key(pack)
    }

    fn map_mut(&mut self, kind: Kind) -> &mut HashMap<Digest, Location> {
        match kind {
            Kind::Chunk => &mut self.chunks,
            Kind::Recipe => &mut self.recipes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_entry()(bytes in any::<[u8; 32]>(), recipe: bool, zstd: bool, stored in 0..1000_u32, more in 0..1000_u32)
            -> Entry {
            Entry {
                digest: Digest::from_bytes(bytes),
                kind: if recipe { Kind::Recipe } else { Kind::Chunk },
                encoding: if zstd { Encoding::Zstd } else { Encoding::Plain },
                stored_length: stored,
                raw_length: stored + more,
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(packs in prop::collection::vec(
            (any::<[u8; 16]>(), prop::collection::vec(any_entry(), 0..10)), 0..5)) {
            let packs: Vec<_> =
                packs.into_iter().map(|(pack, entries)| PackEntries { pack: PackId(pack), entries }).collect();
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
    }

    #[test]
    fn offsets_follow_from_lengths() {
        let entry = |text: &[u8], kind| Entry {
            digest: Digest::of(text),
            kind,
            encoding: Encoding::Plain,
            stored_length: text.len() as u32,
            raw_length: text.len() as u32,
        };
        let pack = PackId([1; 16]);
        let entries = vec![entry(b"abc", Kind::Chunk), entry(b"de", Kind::Recipe), entry(b"f", Kind::Chunk)];
        let mut index = Index::default();
        index.insert(Digest::of(b"index"), 1, &[PackEntries { pack, entries }]);
        assert_eq!(index.find(Kind::Chunk, &Digest::of(b"abc")).unwrap().offset, 5);
        assert_eq!(index.find(Kind::Chunk, &Digest::of(b"f")).unwrap().offset, 10);
        assert!(index.find(Kind::Chunk, &Digest::of(b"de")).is_none());
        assert!(index.has_blob(&Digest::of(b"de")) && index.has_pack(&pack));
        assert_eq!(PackId::of_path(&pack.path()), Some(pack));
        assert_eq!(PackId::of_path(&Path::from("packs/else")), None);
    }
}
