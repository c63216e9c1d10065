use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use super::directory::parent;
use super::error::{Doing as _, FileError};

/// No process describes itself with more.
const HOLDER_LIMIT: u64 = 1024;

/// An exclusive advisory lock on a file; dropping it, or the death of the process, releases it.
///
/// The file stays when the lock is released: removing it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// Locks the file at `path` or fails at once with [`FileError::Held`], which says who holds it.
///
/// `command` describes this process to the others, such as `ropewalk run`; its process number is added.
pub fn lock(path: &Path, command: &str) -> Result<FileLock, FileError> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => held(file, path, command),
        Err(TryLockError::WouldBlock) => Err(FileError::Held { path: path.to_owned(), holder: holder(&file) }),
        Err(TryLockError::Error(error)) => Err(error).doing("lock", path),
    }
}

/// Locks the file at `path`, waiting for whoever holds it.
pub fn lock_wait(path: &Path, command: &str) -> Result<FileLock, FileError> {
    let file = open(path)?;
    file.lock().doing("lock", path)?;
    held(file, path, command)
}

/// A lock that any number of processes hold together, or one alone; dropping it, or the death of the process, releases it.
#[derive(Debug)]
pub struct SharedLock {
    file: File,
    path: PathBuf,
}

/// A [`SharedLock`] that nobody else holds; when it is dropped, others may hold the lock again.
#[derive(Debug)]
pub struct Alone<'a> {
    lock: &'a SharedLock,
}

/// Takes the lock at `path` together with others, waiting for one that has it alone.
///
/// Who may not write the file but read it is seen by the others all the same.
pub fn lock_shared_wait(path: &Path) -> Result<SharedLock, FileError> {
    let file = match open(path) {
        Err(error) if error.is_unwritable() => File::open(path).doing("open", path)?,
        opened => opened?,
    };
    file.lock_shared().doing("lock", path)?;
    Ok(SharedLock { file, path: path.to_owned() })
}

impl SharedLock {
    /// Takes the lock alone; none if others hold it too, with whom it is shared as before then.
    pub fn alone(&self) -> Result<Option<Alone<'_>>, FileError> {
        // What a handle does that locks twice depends on the platform.
        self.file.unlock().doing("unlock", &self.path)?;
        match self.file.try_lock() {
            Ok(()) => Ok(Some(Alone { lock: self })),
            Err(TryLockError::WouldBlock) => {
                self.file.lock_shared().doing("lock", &self.path)?;
                Ok(None)
            }
            Err(TryLockError::Error(error)) => Err(error).doing("lock", &self.path),
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // One that cannot be shared again is free, as when it is dropped.
        let _ = self.lock.file.unlock();
        let _ = self.lock.file.try_lock_shared();
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    super::create_directories(parent(path))?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).doing("open", path)
}

fn held(mut file: File, path: &Path, command: &str) -> Result<FileLock, FileError> {
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "process {} ({command})", process::id()))
        .doing("write the holder of", path)?;
    Ok(FileLock { _file: file })
}

fn holder(file: &File) -> String {
    let mut text = Vec::new();
    // Unreadable on platforms whose locks are mandatory, and empty for an instant after locking.
    match file.take(HOLDER_LIMIT).read_to_end(&mut text) {
        Ok(length) if length > 0 => String::from_utf8_lossy(&text).into_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::temporary_directory;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("deep/lock");
        let first = lock(&path, "ropewalk run").unwrap();
        let error = lock(&path, "ropewalk gc").unwrap_err();
        let FileError::Held { holder, .. } = &error else { panic!("{error}") };
        assert_eq!(*holder, format!("process {} (ropewalk run)", process::id()));
        drop(first);
        drop(lock(&path, "ropewalk gc").unwrap());
    }

    #[test]
    fn many_share_a_lock_that_one_has_alone() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("deep/lock");
        let (one, other) = (lock_shared_wait(&path).unwrap(), lock_shared_wait(&path).unwrap());
        assert!(one.alone().unwrap().is_none());
        assert!(other.alone().unwrap().is_none(), "it is shared as before");
        drop(other);
        let alone = one.alone().unwrap().unwrap();
        let (sender, locked) = std::sync::mpsc::channel();
        let third = std::thread::spawn(move || {
            let shared = lock_shared_wait(&path).unwrap();
            sender.send(()).unwrap();
            shared
        });
        assert!(locked.try_recv().is_err(), "it waits for the one that is alone");
        drop(alone);
        let third = third.join().unwrap();
        assert!(one.alone().unwrap().is_none());
        drop(third);
        assert!(one.alone().unwrap().is_some());
    }

    /// Also where the tests run as root, who may write everything.
    #[cfg(unix)]
    #[test]
    fn who_may_only_read_is_seen_by_the_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("lock");
        let owner = lock_shared_wait(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
        let reader = lock_shared_wait(&path).unwrap();
        assert!(owner.alone().unwrap().is_none());
        drop(reader);
        let read_only = File::open(&path).unwrap();
        read_only.lock_shared().unwrap();
        assert!(owner.alone().unwrap().is_none(), "a lock needs no right to write");
        drop(read_only);
        assert!(owner.alone().unwrap().is_some());
        let denied = FileError::Io { action: "open", path, source: std::io::ErrorKind::PermissionDenied.into() };
        assert!(denied.is_unwritable() && !denied.is_not_found());
    }

    #[test]
    fn waiting_ends_when_the_lock_is_released() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("lock");
        let first = lock(&path, "first").unwrap();
        let waiting = std::thread::spawn(move || lock_wait(&path, "second").map(drop));
        drop(first);
        waiting.join().unwrap().unwrap();
    }
}
