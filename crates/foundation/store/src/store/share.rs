//! Packs that come to another store of the same file system without being written again.
//!
//! They get a name of their own there, so that what one store does with its packs is nothing to the other: a collector
//! removes names, and writes what is still needed of a pack to another. Only a pack of which every byte is wanted is
//! shared; what was not asked for does not come along.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};

use super::copy::{Sharing, Wanted};
use super::read::{Piece, segments};
use super::{Inner, blocking};
use crate::error::StoreError;
use crate::files;
use crate::index::{Entry, Location, PackEntries, PackId, Slot};

/// Smaller packs are joined to larger ones instead.
const SHARED_FROM: u64 = 1 << 20;

/// What was shared, and what is left to be moved.
#[derive(Debug, Default)]
pub(super) struct SharedPacks {
    /// Packs without recipes and trees.
    pub(super) of_leaves: Vec<PackEntries>,
    /// Packs with some.
    pub(super) with_tops: Vec<PackEntries>,
    pub(super) leaves: Vec<Wanted>,
    pub(super) tops: Vec<Wanted>,
}

impl Inner {
    /// Shares what can be shared with `other`; the packs are durable there, and not visible yet.
    ///
    /// A pack that cannot be shared, or in which a piece is not what it should be, is left to be moved.
    pub(super) async fn share(
        &self,
        other: &Inner,
        sharing: Sharing,
        leaves: Vec<Wanted>,
        tops: Vec<Wanted>,
    ) -> Result<SharedPacks, StoreError> {
        let mut shared = SharedPacks::default();
        if sharing == Sharing::Nothing || self.directory.is_none() || other.directory.is_none() {
            return Ok(SharedPacks { leaves, tops, ..shared });
        }
        let of_tops: HashSet<_> = tops.iter().map(Wanted::pack).collect();
        let mut packs: BTreeMap<PackId, Vec<Wanted>> = BTreeMap::new();
        for wanted in leaves.iter().chain(&tops) {
            packs.entry(wanted.pack()).or_default().push(*wanted);
        }
        let mut gone = HashSet::new();
        for (pack, mut pieces) in packs {
            pieces.sort_unstable_by_key(|wanted| wanted.piece.location.offset);
            if let Some(entries) = self.share_pack(other, sharing, pack, &pieces).await? {
                let with_tops = of_tops.contains(&pack);
                if with_tops { &mut shared.with_tops } else { &mut shared.of_leaves }.push(entries);
                gone.insert(pack);
            }
        }
        let rest = |wanted: Vec<Wanted>| wanted.into_iter().filter(|wanted| !gone.contains(&wanted.pack())).collect();
        (shared.leaves, shared.tops) = (rest(leaves), rest(tops));
        Ok(shared)
    }

    /// Shares one pack of which `wanted` are wanted, in their order.
    async fn share_pack(
        &self,
        other: &Inner,
        sharing: Sharing,
        pack: PackId,
        wanted: &[Wanted],
    ) -> Result<Option<PackEntries>, StoreError> {
        let (Some(from), id) = (self.pack_file(pack), PackId::random()) else { return Ok(None) };
        let (Some(to), Some(entries)) = (other.pack_file(id), whole(id, wanted)) else { return Ok(None) };
        let size = entries.size();
        if size < SHARED_FROM {
            return Ok(None);
        }
        let target = to.clone();
        let shared = blocking(move || {
            let whole = files::size(&from)? == size;
            let blocks = whole && files::share_blocks(&from, &to)?;
            Ok(blocks || whole && sharing == Sharing::Files && files::second_name(&from, &to)?)
        });
        // What is wrong with the pack is said by whoever moves its pieces.
        if !shared.await.unwrap_or(false) {
            return Ok(None);
        }
        match other.check_pieces(&entries).await {
            Ok(()) => Ok(Some(entries)),
            Err(_) => blocking(move || Ok(files::remove_file(&target)?)).await.map(|_| None),
        }
    }

    async fn check_pieces(&self, entries: &PackEntries) -> Result<(), StoreError> {
        let pieces = entries.pieces().map(|(offset, entry)| {
            let location = Location::new(entries.pack, offset, entry);
            Piece { kind: entry.kind, digest: entry.digest, location }
        });
        let reads = segments(pieces).into_iter().map(|segment| self.read_in_place(segment));
        futures::stream::iter(reads).buffer_unordered(self.segments_at_once()).try_collect().await
    }
}

impl Wanted {
    fn pack(&self) -> PackId {
        self.piece.location.pack
    }
}

/// The entries of the pack `id` if `wanted` are all of it, one behind the other.
fn whole(id: PackId, wanted: &[Wanted]) -> Option<PackEntries> {
    let mut end = PackId::MARK.len() as u64;
    let mut slots = Vec::with_capacity(wanted.len());
    for Wanted { piece: Piece { kind, digest, location }, tree } in wanted.iter().copied() {
        if location.offset != end {
            return None;
        }
        end = location.end();
        let Location { encoding, stored_length, raw_length, .. } = location;
        slots.push(Slot::Piece(Entry { digest, kind, tree, encoding, stored_length, raw_length }));
    }
    Some(PackEntries { pack: id, slots })
}
