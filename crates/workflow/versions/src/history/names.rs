//! What versions are called: numbers, tags, digests.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use ropewalk_store::Store;
use ropewalk_types::{DatasetName, Digest, TagName};
use serde::Serialize;

use super::{History, Refs, Removal, refs};
use crate::error::{NumberedVersion, VersionsError};
use crate::version::{Version, version_number};

/// The shortest beginning of a digest that names a version.
const SHORTEST: usize = 4;

/// A version in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    /// The version's name.
    pub digest: Digest,
    /// What it is.
    pub version: Version,
    /// N of `vN`: one more than the largest number of its parents; none where a part of its history is not known.
    pub number: Option<u64>,
    /// Tags that name it.
    pub tags: Vec<TagName>,
    /// Whether it is what `latest` names: the head, or where that was removed the newest before it that was not.
    pub head: bool,
    /// Who removed it, when and why, if somebody did.
    pub removed: Option<Removal>,
}

/// A version that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolved {
    /// The version's name.
    pub digest: Digest,
    /// What it is.
    pub version: Version,
}

/// Versions in an order in which children come before parents, and else the newest first.
pub(crate) fn in_order(versions: Vec<(Digest, Version)>) -> Vec<(Digest, Version)> {
    let mut children: HashMap<Digest, usize> = HashMap::new();
    for parent in versions.iter().flat_map(|(_, version)| &version.parents) {
        *children.entry(*parent).or_default() += 1;
    }
    let mut waiting: HashMap<_, _> = versions.into_iter().collect();
    let key = |digest: &Digest, version: &Version| (version.created_at, *digest);
    let ready = waiting.iter().filter(|(digest, _)| !children.contains_key(*digest));
    let mut ready: BinaryHeap<_> = ready.map(|(digest, version)| key(digest, version)).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while let Some((_, digest)) = ready.pop() {
        let Some(version) = waiting.remove(&digest) else { continue };
        for parent in &version.parents {
            let left = children.get_mut(parent).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if let Some(parent_version) = waiting.get(parent).filter(|_| left == 0) {
                ready.push(key(parent, parent_version));
            }
        }
        ordered.push((digest, version));
    }
    ordered
}

/// The number of each version: one more than the largest of those that it came from.
///
/// A number depends on nothing but what lies behind the version, so it is the same on every machine and never changes.
/// Versions of different lines can have one number. A version without all of its history has none.
pub(crate) fn numbers(ordered: &[(Digest, Version)]) -> HashMap<Digest, u64> {
    let mut numbers = HashMap::with_capacity(ordered.len());
    for (digest, version) in ordered.iter().rev() {
        let mut before = version.parents.iter().map(|parent| numbers.get(parent).copied());
        let before = before.try_fold(0, |largest: u64, number| number.map(|number| largest.max(number)));
        if let Some(largest) = before {
            numbers.insert(*digest, largest + 1);
        }
    }
    numbers
}

/// All versions that the refs name and what lies behind them, newest first.
pub(crate) async fn log(store: &Store, name: &DatasetName) -> Result<Vec<LogEntry>, VersionsError> {
    let refs = refs(store, name).await?;
    let history = History { stores: &[store] };
    let versions = in_order(history.ancestors(&refs.versions(), &HashSet::new()).await?);
    let numbers = numbers(&versions);
    let latest = match &refs.head {
        Some(head) => history.remaining(&refs, &head.version).await?,
        None => None,
    };
    let entry = |(digest, version)| LogEntry {
        digest,
        version,
        number: numbers.get(&digest).copied(),
        tags: refs.tags.iter().filter(|(_, at)| at.version == digest).map(|(tag, _)| tag.clone()).collect(),
        head: latest == Some(digest),
        removed: refs.removed.get(&digest).cloned(),
    };
    Ok(versions.into_iter().map(entry).collect())
}

/// The version that `spec` names: `latest` or `head`, a tag, `vN`, or the beginning of a digest of a version or of its
/// content; [`VersionsError::Removed`] if it was removed.
pub(crate) async fn resolve(store: &Store, name: &DatasetName, spec: &str) -> Result<Resolved, VersionsError> {
    let refs = refs(store, name).await?;
    let found = recorded_in(&refs, store, name, spec).await?;
    refs.check_there(name, &found.digest)?;
    Ok(found)
}

/// Like [`resolve`], also of a version that was removed.
pub(crate) async fn recorded(store: &Store, name: &DatasetName, spec: &str) -> Result<Resolved, VersionsError> {
    recorded_in(&refs(store, name).await?, store, name, spec).await
}

