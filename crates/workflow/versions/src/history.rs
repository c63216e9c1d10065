//! Versions and the refs that name them.
//!
//! Of each dataset the store has the refs `datasets/NAME/head` (the latest version), `datasets/NAME/tags/TAG` and
//! `datasets/NAME/tips/DIGEST` (versions beside the head, such as those of other branches of git, which must be kept
//! until the head descends from them). Each holds the digest of a version object as text. `datasets/NAME/removed/DIGEST`
//! and `datasets/NAME/untagged/TAG` say what was removed (see `removal.rs` and `tags.rs`).

mod damaged;
mod giving_up;
mod names;
mod removal;
mod tags;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_store::{RefName, Store, StoreError};
use ropewalk_types::{DatasetName, Digest, TagName};

use crate::error::VersionsError;
use crate::version::{self, Version};

pub use damaged::DamagedRef;
pub(crate) use damaged::{find_readable, refs_readable};
pub(crate) use giving_up::histories_end;
pub use giving_up::{GiveUp, GivenUp, LetGo, Released};
pub use names::{LogEntry, Resolved};
pub(crate) use names::{begins_digest, check_tag, in_order, log, numbers, recorded, resolve};
use removal::Damage;
pub use removal::Removal;
pub(crate) use removal::{check_there, removal_put};
pub(crate) use tags::{TagAt, tag_delete, tag_set, tags_adopt, tags_carry};

const FOLDER: &str = "datasets";
const READS_AT_ONCE: usize = 16;
/// Each time round, another writer must have moved the head while we looked at its ancestors.
const MAX_ROUNDS: usize = 32;
/// A history longer than this is no history.
const MAX_VERSIONS: usize = 1 << 20;

/// A ref as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefAt {
    pub(crate) version: Digest,
    pub(crate) generation: u64,
}

/// The refs of one dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refs {
    pub(crate) head: Option<RefAt>,
    /// Without those that were deleted since they were set.
    pub(crate) tags: BTreeMap<TagName, TagAt>,
    /// How often each tag was deleted.
    pub(crate) untagged: BTreeMap<TagName, u64>,
    pub(crate) tips: BTreeSet<Digest>,
    /// The versions that were removed.
    pub(crate) removed: BTreeMap<Digest, Removal>,
}

impl Refs {
    /// The versions that are named, those with a tombstone among them.
    pub(crate) fn versions(&self) -> Vec<Digest> {
        let all: BTreeSet<_> = self.named().chain(self.removed.keys().copied()).collect();
        all.into_iter().collect()
    }

    /// The versions that the head, tags and tips name.
    pub(crate) fn named(&self) -> impl Iterator<Item = Digest> {
        let tags = self.tags.values().map(|at| at.version);
        self.head.iter().map(|at| at.version).chain(tags).chain(self.tips.iter().copied())
    }

    /// Takes what was deleted since it was set for deleted: a deletion that was killed half way has counted already.
    fn settle(&mut self) {
        let Self { tags, untagged, .. } = self;
        tags.retain(|tag, at| untagged.get(tag).is_none_or(|count| at.deletions >= *count));
    }

    fn take(&mut self, part: Part, found: Found) {
        match (part, found) {
            (Part::Head, Found::Version(at)) => self.head = Some(at),
            (Part::Tag(tag), Found::Tag(at)) => drop(self.tags.insert(tag, at)),
            (Part::Untagged(tag), Found::Deletions(count)) => drop(self.untagged.insert(tag, count)),
            (Part::Removed(version), Found::Removal(removal)) => drop(self.removed.insert(version, removal)),
            _ => {}
        }
    }
}

/// What a ref holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Version(RefAt),
    Tag(TagAt),
    Deletions(u64),
    Removal(Removal),
    /// It was deleted since it was listed.
    Nothing,
}

