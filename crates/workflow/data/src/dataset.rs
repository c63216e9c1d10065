use ropewalk_catalog::{Catalog, CatalogError, Connection, FromRow, Migration, MigrationSet, Row, query};
use ropewalk_ingest::Column;
use ropewalk_types::{DatasetName, Digest, Timestamp, Zone};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::reading::parsed;

pub(crate) mod arrival;
pub(crate) mod history;
pub(crate) mod latest;
pub(crate) mod record;
pub(crate) mod removal;
pub(crate) mod resolve;
pub(crate) mod state;
pub(crate) mod tag;

/// The tables of this crate.
pub const MIGRATIONS: MigrationSet = MigrationSet {
    owner: "data",
    steps: &[
        Migration { number: 1, name: "dataset_version", sql: include_str!("../migrations/001_dataset_version.sql") },
        Migration { number: 2, name: "version_number", sql: include_str!("../migrations/002_version_number.sql") },
        Migration { number: 3, name: "tag_and_removal", sql: include_str!("../migrations/003_tag_and_removal.sql") },
        Migration { number: 4, name: "declaration", sql: include_str!("../migrations/004_declaration.sql") },
        Migration { number: 5, name: "audit", sql: include_str!("../migrations/005_audit.sql") },
        Migration { number: 6, name: "arrival", sql: include_str!("../migrations/006_arrival.sql") },
    ],
};

/// A version of a dataset as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetVersion {
    /// The dataset.
    pub name: DatasetName,
    /// Digest of the version's tree.
    pub digest: Digest,
    /// Where the dataset stands; the same for all of its versions.
    pub zone: Zone,
    /// Rows of the table.
    pub rows: u64,
    /// Columns of the table, in order.
    pub columns: Vec<Column>,
    /// Bytes of its files.
    pub bytes: u64,
    /// Source rows that are not in the table.
    pub quarantined: u64,
    /// Key of the stage that made it, if a stage did.
    pub stage_key: Option<Digest>,
    /// When it was first recorded.
    pub created_at: Timestamp,
}

