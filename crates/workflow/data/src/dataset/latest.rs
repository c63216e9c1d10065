use std::collections::BTreeMap;

use ropewalk_catalog::{Catalog, Connection, query};
use ropewalk_types::{DatasetName, Digest, Timestamp};

use super::state::Latest;
use super::{DatasetVersion, VersionRow, version_record};
use crate::DataError;
use crate::reading::parsed;

const LATEST: &str = "SELECT name, digest, latest_at FROM dataset_version WHERE NOT EXISTS \
     (SELECT 1 FROM dataset_removal AS gone \
      WHERE gone.name = dataset_version.name AND gone.digest = dataset_version.digest) \
     ORDER BY name, position DESC";

/// The latest version of every dataset that has one, and when it became that.
pub(crate) async fn latest_list(catalog: &Catalog) -> Result<BTreeMap<DatasetName, Latest>, DataError> {
    let rows: Vec<(String, String, i64)> = query(LATEST).read_all(catalog).await?;
    let mut latest = BTreeMap::new();
    for (name, digest, at) in rows {
        let one = Latest { at: Timestamp(at), digest: parsed(&digest)? };
        latest.entry(parsed(&name)?).or_insert(one);
    }
    Ok(latest)
}

const THERE: &str = "SELECT name, digest, zone, rows, columns_json, bytes, quarantined, stage_key, created_at \
     FROM dataset_version WHERE name = $1 AND NOT EXISTS \
     (SELECT 1 FROM dataset_removal AS gone \
      WHERE gone.name = dataset_version.name AND gone.digest = dataset_version.digest) \
     ORDER BY position DESC";

/// Makes a version that is known the latest of its dataset again, as if the stage of `key` had just made it, in the caller's
/// transaction; gives it.
///
/// Nothing is changed and none is given where it is the latest already, where it was removed and where it was never recorded.
pub async fn version_again(
    connection: &mut Connection,
    name: &DatasetName,
    digest: &Digest,
    key: Digest,
    at: Timestamp,
) -> Result<Option<DatasetVersion>, DataError> {
    let rows: Vec<VersionRow> = query(THERE).bind(name.as_str()).fetch_all(&mut *connection).await?;
    let found = rows.into_iter().enumerate().find(|(_, row)| row.0.digest == *digest);
    let Some((1.., VersionRow(found))) = found else { return Ok(None) };
    let again = DatasetVersion { stage_key: Some(key), created_at: at, ..found.clone() };
    version_record(connection, &again).await?;
    Ok(Some(found))
}
