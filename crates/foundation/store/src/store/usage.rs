//! What it costs to keep something.

use std::collections::HashMap;

use ropewalk_types::Digest;

use super::reach::{Gaps, Root};
use super::{Inner, Store};
use crate::error::StoreError;
use crate::index::Kind;

/// What some roots take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
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
            let mut usage = Usage::default();
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
}
