//! A plan carried out: always first what is written, then what is removed.

use std::collections::HashSet;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;

use super::plan::{Merged, Plan};
use super::{Amount, Collected};
use crate::error::StoreError;
use crate::index::{Condemned, Entry, Kind, Object, PackEntries, PackId};
use crate::store::read::{Piece, segments};
use crate::store::{Inner, blocking};
use crate::writer::{PackWriter, Prepared};

const REMOVALS_AT_ONCE: usize = 8;
/// Small packs that are read ahead of the writing, each of which has at most 8 MiB that are needed.
const PACKS_AHEAD: usize = 4;
/// An index object of fewer slots, of 41 bytes each, is small …
const SMALL_INDEX: usize = 1 << 14;
/// … and so many of them become one.
const JOIN_FROM: usize = 8;

impl Inner {
    /// Carries out the plan, and gives its report with what it has come to.
    pub(super) async fn collect_apply(&self, plan: Plan) -> Result<Collected, StoreError> {
        let Plan {
            mut condemn,
            mut hide,
            replaced,
            remove,
            mut delete,
            rewrite,
            merge,
            objects,
            at_once,
            mut report,
            ..
        } = plan;
        let mut writer = PackWriter::new(self);
        let mut rewritten = self.rewrite(rewrite, &mut writer).await?;
        let merged = self.merge(merge, &mut writer).await?;
        let finished = writer.finish().await?;
        if !finished.is_empty() {
            self.index_write(Object::Packs(finished)).await?;
        }
        (report.merged, report.merged_packs) = (Amount::default(), merged.len() as u64);
        for pack in merged {
            for (piece, _) in &pack.pieces {
                report.merged.add(piece.location.stored_length);
            }
            if at_once {
                rewritten += pack.bytes();
                delete.insert(pack.pack, pack.size);
                hide.packs.push(pack.pack);
            } else {
                for (piece, _) in &pack.pieces {
                    condemn.add(pack.pack, piece.kind, piece.digest);
                }
            }
        }
        hide.packs.sort();
        let mut written = Vec::new();
        written.extend(self.hide(condemn).await?);
        written.extend(self.hide(hide).await?);
        let gone: HashSet<_> = delete.keys().copied().collect();
        let is_small = |(_, packs): &(Digest, Vec<PackEntries>)| slots(packs) < SMALL_INDEX;
        let join = if objects.iter().filter(|object| is_small(object)).count() < JOIN_FROM { 0 } else { SMALL_INDEX };
        self.index_without(objects, move |pack| gone.contains(pack), remove, join).await?;
        let removals = delete.keys().map(|pack| async move { self.remove(&pack.path()).await });
        futures::stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE).try_collect::<()>().await?;
        // One that says the same as what was written has the same name.
        self.objects_remove(replaced.into_iter().filter(|name| !written.contains(name)).collect()).await?;
        report.freed = delete.values().sum::<u64>().saturating_sub(rewritten);
        // Of those that an earlier collector had begun to remove, the size is told by that one.
        report.freed_packs = delete.values().filter(|size| **size > 0).count() as u64;
        Ok(report)
    }

    /// Replaces those of the index objects that name packs that are gone, or pieces that are to be removed, and those of
    /// fewer than `join` slots, by one.
    pub(in crate::store) async fn index_without(
        &self,
        objects: Vec<(Digest, Vec<PackEntries>)>,
        is_gone: impl Fn(&PackId) -> bool + Send + 'static,
        remove: HashSet<(PackId, Kind, Digest)>,
        join: usize,
    ) -> Result<(), StoreError> {
        let (changed, rest) = blocking(move || Ok(without(objects, is_gone, &remove, join))).await?;
        let written = if rest.is_empty() { None } else { Some(self.index_write(Object::Packs(rest)).await?) };
        self.objects_remove(changed.into_iter().filter(|name| Some(*name) != written).collect()).await
    }

    async fn hide(&self, condemned: Condemned) -> Result<Option<Digest>, StoreError> {
        if condemned.is_empty() {
            return Ok(None);
        }
        self.index_write(Object::Condemned(condemned)).await.map(Some)
    }

    /// Writes what stays of packs that go; gives the bytes written.
    async fn rewrite(&self, pieces: Vec<(Piece, bool)>, writer: &mut PackWriter) -> Result<u64, StoreError> {
        let mut trees = pieces.iter().map(|(_, tree)| *tree);
        let mut bytes = 0;
        for segment in segments(pieces.iter().map(|(piece, _)| *piece)) {
            for ((piece, stored), tree) in self.read_checked(segment).await?.into_iter().zip(trees.by_ref()) {
                bytes += stored.len() as u64;
                writer.append(Prepared::stored(&piece, tree, stored)).await?;
            }
        }
        Ok(bytes)
    }

    /// Writes what is needed of small packs, and gives those of which all could be read: the others stay as they are, for
    /// [`Store::verify`](crate::Store::verify) to tell what is wrong with them.
    async fn merge(&self, packs: Vec<Merged>, writer: &mut PackWriter) -> Result<Vec<Merged>, StoreError> {
        let mut merged = Vec::with_capacity(packs.len());
        let reads = packs.into_iter().map(|pack| self.read_pack(pack));
        let mut reads = std::pin::pin!(futures::stream::iter(reads).buffered(PACKS_AHEAD));
        while let Some(read) = reads.try_next().await? {
            let Some((pack, contents)) = read else { continue };
            for ((piece, stored), (_, tree)) in contents.into_iter().zip(&pack.pieces) {
                writer.append(Prepared::stored(&piece, *tree, stored)).await?;
            }
            merged.push(pack);
        }
        Ok(merged)
    }

    async fn read_pack(&self, pack: Merged) -> Result<Option<(Merged, Vec<(Piece, Bytes)>)>, StoreError> {
        let mut contents = Vec::with_capacity(pack.pieces.len());
        for segment in segments(pack.pieces.iter().map(|(piece, _)| *piece)) {
            match self.read_checked(segment).await {
                Err(StoreError::Damaged { .. }) => return Ok(None),
                read => contents.extend(read?),
            }
        }
        Ok(Some((pack, contents)))
    }

    async fn objects_remove(&self, names: Vec<Digest>) -> Result<(), StoreError> {
        let removals = names.into_iter().map(|name| async move { self.object_remove(&name).await });
        futures::stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE).try_collect::<()>().await
    }
}

