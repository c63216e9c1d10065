//! What is damaged, replaced from another store.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use ropewalk_types::Digest;

use super::lacking::affected;
use super::reach::Root;
use super::read::{Piece, Segment, segments};
use super::verify::{Damage, Verified, Wrong, named_pieces};
use super::{Inner, Store, failed};
use crate::error::StoreError;
use crate::index::{Kind, Object, PackId};
use crate::writer::{PackWriter, Prepared, Writer, check_present};

/// Where index objects are put that cannot be read, and strangers in the folder of refs.
pub(super) const ASIDE: &str = "damaged";

/// A place in a pack.
type At = (PackId, Kind, Digest);

/// What another store gives of a piece, or what is wrong with it there; `None` if it has gone there meanwhile.
type Given = Result<(Piece, Bytes), Option<Damage>>;

impl Store {
    /// Writes what `other` has of what was found to be damaged to new packs, makes that visible, and lets no index name the
    /// damaged places any more; notes in `found` what is healed. May be called again with another store.
    ///
    /// Index objects that cannot be read (see [`Store::open_damaged`]) are put aside, in the folder `damaged`, so that the
    /// store can be opened again. What only they named is not in the store until it is added or transferred again.
    pub async fn heal(&self, found: &mut Verified, other: &Self) -> Result<(), StoreError> {
        self.heal_index(found).await?;
        let wrong = found.damaged.iter().filter(|damage| !damage.healed).filter_map(|damage| damage.wrong);
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let healed = self.inner.heal(&other.inner, &wrong, &mut found.damaged_there).await?;
        for damage in &mut found.damaged {
            damage.healed |= damage.wrong.is_some_and(|wrong| healed.contains(&wrong.piece.place()));
        }
        Ok(())
    }

    /// Puts index objects aside that cannot be read, as [`Store::heal`] does before all else.
    pub async fn heal_index(&self, found: &mut Verified) -> Result<(), StoreError> {
        for damage in found.damaged.iter_mut().filter(|damage| damage.is_index() && !damage.healed) {
            self.inner.put_aside(&damage.digest, &Path::from(damage.object.as_str())).await?;
            damage.healed = true;
        }
        Ok(())
    }

    /// A writer that writes what was found to be damaged as if the store did not have it. [`Store::heal_copies`] then lets
    /// what it has written take the place of what is damaged.
    pub fn writer_over(&self, found: &Verified) -> Writer {
        let wrong = found.damaged.iter().filter(|damage| !damage.healed).filter_map(|damage| damage.wrong);
        let pieces = wrong.map(|Wrong { piece, .. }| (piece.kind, piece.digest)).collect();
        Writer::distrusting(Arc::clone(&self.inner), pieces)
    }

    /// Lets no index name what is damaged and of which there is another copy in this store; notes it as healed.
    pub async fn heal_copies(&self, found: &mut Verified) -> Result<(), StoreError> {
        let wrong = found.damaged.iter().filter(|damage| !damage.healed).filter_map(|damage| damage.wrong);
        let all: HashSet<At> = wrong.map(|wrong| wrong.piece.place()).collect();
        if all.is_empty() {
            return Ok(());
        }
        let mut alone = all.clone();
        self.inner.second_copies(&mut alone).await?;
        for damage in &mut found.damaged {
            let place = damage.wrong.map(|wrong| wrong.piece.place());
            damage.healed |= place.is_some_and(|place| all.contains(&place) && !alone.contains(&place));
        }
        Ok(())
    }

    /// Lets no index name those of these blobs and trees that are damaged: they are missing from now on. For what nobody is to
    /// read any more.
    pub async fn let_go_damaged(&self, digests: &[Digest]) -> Result<(), StoreError> {
        let found = self.verify_only(digests).await?;
        let wrong = found.damaged.iter().filter_map(|damage| damage.wrong);
        let gone: HashSet<At> = wrong.map(|wrong| wrong.piece.place()).collect();
        if gone.is_empty() { Ok(()) } else { self.inner.unname(gone).await }
    }

