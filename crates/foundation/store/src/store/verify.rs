//! Everything read again.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;

use super::index_objects::Listed;
use super::reach::Root;
use super::read::{Piece, Segment, segments};
use super::{Inner, Store};
use crate::error::StoreError;
use crate::index::{Kind, Location, Object, PackEntries, PackId};

/// Something that is not what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The chunk, blob or index object.
    pub digest: Digest,
    /// The object of the store in which it lies.
    pub object: String,
    /// What was found.
    pub reason: String,
    /// It was replaced from another store; an index object was put aside; or it was let go.
    pub healed: bool,
    /// Nothing needs it, and no index names it any more.
    pub let_go: bool,
    /// Where it lies, if it is a piece of a pack.
    pub(super) wrong: Option<Wrong>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) piece: Piece,
    pub(super) tree: bool,
}

impl Damage {
    /// Of a piece of a pack.
    pub(super) fn of_piece(wrong: Wrong, reason: String) -> Self {
        let Wrong { piece, .. } = wrong;
        let object = piece.location.pack.path().to_string();
        Self { digest: piece.digest, object, reason, healed: false, let_go: false, wrong: Some(wrong) }
    }

    /// Whether an index object is damaged: what only that names cannot be found.
    pub fn is_index(&self) -> bool {
        self.wrong.is_none()
    }
}

impl Store {
    /// Reads everything that index objects name, each pack once in order, and checks it: chunks against their digests,
    /// recipes for being recipes of chunks that are there. Missing and truncated packs show by their pieces.
    ///
    /// What `heal_from` has takes the place of what is damaged; see [`Store::heal`].
    pub async fn verify(&self, heal_from: Option<&Self>) -> Result<Verified, StoreError> {
        self.inner.refresh().await?;
        let mut verified = Verified::default();
        let (objects, unreadable) = self.inner.index_objects_checked().await?;
        verified.damaged.extend(unreadable.into_iter().map(|((digest, meta), reason)| {
            let object = meta.location.to_string();
            Damage { digest, object, reason, healed: false, let_go: false, wrong: None }
        }));
        let mut wrong = self.inner.verify_packs(&objects, &mut verified).await?;
        if !wrong.is_empty() {
            self.inner.still_named(&mut wrong).await?;
        }
        verified.damaged.extend(wrong.into_iter().map(|(wrong, reason)| Damage::of_piece(wrong, reason)));
        if let Some(other) = heal_from {
            self.heal(&mut verified, other).await?;
        }
        Ok(verified)
    }

    /// Reads again only what these roots need, as far as that is here and what leads to it can be read.
    pub async fn verify_below(&self, roots: &[Root]) -> Result<Verified, StoreError> {
        self.inner.refresh().await?;
        let reached = self.inner.reach_broken(roots, &HashSet::new()).await?;
        let digests: BTreeSet<Digest> = reached.pieces().map(|(_, digest)| digest).collect();
        self.verify_only(&digests.into_iter().collect::<Vec<_>>()).await
    }

    /// Reads only what is called by these digests again, as far as it is here: what was found to be damaged before may have
    /// been healed since.
    pub async fn verify_only(&self, digests: &[Digest]) -> Result<Verified, StoreError> {
        self.inner.refresh().await?;
        let mut verified = Verified::default();
        let wrong = self.inner.verify_each(&self.inner.pieces_of(digests), &mut verified).await?;
        verified.damaged = wrong.into_iter().map(|(wrong, reason)| Damage::of_piece(wrong, reason)).collect();
        Ok(verified)
    }

    /// What is called by these digests, as far as it is here, taken to be damaged without being read: for
    /// [`Store::writer_over`], which writes it anew if it meets it.
    pub async fn suspected(&self, digests: &[Digest]) -> Result<Verified, StoreError> {
        self.inner.refresh().await?;
        let suspect = |(piece, tree)| Damage::of_piece(Wrong { piece, tree }, "it was damaged before".to_owned());
        let damaged = self.inner.pieces_of(digests).into_iter().map(suspect).collect();
        Ok(Verified { damaged, ..Verified::default() })
    }
}

impl Inner {
    /// The index objects that can be read, and those that cannot.
    pub(super) async fn index_objects_checked(
        &self,
    ) -> Result<(Vec<(Digest, Object)>, Vec<(Listed, String)>), StoreError> {
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

    async fn verify_packs(
        &self,
        objects: &[(Digest, Object)],
        verified: &mut Verified,
    ) -> Result<Vec<(Wrong, String)>, StoreError> {
        self.verify_each(&named_pieces(objects), verified).await
    }

    /// What is called by these digests, in the order in which it lies in packs, each with whether it is a tree.
    fn pieces_of(&self, digests: &[Digest]) -> Vec<(Piece, bool)> {
        let both = digests.iter().flat_map(|digest| [(Kind::Chunk, *digest), (Kind::Recipe, *digest)]);
        let mut pieces: Vec<(Piece, bool)> = self.index(|index| {
            let piece = |(kind, digest)| {
                let location = index.find_readable(kind, &digest)?;
                Some((Piece { kind, digest, location }, location.tree))
            };
            both.filter_map(piece).collect()
        });
        pieces.sort_unstable_by_key(|(piece, _)| (piece.location.pack, piece.location.offset));
        pieces
    }

    /// Reads pieces, many at once.
    async fn verify_each(
        &self,
        pieces: &[(Piece, bool)],
        verified: &mut Verified,
    ) -> Result<Vec<(Wrong, String)>, StoreError> {
        verified.pieces = pieces.len() as u64;
        verified.bytes = pieces.iter().map(|(piece, _)| u64::from(piece.location.stored_length)).sum();
        let mut trees = pieces.iter().map(|(_, tree)| *tree);
        let segments = segments(pieces.iter().map(|(piece, _)| *piece));
        let mut checks = std::pin::pin!(
            futures::stream::iter(segments.into_iter().map(|segment| self.verify_segment(segment)))
                .buffered(self.segments_at_once())
        );
        let mut wrong = Vec::new();
        while let Some(checked) = checks.try_next().await? {
            for ((piece, reason), tree) in checked.into_iter().zip(trees.by_ref()) {
                wrong.extend(reason.map(|reason| (Wrong { piece, tree }, reason)));
            }
        }
        Ok(wrong)
    }

    /// Drops what no index object names any more: a collector has removed or moved it while it was to be read.
    async fn still_named(&self, wrong: &mut Vec<(Wrong, String)>) -> Result<(), StoreError> {
        let (objects, _) = self.index_objects_checked().await?;
        let named: HashSet<_> = named_pieces(&objects).into_iter().map(|(piece, _)| piece.place()).collect();
        wrong.retain(|(wrong, _)| named.contains(&wrong.piece.place()));
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

    pub(super) async fn verify_pieces(&self, segment: Segment) -> Result<Option<String>, StoreError> {
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
}

/// All pieces in the order in which they lie in their packs, each with whether it is a tree.
pub(super) fn named_pieces(objects: &[(Digest, Object)]) -> Vec<(Piece, bool)> {
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
