use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{Doing as _, FileError};

/// A new file that is removed when dropped unless it is kept; not durable.
#[derive(Debug)]
pub(crate) struct ScratchFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl ScratchFile {
    /// Creates the file at `path`, which must not be there.
    pub(crate) fn create(path: &Path, executable: bool) -> Result<Self, FileError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if executable {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o777);
        }
        #[cfg(not(unix))]
        let _ = executable;
        Ok(Self { path: path.to_owned(), file: options.open(path).doing("create", path)?, kept: false })
    }

    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Write for ScratchFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if !self.kept {
            // A leftover is harmless, and there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{exists, temporary_directory};

    #[test]
    fn only_what_is_kept_stays() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("file");
        drop(ScratchFile::create(&path, false).unwrap());
        assert!(!exists(&path).unwrap());
        ScratchFile::create(&path, true).unwrap().keep();
        assert!(exists(&path).unwrap());
        assert!(ScratchFile::create(&path, false).is_err());
    }
}
