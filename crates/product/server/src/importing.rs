//! Sources that cannot say whether they changed are read again when a person asks for it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ropewalk_store::{RefName, Store, StoreError};
use ropewalk_types::DatasetName;

use crate::{OpenProject, ServerError};

/// What the token of an import ends with that reads everything anew.
const FULL: &str = " full";

impl OpenProject {
    /// Makes the stage that reads the source of `name` one that has to be executed.
    ///
    /// A source on this disk is looked at by its content, and so is read only if that is new. With `full`, a source with
    /// a cursor is read from its beginning.
    pub async fn import_renew(&self, name: &DatasetName, full: bool) -> Result<(), ServerError> {
        if !self.file.data.contains_key(name) {
            let known: Vec<&str> = self.file.data.keys().map(DatasetName::as_str).collect();
            return Err(ServerError::Unknown {
                what: format!("the project file has no [data.{name}]"),
                hint: format!("it has: {}", known.join(", ")),
            });
        }
        let token = format!("{}{}", self.ambient.now().millis(), if full { FULL } else { "" });
        let reference = reference(name)?;
        loop {
            let found = self.store.ref_get(&reference).await?.map(|found| found.generation);
            match self.store.ref_set(&reference, found, Bytes::from(token.clone())).await {
                Err(StoreError::Conflict { .. }) => {}
                result => return Ok(result.map(|_| ())?),
            }
        }
    }
}

/// What stands for the last time that somebody asked for the source of `name` to be read; empty before the first.
pub(crate) async fn import_token(store: &Store, name: &DatasetName) -> Result<String, StoreError> {
    let found = store.ref_get(&reference(name)?).await?;
    Ok(found.map(|found| String::from_utf8_lossy(&found.bytes).into_owned()).unwrap_or_default())
}

/// Whether the last time was to read everything anew, whatever was read before.
pub(crate) fn import_is_full(token: &str) -> bool {
    token.ends_with(FULL)
}

/// Where, in `folder`, the list is of what did not fit when an import of `dataset` failed by it.
pub(crate) fn quarantine_kept(folder: &Path, dataset: &str) -> PathBuf {
    folder.join(format!("{dataset}.parquet"))
}

fn reference(name: &DatasetName) -> Result<RefName, StoreError> {
    RefName::new(format!("imports/{name}"))
}
