use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::directory::{create_directories, parent, sync_directory};
use super::error::{Doing as _, FileError};

/// A new file that grows by whole pieces: a journal.
///
/// What [`AppendFile::append`] has taken is seen by whoever opens the file, and survives the death of this process; a loss of
/// power survives only what [`AppendFile::sync`] came after.
#[derive(Debug)]
pub struct AppendFile {
    path: PathBuf,
    file: File,
    length: u64,
    /// Whether its name is durable.
    named: bool,
}

impl AppendFile {
    /// Begins the file at `path`, where nothing must be; missing parent directories are created.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        create_directories(parent(path))?;
        let file = OpenOptions::new().append(true).create_new(true).open(path).doing("create", path)?;
        Ok(Self { path: path.to_owned(), file, length: 0, named: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that were appended.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends `bytes`, all of them or none.
    ///
    /// Errors: where also the part that was written cannot be taken back, [`FileError::Torn`]: a part of a piece is at the
    /// end of the file then, and nothing must be appended any more.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        match self.file.write_all(bytes).doing("append to", &self.path) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(problem) => match self.file.set_len(self.length) {
                Ok(()) => Err(problem),
                Err(_) => Err(FileError::Torn { path: self.path.clone(), problem: Box::new(problem) }),
            },
        }
    }

    /// Makes what was appended durable.
    pub fn sync(&mut self) -> Result<(), FileError> {
        self.file.sync_data().doing("make durable", &self.path)?;
        if !self.named {
            sync_directory(parent(&self.path))?;
            self.named = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{read, temporary_directory};

    #[test]
    fn pieces_follow_one_another_and_an_old_file_is_not_continued() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("deep/journal");
        let mut file = AppendFile::create(&path).unwrap();
        file.append(b"one").unwrap();
        assert_eq!(read(&path).unwrap(), b"one", "others see it at once");
        file.append(b"two").unwrap();
        file.sync().unwrap();
        assert_eq!((file.length(), file.path()), (6, path.as_path()));
        assert_eq!(read(&path).unwrap(), b"onetwo");
        assert!(AppendFile::create(&path).is_err());
    }

    /// The device that is always full.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said() {
        let full = Path::new("/dev/full");
        let file = OpenOptions::new().append(true).open(full).unwrap();
        let mut file = AppendFile { path: full.to_owned(), file, length: 0, named: false };
        let error = file.append(b"one").unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert!(matches!(error, FileError::Torn { .. }), "a device cannot be cut back");
        assert_eq!(file.length(), 0);
    }
}
