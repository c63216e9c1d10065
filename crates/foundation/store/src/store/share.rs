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

/// Packs of which all is wanted, and what else is to be moved.
#[derive(Debug, Default)]
pub(super) struct WholePacks {
    /// Packs without recipes and trees: their pieces, one behind the other.
    pub(super) of_leaves: Vec<Vec<Wanted>>,
    /// Packs with some.
    pub(super) with_tops: Vec<Vec<Wanted>>,
    pub(super) leaves: Vec<Wanted>,
    pub(super) tops: Vec<Wanted>,
}

impl Inner {
    /// Finds the packs that `other` may share, as far as this store's index tells.
    pub(super) fn whole_packs(
        &self,
        other: &Inner,
        sharing: Sharing,
        leaves: Vec<Wanted>,
        tops: Vec<Wanted>,
    ) -> WholePacks {
        let mut found = WholePacks::default();
        if sharing == Sharing::Nothing || self.directory.is_none() || other.directory.is_none() {
            return WholePacks { leaves, tops, ..found };
        }
        let of_tops: HashSet<_> = tops.iter().map(Wanted::pack).collect();
        let mut packs: BTreeMap<PackId, Vec<Wanted>> = BTreeMap::new();
        for wanted in leaves.iter().chain(&tops) {
            packs.entry(wanted.pack()).or_default().push(*wanted);
        }
        let mut whole = HashSet::new();
        for (pack, mut pieces) in packs {
            pieces.sort_unstable_by_key(|wanted| wanted.piece.location.offset);
            if entries_of(pack, &pieces).is_some_and(|entries| entries.size() >= SHARED_FROM) {
                let with_tops = of_tops.contains(&pack);
                if with_tops { &mut found.with_tops } else { &mut found.of_leaves }.push(pieces);
                whole.insert(pack);
            }
        }
        let rest = |wanted: Vec<Wanted>| wanted.into_iter().filter(|wanted| !whole.contains(&wanted.pack())).collect();
        (found.leaves, found.tops) = (rest(leaves), rest(tops));
        found
    }

    /// Shares the pack of which `wanted` are all pieces; it is durable in `other`, and not visible yet.
    ///
    /// `None` for a pack that cannot be shared, or in which something is not what it should be: who moves its pieces then
    /// says what is wrong.
    pub(super) async fn share_pack(
        &self,
        other: &Inner,
        sharing: Sharing,
        wanted: &[Wanted],
    ) -> Result<Option<PackEntries>, StoreError> {
        let id = PackId::random();
        let from = wanted.first().and_then(|first| self.pack_file(first.pack()));
        let (Some(from), Some(to), Some(entries)) = (from, other.pack_file(id), entries_of(id, wanted)) else {
            return Ok(None);
        };
        let (size, target) = (entries.size(), to.clone());
        let shared = blocking(move || {
            if files::size(&from)? != size {
                return Ok(false);
            }
            Ok(files::share_blocks(&from, &to)? || sharing == Sharing::Files && files::second_name(&from, &to)?)
        });
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

/// The entries of the pack `id` if `wanted` lie in it one behind the other from its beginning.
fn entries_of(id: PackId, wanted: &[Wanted]) -> Option<PackEntries> {
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
