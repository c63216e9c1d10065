use std::path::PathBuf;

use ropewalk_store::files;
use ropewalk_types::DatasetName;

use super::Workspace;
use crate::error::{VersionsError, blocking};
use crate::pointer;

impl Workspace {
    /// The pointer of `name` if it holds git's conflict markers: what [`Workspace::merge_pointer`] is for.
    pub async fn conflicted(&self, name: &DatasetName) -> Result<Option<PathBuf>, VersionsError> {
        let line = format!("name {name}");
        for tracked in self.discover().await? {
            let Err(VersionsError::PointerConflict { path, .. }) = tracked.pointer else { continue };
            let file = path.clone();
            let text = blocking(move || Ok(files::read_text(&file, pointer::MAX_BYTES)?)).await?;
            if text.lines().any(|found| found == line) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