async fn found_at(store: &Store, part: &Part, name: &RefName) -> Result<Found, VersionsError> {
    Ok(match part {
        Part::Tag(_) => tags::tag_at(store, name).await?.map_or(Found::Nothing, Found::Tag),
        Part::Untagged(_) => Found::Deletions(tags::deletions_at(store, name).await?),
        Part::Removed(_) => removal::removal_at(store, name).await?.map_or(Found::Nothing, Found::Removal),
        Part::Head | Part::Tip(_) => ref_at(store, name).await?.map_or(Found::Nothing, Found::Version),
    })
}

/// The names of the datasets of which `store` has refs, be they tombstones only.
pub(crate) async fn names(store: &Store) -> Result<Vec<DatasetName>, VersionsError> {
    names_where(store, |_| true).await
}

/// The names of the datasets of which `store` has versions.
pub(crate) async fn names_with_versions(store: &Store) -> Result<Vec<DatasetName>, VersionsError> {
    names_where(store, |part| matches!(part, Part::Head | Part::Tag(_) | Part::Tip(_))).await
}

async fn names_where(store: &Store, wanted: fn(&Part) -> bool) -> Result<Vec<DatasetName>, VersionsError> {
    let refs = store.ref_list(&format!("{FOLDER}/")).await?;
    let found = refs.iter().filter_map(parts).filter(|(_, part)| wanted(part));
    let names: BTreeSet<_> = found.map(|(dataset, _)| dataset).collect();
    Ok(names.into_iter().collect())
}

/// Whether any version has a tombstone.
pub(crate) async fn has_removed(store: &Store) -> Result<bool, VersionsError> {
    let refs = store.ref_list(&format!("{FOLDER}/")).await?;
    Ok(refs.iter().any(|name| matches!(parts(name), Some((_, Part::Removed(_))))))
}

/// A ref of a dataset, and what it holds.
struct Read {
    dataset: DatasetName,
    part: Part,
    name: RefName,
    found: Result<Found, VersionsError>,
}

/// The refs of the given datasets, read with one listing; of those that have none, no refs.
pub(crate) async fn refs_of(
    store: &Store,
    names: &[DatasetName],
) -> Result<BTreeMap<DatasetName, Refs>, VersionsError> {
    let RefsEach { found, wrong } = refs_each(store, names).await?;
    wrong.into_values().next().map_or(Ok(found), Err)
}

/// The refs of some datasets, and what is wrong with those of others.
pub(crate) struct RefsEach {
    /// What can be read.
    pub(crate) found: BTreeMap<DatasetName, Refs>,
    /// Of each dataset with a ref that cannot be read, the first such.
    pub(crate) wrong: BTreeMap<DatasetName, VersionsError>,
}

/// Like [`refs_of`], with what is wrong with the refs of a dataset beside the others.
pub(crate) async fn refs_each(store: &Store, names: &[DatasetName]) -> Result<RefsEach, VersionsError> {
    let (mut found, reads) = refs_read(store, names, Tips::Named).await?;
    let mut wrong = BTreeMap::new();
    for Read { dataset, part, found: at, .. } in reads {
        match at {
            Ok(at) => found.entry(dataset).or_default().take(part, at),
            Err(error) if error.concerns_one() => {
                wrong.entry(dataset).or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    found.values_mut().for_each(Refs::settle);
    Ok(RefsEach { found, wrong })
}

/// Whether tips are believed their names, or read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tips {
    Named,
    Read,
}

/// The tips of the datasets, and all their other refs as they are.
async fn refs_read(
    store: &Store,
    names: &[DatasetName],
    tips: Tips,
) -> Result<(BTreeMap<DatasetName, Refs>, Vec<Read>), VersionsError> {
    let prefix = match names {
        [only] => format!("{FOLDER}/{only}/"),
        _ => format!("{FOLDER}/"),
    };
    let wanted: HashSet<_> = names.iter().collect();
    let listed = store.ref_list(&prefix).await?;
    let listed = listed.into_iter().filter_map(|name| parts(&name).map(|(dataset, part)| (dataset, part, name)));
    let mut found: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), Refs::default())).collect();
    let mut reads = Vec::new();
    for (dataset, part, name) in listed.filter(|(dataset, ..)| wanted.contains(dataset)) {
        if let Part::Tip(digest) = part {
            found.entry(dataset.clone()).or_default().tips.insert(digest);
        }
        if tips == Tips::Read || !matches!(part, Part::Tip(_)) {
            reads.push(async move {
                let found = found_at(store, &part, &name).await;
                Read { dataset, part, name, found }
            });
        }
    }
    let reads: Vec<_> = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE).collect().await;
    Ok((found, reads))
}