/// Records `version` and makes it the latest of its dataset, in the caller's transaction.
///
/// Recording the latest version again changes nothing; an older one that comes back is the latest again and keeps the
/// time at which it was first seen and its number. All versions of a dataset are in one zone. A version that was
/// removed and is made again is there again: its tombstone goes, its days count anew, the audit trail keeps both events.
///
/// Whatever the clocks said, it becomes the latest after the version that was the latest before, and is made again after
/// it was removed: other machines compare these moments.
pub async fn version_record(connection: &mut Connection, version: &DatasetVersion) -> Result<(), DataError> {
    let name = version.name.as_str();
    let present: Option<(String,)> = query("SELECT zone FROM dataset_version WHERE name = $1 LIMIT 1")
        .bind(name)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some((present,)) = present
        && present != version.zone.as_str()
    {
        return Err(DataError::ZoneChange { name: name.to_owned(), present, wanted: version.zone.to_string() });
    }
    let (last, number, before): (i64, i64, Option<i64>) = query(
        "SELECT COALESCE(MAX(position), 0), COALESCE(MAX(number), 0), MAX(latest_at) FROM dataset_version \
         WHERE name = $1",
    )
    .bind(name)
    .fetch_one(&mut *connection)
    .await?;
    let latest_at = after(version.created_at, before);
    version_place(connection, version, last + 1, number + 1, latest_at).await?;
    made_here(connection, version).await?;
    let gone: Option<(i64,)> = query("DELETE FROM dataset_removal WHERE name = $1 AND digest = $2 RETURNING at")
        .bind(name)
        .bind(version.digest.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some((removed_at,)) = gone {
        let created_at = after(version.created_at, Some(removed_at));
        query(
            "UPDATE dataset_version SET created_at = $1, latest_at = $2, stage_key = $3 WHERE name = $4 AND digest = $5",
        )
        .bind(created_at)
        .bind(latest_at.max(created_at))
        .bind(version.stage_key.map(|key| key.to_string()))
        .bind(name)
        .bind(version.digest.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Inserts the row of a version; one that is there already comes to `position` if it lies below, and keeps the rest.
pub(crate) async fn version_insert(
    connection: &mut Connection,
    version: &DatasetVersion,
    position: i64,
    number: i64,
) -> Result<(), DataError> {
    version_place(connection, version, position, number, version.created_at.millis()).await
}

/// As [`version_insert`], with the moment at which it becomes the latest.
async fn version_place(
    connection: &mut Connection,
    version: &DatasetVersion,
    position: i64,
    number: i64,
    latest_at: i64,
) -> Result<(), DataError> {
    query(
        "INSERT INTO dataset_version \
         (name, digest, zone, rows, columns_json, bytes, quarantined, stage_key, created_at, position, number, latest_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12, $13) \
         ON CONFLICT (name, digest) DO UPDATE SET position = excluded.position, stage_key = excluded.stage_key, \
             latest_at = excluded.latest_at \
         WHERE dataset_version.position < $11",
    )
    .bind(version.name.as_str())
    .bind(version.digest.to_string())
    .bind(version.zone.as_str())
    .bind(version.rows.cast_signed())
    .bind(columns_json(version)?)
    .bind(version.bytes.cast_signed())
    .bind(version.quarantined.cast_signed())
    .bind(version.stage_key.map(|key| key.to_string()))
    .bind(version.created_at.millis())
    .bind(position)
    .bind(position - 1)
    .bind(number)
    .bind(latest_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// The moment of an act, in milliseconds: `at`, and never before what it supersedes, which a faster clock may have written.
pub(crate) fn after(at: Timestamp, superseded: Option<i64>) -> i64 {
    superseded.map_or(at.millis(), |before| at.millis().max(before.saturating_add(1)))
}

/// What was made here is known better than by the record of another machine whose bytes never came.
async fn made_here(connection: &mut Connection, version: &DatasetVersion) -> Result<(), DataError> {
    let (name, digest) = (version.name.as_str(), version.digest.to_string());
    let arrived = query("UPDATE dataset_arrival SET fetched = 1 WHERE name = $1 AND digest = $2 AND fetched = 0")
        .bind(name)
        .bind(digest.as_str())
        .execute(&mut *connection)
        .await?;
    if arrived == 0 {
        return Ok(());
    }
    query(
        "UPDATE dataset_version SET rows = $1, columns_json = $2, bytes = $3, quarantined = $4 \
         WHERE name = $5 AND digest = $6",
    )
    .bind(version.rows.cast_signed())
    .bind(columns_json(version)?)
    .bind(version.bytes.cast_signed())
    .bind(version.quarantined.cast_signed())
    .bind(name)
    .bind(digest)
    .execute(connection)
    .await?;
    Ok(())
}

fn columns_json(version: &DatasetVersion) -> Result<String, DataError> {
    serde_json::to_string(&version.columns)
        .map_err(|error| DataError::Encoding { action: "record the columns", reason: error.to_string() })
}

const VERSION_LIST: &str = "SELECT name, digest, zone, rows, columns_json, bytes, quarantined, stage_key, created_at \
     FROM dataset_version WHERE (name = $1 OR $2 = '') \
     AND NOT EXISTS (SELECT 1 FROM dataset_removal AS gone \
                     WHERE gone.name = dataset_version.name AND gone.digest = dataset_version.digest) \
     ORDER BY name, position DESC";

/// The versions of one dataset or of all, by name, the latest of each first; without those that were removed.
pub async fn version_list(catalog: &Catalog, name: Option<&DatasetName>) -> Result<Vec<DatasetVersion>, DataError> {
    // An empty name is no dataset's, so it stands for all of them.
    let name = name.map_or("", DatasetName::as_str);
    let rows: Vec<VersionRow> = query(VERSION_LIST).bind(name).bind(name).read_all(catalog).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub(crate) struct VersionRow(pub(crate) DatasetVersion);

impl FromRow for VersionRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        let text = |column: &str| row.named::<String>(column);
        let count = |column: &str| row.named::<i64>(column).map(i64::cast_unsigned);
        let stage_key: Option<String> = row.named("stage_key")?;
        let columns = serde_json::from_str(&text("columns_json")?);
        Ok(Self(DatasetVersion {
            name: parsed(&text("name")?)?,
            digest: parsed(&text("digest")?)?,
            zone: parsed(&text("zone")?)?,
            rows: count("rows")?,
            columns: columns.map_err(CatalogError::decode)?,
            bytes: count("bytes")?,
            quarantined: count("quarantined")?,
            stage_key: stage_key.as_deref().map(parsed).transpose()?,
            created_at: Timestamp(row.named("created_at")?),
        }))
    }
}
