//! Refs that cannot be read, and what they held as far as that can be told.
//!
//! A ref that is damaged says nothing, but its generations before it may be there, another store may have the same ref, and
//! some refs say what they hold by their names. What is chosen is never less than what any of these says: the head is the
//! one that descends from the others, deletions of a tag are counted as often as anybody has counted them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use ropewalk_store::{RefName, Store};
use ropewalk_types::{DatasetName, Digest, Timestamp};

use super::{
    Found, History, Part, Read, RefAt, Refs, Removal, Tips, found_at, head_ref, lost_race, names, parts, ref_text,
    refs_read, tags, version_in,
};
use crate::error::VersionsError;
use crate::version::Version;

/// A ref of a store that cannot be read.
#[derive(Clone, Debug)]
pub struct DamagedRef {
    /// Its name.
    pub name: RefName,
    /// The dataset that it is about.
    pub dataset: DatasetName,
    /// What was found.
    pub reason: String,
    /// It was set again to what it held, as far as that could be told.
    pub healed: bool,
    /// What it is to be set to, if that can be told.
    repair: Option<(Part, Found)>,
}

impl DamagedRef {
    fn is_head(&self) -> bool {
        matches!(parts(&self.name), Some((_, Part::Head)))
    }

    /// Whether it can be told what the ref held.
    pub fn is_known(&self) -> bool {
        self.repair.is_some()
    }

    /// Sets the ref of `store` to what it held, unless somebody has set it meanwhile. One whose version is not in the store
    /// stays as it is.
    pub async fn repair(&mut self, store: &Store) -> Result<(), VersionsError> {
        let Some((part, found)) = &self.repair else { return Ok(()) };
        let version = match (part, found) {
            (Part::Tag(_), Found::Tag(at)) => Some(at.version),
            (_, Found::Version(at)) => Some(at.version),
            _ => None,
        };
        if let Some(version) = version
            && !store.contains(&version).await?
        {
            return Ok(());
        }
        // None where all of its generations are lost.
        let history = store.ref_history(&self.name).await?;
        let generation = history.as_ref().map(|history| history.generation);
        if let Some(history) = &history
            && let Some(newest) = history.values.first().filter(|newest| newest.generation == history.generation)
            && decoded(part, &self.name, &newest.bytes).is_some()
        {
            self.healed = true;
            return Ok(());
        }
        match store.ref_set(&self.name, generation, encoded(found)).await {
            Err(error) if lost_race(&error) => Ok(()),
            result => {
                result?;
                self.healed = true;
                Ok(())
            }
        }
    }
}

