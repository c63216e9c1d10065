//! What it costs to keep something.

use std::collections::HashMap;

use ropewalk_types::Digest;

use super::reach::{Gaps, Reached, Root};
use super::{Inner, Store};
use crate::error::StoreError;
use crate::index::Kind;

/// What some roots take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all files and blobs, as if each were kept by itself.
    pub logical: u64,
    /// Bytes that are stored for them.
    pub stored: u64,
    /// Bytes that are stored for them and for none of the other groups: what the store would shrink by without them.
    pub exclusive: u64,
}

impl Store {
    /// What each group of roots takes; what is not in the store takes nothing.
    pub async fn usage(&self, groups: &[Vec<Root>]) -> Result<Vec<Usage>, StoreError> {
        self.inner.refresh().await?;
        let mut usages = Vec::with_capacity(groups.len());
        // The only group that needs a piece; `None` for several.
        let mut owners: HashMap<(Kind, Digest), Option<usize>> = HashMap::new();
        for (number, roots) in groups.iter().enumerate() {
            let reached = self.inner.reach(roots, Gaps::Accepted, &|_, _| false).await?;
            let mut usage = Usage { logical: self.inner.logical(roots, &reached).await?, ..Usage::default() };
            for piece in reached.pieces() {
                usage.stored += self.inner.stored(&piece);
                owners.entry(piece).and_modify(|owner| *owner = None).or_insert(Some(number));
            }
            usages.push(usage);
        }
        for (piece, owner) in &owners {
            if let Some(usage) = owner.and_then(|owner| usages.get_mut(owner)) {
                usage.exclusive += self.inner.stored(piece);
            }
        }
        Ok(usages)
    }
}

impl Inner {
    fn stored(&self, (kind, digest): &(Kind, Digest)) -> u64 {
        self.index(|index| index.find_readable(*kind, digest)).map_or(0, |location| u64::from(location.stored_length))
    }

    async fn logical(&self, roots: &[Root], reached: &Reached) -> Result<u64, StoreError> {
        let mut known = HashMap::new();
        let mut bytes: u64 = 0;
        for root in roots.iter().filter(|root| !reached.absent.contains(root.digest())) {
            bytes = bytes.saturating_add(match root {
                Root::Blob(digest) => self.plan(digest).await?.size,
                Root::Tree(digest) => tree_bytes(digest, reached, &mut known),
            });
        }
        Ok(bytes)
    }
}

/// A tree that stands in several places counts as often.
fn tree_bytes(digest: &Digest, reached: &Reached, known: &mut HashMap<Digest, u64>) -> u64 {
    if let Some(bytes) = known.get(digest) {
        return *bytes;
    }
    let Some(content) = reached.trees.get(digest) else { return 0 };
    let below = content.trees.iter().map(|tree| tree_bytes(tree, reached, known));
    let bytes = below.fold(content.bytes, u64::saturating_add);
    known.insert(*digest, bytes);
    bytes
}
