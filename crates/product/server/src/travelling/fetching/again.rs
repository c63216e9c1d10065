//! Versions that were removed, and made again elsewhere after that: they are there again.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_data::{TableRecord, TableState};
use ropewalk_types::Digest;

use super::{Journey, READS, There};
use crate::ServerError;
use crate::travelling::reading::record_read;

impl There {
    pub(super) fn made_again(&self, digest: &Digest) -> bool {
        self.again.iter().any(|record| record.digest == *digest)
    }
}

impl Journey<'_> {
    /// The versions that have a tombstone, here or in `state`, and are named by a record that is later than both.
    pub(super) async fn again_there(&self, state: &TableState) -> Result<Vec<TableRecord>, ServerError> {
        let Self { ends, name, refs, .. } = *self;
        let mut reads = Vec::new();
        for one in self.here.versions.iter().filter(|one| refs.versions.contains(&one.version.digest)) {
            let digest = &one.version.digest;
            let here = one.removed.as_ref().map(|removal| removal.at);
            let there = state.removal(digest, one.version.created_at).map(|removed| removed.at);
            if let Some(removed_at) = here.max(there) {
                reads.push(async move {
                    let record = record_read(ends.remote, name, digest, ends.now()).await?;
                    Ok::<_, ServerError>(record.filter(|(record, _)| record.created_at > removed_at))
                });
            }
        }
        let records: Vec<_> = futures::stream::iter(reads).buffered(READS).try_collect().await?;
        Ok(records.into_iter().flatten().map(|(record, _)| record).collect())
    }

    pub(super) fn is_removed(&self, digest: &Digest) -> bool {
        self.here.versions.iter().any(|one| one.version.digest == *digest && one.removed.is_some())
    }

    /// Versions that were made again, and whether their bytes are here: they came, or were not collected yet.
    pub(super) async fn again(
        &self,
        there: &There,
        wanted: &BTreeSet<Digest>,
    ) -> Result<Vec<(TableRecord, bool)>, ServerError> {
        let mut again = Vec::with_capacity(there.again.len());
        for record in &there.again {
            let here = wanted.contains(&record.digest) || self.ends.store.contains(&record.digest).await?;
            again.push((record.clone(), here));
        }
        Ok(again)
    }
}