/// The refs of all datasets of `store`, and those that cannot be read, which are taken to hold what can be found out of them:
/// from `others`, and from the versions that `named` says are here.
pub(crate) async fn refs_readable(
    store: &Store,
    others: &[&Store],
    named: &[(DatasetName, Digest)],
    now: Timestamp,
) -> Result<(BTreeMap<DatasetName, Refs>, Vec<DamagedRef>), VersionsError> {
    let datasets = names(store).await?;
    let (mut refs, reads) = refs_read(store, &datasets, Tips::Read).await?;
    let mut wrong = Vec::new();
    for Read { dataset, part, name, found } in reads {
        match found {
            Ok(found) => refs.entry(dataset).or_default().take(part, found),
            Err(error) if error.is_of_content() => wrong.push((dataset, part, name, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    let mut damaged = Vec::with_capacity(wrong.len());
    for (dataset, part, name, reason) in wrong {
        let search = Search { store, others, name: &name, part: &part, now };
        let pointed = named.iter().filter(|(of, _)| *of == dataset).map(|(_, version)| *version);
        let counted = refs.get(&dataset).and_then(|refs| match &part {
            Part::Untagged(tag) => refs.tags.get(tag).map(|at| at.deletions),
            _ => None,
        });
        let found = search.run(pointed.collect(), counted).await?;
        if let Some(found) = &found {
            refs.entry(dataset.clone()).or_default().take(part.clone(), found.clone());
        }
        let repair = found.map(|found| (part, found));
        damaged.push(DamagedRef { name, dataset, reason, healed: false, repair });
    }
    for (dataset, version) in named {
        let headless = refs.get(dataset).is_none_or(|refs| refs.head.is_none());
        if !headless || damaged.iter().any(|one| one.dataset == *dataset && one.is_head()) {
            continue;
        }
        let (name, part) = (head_ref(dataset)?, Part::Head);
        // Of a dataset that was never fetched there is nothing here but the pointer; and who forgets one deletes its refs.
        if !store.contains(version).await? || store.ref_history(&name).await?.is_some() {
            continue;
        }
        let pointed = named.iter().filter(|(of, _)| of == dataset).map(|(_, version)| *version);
        let found = Search { store, others, name: &name, part: &part, now }.run(pointed.collect(), None).await?;
        if let Some(found) = &found {
            refs.entry(dataset.clone()).or_default().take(part.clone(), found.clone());
        }
        let reason = format!("it is lost, and a `.dataset` file names the version {}", version.short());
        let repair = found.map(|found| (part, found));
        damaged.push(DamagedRef { name, dataset: dataset.clone(), reason, healed: false, repair });
    }
    damaged.sort_by(|one, other| one.name.cmp(&other.name));
    refs.values_mut().for_each(Refs::settle);
    Ok((refs, damaged))
}

/// The version object, from the first of the stores in which it can be read.
pub(crate) async fn find_readable(stores: &[&Store], digest: &Digest) -> Result<Option<Version>, VersionsError> {
    for store in stores {
        match (History { stores: &[*store] }).find(digest).await {
            Ok(Some(version)) => return Ok(Some(version)),
            Err(error) if !error.is_of_content() => return Err(error),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(None)
}

/// The search for what a ref held.
pub(super) struct Search<'a> {
    pub(super) store: &'a Store,
    pub(super) others: &'a [&'a Store],
    pub(super) name: &'a RefName,
    pub(super) part: &'a Part,
    pub(super) now: Timestamp,
}

impl Search<'_> {
    /// What the ref held, if that can be told: by others, by its generations before, of a head by pointers.
    pub(super) async fn run(&self, pointed: Vec<Digest>, counted: Option<u64>) -> Result<Option<Found>, VersionsError> {
        let before = self.before().await?;
        let mut there = Vec::new();
        for other in self.others {
            match found_at(other, self.part, self.name).await {
                Ok(Found::Nothing) => {}
                Err(error) if error.is_of_content() => {}
                found => there.push(found?),
            }
        }
        Ok(match self.part {
            Part::Head => {
                let said = before.into_iter().chain(there).filter_map(|found| match found {
                    Found::Version(at) => Some(at.version),
                    _ => None,
                });
                self.furthest(pointed.into_iter().chain(said)).await?.map(at)
            }
            // What others see holds before what it was here some time ago.
            Part::Tag(_) => there.into_iter().chain(before).next(),
            Part::Untagged(_) => {
                let count = |found: Found| match found {
                    Found::Deletions(count) => Some(count),
                    _ => None,
                };
                // Counts only grow: what is lost was more than all before it, and the first is 1.
                let before = before.into_iter().filter_map(count).max().unwrap_or(0);
                let least = before.saturating_add(1);
                there.into_iter().filter_map(count).chain(counted).chain([least]).max().map(Found::Deletions)
            }
            Part::Tip(version) => Some(at(*version)),
            Part::Removed(_) => {
                // That it was removed is said by the name of the ref.
                let why = "its tombstone was damaged, and nobody knows why it was removed".to_owned();
                let unknown = Removal { at: self.now, who: "unknown".to_owned(), why };
                Some(there.into_iter().chain(before).next().unwrap_or(Found::Removal(unknown)))
            }
        })
    }

    /// What the ref held before it was damaged, the latest first.
    async fn before(&self) -> Result<Vec<Found>, VersionsError> {
        let history = self.store.ref_history(self.name).await?;
        let values = history.into_iter().flat_map(|history| history.values);
        Ok(values.filter_map(|value| decoded(self.part, self.name, &value.bytes)).collect())
    }

    /// The one of the versions that descends from the others; of those that went different ways the first.
    async fn furthest(&self, versions: impl Iterator<Item = Digest>) -> Result<Option<Digest>, VersionsError> {
        let stores: Vec<&Store> = std::iter::once(self.store).chain(self.others.iter().copied()).collect();
        let mut best = None;
        let mut seen = BTreeSet::new();
        for version in versions.filter(|version| seen.insert(*version)) {
            if find_readable(&stores, &version).await?.is_none() {
                continue;
            }
            best = match best {
                Some(best) if !descends(&stores, &version, &best).await? => Some(best),
                _ => Some(version),
            };
        }
        Ok(best)
    }
}

/// Whether `old` is `new` or lies behind it, as far as that can be read.
async fn descends(stores: &[&Store], new: &Digest, old: &Digest) -> Result<bool, VersionsError> {
    let (mut seen, mut waiting) = (HashSet::new(), vec![*new]);
    while let Some(digest) = waiting.pop() {
        if digest == *old {
            return Ok(true);
        }
        if seen.insert(digest) {
            waiting.extend(find_readable(stores, &digest).await?.into_iter().flat_map(|version| version.parents));
        }
    }
    Ok(false)
}

fn at(version: Digest) -> Found {
    Found::Version(RefAt { version, generation: 0 })
}

fn decoded(part: &Part, name: &RefName, value: &Bytes) -> Option<Found> {
    let text = || std::str::from_utf8(value).ok();
    match part {
        Part::Head | Part::Tip(_) => version_in(value).map(at),
        Part::Tag(_) => tags::decode(text()?).map(Found::Tag),
        Part::Untagged(_) => tags::deletions_decode(text()?).map(Found::Deletions),
        Part::Removed(_) => Removal::decode(name, value).ok().map(Found::Removal),
    }
}

fn encoded(found: &Found) -> Bytes {
    match found {
        Found::Version(at) => ref_text(&at.version),
        Found::Tag(at) => tags::encode(*at),
        Found::Deletions(count) => tags::deletions_encode(*count),
        Found::Removal(removal) => removal.encode(),
        Found::Nothing => Bytes::new(),
    }
}
