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
    tag_drop(store, name, tag, count).await.map(drop)
}

/// Removes a tag that was set when it had been deleted less often than this; says whether there was one.
///
/// One that was set anew meanwhile stays.
async fn tag_drop(store: &Store, name: &DatasetName, tag: &TagName, count: u64) -> Result<bool, VersionsError> {
    let tag_name = tag_ref(name, tag)?;
    for _ in 0..MAX_ROUNDS {
        let Some((at, generation)) = read_at(store, &tag_name, decode).await? else { return Ok(false) };
        if at.deletions >= count {
            return Ok(false);
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
    let mut carried = Carried::default();
    for (tag, count) in &ours.untagged {
        let known = theirs.untagged.get(tag).copied().unwrap_or_default();
        if known >= *count {
            continue;
        }
        deletions_raise(to, name, tag, *count).await?;
        if tag_drop(to, name, tag, *count).await? {
            carried.deleted.push(tag.clone());
        }
    }
    for (tag, at) in &ours.tags {
        let there = theirs.tags.get(tag).filter(|_| !carried.deleted.contains(tag));
        if there.is_some_and(|there| there.version == at.version && there.deletions >= at.deletions) {
            continue;
        }
        match tag_carry(to, name, tag, *at, force).await? {
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
) -> Result<Arrived, VersionsError> {
    let count = deletions_at(to, &untagged_ref(name, tag)?).await?;
    tag_carry_since(to, (name, tag), at, force, count).await
}

/// [`tag_carry`] by one who has read that the tag was deleted so often.
async fn tag_carry_since(
    to: &Store,
    (name, tag): (&DatasetName, &TagName),
    at: TagAt,
    force: bool,
    mut count: u64,
) -> Result<Arrived, VersionsError> {
    let (tag_name, untagged) = (tag_ref(name, tag)?, untagged_ref(name, tag)?);
    for _ in 0..MAX_ROUNDS {
        if at.deletions < count {
            return Ok(Arrived::Gone);
        }
        if count < at.deletions {
            deletions_raise(to, name, tag, at.deletions).await?;
        }
        let known = read_at(to, &tag_name, decode).await?;
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
            tag_drop(to, name, tag, count).await?;
        }
    }
    Err(VersionsError::Busy { name: name.clone() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_as_they_are_written() {
        let version = Digest::of(b"v");
        for (deletions, text) in [(0, format!("{version}\n")), (3, format!("{version} 3\n"))] {
            let at = TagAt { version, deletions };
            assert_eq!(encode(at), text.as_bytes());
            assert_eq!(decode(&text), Some(at));
        }
        assert_eq!(decode("nonsense"), None);
        assert_eq!(decode(&format!("{version} x")), None);
    }

    /// What a store knows of the tag `t`.
    async fn known(store: &Store) -> Option<TagAt> {
        let name = DatasetName::new("x").unwrap();
        let refs = super::super::refs(store, &name).await.unwrap();
        refs.tags.get(&TagName::new("t").unwrap()).copied()
    }

    async fn carry(from: &Store, to: &Store) -> Carried {
        let name = DatasetName::new("x").unwrap();
        let (ours, theirs) =
            (super::super::refs(from, &name).await.unwrap(), super::super::refs(to, &name).await.unwrap());
        tags_carry(&ours, to, &name, &theirs, false).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_deleted_stays_so_until_it_is_set_anew() {
        let (here, there) = (Store::open("memory:").await.unwrap(), Store::open("memory:").await.unwrap());
        let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        tag_set(&here, &name, &tag, &one, false).await.unwrap();
        assert_eq!(carry(&here, &there).await.set, 1);
        tag_delete(&here, &name, &tag).await.unwrap();
        assert_eq!((carry(&there, &here).await.set, known(&here).await), (0, None));
        assert_eq!((carry(&here, &there).await.deleted, known(&there).await), (vec![tag.clone()], None));
        // The same version again, and heard of by one that was told of the deletion.
        tag_set(&there, &name, &tag, &one, false).await.unwrap();
        assert_eq!(carry(&there, &here).await.set, 1);
        assert_eq!(known(&here).await, Some(TagAt { version: one, deletions: 1 }));
        // Deleted twice here, set elsewhere there before it was heard of: the larger count holds.
        tag_delete(&here, &name, &tag).await.unwrap();
        tag_set(&there, &name, &tag, &two, true).await.unwrap();
        assert_eq!(carry(&there, &here).await.set, 0);
        carry(&here, &there).await;
        assert_eq!((known(&here).await, known(&there).await), (None, None));
        tag_set(&here, &name, &tag, &two, false).await.unwrap();
        assert_eq!(carry(&here, &there).await.set, 1);
        // Who never heard of anything is no obstacle.
        let third = Store::open("memory:").await.unwrap();
        tag_set(&third, &name, &tag, &one, false).await.unwrap();
        carry(&here, &third).await;
        assert_eq!(known(&third).await, Some(TagAt { version: two, deletions: 2 }));
    }

    async fn refs_of(store: &Store) -> Refs {
        super::super::refs(store, &DatasetName::new("x").unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_set_anew_while_a_deletion_is_on_its_way_stays() {
        let (here, there) = (Store::open("memory:").await.unwrap(), Store::open("memory:").await.unwrap());
        let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
        let (one, five) = (Digest::of(b"1"), Digest::of(b"5"));
        tag_set(&here, &name, &tag, &one, false).await.unwrap();
        carry(&here, &there).await;
        tag_delete(&here, &name, &tag).await.unwrap();
        let (ours, theirs) = (refs_of(&here).await, refs_of(&there).await);
        // While the push goes on, somebody who knows of the deletion sets the tag.
        deletions_raise(&there, &name, &tag, 1).await.unwrap();
        tag_set(&there, &name, &tag, &five, false).await.unwrap();
        let carried = tags_carry(&ours, &there, &name, &theirs, false).await.unwrap();
        assert_eq!((carried.deleted, known(&there).await), (Vec::new(), Some(TagAt { version: five, deletions: 1 })));
    }

    #[tokio::test]
    async fn a_deletion_that_came_while_a_tag_was_on_its_way_holds() {
        let (here, there) = (Store::open("memory:").await.unwrap(), Store::open("memory:").await.unwrap());
        let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
        tag_set(&here, &name, &tag, &Digest::of(b"1"), false).await.unwrap();
        let (ours, theirs) = (refs_of(&here).await, refs_of(&there).await);
        deletions_raise(&there, &name, &tag, 1).await.unwrap();
        let carried = tags_carry(&ours, &there, &name, &theirs, true).await.unwrap();
        assert_eq!((carried.set, carried.gone), (0, vec![tag.clone()]));
        assert_eq!(known(&there).await, None);
        // Heard of, and set again, it arrives.
        carry(&there, &here).await;
        assert_eq!(known(&here).await, None);
        tag_set(&here, &name, &tag, &Digest::of(b"1"), false).await.unwrap();
        assert_eq!((carry(&here, &there).await.set, known(&there).await.is_some()), (1, true));
    }

    #[tokio::test]
    async fn what_is_set_while_another_deletes_the_tag_is_there_or_was_refused() {
        let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let store = Store::open("memory:").await.unwrap();
        tag_set(&store, &name, &tag, &one, false).await.unwrap();
        // One writer has read the count, the other deletes the tag, and the first finds none.
        let read = deletions_at(&store, &untagged_ref(&name, &tag).unwrap()).await.unwrap();
        tag_delete(&store, &name, &tag).await.unwrap();
        tag_set_since(&store, (&name, &tag), &two, false, read).await.unwrap();
        assert_eq!(known(&store).await, Some(TagAt { version: two, deletions: 1 }), "it was told to be set");
        // The deletion has counted, and is about to take away what it knew: not what was set after it.
        let read = 1;
        deletions_raise(&store, &name, &tag, 2).await.unwrap();
        tag_set_since(&store, (&name, &tag), &one, true, read).await.unwrap();
        assert!(!tag_drop(&store, &name, &tag, 2).await.unwrap());
        assert_eq!(known(&store).await, Some(TagAt { version: one, deletions: 2 }));
        // One that another set after the deletion is in the way, as always.
        tag_delete(&store, &name, &tag).await.unwrap();
        tag_set(&store, &name, &tag, &two, false).await.unwrap();
        let error = tag_set_since(&store, (&name, &tag), &one, false, 2).await.unwrap_err();
        assert!(matches!(error, VersionsError::TagExists { version, .. } if version == two), "{error}");
    }

    #[tokio::test]
    async fn a_tag_that_was_deleted_while_it_was_on_its_way_is_gone() {
        let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
        let at = TagAt { version: Digest::of(b"1"), deletions: 0 };
        let store = Store::open("memory:").await.unwrap();
        tag_set(&store, &name, &tag, &Digest::of(b"2"), false).await.unwrap();
        tag_delete(&store, &name, &tag).await.unwrap();
        let arrived = tag_carry_since(&store, (&name, &tag), at, false, 0).await.unwrap();
        assert!(matches!(arrived, Arrived::Gone), "not said to be set");
        assert_eq!(known(&store).await, None);
        assert_eq!(store.ref_get(&tag_ref(&name, &tag).unwrap()).await.unwrap(), None, "and nothing is left of it");
    }

    #[tokio::test]
    async fn a_deletion_that_was_killed_half_way_counts() {
        let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
        let store = Store::open("memory:").await.unwrap();
        tag_set(&store, &name, &tag, &Digest::of(b"1"), false).await.unwrap();
        deletions_raise(&store, &name, &tag, 1).await.unwrap();
        assert_eq!(known(&store).await, None);
        tag_set(&store, &name, &tag, &Digest::of(b"2"), false).await.unwrap();
        assert_eq!(known(&store).await.map(|at| at.version), Some(Digest::of(b"2")));
    }

    /// What somebody does with the tag in one of three stores.
    #[derive(Clone, Copy, Debug)]
    enum Done {
        Set(usize, u8),
        Delete(usize),
        Carry(usize, usize),
    }

    fn done() -> impl Strategy<Value = Done> {
        let store = 0..3_usize;
        prop_oneof![
            (store.clone(), any::<u8>()).prop_map(|(store, version)| Done::Set(store, version)),
            store.clone().prop_map(Done::Delete),
            (store.clone(), store).prop_map(|(from, to)| Done::Carry(from, to)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn in_whatever_order_they_hear_of_it_all_agree_whether_there_is_a_tag(history in prop::collection::vec(done(), 0..12)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut stores = Vec::new();
                for _ in 0..3 {
                    stores.push(Store::open("memory:").await.unwrap());
                }
                let (name, tag) = (DatasetName::new("x").unwrap(), TagName::new("t").unwrap());
                for done in history {
                    match done {
                        Done::Set(store, version) => {
                            tag_set(&stores[store], &name, &tag, &Digest::of(&[version]), true).await.unwrap();
                        }
                        // Only a tag that is there can be deleted.
                        Done::Delete(store) if known(&stores[store]).await.is_some() => {
                            tag_delete(&stores[store], &name, &tag).await.unwrap();
                        }
                        Done::Delete(_) => {}
                        Done::Carry(from, to) => drop(carry(&stores[from], &stores[to]).await),
                    }
                }
                for _ in 0..2 {
                    for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                        carry(&stores[from], &stores[to]).await;
                    }
                }
                let mut counts = Vec::new();
                for store in &stores {
                    counts.push(known(store).await.map(|at| at.deletions));
                }
                assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
            });
        }
    }
}
