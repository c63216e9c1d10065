//! Moving blobs and trees from one store to another.
//!
//! Only pieces that the other store lacks are moved, as they are stored: nothing is encoded again. Leaves go first and
//! become visible from time to time, so that a transfer that was killed goes on where it was; recipes and trees become
//! visible all at once at the end, so that a tree that is visible is whole and need not be looked into.
//!
//! A pack of which all is wanted need not be written again where both stores are directories of one file system; see
//! `share.rs`.

use futures::{StreamExt as _, TryStreamExt as _};

use super::reach::{Gaps, Reached, Root};
use super::read::{Piece, segments};
use super::share::WholePacks;
use super::{Inner, Relied, Store};
use crate::error::StoreError;
use crate::index::Kind;
use crate::writer::{PackWriter, Prepared, check_present};

/// So much is lost at most when a transfer is killed.
const PUBLISH_EVERY: u64 = 256 << 20;
/// Each time round, a collector has condemned what the transfer had taken for granted.
const MAX_ROUNDS: usize = 4;

/// Told how a transfer goes on, and how files are laid out. The two are counted apart: bytes travel as they are stored,
/// files are laid out as they are.
pub trait TransferProgress: Send + Sync {
    /// What is to be moved, in addition to what has been moved before; of each transfer at its beginning, and again of the
    /// rest if it has to begin anew.
    fn planned(&self, pieces: u64, bytes: u64);
    /// What has just been moved, in addition to what was before.
    fn moved(&self, pieces: u64, bytes: u64);
    /// What is to be laid out, in addition to what has been laid out before.
    fn laying_out(&self, _files: u64, _bytes: u64) {}
    /// What has just been laid out, in addition to what was before.
    fn laid_out(&self, _files: u64, _bytes: u64) {}
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl TransferProgress for NoProgress {
    fn planned(&self, _: u64, _: u64) {}
    fn moved(&self, _: u64, _: u64) {}
}

/// What a transfer has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Pieces that were moved: chunks and recipes.
    pub pieces: u64,
    /// Their bytes, as they are stored.
    pub bytes: u64,
    /// Pieces and whole trees that the other store had.
    pub present: u64,
}

/// What two stores in one file system may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    Nothing,
    /// The blocks of packs, which part when one of the files is changed.
    Blocks,
    /// Blocks, and where that cannot be the files of packs, which are never changed.
    Files,
}

/// A piece that is to be moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) piece: Piece,
    pub(super) tree: bool,
}

impl Store {
    /// Moves to `other` what it lacks of `roots` and all below them; they are durable and visible there on return.
    ///
    /// Every piece is checked against its digest on the way. A transfer that is dropped or killed has lost at most the
    /// last 256 MiB and goes on when it is called again. Memory use is bounded by 64 MiB between
    /// directories and 200 MiB elsewhere, where many requests hide the latency, and a hundred bytes a piece.
    /// A root or piece that this store does not have is [`StoreError::NotFound`].
    pub async fn copy_to(
        &self,
        other: &Self,
        roots: &[Root],
        progress: &dyn TransferProgress,
    ) -> Result<Transferred, StoreError> {
        self.copy_sharing(other, roots, Sharing::Blocks, progress).await
    }

    /// [`Store::copy_to`], for another store that need not outlive damage to the files of this one.
    ///
    /// Where both are directories of one file system, and belong to one user, packs of which all is wanted become second
    /// names of the files here (hard links), as `git clone` has it for a repository of the same machine. Their pieces are
    /// checked as all others are.
    pub async fn link_to(
        &self,
        other: &Self,
        roots: &[Root],
        progress: &dyn TransferProgress,
    ) -> Result<Transferred, StoreError> {
        self.copy_sharing(other, roots, Sharing::Files, progress).await
    }

    async fn copy_sharing(
        &self,
        other: &Self,
        roots: &[Root],
        sharing: Sharing,
        progress: &dyn TransferProgress,
    ) -> Result<Transferred, StoreError> {
        self.inner.refresh().await?;
        let mut done = Transferred::default();
        for _ in 1..MAX_ROUNDS {
            match self.inner.copy_round(&other.inner, roots, sharing, progress, &mut done).await {
                Err(StoreError::Collected { .. } | StoreError::PackRemoved { .. }) => {}
                result => return result.map(|()| done),
            }
        }
        self.inner.copy_round(&other.inner, roots, sharing, progress, &mut done).await.map(|()| done)
    }
}

