//! Everything read again.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use ropewalk_types::Digest;

use super::index_objects::Listed;
use super::read::{Piece, Segment, segments};
use super::{Inner, Store, failed};
use crate::error::StoreError;
use crate::index::{Kind, Location, Object, PackEntries, PackId};
use crate::writer::{PackWriter, Prepared};

const SEGMENTS_AT_ONCE: usize = 3;
/// Where index objects are put that cannot be read.
const ASIDE: &str = "damaged";

/// Something that is not what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The chunk, blob or index object.
    pub digest: Digest,
    /// The object of the store in which it lies.
    pub object: String,
    /// What was found.
    pub reason: String,
    /// It was replaced from the other store.
    pub healed: bool,
}

/// What [`Store::verify`] has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Pieces that were read: chunks and recipes.
    pub pieces: u64,
    /// Their bytes, as they are stored.
    pub bytes: u64,
    /// What is wrong; in no order.
    pub damaged: Vec<Damage>,
    /// What is wrong in the other store of what was to be healed from there.
    pub damaged_there: Vec<Damage>,
}

/// A piece that is wrong, and its flag in the index.
struct Wrong {
    piece: Piece,
    tree: bool,
    reason: String,
}

impl Store {
    /// Reads everything that index objects name, each pack once in order, and checks it: chunks against their digests,
    /// recipes for being recipes of chunks that are there. Missing and truncated packs show by their pieces.
    ///
    /// What `heal_from` has is fetched from there, written to a new pack, and takes the place of what is damaged. Index
    /// objects that cannot be read (see [`Store::open_damaged`]) are then put aside, in the folder `damaged`, so that the
    /// store can be opened again; what only they named is gone until it is added or transferred again.
    pub async fn verify(&self, heal_from: Option<&Self>) -> Result<Verified, StoreError> {
        self.inner.refresh().await?;
        let mut verified = Verified::default();
        let (objects, unreadable) = self.inner.index_objects_checked().await?;
        for (listed, reason) in unreadable {
            let object = listed.1.location.to_string();
            if heal_from.is_some() {
                self.inner.put_aside(&listed).await?;
            }
            verified.damaged.push(Damage { digest: listed.0, object, reason, healed: false });
        }
        let mut wrong = self.inner.verify_packs(&objects, &mut verified).await?;
        if !wrong.is_empty() {
            self.inner.still_named(&mut wrong).await?;
        }
        let healed = match heal_from {
            Some(other) if !wrong.is_empty() => {
                let damaged_there = &mut verified.damaged_there;
                self.inner.heal(&other.inner, &wrong, objects, damaged_there).await?
            }
            _ => HashSet::new(),
        };
        verified.damaged.extend(wrong.into_iter().map(|Wrong { piece, reason, .. }| Damage {
            digest: piece.digest,
            object: piece.location.pack.path().to_string(),
            reason,
            healed: healed.contains(&piece.place()),
        }));
        Ok(verified)
    }
}

impl Inner {
    /// The index objects that can be read, and those that cannot.
    async fn index_objects_checked(&self) -> Result<(Vec<(Digest, Object)>, Vec<(Listed, String)>), StoreError> {
        let (mut objects, mut unreadable) = (Vec::new(), Vec::new());
        for listed in self.index_objects().await? {
            match self.load_strict(listed.clone()).await {
                Ok(object) => objects.extend(object),
                Err(StoreError::Damaged { reason, .. }) => unreadable.push((listed, reason)),
                Err(error) => return Err(error),
            }
        }
        Ok((objects, unreadable))
    }

    async fn put_aside(&self, (name, meta): &Listed) -> Result<(), StoreError> {
        let path = Path::from(format!("{ASIDE}/{name}"));
        let found = self.backend.get(&meta.location).await.map_err(failed("read", &meta.location))?;
        let bytes = found.bytes().await.map_err(failed("read", &meta.location))?;
        self.backend.put(&path, PutPayload::from(bytes)).await.map_err(failed("write", &path))?;
        self.remove(&meta.location).await
    }

    async fn verify_packs(
        &self,
        objects: &[(Digest, Object)],
        verified: &mut Verified,
    ) -> Result<Vec<Wrong>, StoreError> {
        let pieces = named_pieces(objects);
        verified.pieces = pieces.len() as u64;
        verified.bytes = pieces.iter().map(|(piece, _)| u64::from(piece.location.stored_length)).sum();
        let mut trees = pieces.iter().map(|(_, tree)| *tree);
        let segments = segments(pieces.iter().map(|(piece, _)| *piece));
        let mut checks = std::pin::pin!(
            futures::stream::iter(segments.into_iter().map(|segment| self.verify_segment(segment)))
                .buffered(SEGMENTS_AT_ONCE)
        );
        let mut wrong = Vec::new();
        while let Some(checked) = checks.try_next().await? {
            for ((piece, reason), tree) in checked.into_iter().zip(trees.by_ref()) {
                wrong.extend(reason.map(|reason| Wrong { piece, tree, reason }));
            }
        }
        Ok(wrong)
    }

