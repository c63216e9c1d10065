use std::collections::BTreeMap;

use ropewalk_catalog::Catalog;
use ropewalk_types::{DatasetName, Timestamp};

use super::state::Latest;
use crate::DataError;
use crate::reading::parsed;

const LATEST: &str = "SELECT name, digest, latest_at FROM dataset_version WHERE NOT EXISTS \
     (SELECT 1 FROM dataset_removal AS gone \
      WHERE gone.name = dataset_version.name AND gone.digest = dataset_version.digest) \
     ORDER BY name, position DESC";

/// The latest version of every dataset that has one, and when it became that.
pub(crate) async fn latest_list(catalog: &Catalog) -> Result<BTreeMap<DatasetName, Latest>, DataError> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(LATEST).fetch_all(catalog.pool()).await?;
    let mut latest = BTreeMap::new();
    for (name, digest, at) in rows {
        let one = Latest { at: Timestamp(at), digest: parsed(&digest)? };
        latest.entry(parsed(&name)?).or_insert(one);
    }
    Ok(latest)
}