/// The refs of one dataset.
pub(crate) async fn refs(store: &Store, name: &DatasetName) -> Result<Refs, VersionsError> {
    Ok(refs_of(store, std::slice::from_ref(name)).await?.remove(name).unwrap_or_default())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Tag(TagName),
    Untagged(TagName),
    Tip(Digest),
    Removed(Digest),
}

fn parts(name: &RefName) -> Option<(DatasetName, Part)> {
    let mut segments = name.as_str().split('/');
    let (folder, dataset, part) = (segments.next()?, segments.next()?, segments.next()?);
    let rest = segments.next();
    let part = match (part, rest) {
        ("head", None) => Part::Head,
        ("tags", Some(tag)) => Part::Tag(TagName::new(tag).ok()?),
        ("untagged", Some(tag)) => Part::Untagged(TagName::new(tag).ok()?),
        ("tips", Some(digest)) => Part::Tip(digest.parse().ok()?),
        ("removed", Some(digest)) => Part::Removed(digest.parse().ok()?),
        _ => return None,
    };
    (folder == FOLDER && segments.next().is_none()).then_some((DatasetName::new(dataset).ok()?, part))
}

pub(crate) fn head_ref(name: &DatasetName) -> Result<RefName, VersionsError> {
    Ok(RefName::new(format!("{FOLDER}/{name}/head"))?)
}

fn tip_ref(name: &DatasetName, version: &Digest) -> Result<RefName, VersionsError> {
    Ok(RefName::new(format!("{FOLDER}/{name}/tips/{version}"))?)
}

pub(crate) fn ref_text(version: &Digest) -> Bytes {
    Bytes::from(format!("{version}\n"))
}

pub(crate) async fn ref_at(store: &Store, name: &RefName) -> Result<Option<RefAt>, VersionsError> {
    let Some(value) = store.ref_get(name).await? else { return Ok(None) };
    let wrong = || StoreError::Malformed { what: "ref", reason: format!("`{name}` holds no digest") };
    Ok(Some(RefAt { version: version_in(&value.bytes).ok_or_else(wrong)?, generation: value.generation }))
}

fn version_in(value: &[u8]) -> Option<Digest> {
    let text = std::str::from_utf8(value).ok()?;
    text.strip_suffix('\n').unwrap_or(text).parse().ok()
}

/// Whether an error only says that another writer was faster.
pub(crate) fn lost_race(error: &StoreError) -> bool {
    matches!(error, StoreError::Conflict { .. })
}

/// Where versions are read from; the first store that has one gives it.
#[derive(Clone, Copy)]
pub(crate) struct History<'a> {
    pub(crate) stores: &'a [&'a Store],
}

/// The version object, if a store has it.
async fn found_in(store: &Store, digest: &Digest) -> Result<Option<Version>, VersionsError> {
    let size = match store.size(digest).await {
        Err(StoreError::NotFound { .. }) => return Ok(None),
        size => size?,
    };
    if size > version::MAX_BYTES {
        let reason = format!("it has {size} bytes");
        return Err(VersionsError::Malformed { digest: *digest, reason });
    }
    Version::decode(digest, &store.get_bytes(digest).await?).map(Some)
}

