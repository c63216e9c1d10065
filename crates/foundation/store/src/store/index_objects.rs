use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use ropewalk_types::Digest;

use super::{Inner, blocking, failed};
use crate::error::StoreError;
use crate::index::{self, PackEntries};

const FOLDER: &str = "index";
/// An index of more bytes is refused: it would cover far more than a petabyte.
const MAX_OBJECT: u64 = 4 << 30;
/// Index objects below this size are merged into a later one …
const SMALL_OBJECT: u64 = 1 << 20;
/// … when there are this many.
const MERGE_FROM: usize = 64;
const READS_AT_ONCE: usize = 8;
/// Each time round, another process must have merged index objects while we read them.
const MAX_ROUNDS: usize = 16;

/// An index object as it was read.
struct Loaded {
    name: Digest,
    size: u64,
    packs: Vec<PackEntries>,
}

impl Inner {
    /// Takes in the index objects that other writers have made since the last look.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let _alone = self.refreshing.lock().await;
        for _ in 0..MAX_ROUNDS {
            let mut unknown = self.index_objects().await?;
            unknown.retain(|(name, _)| !self.index(|index| index.has_object(name)));
            let loaded = self.load_all(unknown).await?;
            let missed = loaded.iter().any(Option::is_none);
            self.index_mut(|index| {
                for Loaded { name, size, packs } in loaded.into_iter().flatten() {
                    index.insert(name, size, &packs);
                }
            });
            if !missed {
                return Ok(());
            }
        }
        let reason = "index objects vanish as fast as they are read".to_owned();
        Err(StoreError::Malformed { what: "store", reason })
    }

    /// Makes the pieces of durable `packs` visible, all at once.
    ///
    /// The many small index objects of earlier commits are merged into the new one, so that a store of a hundred
    /// thousand commits still opens at once. That is safe beside other writers, because an index only ever adds: two
    /// that merge the same objects both write all of their entries before either removes them.
    pub(crate) async fn publish(&self, mut packs: Vec<PackEntries>) -> Result<(), StoreError> {
        let mut merged = Vec::new();
        let mut small = self.index_objects().await?;
        small.retain(|(_, meta)| meta.size < SMALL_OBJECT);
        if small.len() >= MERGE_FROM {
            merged = self.load_all(small).await?.into_iter().flatten().collect();
            packs.extend(merged.iter().flat_map(|loaded| loaded.packs.iter().cloned()));
            packs.sort_by_key(|pack| pack.pack);
            packs.dedup_by_key(|pack| pack.pack);
        }
        let (bytes, packs) = blocking(move || Ok((index::encode(&packs), packs))).await?;
        let (name, size) = (Digest::of(&bytes), bytes.len() as u64);
        let path = object_path(&name);
        self.backend.put(&path, bytes.into()).await.map_err(failed("write", &path))?;
        self.index_mut(|index| index.insert(name, size, &packs));
        for old in merged.into_iter().filter(|old| old.name != name) {
            // One that stays only repeats what the new one says; the next merge takes it again.
            let _ = self.backend.delete(&object_path(&old.name)).await;
        }
        Ok(())
    }

    async fn index_objects(&self) -> Result<Vec<(Digest, ObjectMeta)>, StoreError> {
        let folder = Path::from(FOLDER);
        let listed: Vec<_> = self.backend.list(Some(&folder)).try_collect().await.map_err(failed("list", &folder))?;
        Ok(listed.into_iter().filter_map(|meta| Some((meta.location.filename()?.parse().ok()?, meta))).collect())
    }

    /// Gives `None` for an object that has been merged away.
    async fn load_all(&self, objects: Vec<(Digest, ObjectMeta)>) -> Result<Vec<Option<Loaded>>, StoreError> {
        let loads = objects.into_iter().map(|(name, meta)| self.load(name, meta));
        futures::stream::iter(loads).buffered(READS_AT_ONCE).try_collect().await
    }

    async fn load(&self, name: Digest, meta: ObjectMeta) -> Result<Option<Loaded>, StoreError> {
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
            let packs = index::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
            Ok(Some(Loaded { name, size, packs }))
        })
        .await
    }
}

fn object_path(name: &Digest) -> Path {
    Path::from(format!("{FOLDER}/{name}"))
}
