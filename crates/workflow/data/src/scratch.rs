use std::fs::File;
use std::path::Path;

use ropewalk_store::files::{TemporaryDirectory, temporary_directory};
use tempfile::NamedTempFile;

use crate::DataError;

/// Files that nothing outside this process may see and that nobody misses after a crash, so they are never synced.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: TemporaryDirectory,
}

impl Scratch {
    /// A directory of its own inside `parent`, removed when dropped.
    pub(crate) fn new(parent: &Path) -> Result<Self, DataError> {
        Ok(Self { directory: temporary_directory(parent)? })
    }

    /// A new empty file, removed when dropped.
    pub(crate) fn file(&self) -> Result<NamedTempFile<File>, DataError> {
        NamedTempFile::new_in(self.directory.path())
            .map_err(DataError::stream(format!("create a scratch file in `{}`", self.directory.path().display())))
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}
