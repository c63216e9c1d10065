use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ropewalk_store::{RefName, Store, StoreError};
use ropewalk_types::Digest;
use tokio::sync::OnceCell;

use crate::IngestError;

/// Where finished pieces of work are remembered, so that a run that was cut off does only the rest.
///
/// A key stands for all that decides the value; putting a key again is no error.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// The value of `key`, if its piece is finished.
    async fn get(&self, key: &Digest) -> Result<Option<Digest>, IngestError>;
    /// Remembers that the piece `key` is finished and that the blob `value` holds it.
    async fn put(&self, key: &Digest, value: &Digest) -> Result<(), IngestError>;
}

/// Checkpoints as refs `piece/KEY` of the store that holds the pieces; made anew for each run.
#[derive(Clone)]
pub struct StoreCheckpoints {
    store: Store,
    /// Set once the handle of the store has looked what was collected since it was opened.
    looked: Arc<OnceCell<()>>,
}

impl StoreCheckpoints {
    /// Checkpoints in `store`.
    pub fn new(store: Store) -> Self {
        Self { store, looked: Arc::default() }
    }

    fn name(key: &Digest) -> Result<RefName, IngestError> {
        Ok(RefName::new(format!("piece/{key}"))?)
    }
}

#[async_trait]
impl Checkpoints for StoreCheckpoints {
    async fn get(&self, key: &Digest) -> Result<Option<Digest>, IngestError> {
        let Some(value) = self.store.ref_get(&Self::name(key)?).await? else { return Ok(None) };
        let digest = std::str::from_utf8(&value.bytes).ok().and_then(|text| text.parse().ok());
        // A ref that is no digest is as good as none: the piece is made again and the ref replaced.
        let Some(digest) = digest else { return Ok(None) };
        // Whoever is told of a piece relies on what it names, which a handle as old as its process may know from before a
        // collection. What is collected from now on has been set aside for a time of grace.
        self.looked.get_or_try_init(|| self.store.refresh()).await?;
        Ok(self.store.contains(&digest).await?.then_some(digest))
    }

    async fn put(&self, key: &Digest, value: &Digest) -> Result<(), IngestError> {
        let name = Self::name(key)?;
        let bytes = Bytes::from(value.to_string());
        let present = self.store.ref_get(&name).await?.map(|present| present.generation);
        match self.store.ref_set(&name, present, bytes).await {
            // Another process finished the same piece in this moment: its value is as good as ours.
            Err(StoreError::Conflict { .. }) => Ok(()),
            result => Ok(result.map(|_| ())?),
        }
    }
}
