use ropewalk_catalog::{Catalog, Connection, query};
use ropewalk_types::{DatasetName, Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::reading::parsed;

/// The tombstone of a version: its bytes may be gone, what was recorded of it stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub digest: Digest,
    /// Who removed it.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

type Row = (String, String, String, String, i64);

fn removal((name, digest, who, why, at): Row) -> Result<Removal, DataError> {
    Ok(Removal { name: parsed(&name)?, digest: parsed(&digest)?, who, why, at: Timestamp(at) })
}

/// Puts a tombstone on a version in the caller's transaction: nothing resolves to it any more, lineage still knows it.
///
/// The bytes stay in the store until it is swept. A version that is removed already keeps its first tombstone; false is
/// given. It is removed not before it was made and became the latest, whatever the clocks said: else its removal would not
/// concern it on other machines. Errors: [`DataError::Tagged`] while it has a tag, [`DataError::Statement`] without a name or a reason.
pub async fn version_remove(connection: &mut Connection, removal: &Removal) -> Result<bool, DataError> {
    let made: Option<(i64, i64)> =
        query("SELECT created_at, latest_at FROM dataset_version WHERE name = $1 AND digest = $2")
            .bind(removal.name.as_str())
            .bind(removal.digest.to_string())
            .fetch_optional(&mut *connection)
            .await?;
    let at = made.map_or(removal.at, |(created_at, latest_at)| removal.at.max(Timestamp(created_at.max(latest_at))));
    tombstone_insert(connection, &Removal { at, ..removal.clone() }).await
}

/// Takes over in the caller's transaction the tombstone that a version has in a remote; false where it does not concern
/// what is here: the version was made again after it was removed there, or was given a tag meanwhile.
///
/// Errors: as [`version_remove`], but for [`DataError::Tagged`].
pub async fn removal_adopt(connection: &mut Connection, removal: &Removal) -> Result<bool, DataError> {
    let made: Option<(i64,)> = query("SELECT created_at FROM dataset_version WHERE name = $1 AND digest = $2")
        .bind(removal.name.as_str())
        .bind(removal.digest.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    if made.is_some_and(|(created_at,)| created_at > removal.at.millis()) {
        return Ok(false);
    }
    match tombstone_insert(connection, removal).await {
        Err(DataError::Tagged { .. }) => Ok(false),
        result => result.map(|_| true),
    }
}

async fn tombstone_insert(connection: &mut Connection, removal: &Removal) -> Result<bool, DataError> {
    let (name, digest) = (removal.name.as_str(), removal.digest.to_string());
    if removal.who.trim().is_empty() || removal.why.trim().is_empty() {
        return Err(DataError::Statement { what: "a removal" });
    }
    let known: Option<(i64,)> = query("SELECT number FROM dataset_version WHERE name = $1 AND digest = $2")
        .bind(name)
        .bind(&digest)
        .fetch_optional(&mut *connection)
        .await?;
    if known.is_none() {
        return Err(DataError::UnknownVersion { name: name.to_owned(), version: digest, latest: None });
    }
    let tags: Vec<(String,)> = query("SELECT tag FROM dataset_tag WHERE name = $1 AND digest = $2 ORDER BY tag")
        .bind(name)
        .bind(&digest)
        .fetch_all(&mut *connection)
        .await?;
    if !tags.is_empty() {
        let tags = tags.into_iter().map(|(tag,)| tag).collect();
        return Err(DataError::Tagged { name: name.to_owned(), digest: removal.digest, tags });
    }
    let done = query(
        "INSERT INTO dataset_removal (name, digest, who, why, at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name, digest) DO NOTHING",
    )
    .bind(name)
    .bind(digest)
    .bind(removal.who.as_str())
    .bind(removal.why.as_str())
    .bind(removal.at.millis())
    .execute(connection)
    .await?;
    Ok(done > 0)
}

/// The tombstone of one version, if it has one.
pub(crate) async fn removal_of(
    connection: &mut Connection,
    name: &DatasetName,
    digest: &Digest,
) -> Result<Option<Removal>, DataError> {
    let row: Option<Row> =
        query("SELECT name, digest, who, why, at FROM dataset_removal WHERE name = $1 AND digest = $2")
            .bind(name.as_str())
            .bind(digest.to_string())
            .fetch_optional(connection)
            .await?;
    row.map(removal).transpose()
}

const REMOVAL_LIST: &str =
    "SELECT name, digest, who, why, at FROM dataset_removal WHERE name = $1 OR $2 = '' ORDER BY name, at, digest";

/// The removed versions of one dataset or of all, by name and time.
pub async fn removal_list(catalog: &Catalog, name: Option<&DatasetName>) -> Result<Vec<Removal>, DataError> {
    let name = name.map_or("", DatasetName::as_str);
    let rows: Vec<Row> = query(REMOVAL_LIST).bind(name).bind(name).read_all(catalog).await?;
    rows.into_iter().map(removal).collect()
}
