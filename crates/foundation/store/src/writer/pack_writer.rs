use std::sync::Arc;

use object_store::ObjectStore;
use tokio::task::JoinSet;

use super::pack::{CACHED_PART, PART};
use super::{OpenPack, Prepared};
use crate::backend::Caching;
use crate::error::StoreError;
use crate::index::PackEntries;
use crate::store::Inner;

/// What a writer has written first is often read again soon: laid out after a pull, pushed after a commit. What comes
/// behind so many bytes would drive that, and more, from the page cache.
const CACHED: u64 = 256 << 20;

/// Packs one after another; none of them is visible before it is published.
///
/// The last parts of a full pack are on their way while the next one is filled.
#[derive(Debug)]
pub(crate) struct PackWriter {
    backend: Arc<dyn ObjectStore>,
    parts_at_once: usize,
    /// Whether the backend is a directory of this machine.
    local: bool,
    open: Option<OpenPack>,
    /// At most one; it ends with this writer.
    closing: JoinSet<Result<PackEntries, StoreError>>,
    finished: Vec<PackEntries>,
    written: u64,
}

impl PackWriter {
    pub(crate) fn new(store: &Inner) -> Self {
        let (backend, parts_at_once, local) = (Arc::clone(&store.backend), store.parts_at_once(), store.is_local());
        Self { backend, parts_at_once, local, open: None, closing: JoinSet::new(), finished: Vec::new(), written: 0 }
    }

    pub(crate) async fn append(&mut self, prepared: Prepared) -> Result<(), StoreError> {
        let mut pack = if let Some(pack) = self.open.take() {
            pack
        } else {
            let caching = if self.written < CACHED { Caching::Usual } else { Caching::PassedBy };
            let part = if self.local && caching == Caching::Usual { CACHED_PART } else { PART };
            OpenPack::begin(Arc::clone(&self.backend), (self.parts_at_once, part), caching).await?
        };
        self.written += prepared.stored.len() as u64;
        pack.append(prepared).await?;
        if pack.is_full() {
            self.closed().await?;
            self.closing.spawn(pack.finish());
        } else {
            self.open = Some(pack);
        }
        Ok(())
    }

    /// Takes a pack that is durable already.
    pub(crate) fn adopt(&mut self, pack: PackEntries) {
        self.finished.push(pack);
    }

    /// Makes all packs durable and gives those that were not given before.
    pub(crate) async fn finish(&mut self) -> Result<Vec<PackEntries>, StoreError> {
        self.closed().await?;
        if let Some(pack) = self.open.take() {
            self.finished.push(pack.finish().await?);
        }
        Ok(std::mem::take(&mut self.finished))
    }

    /// Waits for the packs that are being closed.
    async fn closed(&mut self) -> Result<(), StoreError> {
        while let Some(closed) = self.closing.join_next().await {
            self.finished.push(closed.map_err(|_| StoreError::Interrupted)??);
        }
        Ok(())
    }
}