impl Inner {
    /// Copies what `other` shows nothing of; that it may be this store itself, whose condemned pieces are read and not
    /// shown, is what [`Relied::check`] rests on.
    pub(super) async fn copy_round(
        &self,
        other: &Inner,
        roots: &[Root],
        sharing: Sharing,
        progress: &dyn TransferProgress,
        done: &mut Transferred,
    ) -> Result<(), StoreError> {
        other.refresh().await?;
        let mut relied = Relied::new(other);
        let has = |kind, digest: &_| other.index(|index| index.find(kind, digest)).is_some();
        let reached = self.reach(roots, Gaps::Refused, &has).await?;
        if let Some(digest) = reached.absent.first() {
            return Err(StoreError::NotFound { digest: *digest });
        }
        reached.passed.iter().for_each(|(kind, digest)| relied.add(*kind, *digest));
        done.present = relied.len() as u64;
        let (leaves, tops) = self.wanted(&reached)?;
        let bytes = leaves.iter().chain(&tops).map(Wanted::bytes).sum();
        progress.planned((leaves.len() + tops.len()) as u64, bytes);
        // Once they are visible, a collector may condemn them as anything else, before the tops that need them are there.
        reached.leaves.iter().for_each(|digest| relied.add(Kind::Chunk, *digest));
        let WholePacks { of_leaves, with_tops, mut leaves, mut tops } = self.whole_packs(other, sharing, leaves, tops);
        let packs = PackWriter::new(other);
        let mut moving = Moving { from: self, to: other, progress, done, packs, hidden: 0 };
        for pack in of_leaves {
            leaves.extend(moving.share(sharing, pack).await?);
            moving.publish_from(PUBLISH_EVERY).await?;
        }
        let came = moving.pieces(leaves, PUBLISH_EVERY).await;
        if came.as_ref().err().is_none_or(StoreError::is_of_content) {
            // Also what came before something damaged: it need not travel again.
            moving.publish().await?;
        }
        came?;
        for pack in with_tops {
            tops.extend(moving.share(sharing, pack).await?);
        }
        moving.pieces(tops, u64::MAX).await?;
        moving.publish().await?;
        relied.check_only(other).await
    }

    /// Leaves and tops in the order in which they lie in packs.
    fn wanted(&self, reached: &Reached) -> Result<(Vec<Wanted>, Vec<Wanted>), StoreError> {
        let locate = |kind, digest, tree| {
            let location = self.index(|index| index.find_readable(kind, &digest));
            let location = location.ok_or(StoreError::NotFound { digest })?;
            Ok(Wanted { piece: Piece { kind, digest, location }, tree })
        };
        let sorted = |mut wanted: Vec<Wanted>| {
            wanted.sort_unstable_by_key(|wanted| (wanted.piece.location.pack, wanted.piece.location.offset));
            wanted
        };
        let leaves = reached.leaves.iter().map(|digest| locate(Kind::Chunk, *digest, false));
        let tops = reached.tops.iter().map(|((kind, digest), tree)| locate(*kind, *digest, *tree));
        Ok((sorted(leaves.collect::<Result<_, StoreError>>()?), sorted(tops.collect::<Result<_, StoreError>>()?)))
    }
}

impl Wanted {
    fn bytes(&self) -> u64 {
        u64::from(self.piece.location.stored_length)
    }
}

/// A transfer on its way.
struct Moving<'a> {
    from: &'a Inner,
    to: &'a Inner,
    progress: &'a dyn TransferProgress,
    done: &'a mut Transferred,
    packs: PackWriter,
    /// Bytes that were written and are not visible yet.
    hidden: u64,
}

impl Moving<'_> {
    async fn pieces(&mut self, wanted: Vec<Wanted>, publish_every: u64) -> Result<(), StoreError> {
        let from = self.from;
        let reads = segments(wanted.iter().map(|wanted| wanted.piece)).into_iter();
        let mut reads = std::pin::pin!(
            futures::stream::iter(reads.map(|segment| from.read_checked(segment))).buffered(from.segments_at_once())
        );
        let mut wanted = wanted.iter();
        while let Some(pieces) = reads.try_next().await? {
            // In this order: the second of the two is not asked for more than the first has.
            for ((piece, stored), wanted) in pieces.into_iter().zip(wanted.by_ref()) {
                self.append(Prepared::stored(&piece, wanted.tree, stored)).await?;
            }
            self.publish_from(publish_every).await?;
        }
        Ok(())
    }

    /// Shares a pack of which these pieces are all; gives them back where that cannot be.
    async fn share(&mut self, sharing: Sharing, wanted: Vec<Wanted>) -> Result<Vec<Wanted>, StoreError> {
        let Some(pack) = self.from.share_pack(self.to, sharing, &wanted).await? else { return Ok(wanted) };
        let bytes = wanted.iter().map(Wanted::bytes).sum();
        self.packs.adopt(pack);
        self.moved(wanted.len() as u64, bytes);
        Ok(Vec::new())
    }

    async fn append(&mut self, prepared: Prepared) -> Result<(), StoreError> {
        let bytes = prepared.stored.len() as u64;
        self.packs.append(prepared).await?;
        self.moved(1, bytes);
        Ok(())
    }

    fn moved(&mut self, pieces: u64, bytes: u64) {
        self.hidden += bytes;
        self.done.pieces += pieces;
        self.done.bytes += bytes;
        self.progress.moved(pieces, bytes);
    }

    /// Makes visible what is durable, once it is so much.
    async fn publish_from(&mut self, bytes: u64) -> Result<(), StoreError> {
        if self.hidden >= bytes { self.publish().await } else { Ok(()) }
    }

    async fn publish(&mut self) -> Result<(), StoreError> {
        let finished = self.packs.finish().await?;
        self.hidden = 0;
        for pack in &finished {
            check_present(self.to, pack).await?;
        }
        self.to.just_checked.note(finished.iter().map(|pack| pack.pack));
        if finished.is_empty() { Ok(()) } else { self.to.publish(finished).await }
    }
}