    /// Lets no index name what is damaged and what none of the groups needs, so that it is neither found damaged again nor in
    /// the way of a collection; notes in `found` what was let go.
    ///
    /// Does nothing as long as something is missing or cannot be read: nobody can tell what that would need. What can be read
    /// after all stays.
    pub async fn let_go(&self, found: &mut Verified, groups: &[Vec<Root>]) -> Result<(), StoreError> {
        // What lay in an index object that was put aside is missing, perhaps below something that another one names.
        let put_aside = found.damaged.iter().any(Damage::is_index);
        if !put_aside && found.damaged.iter().all(|damage| damage.healed) {
            return Ok(());
        }
        self.inner.refresh().await?;
        let roots: Vec<Root> = groups.iter().flatten().copied().collect();
        let reached = self.inner.reach_broken(&roots, &HashSet::new()).await?;
        if !(reached.gaps.is_empty() && reached.absent.is_empty() && reached.unreadable.is_empty()) {
            return Ok(());
        }
        let needed: HashSet<_> = reached.pieces().collect();
        let mut gone = HashSet::new();
        for damage in found.damaged.iter_mut().filter(|damage| !damage.healed) {
            let Some(Wrong { piece, .. }) = damage.wrong else { continue };
            let read = self.inner.index(|index| index.find_readable(piece.kind, &piece.digest)) == Some(piece.location);
            if read && needed.contains(&(piece.kind, piece.digest)) {
                continue;
            }
            if self.inner.verify_pieces(piece.into()).await?.is_some() {
                gone.insert(piece.place());
                damage.let_go = true;
            }
            damage.healed = true;
        }
        if gone.is_empty() && !put_aside {
            return Ok(());
        }
        self.inner.second_copies(&mut gone).await?;
        self.inner.above(&needed, &mut gone).await?;
        if gone.is_empty() { Ok(()) } else { self.inner.unname(gone).await }
    }
}

impl Inner {
    /// Lets go at once what lies elsewhere too, so that nothing above it is broken.
    async fn second_copies(&self, gone: &mut HashSet<At>) -> Result<(), StoreError> {
        let (objects, _) = self.index_objects_checked().await?;
        let named = named_pieces(&objects);
        let elsewhere = named.iter().map(|(piece, _)| piece).filter(|piece| !gone.contains(&piece.place()));
        let elsewhere: HashSet<_> = elsewhere.map(|piece| (piece.kind, piece.digest)).collect();
        let copies: HashSet<At> =
            gone.iter().filter(|(_, kind, digest)| elsewhere.contains(&(*kind, *digest))).copied().collect();
        if copies.is_empty() {
            return Ok(());
        }
        gone.retain(|place| !copies.contains(place));
        self.unname(copies).await
    }

    /// Adds to `gone` the recipes and trees that are not needed and of which something is gone, or missing: what is visible is
    /// taken to be whole.
    async fn above(&self, needed: &HashSet<(Kind, Digest)>, gone: &mut HashSet<At>) -> Result<(), StoreError> {
        let (objects, _) = self.index_objects_checked().await?;
        // Of what came meanwhile, too, the index must know what lies below.
        self.refresh().await?;
        let tops = named_pieces(&objects).into_iter().filter(|(piece, tree)| {
            (*tree || piece.kind == Kind::Recipe) && !needed.contains(&(piece.kind, piece.digest))
        });
        let (places, groups): (Vec<At>, Vec<Vec<Root>>) = tops
            .map(|(piece, tree)| {
                let root = if tree { Root::Tree(piece.digest) } else { Root::Blob(piece.digest) };
                (piece.place(), vec![root])
            })
            .unzip();
        let roots: Vec<Root> = groups.iter().flatten().copied().collect();
        let broken = gone.iter().map(|(_, kind, digest)| (*kind, *digest)).collect();
        let reached = self.reach_broken(&roots, &broken).await?;
        let affected = affected(&groups, &reached);
        gone.extend(places.into_iter().zip(affected).filter(|(_, affected)| *affected).map(|(place, _)| place));
        Ok(())
    }

