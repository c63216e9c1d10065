//! Refs: compare-and-swap from nothing but "create if absent", which every object store has.
//!
//! A ref is a folder of numbered generations, and its value is the highest. Generation n + 1 is created only if it is
//! absent, so of all who have seen n exactly one wins. Old generations are removed, but not before they have been out of
//! date for [`SETTLED`]: else a writer that was stopped for long after it had seen n could create n + 1 a second time,
//! after that had come, gone out of date and been removed. A writer stopped for longer than that finds, by the clock of
//! the object store, that its generation came long after a higher one, takes it back and reports the conflict.
//!
//! To delete a ref is to set it to [`DELETED`]: the generation must stay counted, or a writer that had seen the deleted
//! value could set the ref as if nothing had happened.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt as _, PutMode, PutOptions};

use super::{Store, failed};
use crate::error::StoreError;
use crate::reference::{RefName, RefValue};

pub(super) const FOLDER: &str = "refs";
/// Marks a generation among the folders of longer names; no segment of a name begins with it.
const GENERATION_MARK: char = '@';
const GENERATION_DIGITS: usize = 20;
/// No ref was ever set so often: a file with such a number is a stranger, and not the last generation of all.
const NO_GENERATION: u64 = 1 << 62;
/// Refs point; what is large belongs into a blob.
pub(super) const MAX_VALUE: u64 = 1 << 20;
/// What a ref is set to by deleting it; no other value may be this.
const DELETED: &[u8] = b"\0ropewalk: this ref was deleted\n";
/// Generations that stay for those who look at what a ref was.
const KEPT: u64 = 4;
/// How long a generation must have been out of date before it is removed.
const SETTLED: Duration = Duration::from_mins(1);
/// Each time round, another writer must have moved the ref by more than [`KEPT`] generations while we read it.
const MAX_ROUNDS: usize = 16;

/// A generation, and when it was written by the clock of the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generation {
    number: u64,
    written: SystemTime,
    size: u64,
}

impl Generation {
    fn of(meta: &ObjectMeta) -> Option<Self> {
        let number = generation_in(meta.location.filename()?)?;
        Some(Self { number, written: meta.last_modified.into(), size: meta.size })
    }

    /// Whether the value must be read to know; spares reading all others.
    fn may_be_deleted(&self) -> bool {
        self.size == DELETED.len() as u64
    }
}

/// What is left of what a ref held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefHistory {
    /// The generation that the ref has: the `expected` of the next compare-and-swap, also where its value is damaged.
    pub generation: u64,
    /// What it held since it was last created, the latest first, without what is too large for a ref.
    pub values: Vec<RefValue>,
}

impl Store {
    /// What the ref holds and held before, as far as its generations are still there; none if it was never set. For a ref
    /// whose value is damaged: what the value means is not looked at.
    pub async fn ref_history(&self, name: &RefName) -> Result<Option<RefHistory>, StoreError> {
        let generations = self.generations(name).await?;
        let Some(newest) = generations.last() else { return Ok(None) };
        let mut values = Vec::new();
        for found in generations.iter().rev().filter(|found| found.size <= MAX_VALUE) {
            let path = generation_path(name, found.number);
            let bytes = match self.inner.backend.get(&path).await {
                Err(Error::NotFound { .. }) => continue,
                Err(source) => return Err(failed("read", &path)(source)),
                Ok(found) => found.bytes().await.map_err(failed("read", &path))?,
            };
            if bytes == DELETED {
                break;
            }
            values.push(RefValue { bytes, generation: found.number });
        }
        Ok(Some(RefHistory { generation: newest.number, values }))
    }

    /// What the ref holds, if it was ever set.
    pub async fn ref_get(&self, name: &RefName) -> Result<Option<RefValue>, StoreError> {
        for _ in 0..MAX_ROUNDS {
            let Some(newest) = self.generations(name).await?.last().copied() else { return Ok(None) };
            let path = generation_path(name, newest.number);
            match self.inner.backend.get(&path).await {
                // Superseded and removed since it was listed.
                Err(Error::NotFound { .. }) => {}
                Err(source) => return Err(failed("read", &path)(source)),
                Ok(found) => {
                    check_size(name, found.meta.size)?;
                    let bytes = found.bytes().await.map_err(failed("read", &path))?;
                    let value = RefValue { bytes, generation: newest.number };
                    return Ok(Some(value).filter(|value| value.bytes != DELETED));
                }
            }
        }
        let reason = format!("the ref `{name}` changes as fast as it is read");
        Err(StoreError::Malformed { what: "ref", reason })
    }

