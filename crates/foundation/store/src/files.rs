//! The one door to the disk: every other crate reads and writes local files through this module.
//!
//! All functions block; call them from `tokio::task::spawn_blocking` in async code. Every error names the path and
//! what was being done to it.

mod append;
mod atomic;
mod directory;
mod error;
mod link;
mod lock;
mod part_file;
mod part_read;
mod scan;
mod scratch_file;
mod work_tree;

pub use append::AppendFile;
pub use atomic::{AtomicFile, is_leftover, write_atomic};
pub use directory::{
    Entry, EntryKind, TemporaryDirectory, create_directories, create_ignored_directory, exchange, list,
    remove_directory, rename_directory, scratch_directory, temporary_directory,
};
pub use error::FileError;
pub use link::{LinkSupport, link_support};
pub use lock::{Alone, FileLock, SharedLock, lock, lock_shared_wait, lock_wait};
pub use scan::{OddNames, ScanEntry, ScanNext, scan};

pub(crate) use atomic::temporary_name;
pub(crate) use directory::{parent, plain_path};
pub(crate) use error::{Doing, disk_hint};
pub(crate) use link::{SHARED_BLOCK, hard_link, make_writable, reflink, second_name, share_blocks};
pub(crate) use part_file::PartFile;
pub(crate) use part_read::Buffers;
pub(crate) use scratch_file::ScratchFile;
pub(crate) use work_tree::{FolderId, WorkTree};

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;

use directory::sync_directory;

/// The whole content of the file at `path`, which this process trusts to fit in memory; see [`read_bounded`].
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).doing("read", path)
}

/// The whole content of the file at `path`, refused with [`FileError::TooLarge`] when it has more than `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    // One byte more than the limit tells a file that just fits from one that grew while it was read.
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).doing("read", path)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// The UTF-8 text of the file at `path`, refused when it has more than `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    String::from_utf8(read_bounded(path, limit)?)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        .doing("read as text", path)
}

/// The file at `path`, opened for reading.
pub fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).doing("open", path)
}

/// The file at `path`, opened so that what is written goes to its end; it is made if it is not there.
pub fn open_append(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().append(true).create(true).open(path).doing("open", path)
}

/// Whether something is at `path`; a dangling symbolic link counts as nothing.
pub fn exists(path: &Path) -> Result<bool, FileError> {
    path.try_exists().doing("look for", path)
}

/// Size in bytes of the file at `path`.
pub fn size(path: &Path) -> Result<u64, FileError> {
    Ok(fs::metadata(path).doing("read the size of", path)?.len())
}

/// What is at `path`, without following a symbolic link; `None` for nothing.
pub fn kind(path: &Path) -> Result<Option<EntryKind>, FileError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        result => result.doing("look at", path).map(|metadata| Some(metadata.file_type().into())),
    }
}

/// Writes a file that must not be there yet; neither atomic nor durable, for directories that are made as a whole.
pub fn write_new(path: &Path, bytes: &[u8], executable: bool) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if executable {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o777);
    }
    options.open(path).and_then(|mut file| file.write_all(bytes)).doing("write", path)
}

/// Writes a file at once, neither atomic nor durable: for notes that any other text than the expected only makes void.
pub(crate) fn write_note(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    fs::write(path, bytes).doing("write", path)
}

/// Removes the file at `path`; says whether there was one.
pub fn remove_file(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        result => result.doing("remove", path).map(|()| true),
    }
}

/// As [`remove_file`], and durably: the file does not come back after a loss of power, also where another removed it.
pub fn remove_file_durably(path: &Path) -> Result<bool, FileError> {
    let removed = remove_file(path)?;
    match sync_directory(parent(path)) {
        Err(error) if error.is_not_found() => Ok(removed),
        synced => synced.map(|()| removed),
    }
}

/// Renames `from` to `to`, replacing a file that is there, and makes the new name durable.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).doing("rename to this name", to)?;
    sync_directory(parent(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_read_refuses_the_byte_too_many() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("twine");
        write_atomic(&path, b"hemp").unwrap();
        assert_eq!(read_bounded(&path, 4).unwrap(), b"hemp");
        assert!(matches!(read_bounded(&path, 3), Err(FileError::TooLarge { limit: 3, .. })));
        assert_eq!(size(&path).unwrap(), 4);
        assert_eq!(read_text(&path, 4).unwrap(), "hemp");
        write_atomic(&path, &[0xff]).unwrap();
        assert!(read_text(&path, 4).is_err());
    }

    #[test]
    fn errors_name_the_path_and_the_action() {
        let error = read(Path::new("/no/such/rope")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read `/no/such/rope`"), "{error}");
        assert!(!exists(Path::new("/no/such/rope")).unwrap());
        assert!(!remove_file(Path::new("/no/such/rope")).unwrap());
    }

    #[test]
    fn what_is_removed_durably_may_be_gone_already_with_its_folder() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("twine");
        write_atomic(&path, b"hemp").unwrap();
        assert!(remove_file_durably(&path).unwrap());
        assert!(!exists(&path).unwrap());
        assert!(!remove_file_durably(&path).unwrap());
        assert!(!remove_file_durably(&directory.path().join("none/twine")).unwrap());
    }

    #[test]
    fn rename_replaces() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        write_atomic(&from, b"new").unwrap();
        write_atomic(&to, b"old").unwrap();
        rename(&from, &to).unwrap();
        assert_eq!(read(&to).unwrap(), b"new");
        assert!(!exists(&from).unwrap());
    }
}
