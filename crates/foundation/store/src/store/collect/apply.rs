//! A plan carried out: always first what is written, then what is removed.

use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;
use std::collections::HashSet;

use super::plan::Plan;
use crate::error::StoreError;
use crate::index::{Condemned, Entry, Kind, Object, PackEntries, PackId};
use crate::store::read::{Piece, segments};
use crate::store::{Inner, blocking};
use crate::writer::{PackWriter, Prepared};

const REMOVALS_AT_ONCE: usize = 8;

impl Inner {
    /// Gives the bytes by which the packs became smaller.
    pub(super) async fn collect_apply(&self, plan: Plan) -> Result<u64, StoreError> {
        let Plan { condemn, hide, replaced, remove, delete, rewrite, objects, .. } = plan;
        let mut written = Vec::new();
        written.extend(self.hide(condemn).await?);
        let rewritten = self.rewrite(rewrite).await?;
        written.extend(self.hide(hide).await?);
        let gone: HashSet<_> = delete.keys().copied().collect();
        self.index_without(objects, move |pack| gone.contains(pack), remove).await?;
        let removals = delete.keys().map(|pack| async move { self.remove(&pack.path()).await });
        futures::stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE).try_collect::<()>().await?;
        // One that says the same as what was written has the same name.
        self.objects_remove(replaced.iter().filter(|name| !written.contains(name))).await?;
        Ok(delete.values().sum::<u64>().saturating_sub(rewritten))
    }

    /// Replaces those of the index objects that name packs that are gone, or pieces that are to be removed.
    pub(in crate::store) async fn index_without(
        &self,
        objects: Vec<(Digest, Vec<PackEntries>)>,
        is_gone: impl Fn(&PackId) -> bool + Send + 'static,
        remove: HashSet<(PackId, Kind, Digest)>,
    ) -> Result<(), StoreError> {
        let (changed, rest) = blocking(move || Ok(without(objects, is_gone, &remove))).await?;
        let written = if rest.is_empty() { None } else { Some(self.index_write(Object::Packs(rest)).await?) };
        self.objects_remove(changed.iter().filter(|name| Some(**name) != written)).await
    }

    async fn hide(&self, condemned: Condemned) -> Result<Option<Digest>, StoreError> {
        if condemned.is_empty() {
            return Ok(None);
        }
        self.index_write(Object::Condemned(condemned)).await.map(Some)
    }

    /// Writes what stays of packs that go, and makes it visible there; gives the bytes written.
    async fn rewrite(&self, pieces: Vec<(Piece, bool)>) -> Result<u64, StoreError> {
        let mut writer = PackWriter::new(self);
        let mut trees = pieces.iter().map(|(_, tree)| *tree);
        for segment in segments(pieces.iter().map(|(piece, _)| *piece)) {
            for ((piece, stored), tree) in self.read_checked(segment).await?.into_iter().zip(trees.by_ref()) {
                writer.append(Prepared::stored(&piece, tree, stored)).await?;
            }
        }
        let finished = writer.finish().await?;
        let bytes = finished.iter().map(PackEntries::size).sum();
        if !finished.is_empty() {
            self.index_write(Object::Packs(finished)).await?;
        }
        Ok(bytes)
    }

    async fn objects_remove(&self, names: impl Iterator<Item = &Digest>) -> Result<(), StoreError> {
        let removals = names.map(|name| self.object_remove(name));
        futures::stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE).try_collect::<()>().await
    }
}

/// The names of the objects that change, and what is left of them.
fn without(
    objects: Vec<(Digest, Vec<PackEntries>)>,
    is_gone: impl Fn(&PackId) -> bool,
    remove: &HashSet<(PackId, Kind, Digest)>,
) -> (Vec<Digest>, Vec<PackEntries>) {
    let goes = |pack: PackId, entry: &Entry| remove.contains(&(pack, entry.kind, entry.digest));
    let touched = |pack: &PackEntries| is_gone(&pack.pack) || pack.pieces().any(|(_, entry)| goes(pack.pack, entry));
    let (mut changed, mut rest) = (Vec::new(), Vec::new());
    for (name, packs) in objects.into_iter().filter(|(_, packs)| packs.iter().any(touched)) {
        changed.push(name);
        for mut pack in packs.into_iter().filter(|pack| !is_gone(&pack.pack)) {
            let id = pack.pack;
            pack.remove(|entry| goes(id, entry));
            rest.push(pack);
        }
    }
    (changed, rest)
}