    /// Sets the ref if it is still at generation `expected` (`None`: not there), and gives its new generation.
    ///
    /// Of several writers that expect the same generation exactly one succeeds; the others get
    /// [`StoreError::Conflict`] and may read the ref again. The value is at most 1 MiB.
    pub async fn ref_set(&self, name: &RefName, expected: Option<u64>, bytes: Bytes) -> Result<u64, StoreError> {
        check_size(name, bytes.len() as u64)?;
        if bytes == DELETED {
            return Err(StoreError::Malformed { what: "ref", reason: "the value means that it is deleted".to_owned() });
        }
        self.generation_put(name, expected, bytes).await
    }

    /// Deletes the ref if it is still at generation `expected`, by the same rules as [`Store::ref_set`]; it may be set
    /// again, and goes on counting its generations.
    pub async fn ref_delete(&self, name: &RefName, expected: u64) -> Result<(), StoreError> {
        self.generation_put(name, Some(expected), Bytes::from_static(DELETED)).await.map(drop)
    }

    async fn generation_put(&self, name: &RefName, expected: Option<u64>, bytes: Bytes) -> Result<u64, StoreError> {
        let newest = self.generations(name).await?.last().copied();
        let found = match newest {
            Some(newest) if newest.may_be_deleted() && self.ref_get(name).await?.is_none() => None,
            _ => newest.map(|newest| newest.number),
        };
        let conflict = |found| StoreError::Conflict { name: name.clone(), expected, found };
        if found != expected {
            return Err(conflict(found));
        }
        let number = newest.map_or(0, |newest| newest.number) + 1;
        let path = generation_path(name, number);
        match self.inner.backend.put_opts(&path, bytes.into(), PutOptions::from(PutMode::Create)).await {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. }) => return Err(conflict(Some(number))),
            Err(source) => return Err(failed("write", &path)(source)),
        }
        let generations = self.generations(name).await?;
        if came_too_late(&generations, number) {
            self.generation_remove(name, number).await?;
            return Err(conflict(generations.last().map(|newest| newest.number)));
        }
        let before = generations.last().and_then(|newest| newest.written.checked_sub(SETTLED));
        for number in before.map(|before| settled(&generations, before)).unwrap_or_default() {
            // One that stays costs a few bytes and goes with the next change.
            let _ = self.generation_remove(name, number).await;
        }
        Ok(number)
    }

    /// The names of all refs that begin with `prefix`, sorted.
    pub async fn ref_list(&self, prefix: &str) -> Result<Vec<RefName>, StoreError> {
        let above = prefix.rsplit_once('/').map_or("", |(above, _)| above);
        let folder = if above.is_empty() { Path::from(FOLDER) } else { folder(&RefName::new(above)?) };
        let listed: Vec<_> =
            self.inner.backend.list(Some(&folder)).try_collect().await.map_err(failed("list", &folder))?;
        let mut newest = BTreeMap::new();
        for meta in listed {
            let name = name_of(&meta.location).filter(|name| name.as_str().starts_with(prefix));
            if let Some((name, generation)) = name.zip(Generation::of(&meta)) {
                let entry = newest.entry(name).or_insert(generation);
                *entry = if generation.number > entry.number { generation } else { *entry };
            }
        }
        let mut names = Vec::new();
        for (name, generation) in newest {
            if !generation.may_be_deleted() || self.ref_get(&name).await?.is_some() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes generations of all refs that have been out of date for `grace`, by the clock that says that it is `now`, but
    /// never the last few.
    ///
    /// Setting a ref does that as well; of one that was set often within minutes, and then no more, they would stay.
    pub(super) async fn refs_settle(&self, now: SystemTime, grace: Duration) -> Result<(), StoreError> {
        let folder = Path::from(FOLDER);
        let listed: Vec<_> =
            self.inner.backend.list(Some(&folder)).try_collect().await.map_err(failed("list", &folder))?;
        let mut refs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, generation) in listed.iter().filter_map(|meta| name_of(&meta.location).zip(Generation::of(meta))) {
            refs.entry(name).or_default().push(generation);
        }
        let Some(before) = now.checked_sub(grace.max(SETTLED)) else { return Ok(()) };
        for (name, mut generations) in refs {
            generations.sort_by_key(|generation| generation.number);
            for number in settled(&generations, before) {
                self.generation_remove(&name, number).await?;
            }
        }
        Ok(())
    }

    /// The generations that are there, rising.
    async fn generations(&self, name: &RefName) -> Result<Vec<Generation>, StoreError> {
        let folder = folder(name);
        let listed =
            self.inner.backend.list_with_delimiter(Some(&folder)).await.map_err(failed("list", &folder))?.objects;
        if listed.is_empty() {
            self.inner.check_there().await?;
        }
        let mut generations: Vec<_> = listed.iter().filter_map(Generation::of).collect();
        generations.sort_by_key(|generation| generation.number);
        Ok(generations)
    }

    async fn generation_remove(&self, name: &RefName, number: u64) -> Result<(), StoreError> {
        self.inner.remove(&generation_path(name, number)).await
    }
}

