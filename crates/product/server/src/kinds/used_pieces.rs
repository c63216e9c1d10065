use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use ropewalk_ingest::{Checkpoints, IngestError, StoreCheckpoints};
use ropewalk_pipeline::{Record, pieces_put};
use ropewalk_types::Digest;

/// Checkpoints of the store that remember which of them a stage used: what was made by the stage may have to be removed,
/// and its rows are in them too.
pub(super) struct UsedPieces {
    checkpoints: StoreCheckpoints,
    used: Mutex<BTreeSet<Digest>>,
}

impl UsedPieces {
    pub(super) fn new(checkpoints: StoreCheckpoints) -> Self {
        Self { checkpoints, used: Mutex::default() }
    }

    fn note(&self, key: &Digest) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(*key);
    }

    /// Writes down, with the outcome of the stage `key`, what was used up to now.
    pub(super) fn record(&self, key: Digest) -> Record {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::new(move |connection| Box::pin(async move { pieces_put(connection, &key, &used).await }))
    }
}

#[async_trait]
impl Checkpoints for UsedPieces {
    async fn get(&self, key: &Digest) -> Result<Option<Digest>, IngestError> {
        let found = self.checkpoints.get(key).await?;
        if found.is_some() {
            self.note(key);
        }
        Ok(found)
    }

    async fn put(&self, key: &Digest, value: &Digest) -> Result<(), IngestError> {
        self.checkpoints.put(key, value).await?;
        self.note(key);
        Ok(())
    }
}
