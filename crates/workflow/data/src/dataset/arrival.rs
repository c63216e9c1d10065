//! Versions that were made elsewhere: how they take their places among those that are here, and where their bytes are.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_catalog::{Catalog, CatalogError, Connection, query};
use ropewalk_lineage::{Link, children, is_linked, link, unlink};
use ropewalk_types::{DatasetName, Digest, Timestamp, Uri};
use serde::Serialize;

use super::record::{Made, TableRecord};
use super::removal::removal_of;
use super::state::Latest;
use super::version_insert;
use crate::DataError;
use crate::reading::parsed;

/// How far above the largest number that is taken a number of another machine may lie.
const FARTHEST: u64 = 1 << 20;

/// Versions of one dataset that come from a remote.
#[derive(Clone, Debug, PartialEq)]
pub struct Adoption {
    /// The dataset.
    pub name: DatasetName,
    /// The remote's name in this project.
    pub remote: String,
    /// Their records; true where the bytes are here and were found to be what the record says.
    pub records: Vec<(TableRecord, bool)>,
    /// Records of versions that are known here and were made again there after they were removed, here or there.
    pub again: Vec<(TableRecord, bool)>,
    /// What became the latest version there, and when.
    pub latest: Option<Latest>,
    /// When they came.
    pub at: Timestamp,
}

/// A version that has another number here than on the machine that made it, because that was taken, or far above all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Renumbered {
    /// The version.
    pub digest: Digest,
    /// Its number there.
    pub there: u64,
    /// Its number here.
    pub here: u64,
}

/// A version that is known here.
struct Known {
    digest: Digest,
    position: i64,
    latest_at: i64,
}

/// Records versions that were made elsewhere, with their lineage, in the caller's transaction.
///
/// What is known here stays as it is, also a tombstone, unless the version was made again elsewhere after that; and also
/// what versions known here were made from: of the thread of a record only that is taken which leads on from versions and
/// stages of which nothing is known. It holds until the record of such a version comes, which replaces it. A number that is free and not far above the others is kept, else the version gets the
/// next free one. A version takes its place by the time at which it became the latest: one that is older than the latest here does not
/// become the latest. Errors: [`DataError::ZoneChange`], before anything is written.
pub async fn versions_adopt(connection: &mut Connection, adoption: &Adoption) -> Result<Vec<Renumbered>, DataError> {
    let name = adoption.name.as_str();
    let rows: Vec<(String, String, i64, i64, i64)> = query(
        "SELECT digest, zone, position, number, latest_at FROM dataset_version WHERE name = $1 ORDER BY position",
    )
    .bind(name)
    .fetch_all(&mut *connection)
    .await?;
    let mut known = Vec::with_capacity(rows.len());
    let mut taken = BTreeSet::new();
    let mut zone = None;
    for (digest, present, position, number, latest_at) in rows {
        known.push(Known { digest: parsed(&digest)?, position, latest_at });
        taken.insert(number.cast_unsigned());
        zone.get_or_insert(present);
    }
    let here: BTreeSet<Digest> = known.iter().map(|one| one.digest).collect();
    let mut new: Vec<&(TableRecord, bool)> =
        adoption.records.iter().filter(|(record, _)| !here.contains(&record.digest)).collect();
    new.sort_by_key(|(record, _)| (record.number, record.created_at, record.digest));
    new.dedup_by_key(|(record, _)| record.digest);
    let later = adoption.again.iter().filter(|(record, _)| here.contains(&record.digest));
    for (record, _) in new.iter().copied().chain(later) {
        let present = zone.get_or_insert_with(|| record.zone.to_string());
        if *present != record.zone.as_str() {
            let (present, wanted) = (present.clone(), record.zone.to_string());
            return Err(DataError::ZoneChange { name: name.to_owned(), present, wanted });
        }
    }
    let numbers = numbers(&new, taken);
    let again = versions_renew(connection, adoption).await?;
    let order = order(&known, &new, &again, adoption.latest);
    let last = known.last().map_or(0, |one| one.position);
    let speakers = speakers(connection, &new).await?;
    let settled = settled(connection, &new, &speakers).await?;
    for child in speakers.keys() {
        // What records of other versions said of it, which came before.
        unlink(connection, child).await?;
    }
    for (place, (record, fetched)) in (1..).zip(&new) {
        let number = numbers.get(&record.digest).copied().unwrap_or(record.number);
        // Above all, until all get their places.
        version_insert(connection, &record.version(), last + place, number.cast_signed()).await?;
        arrival_insert(connection, adoption, record, *fetched).await?;
        let heard = |link: &&Link| match speakers.get(&link.child) {
            Some(speaker) => *speaker == record.digest,
            None => !settled.contains(&link.child),
        };
        let links: Vec<_> = record.links.iter().filter(heard).cloned().collect();
        link(connection, &links, record.created_at).await?;
    }
    places_set(connection, name, &known, &order).await?;
    let renumbered = new.iter().filter_map(|(record, _)| {
        let here = *numbers.get(&record.digest)?;
        (here != record.number).then_some(Renumbered { digest: record.digest, there: record.number, here })
    });
    Ok(renumbered.collect())
}

