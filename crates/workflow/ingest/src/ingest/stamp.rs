use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use crate::IngestError;

/// What tells that a file is still as it was: its size in bytes, and the time of its last change where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// That of the open file `file`, which errors call `path`.
    pub(crate) fn of(file: &File, path: &Path) -> Result<Self, IngestError> {
        let metadata = file.metadata().map_err(IngestError::stream(format!("look at `{}`", path.display())))?;
        Ok(Self { size: metadata.len(), modified: metadata.modified().ok() })
    }

    #[cfg(test)]
    pub(crate) fn sized(size: u64) -> Self {
        Self { size, modified: None }
    }
}