impl History<'_> {
    /// The version object, if any of the stores has it.
    ///
    /// That of a version with a tombstone may be damaged: it is then as good as gone, and what comes after it is not.
    pub(crate) async fn find(&self, digest: &Digest) -> Result<Option<Version>, VersionsError> {
        for store in self.stores {
            match found_in(store, digest).await {
                Ok(None) => {}
                Err(error) if error.is_of_content() && Box::pin(self.is_removed(digest)).await? => {}
                found => return found,
            }
        }
        Ok(None)
    }

    /// The version object.
    pub(crate) async fn get(&self, digest: &Digest) -> Result<Version, VersionsError> {
        self.find(digest).await?.ok_or_else(|| StoreError::NotFound { digest: *digest }.into())
    }

    /// All versions from `start` back, nearest first, without those in `known` and what lies behind them.
    ///
    /// History ends where no store has the object, and where that of a removed version is damaged.
    pub(crate) async fn ancestors(
        &self,
        start: &[Digest],
        known: &HashSet<Digest>,
    ) -> Result<Vec<(Digest, Version)>, VersionsError> {
        self.walk(start, known, Damage::OfRemovedPassed).await
    }

    async fn walk(
        &self,
        start: &[Digest],
        known: &HashSet<Digest>,
        damage: Damage,
    ) -> Result<Vec<(Digest, Version)>, VersionsError> {
        let (mut seen, mut found) = (known.clone(), Vec::new());
        let mut level: Vec<_> = start.iter().copied().filter(|digest| seen.insert(*digest)).collect();
        while !level.is_empty() {
            let reads = level.into_iter().map(|digest| async move {
                let version = match damage {
                    Damage::OfRemovedPassed => self.find(&digest).await?,
                    Damage::Refused => self.find_strictly(&digest).await?,
                };
                Ok::<_, VersionsError>((digest, version))
            });
            let read: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
            level = Vec::new();
            for (digest, version) in read {
                let Some(version) = version else { continue };
                level.extend(version.parents.iter().copied().filter(|parent| seen.insert(*parent)));
                found.push((digest, version));
            }
            if found.len() > MAX_VERSIONS {
                let what = "a history".to_owned();
                let (size, limit) = (found.len() as u64, MAX_VERSIONS as u64);
                return Err(StoreError::TooLarge { what, size, limit, unit: "versions" }.into());
            }
        }
        Ok(found)
    }

    /// Whether `old` is `new` or one of its ancestors.
    pub(crate) async fn descends(&self, new: &Digest, old: &Digest) -> Result<bool, VersionsError> {
        let (mut seen, mut level) = (HashSet::new(), vec![*new]);
        while let Some(digest) = level.pop() {
            if digest == *old {
                return Ok(true);
            }
            if seen.insert(digest)
                && let Some(version) = self.find(&digest).await?
            {
                // First parents first: the head mostly lies on that line.
                level.extend(version.parents.into_iter().rev());
            }
        }
        Ok(false)
    }

    /// The common ancestors that are no ancestors of another one, the latest first. There are several where two lines were
    /// merged into each other.
    pub(crate) async fn merge_bases(&self, ours: &Digest, theirs: &Digest) -> Result<Vec<Digest>, VersionsError> {
        let nothing = HashSet::new();
        let ours: HashMap<_, _> = self.ancestors(&[*ours], &nothing).await?.into_iter().collect();
        let theirs = self.ancestors(&[*theirs], &nothing).await?;
        let common: HashMap<_, _> = theirs.into_iter().filter(|(digest, _)| ours.contains_key(digest)).collect();
        let behind: HashSet<_> = common.values().flat_map(|version| version.parents.iter().copied()).collect();
        let mut best: Vec<_> = common.iter().filter(|(digest, _)| !behind.contains(digest)).collect();
        best.sort_by_key(|(digest, version)| std::cmp::Reverse((version.created_at, **digest)));
        Ok(best.into_iter().map(|(digest, _)| *digest).collect())
    }

    /// Those of the versions that lie behind none of the others, in their order.
    pub(crate) async fn newest(&self, versions: &[Digest]) -> Result<Vec<Digest>, VersionsError> {
        let all = self.ancestors(versions, &HashSet::new()).await?;
        let behind: HashSet<_> = all.into_iter().flat_map(|(_, version)| version.parents).collect();
        Ok(versions.iter().copied().filter(|version| !behind.contains(version)).collect())
    }
}

