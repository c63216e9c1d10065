//! What the refs of a store need there, as far as that can be told of a store in which things are damaged.

use std::collections::{BTreeSet, HashSet};

use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_store::{Root, Store};
use ropewalk_types::{DatasetName, Digest, Timestamp};

use crate::error::{VersionsError, blocking};
use crate::history::{self, DamagedRef, Refs, find_readable};
use crate::index::Index;
use crate::pointer::Pointer;
use crate::remote::content_root;
use crate::roots::laid_out_whole;
use crate::version::Version;
use crate::workspace::Workspace;

const READS_AT_ONCE: usize = 16;

/// A version that refs of a store lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededVersion {
    /// The dataset.
    pub name: DatasetName,
    /// The version, which is an object of the store.
    pub digest: Digest,
    /// N of `vN`; none where a part of its history is not known.
    pub number: Option<u64>,
    /// Its content; none of a version that was removed, and of one whose object can be read nowhere.
    pub content: Option<Root>,
    /// Whether a head, a tag or a tip names it.
    pub named: bool,
}

/// What refs of tracked files in a store need.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// The versions that refs name, and all behind them.
    pub versions: Vec<NeededVersion>,
    /// Refs that cannot be read.
    pub refs: Vec<DamagedRef>,
}

/// What the refs of `store` need there. What cannot be read in it is looked for in `others`; `pointed` are versions that
/// pointers name, for a head that cannot be read. Nothing is changed.
pub fn store_examine<'a>(
    store: &'a Store,
    others: &'a [&'a Store],
    pointed: &'a [(DatasetName, Digest)],
    now: Timestamp,
) -> BoxFuture<'a, Result<Examined, VersionsError>> {
    Box::pin(async move {
        let (refs, damaged) = history::refs_readable(store, others, pointed, now).await?;
        let stores: Vec<&Store> = std::iter::once(store).chain(others.iter().copied()).collect();
        let mut versions = Vec::new();
        for (name, refs) in refs {
            versions.extend(needed(&stores, &name, &refs).await?);
        }
        Ok(Examined { versions, refs: damaged })
    })
}

async fn needed(stores: &[&Store], name: &DatasetName, refs: &Refs) -> Result<Vec<NeededVersion>, VersionsError> {
    let named: BTreeSet<Digest> = refs.named().collect();
    let (found, lost) = behind(stores, &named).await?;
    let ordered = history::in_order(found);
    let numbers = history::numbers(&ordered);
    let tagged = |digest: &Digest| refs.tags.values().any(|at| at.version == *digest);
    let removed = |digest: &Digest| refs.removed.contains_key(digest) && !tagged(digest);
    let one = |digest: Digest, content| {
        let (number, named) = (numbers.get(&digest).copied(), named.contains(&digest));
        NeededVersion { name: name.clone(), digest, number, content, named }
    };
    let there = ordered
        .iter()
        .map(|(digest, version)| one(*digest, (!removed(digest)).then(|| content_root(version.kind, version.root))));
    // Of one that was removed nothing is needed.
    let lost = lost.into_iter().filter(|digest| !removed(digest));
    Ok(there.chain(lost.map(|digest| one(digest, None))).collect())
}

/// Versions with all behind them, and those whose objects can be read nowhere.
pub(crate) async fn behind(
    stores: &[&Store],
    start: &BTreeSet<Digest>,
) -> Result<(Vec<(Digest, Version)>, Vec<Digest>), VersionsError> {
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    let mut seen: HashSet<Digest> = start.iter().copied().collect();
    let mut level: Vec<Digest> = start.iter().copied().collect();
    while !level.is_empty() {
        let reads = level.into_iter().map(|digest| async move {
            let version = find_readable(stores, &digest).await?;
            Ok::<_, VersionsError>((digest, version))
        });
        let read: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        level = Vec::new();
        for (digest, version) in read {
            match version {
                Some(version) => {
                    level.extend(version.parents.iter().copied().filter(|parent| seen.insert(*parent)));
                    found.push((digest, version));
                }
                None => lost.push(digest),
            }
        }
    }
    Ok((found, lost))
}

impl Workspace {
    /// What the work tree was laid out from as a whole, or added as: that must be in the project's store, whatever its refs
    /// say.
    pub async fn laid_out(&self) -> Result<Vec<Root>, VersionsError> {
        let folder = self.work_folder();
        blocking(move || laid_out_whole(&folder)).await
    }

    /// Whether a `.dataset` file of the work tree goes on from a version whose object is not in the project's store, which is
    /// `store`, though this project had it: a version that was only never fetched does not count.
    pub async fn points_nowhere(&self, store: &Store) -> Result<bool, VersionsError> {
        for pointer in self.pointers().await? {
            let Some(version) = pointer.ancestor() else { continue };
            if !store.contains(&version).await? && self.was_had(store, &pointer, version).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this project had the version that a pointer goes on from, and its content is here to be committed again. That
    /// its files are here says nothing: what git brought may name a version of a colleague that is not pushed yet.
    pub(crate) async fn was_had(
        &self,
        store: &Store,
        pointer: &Pointer,
        version: Digest,
    ) -> Result<bool, VersionsError> {
        let path = self.index_path(&pointer.name);
        let Some(index) = blocking(move || Index::load(&path)).await? else { return Ok(false) };
        let same = index.head.state.ancestor() == Some(version);
        Ok(same && (index.head.root == pointer.digest || store.contains(&pointer.digest).await?))
    }

    /// The versions that `.dataset` files of the work tree name.
    pub async fn pointed_versions(&self) -> Result<Vec<(DatasetName, Digest)>, VersionsError> {
        let pointers = self.pointers().await?;
        Ok(pointers.into_iter().filter_map(|pointer| Some((pointer.name.clone(), pointer.version()?))).collect())
    }
}