    /// Drops what no index object names any more: a collector has removed or moved it while it was to be read.
    async fn still_named(&self, wrong: &mut Vec<Wrong>) -> Result<(), StoreError> {
        let (objects, _) = self.index_objects_checked().await?;
        let named: HashSet<_> = named_pieces(&objects).into_iter().map(|(piece, _)| piece.place()).collect();
        wrong.retain(|wrong| named.contains(&wrong.piece.place()));
        Ok(())
    }

    /// What is wrong with each piece of the segment, if anything.
    async fn verify_segment(&self, segment: Segment) -> Result<Vec<(Piece, Option<String>)>, StoreError> {
        let pieces: Vec<_> = segment.pieces().copied().collect();
        // All at once, as nearly always all are right; else one by one, to know which.
        if self.verify_pieces(segment).await?.is_none() {
            return Ok(pieces.into_iter().map(|piece| (piece, None)).collect());
        }
        let mut checked = Vec::with_capacity(pieces.len());
        for piece in pieces {
            checked.push((piece, self.verify_pieces(piece.into()).await?));
        }
        Ok(checked)
    }

    async fn verify_pieces(&self, segment: Segment) -> Result<Option<String>, StoreError> {
        let recipes: Vec<_> = segment.pieces().filter(|piece| piece.kind == Kind::Recipe).copied().collect();
        let mut checked = self.read_in_place(segment).await;
        for piece in recipes {
            if checked.is_ok() {
                checked = self.plan_at(piece.digest, piece.location).await.map(drop);
            }
        }
        match checked {
            Ok(()) => Ok(None),
            Err(StoreError::Damaged { reason, .. }) => Ok(Some(reason)),
            Err(error) => Err(error),
        }
    }

    /// Writes what `other` has of the wrong pieces to new packs, makes it visible, and drops the wrong ones.
    async fn heal(
        &self,
        other: &Inner,
        wrong: &[Wrong],
        objects: Vec<(Digest, Object)>,
        damaged_there: &mut Vec<Damage>,
    ) -> Result<HashSet<(PackId, Kind, Digest)>, StoreError> {
        other.refresh().await?;
        let mut writer = PackWriter::new(self);
        let mut healed = HashSet::new();
        for Wrong { piece, tree, .. } in wrong {
            let found = other.index(|index| index.find_readable(piece.kind, &piece.digest));
            // What the other store cannot give stays as it is, and is reported.
            let Some(location) = found else { continue };
            let read = match other.read_checked(Piece { location, ..*piece }.into()).await {
                Err(StoreError::Damaged { digest, reason, .. }) => {
                    let object = location.pack.path().to_string();
                    damaged_there.push(Damage { digest, object, reason, healed: false });
                    continue;
                }
                // Gone there meanwhile.
                Err(StoreError::NotFound { .. }) => continue,
                read => read?,
            };
            for (piece, stored) in read {
                writer.append(Prepared::stored(&piece, *tree, stored)).await?;
            }
            healed.insert(piece.place());
        }
        let finished = writer.finish().await?;
        if !finished.is_empty() {
            self.index_write(Object::Packs(finished)).await?;
            let packs = objects.into_iter().filter_map(|(name, object)| match object {
                Object::Packs(packs) => Some((name, packs)),
                Object::Condemned(_) => None,
            });
            self.index_without(packs.collect(), |_| false, healed.clone(), 0).await?;
            self.refresh().await?;
        }
        Ok(healed)
    }
}

/// All pieces in the order in which they lie in their packs, each with whether it is a tree.
fn named_pieces(objects: &[(Digest, Object)]) -> Vec<(Piece, bool)> {
    let gone: HashSet<_> = objects
        .iter()
        .flat_map(|(_, object)| match object {
            Object::Condemned(condemned) => condemned.packs.as_slice(),
            Object::Packs(_) => &[],
        })
        .collect();
    let mut packs: BTreeMap<PackId, Vec<&PackEntries>> = BTreeMap::new();
    for (_, object) in objects {
        if let Object::Packs(named) = object {
            for pack in named.iter().filter(|pack| !gone.contains(&pack.pack)) {
                packs.entry(pack.pack).or_default().push(pack);
            }
        }
    }
    let mut pieces = Vec::new();
    for (id, named) in packs {
        let mut seen: BTreeMap<u64, (Piece, bool)> = BTreeMap::new();
        for (offset, entry) in named.into_iter().flat_map(PackEntries::pieces) {
            let location = Location::new(id, offset, entry);
            // Pieces of no bytes share the place of their neighbour.
            let key = offset * 2 + u64::from(entry.stored_length > 0);
            seen.insert(key, (Piece { kind: entry.kind, digest: entry.digest, location }, entry.tree));
        }
        pieces.extend(seen.into_values());
    }
    pieces
}
