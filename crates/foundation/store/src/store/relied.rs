//! What a commit takes for granted because the store has it already.

use std::collections::HashSet;

use ropewalk_types::Digest;

use super::Inner;
use crate::error::StoreError;
use crate::index::{Index, Kind};

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

    /// Looks again; to be called once what rests on the pieces is visible.
    pub(crate) async fn check(&self, inner: &Inner) -> Result<(), StoreError> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        inner.refresh().await?;
        let gone = inner.index(|index| {
            let mut pieces = self.pieces.iter();
            if index.losses() == self.losses {
                None
            } else {
                pieces.find(|(kind, digest)| index.find(*kind, digest).is_none())
            }
        });
        match gone {
            None => Ok(()),
            Some((_, digest)) => Err(StoreError::Collected { digest: *digest }),
        }
    }
}