    /// Takes pieces out of all index objects.
    async fn unname(&self, gone: HashSet<At>) -> Result<(), StoreError> {
        let (objects, _) = self.index_objects_checked().await?;
        let packs = objects.into_iter().filter_map(|(name, object)| match object {
            Object::Packs(packs) => Some((name, packs)),
            Object::Condemned(_) => None,
        });
        self.index_without(packs.collect(), |_| false, gone, 0).await?;
        self.refresh().await
    }

    async fn put_aside(&self, name: &Digest, location: &Path) -> Result<(), StoreError> {
        let path = Path::from(format!("{ASIDE}/{name}"));
        let found = match self.backend.get(location).await {
            // Another process has put it aside.
            Err(object_store::Error::NotFound { .. }) => return Ok(()),
            found => found.map_err(failed("read", location))?,
        };
        let bytes = found.bytes().await.map_err(failed("read", location))?;
        if Digest::of(&bytes) == *name && Object::decode(&bytes).is_ok() {
            // It was read wrongly before.
            return Ok(());
        }
        self.backend.put(&path, PutPayload::from(bytes)).await.map_err(failed("write", &path))?;
        self.remove(location).await
    }

    /// Writes what `other` has of the wrong pieces to new packs, makes it visible, and drops the wrong ones.
    async fn heal(
        &self,
        other: &Inner,
        wrong: &[Wrong],
        damaged_there: &mut Vec<Damage>,
    ) -> Result<HashSet<At>, StoreError> {
        other.refresh().await?;
        let there = |one: &Wrong| other.index(|index| index.find_readable(one.piece.kind, &one.piece.digest));
        // What the other store cannot give stays as it is, and is reported.
        let mut had: Vec<_> = wrong.iter().filter_map(|one| there(one).map(|location| (location, one))).collect();
        had.sort_unstable_by_key(|(location, _)| (location.pack, location.offset));
        let pieces = had.iter().map(|(location, one)| Piece { location: *location, ..one.piece });
        let reads = segments(pieces).into_iter().map(|segment| other.give(segment));
        let mut reads = std::pin::pin!(futures::stream::iter(reads).buffered(other.segments_at_once()));
        let mut writer = PackWriter::new(self);
        let (mut healed, mut had) = (HashSet::new(), had.iter());
        while let Some(given) = reads.try_next().await? {
            for (given, (_, one)) in given.into_iter().zip(had.by_ref()) {
                match given {
                    Ok((piece, stored)) => {
                        writer.append(Prepared::stored(&piece, one.tree, stored)).await?;
                        healed.insert(one.piece.place());
                    }
                    Err(damage) => damaged_there.extend(damage),
                }
            }
        }
        let finished = writer.finish().await?;
        for pack in &finished {
            check_present(self, pack).await?;
        }
        if !finished.is_empty() {
            self.index_write(Object::Packs(finished)).await?;
            self.unname(healed.clone()).await?;
        }
        Ok(healed)
    }

    /// The pieces of a segment, in its order, checked: all at once, and one by one where something is wrong.
    async fn give(&self, segment: Segment) -> Result<Vec<Given>, StoreError> {
        let pieces: Vec<_> = segment.pieces().copied().collect();
        // What a recipe names can be checked only one by one.
        if pieces.iter().all(|piece| piece.kind == Kind::Chunk) {
            match self.read_checked(segment).await {
                Err(StoreError::Damaged { .. } | StoreError::NotFound { .. }) => {}
                read => return Ok(read?.into_iter().map(Ok).collect()),
            }
        }
        let mut given = Vec::with_capacity(pieces.len());
        for piece in pieces {
            given.push(match self.read_whole(piece).await {
                Err(StoreError::Damaged { reason, .. }) => {
                    Err(Some(Damage::of_piece(Wrong { piece, tree: piece.location.tree }, reason)))
                }
                Err(StoreError::NotFound { .. }) => Err(None),
                read => read?.into_iter().next().ok_or(None),
            });
        }
        Ok(given)
    }

    /// A piece, checked; of a recipe also that its chunks are here.
    async fn read_whole(&self, piece: Piece) -> Result<Vec<(Piece, Bytes)>, StoreError> {
        if piece.kind == Kind::Recipe {
            self.plan_at(piece.digest, piece.location).await?;
        }
        self.read_checked(piece.into()).await
    }
}
