//! What is needed and cannot be had, also where that what leads there is damaged.

use std::collections::{BTreeSet, HashMap, HashSet};

use ropewalk_types::Digest;

use super::reach::{Reached, Root};
use super::{Store, Verified};
use crate::error::StoreError;
use crate::index::Kind;

/// What groups of roots need and a store cannot give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// What is not there, each once: a root itself, a blob, a chunk of one, or a tree, below which more may be missing.
    pub missing: Vec<Root>,
    /// Trees and lists of chunks that are there and cannot be read; what lies below them is not known.
    pub unreadable: Vec<Unreadable>,
    /// Of each group, in their order, whether anything that it needs is missing or damaged.
    pub affected: Vec<bool>,
}

/// Something that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The tree or blob.
    pub digest: Digest,
    /// What was found.
    pub reason: String,
}

impl Store {
    /// What the groups need and this store cannot give: what is not there, and what `found` says is damaged.
    ///
    /// Goes on past trees that cannot be read. Reads trees and lists of chunks, not files.
    pub async fn lacking(&self, groups: &[Vec<Root>], found: &Verified) -> Result<Lacking, StoreError> {
        self.inner.refresh().await?;
        let broken = self.broken(found);
        let mut roots: Vec<Root> = groups.iter().flatten().copied().collect();
        roots.sort();
        roots.dedup();
        let mut reached = self.inner.reach_broken(&roots, &broken).await?;
        let absent: HashSet<_> = reached.absent.iter().collect();
        let mut missing = std::mem::take(&mut reached.gaps);
        missing.extend(roots.iter().filter(|root| absent.contains(root.digest())));
        missing.sort();
        missing.dedup();
        let unreadable = std::mem::take(&mut reached.unreadable);
        let unreadable = unreadable.into_iter().map(|(digest, reason)| Unreadable { digest, reason }).collect();
        Ok(Lacking { missing, unreadable, affected: affected(groups, &reached) })
    }

    /// Those of the digests that are pieces of what the roots need, as far as what leads to them can be read. Reads trees and
    /// lists of chunks, not files.
    pub async fn needed_among(&self, roots: &[Root], digests: &BTreeSet<Digest>) -> Result<Vec<Digest>, StoreError> {
        self.inner.refresh().await?;
        let reached = self.inner.reach_broken(roots, &HashSet::new()).await?;
        let needed = reached.pieces().map(|(_, digest)| digest).filter(|digest| digests.contains(digest));
        let needed: BTreeSet<Digest> = needed.collect();
        Ok(needed.into_iter().collect())
    }

    /// What was found to be damaged and is where it is read: of some there is another copy.
    fn broken(&self, found: &Verified) -> HashSet<(Kind, Digest)> {
        let wrong = found.damaged.iter().filter(|damage| !damage.healed).filter_map(|damage| damage.wrong);
        let read = wrong.map(|wrong| wrong.piece).filter(|piece| {
            self.inner.index(|index| index.find_readable(piece.kind, &piece.digest)) == Some(piece.location)
        });
        read.map(|piece| (piece.kind, piece.digest)).collect()
    }
}

/// Of each group, whether one of its roots is to be blamed, or has something below that is.
pub(super) fn affected(groups: &[Vec<Root>], reached: &Reached) -> Vec<bool> {
    let mut above: HashMap<&Digest, Vec<&Digest>> = HashMap::new();
    let mut blamed: HashSet<&Digest> = reached.blamed.iter().collect();
    for (tree, content) in &reached.trees {
        for below in &content.trees {
            above.entry(below).or_default().push(tree);
        }
        if content.blamed || content.large.iter().any(|file| reached.blamed.contains(file)) {
            blamed.insert(tree);
        }
    }
    let mut waiting: Vec<&Digest> = blamed.iter().copied().collect();
    while let Some(digest) = waiting.pop() {
        waiting.extend(above.get(digest).into_iter().flatten().copied().filter(|tree| blamed.insert(*tree)));
    }
    groups.iter().map(|roots| roots.iter().any(|root| blamed.contains(root.digest()))).collect()
}
