use std::collections::BTreeMap;

use ropewalk_catalog::{Catalog, CatalogError, FromRow, Row, query};
use ropewalk_types::{DatasetName, Digest};
use serde::{Deserialize, Serialize};

use super::arrival::elsewhere_list;
use super::removal::{Removal, removal_list};
use super::tag::{VersionTag, tag_list};
use super::{DatasetVersion, VersionRow};
use crate::DataError;

/// A version with all that was recorded about it afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedVersion {
    /// The version.
    pub version: DatasetVersion,
    /// Its place among the versions of its dataset, counted from 1 in the order of their first recording: `vN`. One that came
    /// from elsewhere keeps the number that it had there, if that was free.
    pub number: u64,
    /// Its tags, by name.
    pub tags: Vec<VersionTag>,
    /// That it was removed, if it was.
    pub removed: Option<Removal>,
    /// The remote that has its bytes, while they are not here.
    pub elsewhere: Option<String>,
}

struct NumberedRow(DatasetVersion, u64);

impl FromRow for NumberedRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        let number: i64 = row.named("number")?;
        Ok(Self(VersionRow::from_row(row)?.0, number.cast_unsigned()))
    }
}

const HISTORY: &str = "SELECT name, digest, zone, rows, columns_json, bytes, quarantined, stage_key, created_at, number \
     FROM dataset_version WHERE name = $1 OR $2 = '' ORDER BY name, position DESC";

/// All that was ever recorded of one dataset or of all, removed versions too: by name, the latest of each first.
pub async fn version_history(catalog: &Catalog, name: Option<&DatasetName>) -> Result<Vec<RecordedVersion>, DataError> {
    let text = name.map_or("", DatasetName::as_str);
    let rows: Vec<NumberedRow> = query(HISTORY).bind(text).bind(text).read_all(catalog).await?;
    let mut tags: BTreeMap<(DatasetName, Digest), Vec<VersionTag>> = BTreeMap::new();
    for tag in tag_list(catalog, name).await? {
        tags.entry((tag.name.clone(), tag.digest)).or_default().push(tag);
    }
    let mut removed: BTreeMap<(DatasetName, Digest), Removal> =
        removal_list(catalog, name).await?.into_iter().map(|one| ((one.name.clone(), one.digest), one)).collect();
    let mut elsewhere = elsewhere_list(catalog).await?;
    let recorded = rows.into_iter().map(|NumberedRow(version, number)| {
        let key = (version.name.clone(), version.digest);
        let (tags, removed) = (tags.remove(&key).unwrap_or_default(), removed.remove(&key));
        RecordedVersion { version, number, tags, removed, elsewhere: elsewhere.remove(&key) }
    });
    Ok(recorded.collect())
}
