//! The encoding of what is to be seen no more, though index objects still name it.

use ropewalk_types::Digest;

use super::entry::Kind;
use super::pack_id::PackId;
use crate::codec::Reader;
use crate::error::StoreError;

const WHAT: &str = "list of condemned pieces";
pub(super) const MAGIC: [u8; 4] = *b"RWCD";
const VERSION: u8 = 1;
/// Kind and digest.
const PIECE: usize = 1 + Digest::LEN;

/// Pieces that nothing needs any more, by the packs in which they lie: a copy in another pack is not meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condemned {
    /// Packs of which all is gone.
    pub(crate) packs: Vec<PackId>,
    /// Pieces that can still be read, but are not to be relied upon.
    pub(crate) pieces: Vec<(PackId, Vec<(Kind, Digest)>)>,
}

impl Condemned {
    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.pieces.is_empty()
    }

    /// The pieces one by one.
    pub(crate) fn each(&self) -> impl Iterator<Item = (PackId, Kind, Digest)> {
        let of_pack = |(pack, pieces): &(PackId, Vec<(Kind, Digest)>)| {
            let pack = *pack;
            pieces.clone().into_iter().map(move |(kind, digest)| (pack, kind, digest))
        };
        self.pieces.iter().flat_map(of_pack)
    }

    /// Gathers pieces of which those of one pack follow each other.
    pub(crate) fn add(&mut self, pack: PackId, kind: Kind, digest: Digest) {
        match self.pieces.last_mut() {
            Some((last, pieces)) if *last == pack => pieces.push((kind, digest)),
            _ => self.pieces.push((pack, vec![(kind, digest)])),
        }
    }

    /// Encodes `RWCD`, version (1), number of packs that are gone (4), their names (16 each), number of other packs (4),
    /// then for each its name (16), number of pieces (4) and for each piece kind (1: chunk, recipe) and digest (32).
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(self.packs.len() as u32).to_le_bytes());
        self.packs.iter().for_each(|pack| bytes.extend_from_slice(pack.as_bytes()));
        bytes.extend_from_slice(&(self.pieces.len() as u32).to_le_bytes());
        for (pack, pieces) in &self.pieces {
            bytes.extend_from_slice(pack.as_bytes());
            bytes.extend_from_slice(&(pieces.len() as u32).to_le_bytes());
            for (kind, digest) in pieces {
                bytes.push(u8::from(*kind == Kind::Recipe));
                bytes.extend_from_slice(digest.as_bytes());
            }
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.header(MAGIC, VERSION)?;
        let pack = |reader: &mut Reader<'_>| Ok::<_, StoreError>(PackId::from_bytes(reader.array()?));
        let packs = (0..reader.count(PackId::LEN)?).map(|_| pack(&mut reader)).collect::<Result<_, _>>()?;
        let mut pieces = Vec::new();
        for _ in 0..reader.count(PackId::LEN + 4)? {
            let pack = pack(&mut reader)?;
            let count = reader.count(PIECE)?;
            pieces.push((pack, (0..count).map(|_| piece(&mut reader)).collect::<Result<_, _>>()?));
        }
        reader.finish()?;
        Ok(Self { packs, pieces })
    }
}

fn piece(reader: &mut Reader<'_>) -> Result<(Kind, Digest), StoreError> {
    let kind = match reader.u8()? {
        0 => Kind::Chunk,
        1 => Kind::Recipe,
        other => return Err(reader.error(format!("a piece is of the unknown kind {other}"))),
    };
    Ok((kind, reader.digest()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(
            packs in prop::collection::vec(any::<[u8; 16]>(), 0..4),
            pieces in prop::collection::vec((any::<[u8; 16]>(), any::<bool>(), any::<[u8; 32]>()), 0..10),
        ) {
            let mut condemned =
                Condemned { packs: packs.into_iter().map(PackId::from_bytes).collect(), pieces: Vec::new() };
            for (pack, recipe, digest) in pieces {
                let kind = if recipe { Kind::Recipe } else { Kind::Chunk };
                condemned.add(PackId::from_bytes(pack), kind, Digest::from_bytes(digest));
            }
            prop_assert_eq!(Condemned::decode(&condemned.encode()).unwrap(), condemned);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), marked: bool) {
            if marked && bytes.len() > 9 {
                bytes[..9].copy_from_slice(b"RWCD\x01\x01\0\0\0");
            }
            if let Ok(condemned) = Condemned::decode(&bytes) {
                prop_assert_eq!(condemned.encode(), bytes);
            }
        }
    }
}