/// Whether generation `number` was written long after a higher one, so that its place had been vacated.
fn came_too_late(generations: &[Generation], number: u64) -> bool {
    let Some(mine) = generations.iter().find(|generation| generation.number == number) else {
        // Only what has been out of date for long is removed.
        return true;
    };
    // Half the time, because the clocks of machines that share a store differ by seconds.
    generations.iter().any(|other| other.number > number && other.written + SETTLED / 2 < mine.written)
}

/// The generations that can go: out of date since before `before`, so that nobody can still be about to write one of them.
fn settled(generations: &[Generation], before: SystemTime) -> Vec<u64> {
    let Some(newest) = generations.last() else { return Vec::new() };
    let goes = |pair: &[Generation]| match *pair {
        [old, next] => old.number + KEPT <= newest.number && old.written.max(next.written) < before,
        _ => false,
    };
    generations.windows(2).filter(|pair| goes(pair)).filter_map(|pair| pair.first()).map(|old| old.number).collect()
}

fn folder(name: &RefName) -> Path {
    Path::from(format!("{FOLDER}/{name}"))
}

fn generation_path(name: &RefName, number: u64) -> Path {
    Path::from(format!("{FOLDER}/{name}/{GENERATION_MARK}{number:0GENERATION_DIGITS$}"))
}

/// Whether an object of this name, in the folder of refs, is a generation of one.
pub(super) fn is_generation(name: &str) -> bool {
    generation_in(name).is_some()
}

/// The number of the generation of this name: only as [`generation_path`] writes it, so that nothing else counts.
fn generation_in(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(GENERATION_MARK)?;
    let is_number = digits.len() == GENERATION_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { digits.parse::<u64>().ok() } else { None };
    number.filter(|number| *number < NO_GENERATION)
}

fn name_of(path: &Path) -> Option<RefName> {
    let (name, generation) = path.as_ref().strip_prefix(FOLDER)?.strip_prefix('/')?.rsplit_once('/')?;
    generation_in(generation)?;
    RefName::new(name).ok()
}

fn check_size(name: &RefName, size: u64) -> Result<(), StoreError> {
    if size <= MAX_VALUE {
        return Ok(());
    }
    Err(StoreError::TooLarge { what: format!("the value of the ref `{name}`"), size, limit: MAX_VALUE, unit: "bytes" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generations: &[(u64, u64)]) -> Vec<Generation> {
        let written = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        generations.iter().map(|&(number, seconds)| Generation { number, written: written(seconds), size: 1 }).collect()
    }

    fn settled_at(generations: &[(u64, u64)], seconds: u64) -> Vec<u64> {
        settled(&at(generations), SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn only_what_is_long_out_of_date_goes() {
        assert_eq!(settled_at(&[], 900), [] as [u64; 0]);
        let quickly = [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5)];
        assert_eq!(settled_at(&quickly, 0), [] as [u64; 0]);
        // Later, all but the last few go.
        assert_eq!(settled_at(&quickly, 900), [1, 2]);
        // 1 has been out of date since second 1, 2 only since second 900.
        assert_eq!(settled_at(&[(1, 0), (2, 1), (3, 900), (4, 901), (5, 902), (6, 903)], 843), [1]);
        // The last few stay, however old.
        assert_eq!(settled_at(&[(1, 0), (2, 100), (3, 200), (4, 300)], 9000), [] as [u64; 0]);
        assert_eq!(settled_at(&[(3, 0), (9, 100), (10, 200)], 140), [3]);
    }

    #[test]
    fn a_writer_that_slept_is_told() {
        assert!(!came_too_late(&at(&[(6, 0)]), 6));
        // Superseded at once by others that had seen it.
        assert!(!came_too_late(&at(&[(6, 0), (7, 0), (8, 1)]), 6));
        // Written into a vacated place.
        assert!(came_too_late(&at(&[(6, 500), (17, 10), (18, 20)]), 6));
        assert!(came_too_late(&at(&[(17, 10)]), 6));
    }

    #[test]
    fn paths_name_refs() {
        let name = RefName::new("heads/main").unwrap();
        assert_eq!(name_of(&generation_path(&name, 7)), Some(name));
        for other in [
            "18446744073709551615",
            "@18446744073709551615",
            "other",
            "@7",
            "@+0000000000000000007",
            "@00000000000000000007~",
            "@99999999999999999999",
        ] {
            assert_eq!(name_of(&Path::from(format!("refs/heads/main/{other}"))), None, "{other}");
        }
    }
}