fn slots(packs: &[PackEntries]) -> usize {
    packs.iter().map(|pack| pack.slots.len()).sum()
}

/// The names of the objects that change, and what is left of them.
fn without(
    objects: Vec<(Digest, Vec<PackEntries>)>,
    is_gone: impl Fn(&PackId) -> bool,
    remove: &HashSet<(PackId, Kind, Digest)>,
    join: usize,
) -> (Vec<Digest>, Vec<PackEntries>) {
    let goes = |pack: PackId, entry: &Entry| remove.contains(&(pack, entry.kind, entry.digest));
    let touched = |pack: &PackEntries| is_gone(&pack.pack) || pack.pieces().any(|(_, entry)| goes(pack.pack, entry));
    let changes = |packs: &[PackEntries]| slots(packs) < join || packs.iter().any(touched);
    let (mut changed, mut rest) = (Vec::new(), Vec::new());
    for (name, packs) in objects.into_iter().filter(|(_, packs)| changes(packs)) {
        changed.push(name);
        for mut pack in packs.into_iter().filter(|pack| !is_gone(&pack.pack)) {
            let id = pack.pack;
            pack.remove(|entry| goes(id, entry));
            rest.push(pack);
        }
    }
    // A merger of index objects that was stopped half-way leaves two that say the same.
    rest.sort_by_key(|pack| pack.pack);
    rest.dedup();
    (changed, rest)
}
