use ropewalk_catalog::{Catalog, Connection, query};
use ropewalk_types::{DatasetName, Digest, TagName, Timestamp};
use serde::{Deserialize, Serialize};

use super::after;
use super::removal::removal_of;
use super::state::Tagged;
use crate::DataError;
use crate::reading::parsed;

/// A tag on a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionTag {
    /// The dataset.
    pub name: DatasetName,
    /// The tag.
    pub tag: TagName,
    /// The version that it names.
    pub digest: Digest,
    /// Who set it there.
    pub who: String,
    /// When.
    pub at: Timestamp,
}

/// What to do with a tag that names another version already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagMove {
    /// Refuse: a tag stays where it is.
    Refused,
    /// Move it.
    Allowed,
}

/// Sets a tag in the caller's transaction; gives the version from which it moved, if it did.
///
/// Setting it where it is already changes nothing. It is set after it was set or taken away last, whatever the clock says.
/// Errors: [`DataError::TagTaken`] when it names another version and
/// may not move; [`DataError::UnknownVersion`], [`DataError::Removed`].
pub async fn tag_set(
    connection: &mut Connection,
    tag: &VersionTag,
    moving: TagMove,
) -> Result<Option<Digest>, DataError> {
    let (name, digest) = (tag.name.as_str(), tag.digest.to_string());
    let known: Option<(i64,)> = query("SELECT number FROM dataset_version WHERE name = $1 AND digest = $2")
        .bind(name)
        .bind(&digest)
        .fetch_optional(&mut *connection)
        .await?;
    if known.is_none() {
        return Err(DataError::UnknownVersion { name: name.to_owned(), version: digest, latest: None });
    }
    if let Some(removal) = removal_of(connection, &tag.name, &tag.digest).await? {
        return Err(DataError::Removed(Box::new(removal)));
    }
    let present: Option<(String,)> = query("SELECT digest FROM dataset_tag WHERE name = $1 AND tag = $2")
        .bind(name)
        .bind(tag.tag.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let present: Option<Digest> = present.as_ref().map(|(digest,)| parsed(digest)).transpose()?;
    match present {
        Some(present) if present == tag.digest => return Ok(None),
        Some(present) if moving == TagMove::Refused => {
            return Err(DataError::TagTaken { name: name.to_owned(), tag: tag.tag.to_string(), present });
        }
        _ => {}
    }
    let at = after(tag.at, acted_at(connection, &tag.name, &tag.tag).await?);
    query(
        "INSERT INTO dataset_tag (name, tag, digest, who, at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name, tag) DO UPDATE SET digest = excluded.digest, who = excluded.who, at = excluded.at",
    )
    .bind(name)
    .bind(tag.tag.as_str())
    .bind(digest)
    .bind(tag.who.as_str())
    .bind(at)
    .execute(&mut *connection)
    .await?;
    query("DELETE FROM dataset_untag WHERE name = $1 AND tag = $2")
        .bind(name)
        .bind(tag.tag.as_str())
        .execute(connection)
        .await?;
    Ok(present)
}

/// That a tag was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untag {
    /// The dataset.
    pub name: DatasetName,
    /// The tag.
    pub tag: TagName,
    /// Who took it away.
    pub who: String,
    /// When.
    pub at: Timestamp,
}

/// Keeps on record in the caller's transaction that a tag was taken away, so that it does not come back from a remote; setting
/// it again ends that. Comes before [`tag_remove`]: it is taken away after it was set, whatever the clock says.
pub async fn untag_record(connection: &mut Connection, untag: &Untag) -> Result<(), DataError> {
    let at = after(untag.at, acted_at(connection, &untag.name, &untag.tag).await?);
    query(
        "INSERT INTO dataset_untag (name, tag, who, at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name, tag) DO UPDATE SET who = excluded.who, at = excluded.at",
    )
    .bind(untag.name.as_str())
    .bind(untag.tag.as_str())
    .bind(untag.who.as_str())
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

/// When a tag was set or taken away last.
async fn acted_at(connection: &mut Connection, name: &DatasetName, tag: &TagName) -> Result<Option<i64>, DataError> {
    let (at,): (Option<i64>,) = query(
        "SELECT MAX(at) FROM (SELECT at FROM dataset_tag WHERE name = $1 AND tag = $2 \
         UNION ALL SELECT at FROM dataset_untag WHERE name = $3 AND tag = $4) AS acts",
    )
    .bind(name.as_str())
    .bind(tag.as_str())
    .bind(name.as_str())
    .bind(tag.as_str())
    .fetch_one(connection)
    .await?;
    Ok(at)
}

/// What became of a tag from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagAdopted {
    /// It is as it is there.
    Taken,
    /// It was set or taken away here in the meantime, or its version was removed: it stays as it is, and names this version.
    Kept(Option<Digest>),
}

