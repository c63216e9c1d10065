use std::fs::File;
use std::path::Path;

use ropewalk_store::files::{TemporaryDirectory, temporary_directory};
use tempfile::NamedTempFile;

use crate::IngestError;

/// Files that nothing outside this process may see and that nobody misses after a crash, so they are never synced.
#[derive(Debug)]
pub struct Scratch {
    directory: TemporaryDirectory,
}

impl Scratch {
    /// A directory of its own inside `parent`, removed when dropped.
    pub fn new(parent: &Path) -> Result<Self, IngestError> {
        Ok(Self { directory: temporary_directory(parent)? })
    }

    /// A new empty file, removed when dropped.
    pub fn file(&self) -> Result<NamedTempFile<File>, IngestError> {
        NamedTempFile::new_in(self.directory.path())
            .map_err(IngestError::stream(format!("create a scratch file in `{}`", self.directory.path().display())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}
