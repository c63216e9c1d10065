use std::collections::{BTreeMap, BTreeSet};

use ropewalk_catalog::Catalog;
use ropewalk_types::{DatasetName, Digest, StageName, TagName, Timestamp, canonical_json};
use serde::{Deserialize, Serialize};

use super::latest::latest_list;
use super::record::{foreign, moment, read};
use super::removal::removal_list;
use super::tag::{TagMove, tag_list, untag_list};
use crate::DataError;
use crate::governance::{DatasetFacts, Declaration, declaration_history};

/// What a state is, in its own words.
const KIND: &str = "ropewalk.table_state";
/// The form that this program writes and reads.
const FORMAT: u32 = 1;
/// Tags and removals that a state may have, and the bytes of a name and of a text in it: what one machine wrote must leave
/// room for what others write. An argument of a command has at most 128 KiB.
const TAGS: usize = 10_000;
const REMOVALS: usize = 100_000;
const NAME_BYTES: usize = 4 << 10;
const TEXT_BYTES: usize = 128 << 10;

/// What can change of a table, as a remote keeps it: what is said of it, its tags, which versions were removed, which is
/// the latest.
///
/// Two states of one table always merge ([`TableState::merge`]): what was said or done last holds, a removal stays on
/// record, and a tag that names two versions stays where it is until somebody moves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableState {
    /// What was declared last; without facts it withdraws what was declared before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declaration: Option<Declared>,
    /// The form of this object.
    pub format: u32,
    /// What this object is.
    pub kind: String,
    /// Which version became the latest last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
    /// The dataset.
    pub name: DatasetName,
    /// The versions that were removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub removed: BTreeMap<Digest, Removed>,
    /// Its tags, also those that were taken away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<TagName, Tagged>,
}

/// The facts that somebody declared of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "as in `Declaration`")]
pub struct Declared {
    pub at: Timestamp,
    pub facts: DatasetFacts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
    pub who: String,
    pub why: String,
}

/// When a version became the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latest {
    /// When it did.
    pub at: Timestamp,
    /// The version.
    pub digest: Digest,
}

/// The tombstone of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "as in `Removal`")]
pub struct Removed {
    pub at: Timestamp,
    pub who: String,
    pub why: String,
}

/// Where a tag was set last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tagged {
    /// When.
    pub at: Timestamp,
    /// The version; none if it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// By whom.
    pub who: String,
}

/// A tag that names one version here and another one there; it was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagConflict {
    /// The tag.
    pub tag: TagName,
    /// What it names in the state that was merged into.
    pub kept: Digest,
    /// What it names in the other one.
    pub refused: Digest,
}

/// What two states are together.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedState {
    /// The state.
    pub state: TableState,
    /// Tags that were left where they are.
    pub conflicts: Vec<TagConflict>,
    /// Versions whose removal was not taken over, because they have a tag: with one of its names.
    pub protected: Vec<(Digest, TagName)>,
}

impl TableState {
    /// The largest state that is read, in bytes.
    pub const MAX_BYTES: u64 = 16 << 20;

    /// The state of a table of which nothing is known.
    pub fn empty(name: DatasetName) -> Self {
        let (tags, removed) = (BTreeMap::new(), BTreeMap::new());
        Self { declaration: None, format: FORMAT, kind: KIND.to_owned(), latest: None, name, removed, tags }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::empty(self.name.clone())
    }

    /// The canonical JSON text.
    ///
    /// Errors: [`DataError::Foreign`] for what is larger than [`TableState::decode`] accepts.
    pub fn encode(&self) -> Result<Vec<u8>, DataError> {
        let value = serde_json::to_value(self).map_err(|error| DataError::Encoding {
            action: "encode the state of a table",
            reason: error.to_string(),
        })?;
        let text = canonical_json(&value);
        if text.len() as u64 > Self::MAX_BYTES {
            let reason = format!("it has {} bytes, {} are accepted", text.len(), Self::MAX_BYTES);
            return Err(foreign(&self.name, None, reason));
        }
        self.check_sizes().map_err(|reason| foreign(&self.name, None, reason))?;
        Ok(text.into_bytes())
    }

    /// Reads the state of the table `name`, of which every byte may be anybody's.
    ///
    /// Errors: as [`TableRecord::decode`](super::record::TableRecord::decode).
    pub fn decode(bytes: &[u8], name: &DatasetName, now: Timestamp) -> Result<Self, DataError> {
        let state: Self = read(bytes, Self::MAX_BYTES, KIND, FORMAT, name, None)?;
        let wrong = |reason: String| foreign(name, None, reason);
        if state.name != *name {
            return Err(wrong(format!("it is the state of `{}`", state.name)));
        }
        state.check(now).map_err(wrong)?;
        Ok(state)
    }

    fn check_sizes(&self) -> Result<(), String> {
        for (what, count, limit) in [("tags", self.tags.len(), TAGS), ("removals", self.removed.len(), REMOVALS)] {
            if count > limit {
                return Err(format!("it has {count} {what}, {limit} are accepted"));
            }
        }
        let within = |what: &str, text: &str, limit: usize| match text.len() {
            length if length > limit => Err(format!("{what} has {length} bytes, {limit} are accepted")),
            _ => Ok(()),
        };
        if let Some(Declared { facts, who, why, .. }) = &self.declaration {
            within("the name of who declared something of it", who, NAME_BYTES)?;
            within("the reason of its declaration", why, TEXT_BYTES)?;
            within("its owner", facts.owner.as_deref().unwrap_or_default(), NAME_BYTES)?;
            within("its description", facts.description.as_deref().unwrap_or_default(), TEXT_BYTES)?;
        }
        for (digest, Removed { who, why, .. }) in &self.removed {
            within(&format!("the name of who removed {}", digest.short()), who, NAME_BYTES)?;
            within(&format!("the reason of the removal of {}", digest.short()), why, TEXT_BYTES)?;
        }
        for (tag, tagged) in &self.tags {
            within(&format!("the name of who set the tag `{tag}`"), &tagged.who, NAME_BYTES)?;
        }
        Ok(())
    }

