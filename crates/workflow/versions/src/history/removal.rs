//! Tombstones: who removed a version, when and why.
//!
//! The ref `datasets/NAME/removed/DIGEST` holds one as JSON. It is created if it is absent, never moved and never deleted,
//! and travels like every other ref. The version object stays, so that lineage and the log can name it; its content is
//! nobody's root any more, and no name resolves to it.

use std::collections::HashSet;

use bytes::Bytes;
use ropewalk_store::{RefName, Store, StoreError};
use ropewalk_types::{DatasetName, Digest, Timestamp, canonical_json};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::names::in_order;
use super::{FOLDER, History, Part, Refs, found_in, lost_race, parts};
use crate::error::VersionsError;
use crate::version::Version;

/// A reason is a sentence or a letter, no data.
const MAX_WHY: usize = 64 << 10;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// The tombstone of a version: its content may be gone, what was recorded of it stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// When it was removed.
    pub at: Timestamp,
    /// Who removed it.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What becomes of a walk at a version whose object is damaged.
#[derive(Clone, Copy)]
pub(super) enum Damage {
    Refused,
    /// History ends there if the version has a tombstone.
    OfRemovedPassed,
}

impl Removal {
    /// The day on which it was removed, in UTC, as `2026-11-29`.
    pub fn day(&self) -> String {
        let (year, month, day) = civil(self.at.millis().div_euclid(DAY));
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Refuses a removal without a name or a reason, and one whose reason is longer than 64 KiB.
    pub(crate) fn check(&self) -> Result<(), VersionsError> {
        if self.who.trim().is_empty() || self.why.trim().is_empty() {
            return Err(VersionsError::NoReason);
        }
        if self.why.len() > MAX_WHY {
            let (what, size, limit) = ("a reason".to_owned(), self.why.len() as u64, MAX_WHY as u64);
            return Err(StoreError::TooLarge { what, size, limit, unit: "bytes" }.into());
        }
        Ok(())
    }

    pub(super) fn encode(&self) -> Bytes {
        let Self { at, who, why } = self;
        Bytes::from(canonical_json(&json!({ "at": at, "who": who, "why": why })))
    }

    pub(super) fn decode(name: &RefName, bytes: &[u8]) -> Result<Self, StoreError> {
        let wrong = |error| StoreError::Malformed { what: "ref", reason: format!("`{name}` is no tombstone: {error}") };
        serde_json::from_slice(bytes).map_err(wrong)
    }
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar (Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn removed_ref(name: &DatasetName, version: &Digest) -> Result<RefName, VersionsError> {
    Ok(RefName::new(format!("{FOLDER}/{name}/removed/{version}"))?)
}

pub(super) async fn removal_at(store: &Store, name: &RefName) -> Result<Option<Removal>, VersionsError> {
    let Some(value) = store.ref_get(name).await? else { return Ok(None) };
    Ok(Some(Removal::decode(name, &value.bytes)?))
}

/// Puts a tombstone on a version, unless it has one: the first stays. Says whether there was none.
pub(crate) async fn removal_put(
    store: &Store,
    name: &DatasetName,
    version: &Digest,
    removal: &Removal,
) -> Result<bool, VersionsError> {
    match store.ref_set(&removed_ref(name, version)?, None, removal.encode()).await {
        Err(error) if lost_race(&error) => Ok(false),
        result => Ok(result.map(|_| true)?),
    }
}

impl Refs {
    /// Refuses a version that was removed.
    pub(crate) fn check_there(&self, name: &DatasetName, version: &Digest) -> Result<(), VersionsError> {
        match self.removed.get(version) {
            None => Ok(()),
            Some(removal) => Err(VersionsError::Removed {
                name: name.clone(),
                version: *version,
                removal: Box::new(removal.clone()),
            }),
        }
    }

    /// The tags that name a version.
    pub(crate) fn tags_of(&self, version: &Digest) -> Vec<String> {
        self.tags.iter().filter(|(_, at)| at.version == *version).map(|(tag, _)| tag.to_string()).collect()
    }
}

/// Refuses a version of which `store` has the tombstone.
pub(crate) async fn check_there(store: &Store, name: &DatasetName, version: &Digest) -> Result<(), VersionsError> {
    match removal_at(store, &removed_ref(name, version)?).await? {
        None => Ok(()),
        Some(removal) => {
            Err(VersionsError::Removed { name: name.clone(), version: *version, removal: Box::new(removal) })
        }
    }
}

impl History<'_> {
    /// Whether any of the stores has a tombstone of this version.
    pub(super) async fn is_removed(&self, version: &Digest) -> Result<bool, VersionsError> {
        for store in self.stores {
            let refs = store.ref_list(&format!("{FOLDER}/")).await?;
            if refs.iter().any(|name| matches!(parts(name), Some((_, Part::Removed(gone))) if gone == *version)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Like [`History::find`]; a damaged object is an error also where the version was removed.
    pub(crate) async fn find_strictly(&self, digest: &Digest) -> Result<Option<Version>, VersionsError> {
        for store in self.stores {
            if let Some(version) = found_in(store, digest).await? {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// Like [`History::ancestors`], for a collection: what lies behind a removed version whose object is damaged must not be
    /// taken for what nobody needs.
    pub(crate) async fn ancestors_strictly(&self, start: &[Digest]) -> Result<Vec<(Digest, Version)>, VersionsError> {
        self.walk(start, &HashSet::new(), Damage::Refused).await
    }

    /// `version`; if it was removed, the newest of those behind it that were not, each before those that it came from.
    pub(crate) async fn remaining(&self, refs: &Refs, version: &Digest) -> Result<Option<Digest>, VersionsError> {
        if !refs.removed.contains_key(version) {
            return Ok(Some(*version));
        }
        let behind = in_order(self.ancestors(&[*version], &HashSet::new()).await?);
        Ok(behind.into_iter().map(|(digest, _)| digest).find(|digest| !refs.removed.contains_key(digest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_says_on_which_day() {
        let removed = |millis| Removal { at: Timestamp(millis), who: "ada".to_owned(), why: "asked to".to_owned() };
        for (millis, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400_000, "2000-02-29"),
            (1_709_251_199_999, "2024-02-29"),
            (1_709_251_200_000, "2024-03-01"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(removed(millis).day(), day, "{millis}");
        }
    }

    #[test]
    fn a_tombstone_needs_a_name_and_a_reason() {
        let removal = Removal { at: Timestamp(7), who: "ada".to_owned(), why: "asked to".to_owned() };
        let name = removed_ref(&DatasetName::new("x").unwrap(), &Digest::of(b"v")).unwrap();
        assert_eq!(removal.encode(), br#"{"at":7,"who":"ada","why":"asked to"}"#.as_slice());
        assert_eq!(Removal::decode(&name, &removal.encode()).unwrap(), removal);
        assert!(Removal::decode(&name, b"{}").unwrap_err().to_string().contains("datasets/x/removed/"));
        assert!(removal.check().is_ok());
        for bad in [
            Removal { why: " ".to_owned(), ..removal.clone() },
            Removal { who: String::new(), ..removal.clone() },
            Removal { why: "x".repeat(MAX_WHY + 1), ..removal },
        ] {
            assert!(bad.check().is_err());
        }
    }
}
