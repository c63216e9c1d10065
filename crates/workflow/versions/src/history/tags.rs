//! Tags, and that they were deleted.
//!
//! A tag that one machine deletes must not come back from another that has not heard of it, and may be set anew, also at the
//! same version. So `datasets/NAME/untagged/TAG` counts how often a tag was deleted, and a tag that is set afterwards says
//! so: `datasets/NAME/tags/TAG` holds the version and, if it is not 0, that count. A tag with a smaller count than the
//! largest that is known was deleted. Counts only grow, and of two machines the larger one holds on both.

use bytes::Bytes;
use ropewalk_store::{RefName, Store, StoreError};
use ropewalk_types::{DatasetName, Digest, TagName};

use super::{FOLDER, MAX_ROUNDS, Refs, lost_race};
use crate::error::VersionsError;
use crate::trail::{Act, Adopting};

/// A tag as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagAt {
    pub(crate) version: Digest,
    /// How often the tag had been deleted when it was set.
    pub(crate) deletions: u64,
}

/// Tags on their way from one store to another.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// How many were set.
    pub(crate) set: u64,
    /// Those that were deleted.
    pub(crate) deleted: Vec<TagName>,
    /// Those that name other versions there, and which.
    pub(crate) refused: Vec<(TagName, Digest)>,
    /// Those that were deleted there since they were set, so that they were not set there.
    pub(crate) gone: Vec<TagName>,
}

pub(crate) fn tag_ref(name: &DatasetName, tag: &TagName) -> Result<RefName, VersionsError> {
    Ok(RefName::new(format!("{FOLDER}/{name}/tags/{tag}"))?)
}

fn untagged_ref(name: &DatasetName, tag: &TagName) -> Result<RefName, VersionsError> {
    Ok(RefName::new(format!("{FOLDER}/{name}/untagged/{tag}"))?)
}

pub(super) fn encode(at: TagAt) -> Bytes {
    match at.deletions {
        0 => Bytes::from(format!("{}\n", at.version)),
        deletions => Bytes::from(format!("{} {deletions}\n", at.version)),
    }
}

pub(super) fn decode(text: &str) -> Option<TagAt> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (version, deletions) = text.split_once(' ').unwrap_or((text, "0"));
    Some(TagAt { version: version.parse().ok()?, deletions: deletions.parse().ok()? })
}

pub(super) fn deletions_encode(count: u64) -> Bytes {
    Bytes::from(format!("{count}\n"))
}

