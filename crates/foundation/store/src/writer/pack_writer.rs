use std::sync::Arc;

use object_store::ObjectStore;

use super::{OpenPack, Prepared};
use crate::error::StoreError;
use crate::index::PackEntries;

/// Packs one after another; none of them is visible before it is published.
#[derive(Debug)]
pub(crate) struct PackWriter {
    backend: Arc<dyn ObjectStore>,
    open: Option<OpenPack>,
    finished: Vec<PackEntries>,
}

impl PackWriter {
    pub(crate) fn new(backend: Arc<dyn ObjectStore>) -> Self {
        Self { backend, open: None, finished: Vec::new() }
    }

    pub(crate) async fn append(&mut self, prepared: Prepared) -> Result<(), StoreError> {
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => OpenPack::begin(Arc::clone(&self.backend)).await?,
        };
        pack.append(prepared).await?;
        if pack.is_full() {
            self.finished.push(pack.finish().await?);
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
        if let Some(pack) = self.open.take() {
            self.finished.push(pack.finish().await?);
        }
        Ok(std::mem::take(&mut self.finished))
    }
}
