use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::directory::{parent, sync_directory};
use super::error::{Doing as _, FileError};
use super::link::reflink_part;

/// Files being written are `.tmp#DIGITS`: `object_store` passes over names that end so when it lists a directory.
pub(super) const LEFTOVER_PREFIX: &str = ".tmp#";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name in `directory` that no other writer of this process has; other processes differ by their number.
pub(super) fn temporary_path(directory: &Path) -> PathBuf {
    directory.join(temporary_name())
}

/// The last part of a [`temporary_path`].
pub(crate) fn temporary_name() -> String {
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{LEFTOVER_PREFIX}{}{count:09}", process::id())
}

/// Whether a file name is that of an [`AtomicFile`] whose process may have died.
pub fn is_leftover(name: &str) -> bool {
    // The number of a process and nine digits of a count: a user's `.tmp#1` is a user's.
    name.strip_prefix(LEFTOVER_PREFIX).is_some_and(|rest| rest.len() > 9 && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// Writes `bytes` to `path` so that a reader, also after a crash, sees either the old file or the whole new one.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).doing("write", path)?;
    file.commit()
}

/// A file that appears under its name, whole and durable, at [`AtomicFile::commit`]; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    /// `None` once committed, so that dropping removes nothing.
    file: Option<File>,
}

impl AtomicFile {
    /// Begins the file that will be at `path`; missing parent directories are created.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let directory = parent(path);
        super::create_directories(directory)?;
        loop {
            let temporary = temporary_path(directory);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                // A process that died had our number; the next count is free.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => {
                    let file = Some(result.doing("write", path)?);
                    return Ok(Self { target: path.to_owned(), temporary, file });
                }
            }
        }
    }

    /// Sets the executable bits where the platform has them.
    pub fn set_executable(&self) -> Result<(), FileError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = self.metadata()?.permissions().mode();
            // Whoever may read may execute, as umask left it.
            self.set_permissions(fs::Permissions::from_mode(mode | ((mode & 0o444) >> 2)))?;
        }
        Ok(())
    }

    /// Leaves it to its owner alone, where the platform can say so; to be called before anything is written.
    pub fn set_private(&self) -> Result<(), FileError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            self.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        Ok(())
    }

    /// Takes the right to write from everyone.
    pub fn set_read_only(&self) -> Result<(), FileError> {
        let mut permissions = self.metadata()?.permissions();
        permissions.set_readonly(true);
        self.set_permissions(permissions)
    }

    /// Puts the `length` bytes of `from` from `start` on at `at`, sharing their blocks, so that they cost no space and
    /// stay as they are now whatever becomes of `from`; see [`super::link::reflink_part`] for what must hold.
    pub(crate) fn share(&self, from: &File, start: u64, at: u64, length: NonZeroU64) -> Result<(), FileError> {
        let shared = self.open_file().and_then(|file| reflink_part(from, start, file, at, length));
        shared.doing("share blocks with", &self.target)
    }

    /// Whether what is written from now on goes past the page cache (open(2), `O_DIRECT`); an error where that cannot be.
    #[cfg(target_os = "linux")]
    pub(super) fn set_direct(&self, direct: bool) -> io::Result<()> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let file = self.open_file()?;
        let mut flags = fcntl_getfl(file)?;
        flags.set(OFlags::DIRECT, direct);
        Ok(fcntl_setfl(file, flags)?)
    }

    /// Only Linux has a flag for it.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn set_direct(&self, direct: bool) -> io::Result<()> {
        self.open_file()?;
        if direct { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }

    /// What was written so far, opened for reading.
    pub(crate) fn reader(&self) -> Result<File, FileError> {
        File::open(&self.temporary).doing("read what was written for", &self.target)
    }

    /// Makes the bytes durable and gives the file its name, replacing what was there.
    pub fn commit(mut self) -> Result<(), FileError> {
        self.sync()?;
        fs::rename(&self.temporary, &self.target).doing("rename to this name", &self.target)?;
        self.file = None;
        sync_directory(parent(&self.target))
    }

    /// Like [`AtomicFile::commit`], but never replaces: `false` and no change when a file is already there.
    ///
    /// Its time is that of this moment, not of the last write, so that it tells who was first.
    pub fn commit_new(self) -> Result<bool, FileError> {
        self.sync()?;
        self.open_file().and_then(touch).doing("set the time of", &self.target)?;
        // A hard link is the portable "rename unless it exists"; the temporary name goes when `self` is dropped.
        match fs::hard_link(&self.temporary, &self.target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            result => result.doing("link", &self.target)?,
        }
        sync_directory(parent(&self.target))?;
        Ok(true)
    }

    fn sync(&self) -> Result<(), FileError> {
        self.open_file().and_then(File::sync_all).doing("make durable", &self.target)
    }

    fn metadata(&self) -> Result<fs::Metadata, FileError> {
        self.open_file().and_then(File::metadata).doing("read the permissions of", &self.target)
    }

    fn set_permissions(&self, permissions: fs::Permissions) -> Result<(), FileError> {
        self.open_file().and_then(|file| file.set_permissions(permissions)).doing("set permissions of", &self.target)
    }

    fn open_file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("the file is already committed"))
    }
}

/// Sets the time of the last change to now, by the clock of the file system where that is another machine.
pub(super) fn touch(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        Ok(futimens(file, &Timestamps { last_access: omitted, last_modification: now })?)
    }
    #[cfg(not(unix))]
    file.set_modified(std::time::SystemTime::now())
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open_file()?.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.open_file()?.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open_file()?.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.open_file()?.seek(position)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // A leftover is harmless, and there is nobody to tell.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{list, read, temporary_directory};

    #[test]
    fn dropped_before_commit_leaves_nothing() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("deep/er/rope");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert!(list(path.parent().unwrap()).unwrap().is_empty());
    }

    #[test]
    fn commit_replaces_and_commit_new_does_not() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("rope");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"late").unwrap();
        assert!(!file.commit_new().unwrap());
        assert_eq!(read(&path).unwrap(), b"new");
        assert!(AtomicFile::create(&directory.path().join("other")).unwrap().commit_new().unwrap());
        let names: Vec<_> = list(directory.path()).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["other", "rope"]);
    }

    #[test]
    fn leftovers_are_told_from_files_of_users() {
        let temporary = temporary_path(Path::new("x"));
        assert!(is_leftover(temporary.file_name().unwrap().to_str().unwrap()));
        assert!(!is_leftover(".tmp#"));
        assert!(!is_leftover(".tmp#123456789"));
        assert!(!is_leftover(".tmp#1a"));
        assert!(!is_leftover("rope"));
    }

    #[cfg(unix)]
    #[test]
    fn permissions() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("tool");
        let file = AtomicFile::create(&path).unwrap();
        file.set_executable().unwrap();
        file.set_read_only().unwrap();
        file.commit().unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o100, 0o100);
        assert_eq!(mode & 0o222, 0);
        let file = AtomicFile::create(&path).unwrap();
        file.set_private().unwrap();
        file.commit().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