pub(super) fn deletions_decode(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// A ref as `read` understands it, and its generation.
async fn read_at<T>(
    store: &Store,
    name: &RefName,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<(T, u64)>, VersionsError> {
    let Some(value) = store.ref_get(name).await? else { return Ok(None) };
    let read = std::str::from_utf8(&value.bytes).ok().and_then(read);
    let wrong = || StoreError::Malformed { what: "ref", reason: format!("`{name}` holds no tag") };
    Ok(Some((read.ok_or_else(wrong)?, value.generation)))
}

pub(super) async fn tag_at(store: &Store, name: &RefName) -> Result<Option<TagAt>, VersionsError> {
    Ok(read_at(store, name, decode).await?.map(|(at, _)| at))
}

pub(super) async fn deletions_at(store: &Store, name: &RefName) -> Result<u64, VersionsError> {
    Ok(read_at(store, name, deletions_decode).await?.map_or(0, |(count, _)| count))
}

/// Sets a tag; one that names another version is only moved if that is forced.
pub(crate) async fn tag_set(
    store: &Store,
    name: &DatasetName,
    tag: &TagName,
    version: &Digest,
    force: bool,
) -> Result<(), VersionsError> {
    let deletions = deletions_at(store, &untagged_ref(name, tag)?).await?;
    tag_set_since(store, (name, tag), version, force, deletions).await
}

/// [`tag_set`] by one who has read that the tag was deleted so often.
async fn tag_set_since(
    store: &Store,
    (name, tag): (&DatasetName, &TagName),
    version: &Digest,
    force: bool,
    mut deletions: u64,
) -> Result<(), VersionsError> {
    let (tag_name, untagged) = (tag_ref(name, tag)?, untagged_ref(name, tag)?);
    for _ in 0..MAX_ROUNDS {
        let wanted = TagAt { version: *version, deletions };
        let known = read_at(store, &tag_name, decode).await?;
        match known {
            Some((known, _)) if known == wanted => return Ok(()),
            Some((known, _)) if !force && known.version != *version && known.deletions >= wanted.deletions => {
                let (name, tag) = (name.clone(), tag.to_string());
                return Err(VersionsError::TagExists { name, tag, version: known.version });
            }
            _ => {}
        }
        let set = match store.ref_set(&tag_name, known.map(|(_, generation)| generation), encode(wanted)).await {
            Err(error) if lost_race(&error) => false,
            result => result.map(|_| true)?,
        };
        // Somebody may have deleted it since the count was read, and even before the tag was: then what was set counts as
        // deleted, and is set again after that.
        let now = deletions_at(store, &untagged).await?;
        if set && now <= deletions {
            return Ok(());
        }
        deletions = now;
    }
    Err(VersionsError::Busy { name: name.clone() })
}

/// Deletes a tag, so that it does not come back from another store.
pub(crate) async fn tag_delete(store: &Store, name: &DatasetName, tag: &TagName) -> Result<(), VersionsError> {
    let known = deletions_at(store, &untagged_ref(name, tag)?).await?;
    let set = tag_at(store, &tag_ref(name, tag)?).await?.map_or(0, |at| at.deletions);
    let count = known.max(set) + 1;
    deletions_raise(store, name, tag, count).await?;
    tag_drop(store, name, tag, count, None).await.map(drop)
}

/// Removes a tag that is as it was read, without counting that as a deletion: it may come back from another store. Says
/// whether it was so.
pub(super) async fn tag_let_go(
    store: &Store,
    name: &DatasetName,
    tag: &TagName,
    read: TagAt,
) -> Result<bool, VersionsError> {
    let tag_name = tag_ref(name, tag)?;
    let Some((at, generation)) = read_at(store, &tag_name, decode).await? else { return Ok(false) };
    if at != read {
        return Ok(false);
    }
    match store.ref_delete(&tag_name, generation).await {
        Err(error) if lost_race(&error) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

/// Removes a tag that was set when it had been deleted less often than this; says whether there was one.
///
/// One that was set anew meanwhile stays.
async fn tag_drop(
    store: &Store,
    name: &DatasetName,
    tag: &TagName,
    count: u64,
    mut told: Option<Adopting<'_>>,
) -> Result<bool, VersionsError> {
    let tag_name = tag_ref(name, tag)?;
    for _ in 0..MAX_ROUNDS {
        let Some((at, generation)) = read_at(store, &tag_name, decode).await? else { return Ok(false) };
        if at.deletions >= count {
            return Ok(false);
        }
        if let Some(told) = told.take() {
            told.announce(name, at.version, Act::Untag { tag: tag.to_string() }, None).await?;
        }
        match store.ref_delete(&tag_name, generation).await {
            Err(error) if lost_race(&error) => {}
            result => return Ok(result.map(|()| true)?),
        }
    }
    Err(VersionsError::Busy { name: name.clone() })
}

/// Notes that a tag was deleted this often, unless more is known.
async fn deletions_raise(store: &Store, name: &DatasetName, tag: &TagName, count: u64) -> Result<(), VersionsError> {
    let untagged = untagged_ref(name, tag)?;
    for _ in 0..MAX_ROUNDS {
        let known = read_at(store, &untagged, deletions_decode).await?;
        if known.is_some_and(|(known, _)| known >= count) {
            return Ok(());
        }
        let (generation, bytes) = (known.map(|(_, generation)| generation), deletions_encode(count));
        match store.ref_set(&untagged, generation, bytes).await {
            Err(error) if lost_race(&error) => {}
            result => return Ok(result.map(drop)?),
        }
    }
    Err(VersionsError::Busy { name: name.clone() })
}

/// What became of a tag on its way.
enum Arrived {
    /// It is set there.
    Set,
    /// It was set there.
    Present,
    /// It names this other version there.
    Refused(Digest),
    /// It was deleted there since it was set here.
    Gone,
}

/// Brings to `to`, of which `theirs` was read some time ago, what `ours` has of tags: deletions first, then those that are
/// set.
///
/// What others did meanwhile stays, unless what `ours` has came after it. A tag that names another version there is only
/// moved if that is forced.
pub(crate) async fn tags_carry(
    ours: &Refs,
    to: &Store,
    name: &DatasetName,
    theirs: &Refs,
    force: bool,
) -> Result<Carried, VersionsError> {
    tags_bring(ours, to, name, theirs, force, None).await
}

/// As [`tags_carry`], without moving a tag; the trail hears of each tag before it is set or deleted in `to`.
pub(crate) async fn tags_adopt(
    theirs: &Refs,
    to: &Store,
    name: &DatasetName,
    ours: &Refs,
    told: Adopting<'_>,
) -> Result<Carried, VersionsError> {
    tags_bring(theirs, to, name, ours, false, Some(told)).await
}

async fn tags_bring(
    ours: &Refs,
    to: &Store,
    name: &DatasetName,
    theirs: &Refs,
    force: bool,
    told: Option<Adopting<'_>>,
) -> Result<Carried, VersionsError> {
    let mut carried = Carried::default();
    for (tag, count) in &ours.untagged {
        let known = theirs.untagged.get(tag).copied().unwrap_or_default();
        if known >= *count {
            continue;
        }
        let mut told = told;
        // A tag that was deleted less often than is known is there no longer: its end begins here.
        if let Some(trail) = told
            && let Some(at) = tag_at(to, &tag_ref(name, tag)?).await?
            && at.deletions < *count
        {
            trail.announce(name, at.version, Act::Untag { tag: tag.to_string() }, None).await?;
            told = None;
        }
        deletions_raise(to, name, tag, *count).await?;
        if tag_drop(to, name, tag, *count, told).await? {
            carried.deleted.push(tag.clone());
        }
    }
    for (tag, at) in &ours.tags {
        let there = theirs.tags.get(tag).filter(|_| !carried.deleted.contains(tag));
        if there.is_some_and(|there| there.version == at.version && there.deletions >= at.deletions) {
            continue;
        }
        match tag_carry(to, name, tag, *at, force, told).await? {
            Arrived::Set => carried.set += 1,
            Arrived::Present => {}
            Arrived::Refused(version) => carried.refused.push((tag.clone(), version)),
            Arrived::Gone => carried.gone.push(tag.clone()),
        }
    }
    Ok(carried)
}

/// Sets a tag as it was set elsewhere, unless it was deleted here more often than was known there.
async fn tag_carry(
    to: &Store,
    name: &DatasetName,
    tag: &TagName,
    at: TagAt,
    force: bool,
    told: Option<Adopting<'_>>,
) -> Result<Arrived, VersionsError> {
    let count = deletions_at(to, &untagged_ref(name, tag)?).await?;
    tag_carry_since(to, (name, tag), at, force, count, told).await
}

/// [`tag_carry`] by one who has read that the tag was deleted so often.
async fn tag_carry_since(
    to: &Store,
    (name, tag): (&DatasetName, &TagName),
    at: TagAt,
    force: bool,
    mut count: u64,
    mut told: Option<Adopting<'_>>,
) -> Result<Arrived, VersionsError> {
    let (tag_name, untagged) = (tag_ref(name, tag)?, untagged_ref(name, tag)?);
    for _ in 0..MAX_ROUNDS {
        if at.deletions < count {
            return Ok(Arrived::Gone);
        }
        let known = read_at(to, &tag_name, decode).await?;
        let is_set = known.is_none_or(|(known, _)| {
            known.deletions < at.deletions || (force && known.deletions == at.deletions && known != at)
        });
        if let Some(told) = told.take_if(|_| is_set) {
            told.announce(name, at.version, Act::Tag { tag: tag.to_string() }, None).await?;
        }
        if count < at.deletions {
            deletions_raise(to, name, tag, at.deletions).await?;
        }
        match known {
            // Somebody deleted it and set it anew since the count was read.
            Some((known, _)) if known.deletions > at.deletions => return Ok(Arrived::Gone),
            Some((known, _)) if known == at => return Ok(Arrived::Present),
            Some((known, _)) if !force && known.deletions == at.deletions => {
                return Ok(Arrived::Refused(known.version));
            }
            _ => {}
        }
        let set = match to.ref_set(&tag_name, known.map(|(_, generation)| generation), encode(at)).await {
            Err(error) if lost_race(&error) => false,
            result => result.map(|_| true)?,
        };
        count = deletions_at(to, &untagged).await?;
        if set && count <= at.deletions {
            return Ok(Arrived::Set);
        }
        if set {
            // Deleted since the count was read, perhaps before it was set, so that nobody else takes it away.
            tag_drop(to, name, tag, count, None).await?;
        }
    }
    Err(VersionsError::Busy { name: name.clone() })
}

#[cfg(test)]
mod tests;