/// What became of a version that was to be the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// It is the head now.
    Moved,
    /// The head is it, or descends from it.
    Present,
    /// The head does not lie behind it, and stays.
    Beside(Digest),
}

/// Moves the head of `store` to `version` if it descends from it; else keeps the version as a tip.
pub(crate) async fn advance(
    store: &Store,
    history: History<'_>,
    name: &DatasetName,
    version: &Digest,
) -> Result<Advance, VersionsError> {
    let advance = advance_only(store, history, name, version).await?;
    if let Advance::Beside(_) = advance {
        tip_keep(store, name, version).await?;
    }
    Ok(advance)
}

/// Moves the head of `store` to `version` if it descends from it.
pub(crate) async fn advance_only(
    store: &Store,
    history: History<'_>,
    name: &DatasetName,
    version: &Digest,
) -> Result<Advance, VersionsError> {
    let head_name = head_ref(name)?;
    for _ in 0..MAX_ROUNDS {
        let head = ref_at(store, &head_name).await?;
        if let Some(head) = head {
            if history.descends(&head.version, version).await? {
                return Ok(Advance::Present);
            }
            if !history.descends(version, &head.version).await? {
                return Ok(Advance::Beside(head.version));
            }
        }
        match store.ref_set(&head_name, head.map(|head| head.generation), ref_text(version)).await {
            Err(error) if lost_race(&error) => {}
            result => {
                result?;
                tips_release(store, history, name, version).await?;
                return Ok(Advance::Moved);
            }
        }
    }
    Err(VersionsError::Busy { name: name.clone() })
}

/// Keeps a version that the head does not descend from.
pub(crate) async fn tip_keep(store: &Store, name: &DatasetName, version: &Digest) -> Result<(), VersionsError> {
    let tip = tip_ref(name, version)?;
    if ref_at(store, &tip).await?.is_some() {
        return Ok(());
    }
    match store.ref_set(&tip, None, ref_text(version)).await {
        // Another process keeps the same version.
        Err(error) if lost_race(&error) => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

/// Removes the refs of tips that `head` descends from.
async fn tips_release(
    store: &Store,
    history: History<'_>,
    name: &DatasetName,
    head: &Digest,
) -> Result<(), VersionsError> {
    for tip in refs(store, name).await?.tips {
        if history.descends(head, &tip).await? {
            ref_remove(store, &tip_ref(name, &tip)?).await?;
        }
    }
    Ok(())
}

/// Removes a ref; says whether there was one.
pub(crate) async fn ref_remove(store: &Store, name: &RefName) -> Result<bool, VersionsError> {
    for _ in 0..MAX_ROUNDS {
        let Some(value) = store.ref_get(name).await? else { return Ok(false) };
        match store.ref_delete(name, value.generation).await {
            Err(error) if lost_race(&error) => {}
            result => return Ok(result.map(|()| true)?),
        }
    }
    Err(StoreError::Malformed { what: "ref", reason: format!("`{name}` changes as fast as it is read") }.into())
}

/// Stores a version object and gives its name.
pub(crate) async fn version_put(store: &Store, version: &Version) -> Result<Digest, VersionsError> {
    Ok(store.put_bytes(version.encode()?).await?.digest)
}

/// Removes the refs of a dataset but for tombstones and counts of deletions, which hold for ever (ADR 010); says how many
/// there were.
pub(crate) async fn forget(store: &Store, name: &DatasetName) -> Result<u64, VersionsError> {
    let mut removed = 0;
    for found in store.ref_list(&format!("{FOLDER}/{name}/")).await? {
        if matches!(parts(&found), Some((_, Part::Removed(_) | Part::Untagged(_)))) {
            continue;
        }
        removed += u64::from(ref_remove(store, &found).await?);
    }
    Ok(removed)
}
