use std::collections::{BTreeMap, BTreeSet};

use ropewalk_ingest::{Column, Import};
use ropewalk_lineage::{DEPTH, Link};
use ropewalk_types::{DatasetName, Digest, StageName, Timestamp, Uri, Zone, canonical_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DatasetVersion;
use crate::DataError;

/// What a record is, in its own words.
const KIND: &str = "ropewalk.table_version";
/// The form that this program writes and reads.
const FORMAT: u32 = 1;
/// Columns and links that a record may have, and the largest number of a version.
const COLUMNS: usize = 100_000;
const LINKS: usize = 20_000;
const NUMBERS: u64 = 1 << 40;
/// The last moment of the year 9999: later ones are a mistake, and days could not be added to them.
const LAST_MOMENT: i64 = 253_402_300_799_999;
/// How far the clock of another machine may be ahead of this one's.
const AHEAD: i64 = 24 * 60 * 60 * 1000;

/// A version of a table as a remote keeps it: what the catalogue knows of it, and how it was made.
///
/// Kept as a blob in the canonical JSON of [`canonical_json`]. It is written once and never changes; what can change of a
/// table is in its [`TableState`](super::state::TableState). The bytes of the version are the tree `digest`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRecord {
    /// Bytes of its files.
    pub bytes: u64,
    /// Columns of the table, in order.
    pub columns: Vec<Column>,
    /// When it was first recorded, on the machine that made it.
    pub created_at: Timestamp,
    /// Digest of the version's tree.
    pub digest: Digest,
    /// The form of this record.
    pub format: u32,
    /// What this record is.
    pub kind: String,
    /// The whole thread back from the version: every link leads on from the version or from the parent of another link.
    pub links: Vec<Link>,
    /// How it was made, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
    /// The dataset.
    pub name: DatasetName,
    /// Its number on the machine that made it.
    pub number: u64,
    /// Source rows that are not in the table.
    pub quarantined: u64,
    /// Rows of the table.
    pub rows: u64,
    /// Key of the stage that made it, if a stage did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_key: Option<Digest>,
    /// Where the dataset stands.
    pub zone: Zone,
}

/// How a version was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// What was asked over a network: place, query, time, rows and digest, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    /// The execution of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<MadeBy>,
}

/// The execution of a stage that made a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    /// When it ended.
    pub finished_at: Timestamp,
    /// The stage's kind.
    pub kind: String,
    /// How long it took, in milliseconds.
    pub milliseconds: i64,
    /// The stage.
    pub name: StageName,
    /// Facts for people and programs: rows, columns, what was set aside.
    pub summary: Value,
}

/// What of a record must be known before the rest can be read.
#[derive(Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) format: u32,
}

impl TableRecord {
    /// The largest record that is read, in bytes.
    pub const MAX_BYTES: u64 = 16 << 20;

    /// The record of a version; `links` is its lineage upstream.
    pub fn new(version: &DatasetVersion, number: u64, links: Vec<Link>, made: Option<Made>) -> Self {
        let DatasetVersion { name, digest, zone, rows, columns, bytes, quarantined, stage_key, created_at } =
            version.clone();
        let (format, kind) = (FORMAT, KIND.to_owned());
        Self {
            bytes,
            columns,
            created_at,
            digest,
            format,
            kind,
            links,
            made,
            name,
            number,
            quarantined,
            rows,
            stage_key,
            zone,
        }
    }

    /// The bytes of the record.
    ///
    /// Errors: [`DataError::Foreign`] for what [`TableRecord::decode`] would refuse, so that nobody else has to.
    pub fn encode(&self) -> Result<Vec<u8>, DataError> {
        let value = serde_json::to_value(self).map_err(|error| DataError::Encoding {
            action: "encode the record of a version",
            reason: error.to_string(),
        })?;
        let text = canonical_json(&value);
        let checked = if text.len() as u64 > Self::MAX_BYTES {
            Err(format!("it has {} bytes, {} are accepted", text.len(), Self::MAX_BYTES))
        } else {
            self.check()
        };
        checked.map_err(|reason| foreign(&self.name, Some(&self.digest), reason))?;
        Ok(text.into_bytes())
    }

    /// Reads the record of the version `digest` of `name`, of which every byte may be anybody's.
    ///
    /// Errors: [`DataError::NewerFormat`] for a form that a later program writes, [`DataError::Foreign`] for whatever is
    /// not a record of just that version.
    pub fn decode(bytes: &[u8], name: &DatasetName, digest: &Digest, now: Timestamp) -> Result<Self, DataError> {
        let wrong = |reason: String| foreign(name, Some(digest), reason);
        let record: Self = read(bytes, Self::MAX_BYTES, KIND, FORMAT, name, Some(digest))?;
        if record.name != *name || record.digest != *digest {
            return Err(wrong(format!("it is the record of {} of `{}`", record.digest.short(), record.name)));
        }
        moment(record.created_at, now).and_then(|()| record.check()).map_err(wrong)?;
        Ok(record)
    }