/// Sets a tag, or takes it away, as was done elsewhere, in the caller's transaction: unless it is no longer as `base` says
/// that it was here when that was decided.
pub async fn tag_adopt(
    connection: &mut Connection,
    (name, tag): (&DatasetName, &TagName),
    base: Option<&Tagged>,
    there: &Tagged,
) -> Result<TagAdopted, DataError> {
    let set: Option<(String, i64)> = query("SELECT digest, at FROM dataset_tag WHERE name = $1 AND tag = $2")
        .bind(name.as_str())
        .bind(tag.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let now = match set {
        Some((digest, at)) => Some((Some(parsed::<Digest>(&digest)?), at)),
        None => acted_at(connection, name, tag).await?.map(|at| (None, at)),
    };
    let here = now.and_then(|(digest, _)| digest);
    if now != base.map(|base| (base.digest, base.at.millis())) {
        return Ok(TagAdopted::Kept(here));
    }
    let (name, tag, who, at) = (name.clone(), tag.clone(), there.who.clone(), there.at);
    let Some(digest) = there.digest else {
        let untag = Untag { name, tag, who, at };
        untag_record(connection, &untag).await?;
        if here.is_some() {
            tag_remove(connection, &untag.name, &untag.tag).await?;
        }
        return Ok(TagAdopted::Taken);
    };
    match tag_set(connection, &VersionTag { name, tag, digest, who, at }, TagMove::Allowed).await {
        Ok(_) => Ok(TagAdopted::Taken),
        Err(DataError::Removed(_)) => Ok(TagAdopted::Kept(here)),
        Err(error) => Err(error),
    }
}

/// The tags that were taken away, by dataset and name.
pub(crate) async fn untag_list(catalog: &Catalog) -> Result<Vec<Untag>, DataError> {
    let rows: Vec<(String, String, String, i64)> =
        query("SELECT name, tag, who, at FROM dataset_untag ORDER BY name, tag").read_all(catalog).await?;
    let untags = rows
        .into_iter()
        .map(|(name, tag, who, at)| Ok(Untag { name: parsed(&name)?, tag: parsed(&tag)?, who, at: Timestamp(at) }));
    untags.collect()
}

/// Removes a tag in the caller's transaction; gives the version that it named. The version stays.
pub async fn tag_remove(connection: &mut Connection, name: &DatasetName, tag: &TagName) -> Result<Digest, DataError> {
    let removed: Option<(String,)> = query("DELETE FROM dataset_tag WHERE name = $1 AND tag = $2 RETURNING digest")
        .bind(name.as_str())
        .bind(tag.as_str())
        .fetch_optional(connection)
        .await?;
    match removed {
        Some((digest,)) => Ok(parsed(&digest)?),
        None => Err(DataError::UnknownTag { name: name.to_string(), tag: tag.to_string() }),
    }
}

const TAG_LIST: &str =
    "SELECT name, tag, digest, who, at FROM dataset_tag WHERE name = $1 OR $2 = '' ORDER BY name, tag";

/// The tags of one dataset or of all, by dataset and name.
pub async fn tag_list(catalog: &Catalog, name: Option<&DatasetName>) -> Result<Vec<VersionTag>, DataError> {
    type Row = (String, String, String, String, i64);
    let name = name.map_or("", DatasetName::as_str);
    let rows: Vec<Row> = query(TAG_LIST).bind(name).bind(name).read_all(catalog).await?;
    let tags = rows.into_iter().map(|(name, tag, digest, who, at)| {
        Ok(VersionTag { name: parsed(&name)?, tag: parsed(&tag)?, digest: parsed(&digest)?, who, at: Timestamp(at) })
    });
    tags.collect()
}
