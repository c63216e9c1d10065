use std::collections::HashSet;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use ropewalk_types::Digest;

use super::{Inner, blocking, failed};
use crate::error::StoreError;
use crate::index::{Index, Object, PackEntries};

pub(super) const FOLDER: &str = "index";
/// An index of more bytes is refused: it would cover far more than a petabyte.
const MAX_OBJECT: u64 = 4 << 30;
/// Index objects below this size are merged into a later one …
const SMALL_OBJECT: u64 = 1 << 20;
/// … when there are this many.
const MERGE_FROM: usize = 64;
const READS_AT_ONCE: usize = 8;
/// Each time round, another process must have merged index objects while we read them.
const MAX_ROUNDS: usize = 16;

/// An index object as it is listed.
pub(super) type Listed = (Digest, ObjectMeta);

impl Inner {
    /// Takes in what other writers and collectors have done to the index objects since the last look.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let _alone = self.refreshing.write().await;
        for _ in 0..MAX_ROUNDS {
            let listed = self.index_objects().await?;
            let (unknown, vanished) = self.index(|index| difference(index, &listed));
            if unknown.is_empty() && vanished.is_empty() {
                return Ok(());
            }
            let all = unknown.len() == listed.len();
            let Some(new) = self.load_all(unknown).await? else { continue };
            if !self.index(|index| index.loses(&new, &vanished)) {
                self.index_mut(|index| take_in(index, &new, &vanished));
                return Ok(());
            }
            let Some(objects) = (if all { Some(new) } else { self.load_all(listed).await? }) else { continue };
            self.index_mut(|index| {
                *index = Index::of(objects.iter().map(|(name, object)| (*name, object)), index.losses() + 1);
            });
            return Ok(());
        }
        let reason = "index objects vanish as fast as they are read".to_owned();
        Err(StoreError::Malformed { what: "store", reason })
    }

    /// Makes the pieces of durable `packs` visible, all at once.
    ///
    /// The many small index objects of earlier commits are merged into the new one, so that a store of a hundred
    /// thousand commits still opens at once. The merged ones are removed only if all of them are still there after the
    /// new one was written: else another process has replaced them, perhaps by less, and the merger takes itself back.
    pub(crate) async fn publish(&self, packs: Vec<PackEntries>) -> Result<(), StoreError> {
        let mut small = self.index_objects().await?;
        small.retain(|(_, meta)| meta.size < SMALL_OBJECT);
        let merge = if small.len() < MERGE_FROM { None } else { self.load_all(small).await? };
        let Some(mut merged) = merge else {
            return self.index_write(Object::Packs(packs)).await.map(drop);
        };
        merged.retain(|(_, object)| matches!(object, Object::Packs(_)));
        let (name, _) = self.object_put(Object::Packs(union(&packs, &merged))).await?;
        let listed: HashSet<_> = self.index_objects().await?.into_iter().map(|(name, _)| name).collect();
        if !merged.iter().all(|(old, _)| listed.contains(old)) {
            self.index_write(Object::Packs(packs)).await?;
            return self.object_remove(&name).await;
        }
        for (old, _) in merged.iter().filter(|(old, _)| *old != name) {
            // One that stays only repeats what the new one says; the next merge takes it again.
            let _ = self.object_remove(old).await;
        }
        self.refresh().await
    }

    /// Writes an index object and takes it in.
    pub(super) async fn index_write(&self, object: Object) -> Result<Digest, StoreError> {
        // Shared with other writers, but not with a refresh, which would find an object that it did not see listed.
        let _shared = self.refreshing.read().await;
        let (name, object) = self.object_put(object).await?;
        if let Object::Packs(packs) = object {
            self.index_mut(|index| index.insert(name, &packs));
        }
        Ok(name)
    }

    async fn object_put(&self, object: Object) -> Result<(Digest, Object), StoreError> {
        let (bytes, object) = blocking(move || Ok((object.encode(), object))).await?;
        let name = Digest::of(&bytes);
        let path = object_path(&name);
        self.backend.put(&path, bytes.into()).await.map_err(failed("write", &path))?;
        Ok((name, object))
    }

    pub(super) async fn object_remove(&self, name: &Digest) -> Result<(), StoreError> {
        self.remove(&object_path(name)).await
    }

    /// Removes an object, which may be gone already.
    pub(super) async fn remove(&self, path: &Path) -> Result<(), StoreError> {
        match self.backend.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed("remove", path)(source)),
        }
    }

    pub(super) async fn index_objects(&self) -> Result<Vec<Listed>, StoreError> {
        let folder = Path::from(FOLDER);
        let listed: Vec<_> = self.backend.list(Some(&folder)).try_collect().await.map_err(failed("list", &folder))?;
        if listed.is_empty() {
            self.check_there().await?;
        }
        Ok(listed.into_iter().filter_map(|meta| Some((meta.location.filename()?.parse().ok()?, meta))).collect())
    }

    /// Gives `None` when one has been merged or replaced since it was listed.
    pub(super) async fn load_all(&self, objects: Vec<Listed>) -> Result<Option<Vec<(Digest, Object)>>, StoreError> {
        let loads = objects.into_iter().map(|listed| self.load(listed));
        let loaded: Vec<Option<_>> = futures::stream::iter(loads).buffered(READS_AT_ONCE).try_collect().await?;
        Ok(loaded.into_iter().collect())
    }

    async fn load(&self, listed: Listed) -> Result<Option<(Digest, Object)>, StoreError> {
        let name = listed.0;
        match self.load_strict(listed).await {
            Err(StoreError::Damaged { .. }) if self.tolerant => Ok(Some((name, Object::Packs(Vec::new())))),
            loaded => loaded.map_err(|error| self.here(error)),
        }
    }

    pub(super) async fn load_strict(&self, (name, meta): Listed) -> Result<Option<(Digest, Object)>, StoreError> {
        let size = meta.size;
        if size > MAX_OBJECT {
            return Err(StoreError::TooLarge {
                what: meta.location.to_string(),
                size,
                limit: MAX_OBJECT,
                unit: "bytes",
            });
        }
        let found = match self.backend.get(&meta.location).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed("read", &meta.location))?,
        };
        let bytes = found.bytes().await.map_err(failed("read", &meta.location))?;
        blocking(move || {
            let damaged = |reason| StoreError::Damaged { digest: name, object: meta.location.to_string(), reason };
            if Digest::of(&bytes) != name {
                return Err(damaged("its bytes have another digest".to_owned()));
            }
            let object = Object::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
            Ok(Some((name, object)))
        })
        .await
    }
}

