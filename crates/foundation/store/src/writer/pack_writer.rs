use std::sync::Arc;

use object_store::ObjectStore;
use tokio::task::JoinSet;

use super::{OpenPack, Prepared};
use crate::error::StoreError;
use crate::index::PackEntries;
use crate::store::Inner;

/// Packs one after another; none of them is visible before it is published.
///
/// The last parts of a full pack are on their way while the next one is filled.
#[derive(Debug)]
pub(crate) struct PackWriter {
    backend: Arc<dyn ObjectStore>,
    parts_at_once: usize,
    open: Option<OpenPack>,
    /// At most one; it ends with this writer.
    closing: JoinSet<Result<PackEntries, StoreError>>,
    finished: Vec<PackEntries>,
}

impl PackWriter {
    pub(crate) fn new(store: &Inner) -> Self {
        let (backend, parts_at_once) = (Arc::clone(&store.backend), store.parts_at_once());
        Self { backend, parts_at_once, open: None, closing: JoinSet::new(), finished: Vec::new() }
    }

    pub(crate) async fn append(&mut self, prepared: Prepared) -> Result<(), StoreError> {
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => OpenPack::begin(Arc::clone(&self.backend), self.parts_at_once).await?,
        };
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