/// Which of these records says what a version or a stage was made from: of a version its own, and of the stage that made it
/// the same, unless a version that is known here came from that stage.
async fn speakers(
    connection: &mut Connection,
    new: &[&(TableRecord, bool)],
) -> Result<BTreeMap<Uri, Digest>, DataError> {
    let mut speakers: BTreeMap<Uri, Digest> = new.iter().map(|(record, _)| (record.uri(), record.digest)).collect();
    for (record, _) in new {
        let own = record.uri();
        let stages = record.links.iter().filter(|link| link.child == own && matches!(link.parent, Uri::Stage { .. }));
        for stage in stages.map(|link| &link.parent) {
            if !speakers.contains_key(stage) && !made_known(connection, stage).await? {
                speakers.insert(stage.clone(), record.digest);
            }
        }
    }
    Ok(speakers)
}

/// Whether a version that is known here came from this stage.
async fn made_known(connection: &mut Connection, stage: &Uri) -> Result<bool, DataError> {
    for child in children(connection, stage).await? {
        if is_known(connection, &child).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether this is a version of a dataset that is known here.
async fn is_known(connection: &mut Connection, uri: &Uri) -> Result<bool, DataError> {
    let Uri::Data { name, version } = uri else { return Ok(false) };
    let found: Option<(i64,)> = query("SELECT position FROM dataset_version WHERE name = $1 AND digest = $2")
        .bind(name.as_str())
        .bind(version.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// The children in the threads of these records of which it is known here what they were made from: anybody's record of
/// another version has nothing to add to that.
async fn settled<'a>(
    connection: &mut Connection,
    new: &[&'a (TableRecord, bool)],
    speakers: &BTreeMap<Uri, Digest>,
) -> Result<BTreeSet<&'a Uri>, DataError> {
    let children: BTreeSet<&Uri> = new.iter().flat_map(|(record, _)| &record.links).map(|link| &link.child).collect();
    let mut settled = BTreeSet::new();
    for child in children.into_iter().filter(|child| !speakers.contains_key(*child)) {
        if is_known(connection, child).await? || is_linked(connection, child).await? {
            settled.insert(child);
        }
    }
    Ok(settled)
}

/// Versions that were made again elsewhere are there again: without a tombstone, and as of then. Gives when each was made.
///
/// One whose tombstone here is no earlier than that stays removed.
async fn versions_renew(connection: &mut Connection, adoption: &Adoption) -> Result<Vec<(Digest, i64)>, DataError> {
    let mut again = Vec::new();
    for (record, fetched) in &adoption.again {
        let (name, digest, made_at) = (&adoption.name, record.digest, record.created_at.millis());
        let removed = removal_of(connection, name, &digest).await?;
        if removed.as_ref().is_some_and(|removal| removal.at >= record.created_at) {
            continue;
        }
        let newer =
            query("UPDATE dataset_version SET created_at = $1 WHERE name = $2 AND digest = $3 AND created_at < $4")
                .bind(made_at)
                .bind(name.as_str())
                .bind(digest.to_string())
                .bind(made_at)
                .execute(&mut *connection)
                .await?;
        if removed.is_some() {
            for gone in [
                "DELETE FROM dataset_removal WHERE name = $1 AND digest = $2",
                "DELETE FROM dataset_arrival WHERE name = $1 AND digest = $2",
            ] {
                query(gone).bind(name.as_str()).bind(digest.to_string()).execute(&mut *connection).await?;
            }
            arrival_insert(connection, adoption, record, *fetched).await?;
        }
        if removed.is_some() || newer > 0 {
            again.push((digest, made_at));
        }
    }
    Ok(again)
}

/// The number of each new version: its own where that is free, and then the next free ones.
///
/// One that is far above all others would leave no numbers to those that come after it.
fn numbers(new: &[&(TableRecord, bool)], mut taken: BTreeSet<u64>) -> BTreeMap<Digest, u64> {
    let mut numbers = BTreeMap::new();
    for (record, _) in new {
        let last = taken.last().copied().unwrap_or(0);
        if record.number <= last.saturating_add(FARTHEST) && taken.insert(record.number) {
            numbers.insert(record.digest, record.number);
        }
    }
    let mut next = taken.last().map_or(1, |last| last + 1);
    for (record, _) in new {
        numbers.entry(record.digest).or_insert_with(|| {
            next += 1;
            next - 1
        });
    }
    numbers
}

/// All versions from the first to the latest, each with the time at which it became the latest.
fn order(
    known: &[Known],
    new: &[&(TableRecord, bool)],
    again: &[(Digest, i64)],
    latest: Option<Latest>,
) -> Vec<(Digest, i64)> {
    let mut order: Vec<(Digest, i64)> = Vec::with_capacity(known.len() + new.len());
    let mut until = i64::MIN;
    for one in known {
        // What came later here is later, whatever the clock said.
        until = until.max(one.latest_at);
        order.push((one.digest, until));
    }
    let mut new: Vec<(Digest, i64)> =
        new.iter().map(|(record, _)| (record.digest, record.created_at.millis())).collect();
    for (digest, made_at) in again {
        if let Some(place) = order.iter().position(|(one, at)| one == digest && at < made_at) {
            order.remove(place);
            new.push((*digest, *made_at));
        }
    }
    if let Some(latest) = latest {
        let found = order.iter().position(|(digest, at)| *digest == latest.digest && *at < latest.at.millis());
        if let Some(place) = found {
            new.push(order.remove(place));
        }
        if let Some(one) = new.iter_mut().find(|(digest, _)| *digest == latest.digest) {
            one.1 = one.1.max(latest.at.millis());
        }
    }
    new.sort_by_key(|(digest, at)| (*at, *digest));
    for one in new {
        let place = order.partition_point(|(_, at)| *at < one.1);
        order.insert(place, one);
    }
    order
}

/// Gives every version its place, where that is another one than now.
async fn places_set(
    connection: &mut Connection,
    name: &str,
    known: &[Known],
    order: &[(Digest, i64)],
) -> Result<(), DataError> {
    let same = |one: &Known, (digest, at): &(Digest, i64)| one.digest == *digest && one.latest_at == *at;
    let kept = known.iter().zip(order).take_while(|(one, place)| same(one, place)).count();
    if kept == order.len() {
        return Ok(());
    }
    let first = known.get(kept).map_or_else(|| known.last().map_or(0, |one| one.position) + 1, |one| one.position);
    // Out of the way first: two versions must not share a place, not even between two statements.
    query("UPDATE dataset_version SET position = -position WHERE name = $1 AND position >= $2")
        .bind(name)
        .bind(first)
        .execute(&mut *connection)
        .await?;
    for (place, (digest, at)) in (first..).zip(order.iter().skip(kept)) {
        query("UPDATE dataset_version SET position = $1, latest_at = $2 WHERE name = $3 AND digest = $4")
            .bind(place)
            .bind(*at)
            .bind(name)
            .bind(digest.to_string())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn arrival_insert(
    connection: &mut Connection,
    adoption: &Adoption,
    record: &TableRecord,
    fetched: bool,
) -> Result<(), DataError> {
    let made = record.made.as_ref().map(serde_json::to_string).transpose();
    let made = made
        .map_err(|error| DataError::Encoding { action: "record how a version was made", reason: error.to_string() })?;
    query("INSERT INTO dataset_arrival (name, digest, remote, made_json, fetched, at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(adoption.name.as_str())
        .bind(record.digest.to_string())
        .bind(adoption.remote.as_str())
        .bind(made)
        .bind(i64::from(fetched))
        .bind(adoption.at.millis())
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes in the caller's transaction that the bytes of a version are here now, and are what its record says.
pub async fn arrival_fetched(
    connection: &mut Connection,
    name: &DatasetName,
    digest: &Digest,
) -> Result<(), DataError> {
    query("UPDATE dataset_arrival SET fetched = 1 WHERE name = $1 AND digest = $2")
        .bind(name.as_str())
        .bind(digest.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes in the caller's transaction from which remote the bytes of a version can be had that are not here.
pub async fn arrival_moved(
    connection: &mut Connection,
    name: &DatasetName,
    digest: &Digest,
    remote: &str,
) -> Result<(), DataError> {
    query("UPDATE dataset_arrival SET remote = $1 WHERE name = $2 AND digest = $3 AND fetched = 0")
        .bind(remote)
        .bind(name.as_str())
        .bind(digest.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The remote that has the bytes of a version which are not here; none for a version whose bytes are here.
pub async fn version_elsewhere(
    catalog: &Catalog,
    name: &DatasetName,
    digest: &Digest,
) -> Result<Option<String>, DataError> {
    let row: Option<(String,)> =
        query("SELECT remote FROM dataset_arrival WHERE name = $1 AND digest = $2 AND fetched = 0")
            .bind(name.as_str())
            .bind(digest.to_string())
            .read_optional(catalog)
            .await?;
    Ok(row.map(|(remote,)| remote))
}

/// The versions whose bytes are in a remote only, each with its name.
pub(crate) async fn elsewhere_list(catalog: &Catalog) -> Result<BTreeMap<(DatasetName, Digest), String>, DataError> {
    let rows: Vec<(String, String, String)> =
        query("SELECT name, digest, remote FROM dataset_arrival WHERE fetched = 0").read_all(catalog).await?;
    let read = |(name, digest, remote): (String, String, String)| Ok(((parsed(&name)?, parsed(&digest)?), remote));
    rows.into_iter().map(read).collect()
}

/// How a version was made that came from elsewhere, as its record said.
pub async fn arrival_made(catalog: &Catalog, name: &DatasetName, digest: &Digest) -> Result<Option<Made>, DataError> {
    let row: Option<(Option<String>,)> = query("SELECT made_json FROM dataset_arrival WHERE name = $1 AND digest = $2")
        .bind(name.as_str())
        .bind(digest.to_string())
        .read_optional(catalog)
        .await?;
    let Some(text) = row.and_then(|(made,)| made) else { return Ok(None) };
    Ok(Some(serde_json::from_str(&text).map_err(CatalogError::decode)?))
}
