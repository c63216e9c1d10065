//! What a commit takes for granted because the store has it already.

use std::collections::HashSet;

use ropewalk_types::Digest;

use super::copy::Sharing;
use super::reach::Root;
use super::{Inner, NoProgress, Transferred};
use crate::error::StoreError;
use crate::index::{Index, Kind};

/// Each time round, a collector has condemned again what was just written.
const MAX_ROUNDS: usize = 4;

/// Pieces that were visible when a commit or a transfer decided not to write them.
///
/// A collector may have condemned them since; see `collect.rs` for why it is enough to look again at the end.
#[derive(Debug)]
pub(crate) struct Relied {
    /// How often something visible had gone by then.
    losses: u64,
    pieces: HashSet<(Kind, Digest)>,
}

impl Relied {
    pub(crate) fn new(inner: &Inner) -> Self {
        Self { losses: inner.index(Index::losses), pieces: HashSet::new() }
    }

    pub(crate) fn add(&mut self, kind: Kind, digest: Digest) {
        self.pieces.insert((kind, digest));
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Looks again, once what rests on the pieces is visible, and writes anew what has been condemned, as far as it can
    /// still be read: with all below it, since whatever is visible is taken to be whole.
    pub(crate) async fn check(&self, inner: &Inner) -> Result<(), StoreError> {
        for _ in 0..MAX_ROUNDS {
            let gone = self.gone(inner).await?;
            let Some((_, digest)) = gone.first().copied() else { return Ok(()) };
            match inner.revive(&gone).await {
                // Condemned again meanwhile.
                Ok(()) | Err(StoreError::Collected { .. }) => {}
                Err(StoreError::NotFound { .. }) => return Err(StoreError::Collected { digest }),
                Err(error) => return Err(error),
            }
        }
        self.check_only(inner).await
    }

    /// Looks again, once what rests on the pieces is visible.
    pub(super) async fn check_only(&self, inner: &Inner) -> Result<(), StoreError> {
        match self.gone(inner).await?.first() {
            None => Ok(()),
            Some((_, digest)) => Err(StoreError::Collected { digest: *digest }),
        }
    }

    /// What is no longer visible.
    async fn gone(&self, inner: &Inner) -> Result<Vec<(Kind, Digest)>, StoreError> {
        if self.pieces.is_empty() {
            return Ok(Vec::new());
        }
        inner.refresh().await?;
        Ok(inner.index(|index| {
            let gone = |(kind, digest): &&(Kind, Digest)| index.find(*kind, digest).is_none();
            if index.losses() == self.losses { Vec::new() } else { self.pieces.iter().filter(gone).copied().collect() }
        }))
    }
}

impl Inner {
    /// Writes condemned pieces anew, with all that is condemned below them.
    async fn revive(&self, gone: &[(Kind, Digest)]) -> Result<(), StoreError> {
        let root = |(kind, digest): &(Kind, Digest)| {
            let location = self.index(|index| index.find_readable(*kind, digest));
            location.map(|location| if location.tree { Root::Tree(*digest) } else { Root::Blob(*digest) })
        };
        let roots: Option<Vec<_>> = gone.iter().map(root).collect();
        let Some(roots) = roots else {
            let lost = gone.iter().find(|piece| root(piece).is_none());
            return lost.map_or(Ok(()), |(_, digest)| Err(StoreError::NotFound { digest: *digest }));
        };
        self.copy_round(self, &roots, Sharing::Nothing, &NoProgress, &mut Transferred::default()).await
    }
}