/// What is listed and not known, and what is known and not listed.
fn difference(index: &Index, listed: &[Listed]) -> (Vec<Listed>, Vec<Digest>) {
    let names: HashSet<_> = listed.iter().map(|(name, _)| name).collect();
    let unknown = listed.iter().filter(|(name, _)| !index.has_object(name)).cloned().collect();
    (unknown, index.objects().filter(|name| !names.contains(name)).copied().collect())
}

fn take_in(index: &mut Index, new: &[(Digest, Object)], vanished: &[Digest]) {
    for (name, object) in new {
        if let Object::Packs(packs) = object {
            index.insert(*name, packs);
        }
    }
    index.forget(vanished);
}

/// What all of them say; of a pack that several name, once.
fn union(packs: &[PackEntries], objects: &[(Digest, Object)]) -> Vec<PackEntries> {
    let of_object = |(_, object): &(Digest, Object)| match object {
        Object::Packs(packs) => packs.clone(),
        Object::Condemned(_) => Vec::new(),
    };
    let mut all: Vec<_> = packs.iter().cloned().chain(objects.iter().flat_map(of_object)).collect();
    all.sort_by_key(|pack| pack.pack);
    all.dedup_by_key(|pack| pack.pack);
    all
}

fn object_path(name: &Digest) -> Path {
    Path::from(format!("{FOLDER}/{name}"))
}