async fn recorded_in(refs: &Refs, store: &Store, name: &DatasetName, spec: &str) -> Result<Resolved, VersionsError> {
    let history = History { stores: &[store] };
    let tagged = || TagName::new(spec).ok().and_then(|tag| refs.tags.get(&tag)).map(|at| at.version);
    let digest = match (spec, &refs.head) {
        ("latest" | "head", None) => return Err(unknown(name, spec, ": nothing is committed yet")),
        // Where all that is behind was removed too, the head says so.
        ("latest" | "head", Some(head)) => history.remaining(refs, &head.version).await?.unwrap_or(head.version),
        _ => match (tagged(), version_number(spec)) {
            // Whoever has a digest as it was printed means that version, whatever somebody tagged since.
            (Some(digest), _) => match by_digest(&history, refs, name, spec).await {
                // Which version is meant else cannot be told, and the tag can be.
                Err(VersionsError::AmbiguousVersion { .. }) => digest,
                Err(error) if error.is_of_content() => digest,
                found => found?.unwrap_or(digest),
            },
            (None, Some(number)) => by_number(&history, refs, name, number).await?,
            (None, None) => by_digest(&history, refs, name, spec).await?.ok_or_else(|| unknown(name, spec, ""))?,
        },
    };
    Ok(Resolved { digest, version: history.get(&digest).await? })
}

/// Refuses a tag that is not set yet and is the beginning of a digest: whatever has that would be meant.
pub(crate) async fn check_tag(store: &Store, name: &DatasetName, tag: &TagName) -> Result<(), VersionsError> {
    let refs = refs(store, name).await?;
    if !tag.may_begin_digest() || refs.tags.contains_key(tag) {
        return Ok(());
    }
    match by_digest(&History { stores: &[store] }, &refs, name, tag.as_str()).await {
        Ok(None) => Ok(()),
        Err(error) if error.is_of_content() => Ok(()),
        Ok(Some(_)) | Err(VersionsError::AmbiguousVersion { .. }) => Err(tag.begins_digest().into()),
        Err(error) => Err(error),
    }
}

/// Whether a text can be the beginning of a digest that names a version.
pub(crate) fn begins_digest(spec: &str) -> bool {
    spec.len() >= SHORTEST && spec.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn unknown(name: &DatasetName, spec: &str, reason: &str) -> VersionsError {
    VersionsError::UnknownVersion { name: name.clone(), spec: spec.to_owned(), reason: reason.to_owned() }
}

/// Without those that were removed, unless all were.
fn those_there<'a>(refs: &Refs, found: Vec<&'a (Digest, Version)>) -> Vec<&'a (Digest, Version)> {
    let (there, gone): (Vec<_>, Vec<_>) = found.into_iter().partition(|(digest, _)| !refs.removed.contains_key(digest));
    if there.is_empty() { gone } else { there }
}

async fn by_number(
    history: &History<'_>,
    refs: &Refs,
    name: &DatasetName,
    number: u64,
) -> Result<Digest, VersionsError> {
    let versions = in_order(history.ancestors(&refs.versions(), &HashSet::new()).await?);
    let numbers = numbers(&versions);
    let found = versions.iter().filter(|(digest, _)| numbers.get(digest) == Some(&number)).collect();
    let found = those_there(refs, found);
    match found.as_slice() {
        [(only, _)] => Ok(*only),
        [] => {
            let largest = numbers.values().max().map(|largest| format!(": the largest number is v{largest}"));
            let reason = largest.unwrap_or_else(|| ": nothing is committed yet".to_owned());
            Err(unknown(name, &format!("v{number}"), &reason))
        }
        several => {
            let found = several.iter().map(|(digest, version)| NumberedVersion::of(*digest, version)).collect();
            Err(VersionsError::AmbiguousNumber { name: name.clone(), number, found })
        }
    }
}

async fn by_digest(
    history: &History<'_>,
    refs: &Refs,
    name: &DatasetName,
    spec: &str,
) -> Result<Option<Digest>, VersionsError> {
    if !begins_digest(spec) {
        return Ok(None);
    }
    let versions = in_order(history.ancestors(&refs.versions(), &HashSet::new()).await?);
    let begins = |digest: &Digest| digest.to_string().starts_with(spec);
    let named: Vec<_> = versions.iter().map(|(digest, _)| *digest).filter(begins).collect();
    match named.as_slice() {
        [] => {}
        [only] => return Ok(Some(*only)),
        _ => return Err(VersionsError::AmbiguousVersion { name: name.clone(), spec: spec.to_owned(), found: named }),
    }
    let with_root = those_there(refs, versions.iter().filter(|(_, version)| begins(&version.root)).collect());
    let roots: BTreeSet<_> = with_root.iter().map(|(_, version)| version.root).collect();
    if roots.len() > 1 {
        let found = roots.into_iter().collect();
        return Err(VersionsError::AmbiguousVersion { name: name.clone(), spec: spec.to_owned(), found });
    }
    if let Some((newest, _)) = with_root.first() {
        return Ok(Some(*newest));
    }
    // A version that git knows from a pointer, and no ref names here.
    let Ok(whole) = spec.parse() else { return Ok(None) };
    Ok(history.find(&whole).await?.filter(|version| version.name == *name).map(|_| whole))
}