    fn check(&self, now: Timestamp) -> Result<(), String> {
        self.check_sizes()?;
        let named = |who: &str, what: &str| match who.trim() {
            "" => Err(format!("{what} does not say who made it")),
            _ => Ok(()),
        };
        if let Some(declared) = &self.declaration {
            moment(declared.at, now)?;
            named(&declared.who, "its declaration")?;
            named(&declared.why, "the reason of its declaration")?;
        }
        for (digest, removed) in &self.removed {
            moment(removed.at, now)?;
            named(&removed.who, &format!("the removal of {}", digest.short()))?;
            named(&removed.why, &format!("the reason of the removal of {}", digest.short()))?;
        }
        for (tag, tagged) in &self.tags {
            moment(tagged.at, now)?;
            named(&tagged.who, &format!("the tag `{tag}`"))?;
        }
        self.latest.map_or(Ok(()), |latest| moment(latest.at, now))
    }

    /// When the version was removed, unless it was made again afterwards: at `created_at`.
    pub fn removal(&self, digest: &Digest, created_at: Timestamp) -> Option<&Removed> {
        self.removed.get(digest).filter(|removed| removed.at >= created_at)
    }

    /// This state with what `other` knows better.
    ///
    /// A tag that both set to different versions stays where it is here, unless `moving` allows it to follow `other`. A
    /// version that has a tag in the result is not removed by `other`. A version that was removed since it became the latest
    /// is the latest no longer.
    pub fn merge(&self, other: &Self, moving: TagMove) -> MergedState {
        let mut state = self.clone();
        let mut conflicts = Vec::new();
        let later = |other: &&Declared| self.declaration.as_ref().is_none_or(|known| known.at < other.at);
        if let Some(declared) = other.declaration.as_ref().filter(later) {
            state.declaration = Some(declared.clone());
        }
        for (tag, theirs) in &other.tags {
            let follows = match (self.tags.get(tag), theirs.digest) {
                (None, _) => true,
                (Some(Tagged { digest: Some(kept), .. }), Some(refused)) if *kept != refused => {
                    if moving == TagMove::Refused {
                        conflicts.push(TagConflict { tag: tag.clone(), kept: *kept, refused });
                    }
                    moving == TagMove::Allowed
                }
                (Some(ours), _) => ours.digest != theirs.digest && ours.at < theirs.at,
            };
            if follows {
                state.tags.insert(tag.clone(), theirs.clone());
            }
        }
        let tagged: BTreeMap<Digest, &TagName> =
            state.tags.iter().filter_map(|(tag, tagged)| Some((tagged.digest?, tag))).collect();
        let mut protected = Vec::new();
        for (digest, removed) in &other.removed {
            match self.removed.get(digest) {
                Some(known) if known.at >= removed.at => {}
                _ => match tagged.get(digest) {
                    Some(tag) => protected.push((*digest, (*tag).clone())),
                    None => {
                        state.removed.insert(*digest, removed.clone());
                    }
                },
            }
        }
        let there = |latest: &Latest| state.removal(&latest.digest, latest.at).is_none();
        state.latest = self.latest.filter(there).max(other.latest.filter(there));
        MergedState { state, conflicts, protected }
    }
}

/// What the catalogue knows of every table, and of every other dataset of which something is declared.
pub async fn table_states(catalog: &Catalog) -> Result<BTreeMap<DatasetName, TableState>, DataError> {
    let mut states: BTreeMap<DatasetName, TableState> = BTreeMap::new();
    let mut declared = BTreeSet::new();
    for declaration in declaration_history(catalog, None).await? {
        if declared.insert(declaration.name.clone()) {
            let Declaration { name, facts, stage, who, why, at } = declaration;
            of(&mut states, &name).declaration = Some(Declared { at, facts, stage, who, why });
        }
    }
    for (name, latest) in latest_list(catalog).await? {
        of(&mut states, &name).latest = Some(latest);
    }
    for tag in tag_list(catalog, None).await? {
        let tagged = Tagged { at: tag.at, digest: Some(tag.digest), who: tag.who };
        of(&mut states, &tag.name).tags.insert(tag.tag, tagged);
    }
    for untag in untag_list(catalog).await? {
        let tagged = Tagged { at: untag.at, digest: None, who: untag.who };
        of(&mut states, &untag.name).tags.entry(untag.tag).or_insert(tagged);
    }
    for removal in removal_list(catalog, None).await? {
        let removed = Removed { at: removal.at, who: removal.who, why: removal.why };
        of(&mut states, &removal.name).removed.insert(removal.digest, removed);
    }
    Ok(states)
}

fn of<'a>(states: &'a mut BTreeMap<DatasetName, TableState>, name: &DatasetName) -> &'a mut TableState {
    states.entry(name.clone()).or_insert_with(|| TableState::empty(name.clone()))
}

#[cfg(test)]
mod tests;