    /// What the catalogue knows of the version.
    pub fn version(&self) -> DatasetVersion {
        DatasetVersion {
            name: self.name.clone(),
            digest: self.digest,
            zone: self.zone,
            rows: self.rows,
            columns: self.columns.clone(),
            bytes: self.bytes,
            quarantined: self.quarantined,
            stage_key: self.stage_key,
            created_at: self.created_at,
        }
    }

    /// The version in lineage.
    pub(super) fn uri(&self) -> Uri {
        Uri::Data { name: self.name.clone(), version: self.digest.to_string() }
    }

    fn check(&self) -> Result<(), String> {
        for (what, count) in [("rows", self.rows), ("bytes", self.bytes), ("quarantined", self.quarantined)] {
            if i64::try_from(count).is_err() {
                return Err(format!("{count} is no number of {what}"));
            }
        }
        if self.number == 0 || self.number > NUMBERS {
            return Err(format!("{} is no number of a version", self.number));
        }
        if self.columns.len() > COLUMNS {
            return Err(format!("it has {} columns, {COLUMNS} are accepted", self.columns.len()));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.columns.iter().find(|column| !names.insert(column.name.as_str())) {
            return Err(format!("two columns are called `{}`", twice.name.escape_debug()));
        }
        self.check_links()
    }

    /// Lineage of other things is none of this record's business.
    fn check_links(&self) -> Result<(), String> {
        if self.links.len() > LINKS {
            return Err(format!("it has {} links, {LINKS} are accepted", self.links.len()));
        }
        let mut parents: BTreeMap<&Uri, Vec<&Uri>> = BTreeMap::new();
        for link in &self.links {
            for uri in [&link.child, &link.parent] {
                let fixed = match uri {
                    Uri::Data { version, .. } => version.parse::<Digest>().is_ok(),
                    Uri::ModelAlias { .. } | Uri::Prediction(_) => false,
                    _ => true,
                };
                if !fixed {
                    return Err(format!("`{uri}` cannot stand in its lineage"));
                }
            }
            parents.entry(&link.child).or_default().push(&link.parent);
        }
        let own = self.uri();
        let mut met = BTreeSet::from([&own]);
        let mut level = vec![&own];
        for _ in 0..DEPTH {
            let next = level.iter().flat_map(|uri| parents.get(*uri).into_iter().flatten().copied());
            let next: Vec<&Uri> = next.filter(|uri| met.insert(*uri)).collect();
            level = next;
        }
        if level.iter().any(|uri| parents.contains_key(*uri)) {
            return Err(format!("its lineage is longer than {DEPTH} steps"));
        }
        match parents.keys().find(|child| !met.contains(*child)) {
            Some(child) => Err(format!("a link begins at `{child}`, which is not in the thread back from the version")),
            None => Ok(()),
        }
    }
}

/// Reads an object of a remote, of the newest form that is known here.
pub(super) fn read<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
    limit: u64,
    kind: &str,
    format: u32,
    name: &DatasetName,
    digest: Option<&Digest>,
) -> Result<T, DataError> {
    let wrong = |reason: String| foreign(name, digest, reason);
    if bytes.len() as u64 > limit {
        return Err(wrong(format!("it has {} bytes, {limit} are accepted", bytes.len())));
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if head.kind != kind {
        return Err(wrong(format!("it is no `{kind}`")));
    }
    if head.format > format {
        return Err(DataError::NewerFormat { name: name.to_string(), found: head.format, known: format });
    }
    if head.format != format {
        return Err(wrong(format!("format {} was never written", head.format)));
    }
    serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))
}

pub(super) fn foreign(name: &DatasetName, digest: Option<&Digest>, reason: String) -> DataError {
    DataError::Foreign { name: name.to_string(), digest: digest.copied(), reason }
}

/// A moment that another machine wrote down cannot lie in the future here.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> Result<(), String> {
    if (0..=LAST_MOMENT).contains(&at.millis()) && at.millis() <= now.millis().saturating_add(AHEAD) {
        return Ok(());
    }
    Err(format!("its time, {} ms after 1970, is not over yet here: one of two clocks is wrong", at.millis()))
}

#[cfg(test)]
mod tests;
