//! What tables were made from.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_data::RecordedVersion;
use ropewalk_lineage::upstream;
use ropewalk_types::{DatasetName, Uri};

use super::ends::Ends;
use super::reading::one_table;
use crate::ServerError;

impl Ends<'_> {
    /// Adds the datasets that these versions were made from, all the way up, as far as that is known here: what was
    /// declared of them says how these are to be treated.
    pub(super) async fn ancestors_find(
        &self,
        versions: &[RecordedVersion],
        found: &mut BTreeSet<DatasetName>,
    ) -> Result<(), ServerError> {
        for RecordedVersion { version, .. } in versions {
            let uri = Uri::Data { name: version.name.clone(), version: version.digest.to_string() };
            for step in upstream(&self.catalog, &uri).await? {
                if let Uri::Data { name, .. } = step.link.parent {
                    found.insert(name);
                }
            }
        }
        Ok(())
    }

    /// The datasets that versions of these tables were made from; a table of which that cannot be told is `refused`.
    pub(super) async fn ancestors(
        &self,
        versions: &BTreeMap<DatasetName, Vec<RecordedVersion>>,
        tables: &BTreeSet<DatasetName>,
        refused: &mut BTreeMap<DatasetName, ServerError>,
    ) -> Result<BTreeSet<DatasetName>, ServerError> {
        let mut found = BTreeSet::new();
        for (name, versions) in tables.iter().filter_map(|name| versions.get_key_value(name)) {
            if let Err(error) = one_table(self.ancestors_find(versions, &mut found).await)? {
                refused.insert(name.clone(), error);
            }
        }
        Ok(found)
    }
}
