use std::sync::Arc;

use bytes::Bytes;
use object_store::buffered::BufWriter;
use object_store::{Extensions, ObjectStore};
use tokio::io::AsyncWriteExt as _;

use super::Prepared;
use crate::backend::Caching;
use crate::error::StoreError;
use crate::index::{PackEntries, PackId, Slot};
use crate::store::failed;

/// A pack of at least this many bytes is full.
const TARGET: u64 = 64 << 20;
/// A pack is sent in parts of this size; S3 takes none below 5 MiB.
pub(super) const PART: usize = 8 << 20;
/// A part of a file of this machine that is written through the page cache: what was just hashed is still in the
/// processor's cache when the system copies it.
pub(super) const CACHED_PART: usize = 1 << 20;

/// A pack that is being written: part by part, visible to the backend only once it is whole.
#[derive(Debug)]
pub(crate) struct OpenPack {
    id: PackId,
    upload: BufWriter,
    length: u64,
    slots: Vec<Slot>,
}

impl OpenPack {
    /// Of which at most `parts_at_once` parts of `part` bytes are on their way.
    pub(crate) async fn begin(
        backend: Arc<dyn ObjectStore>,
        (parts_at_once, part): (usize, usize),
        caching: Caching,
    ) -> Result<Self, StoreError> {
        let id = PackId::random();
        let mut extensions = Extensions::new();
        extensions.insert(caching);
        let upload = BufWriter::with_capacity(backend, id.path(), part);
        let upload = upload.with_max_concurrency(parts_at_once).with_extensions(extensions);
        let mut pack = Self { id, upload, length: 0, slots: Vec::new() };
        pack.put(Bytes::from_static(PackId::MARK)).await?;
        Ok(pack)
    }

    pub(crate) async fn append(&mut self, prepared: Prepared) -> Result<(), StoreError> {
        let Prepared { entry, stored } = prepared;
        self.put(stored).await?;
        self.slots.push(Slot::Piece(entry));
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.length >= TARGET
    }

    /// Makes the pack durable.
    pub(crate) async fn finish(mut self) -> Result<PackEntries, StoreError> {
        let Self { id, slots, .. } = self;
        self.upload.shutdown().await.map_err(|error| {
            failed("write", &id.path())(object_store::Error::Generic { store: "pack", source: error.into() })
        })?;
        Ok(PackEntries { pack: id, slots })
    }

    async fn put(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.length += bytes.len() as u64;
        if !bytes.is_empty() {
            self.upload.put(bytes).await.map_err(failed("write", &self.id.path()))?;
        }
        Ok(())
    }
}
