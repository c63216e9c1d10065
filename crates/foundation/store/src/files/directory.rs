use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::atomic::{LEFTOVER_PREFIX, temporary_name};
use super::error::{Doing as _, FileError};

/// The directory that holds `path`; the working directory for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes names that were created in or removed from `path` durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), FileError> {
    // Windows cannot open a directory as a file, and NTFS journals names by itself.
    if cfg!(unix) {
        File::open(path).and_then(|directory| directory.sync_all()).doing("make durable", path)
    } else {
        Ok(())
    }
}

/// Creates `path` and its missing parents, durably; no error when it is there already.
pub fn create_directories(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    if above != path {
        create_directories(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(FileError::InTheWay { path: path.to_owned() })
        }
        result => {
            result.doing("create directory", path)?;
            sync_directory(above)
        }
    }
}

/// Creates `path` like [`create_directories`], as a folder of which git sees nothing: what is in it is no part of the
/// user's repository. A `.gitignore` that is there already stays.
pub fn create_ignored_directory(path: &Path) -> Result<(), FileError> {
    create_directories(path)?;
    let ignore = path.join(".gitignore");
    if super::exists(&ignore)? { Ok(()) } else { super::write_atomic(&ignore, b"*\n") }
}

/// `path` without `..`: as the file system has it as far as it is there, and by its words from there on.
pub(crate) fn plain_path(path: &Path) -> Result<PathBuf, FileError> {
    let mut plain = PathBuf::new();
    for component in std::path::absolute(path).doing("find", path)?.components() {
        match component {
            Component::ParentDir => {
                // A symbolic link leads elsewhere than its name says.
                plain = fs::canonicalize(&plain).unwrap_or(plain);
                plain.pop();
            }
            component => plain.push(component),
        }
    }
    Ok(plain)
}

/// Removes the directory at `path` and all that it holds; symbolic links inside are removed, not followed.
///
/// Says whether there was one.
pub fn remove_directory(path: &Path) -> Result<bool, FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        result => result.doing("remove directory", path).map(|()| true),
    }
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, not followed.
    Symlink,
    /// A pipe, a socket or a device.
    Other,
}

impl From<fs::FileType> for EntryKind {
    fn from(kind: fs::FileType) -> Self {
        match kind {
            _ if kind.is_symlink() => Self::Symlink,
            _ if kind.is_dir() => Self::Directory,
            _ if kind.is_file() => Self::File,
            _ => Self::Other,
        }
    }
}

/// One entry of a directory, as [`list`] finds it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, without the directory.
    pub name: String,
    /// Its full path.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes of a file.
    pub size: u64,
    /// Whether its owner may execute it; always `false` where the platform has no such bit.
    pub executable: bool,
    /// When it was last written, where the file system knows.
    pub modified: Option<SystemTime>,
}

/// The entries of the directory at `path`, sorted by name; a name that is not UTF-8 is an error.
///
/// What goes while it is listed is not among them.
pub fn list(path: &Path) -> Result<Vec<Entry>, FileError> {
    let mut entries = Vec::new();
    for found in fs::read_dir(path).doing("list", path)? {
        entries.extend(entry(&found.doing("list", path)?)?);
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn entry(found: &fs::DirEntry) -> Result<Option<Entry>, FileError> {
    let path = found.path();
    let name = found.file_name().into_string().map_err(|_| FileError::Io {
        action: "list",
        path: path.clone(),
        source: io::Error::other("its name is not UTF-8"),
    })?;
    let metadata = match found.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.doing("read the metadata of", &path)?,
    };
    let kind = metadata.file_type().into();
    let executable = kind == EntryKind::File && may_execute(&metadata);
    Ok(Some(Entry { name, path, kind, size: metadata.len(), executable, modified: metadata.modified().ok() }))
}

#[cfg(unix)]
fn may_execute(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn may_execute(_: &fs::Metadata) -> bool {
    false
}

/// A directory that is removed with all that it holds when dropped.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
}

/// Creates an empty directory inside `parent`, which is created when it is missing.
pub fn temporary_directory(parent: &Path) -> Result<TemporaryDirectory, FileError> {
    created(parent, temporary_name, &fs::DirBuilder::new())
}

/// As [`temporary_directory`], for programs of others, which may take what is special in its names for parts of a URL. Only
/// this user sees what is inside.
pub fn scratch_directory(parent: &Path) -> Result<TemporaryDirectory, FileError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    created(parent, || temporary_name().replace(LEFTOVER_PREFIX, "ropewalk-"), &builder)
}

fn created(
    parent: &Path,
    name: impl Fn() -> String,
    builder: &fs::DirBuilder,
) -> Result<TemporaryDirectory, FileError> {
    create_directories(parent)?;
    loop {
        let path = parent.join(name());
        match builder.create(&path) {
            // A process that died had our number; the next count is free.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => {
                result.doing("create directory", &path)?;
                return Ok(TemporaryDirectory { path });
            }
        }
    }
}

impl TemporaryDirectory {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Gives the directory at `path` the name `target`, which must be absent or an empty directory; durable on return.
pub fn rename_directory(path: &Path, target: &Path) -> Result<(), FileError> {
    fs::rename(path, target).doing("rename to this name", target)?;
    sync_directory(parent(target))
}

/// Exchanges the names `a` and `b` of whatever has them, in one step; durable on return.
///
/// `false`, and nothing is changed, where the platform or the file system cannot (renameat2(2), `RENAME_EXCHANGE`).
pub fn exchange(a: &Path, b: &Path) -> Result<bool, FileError> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => return Ok(false),
            exchanged => exchanged.map_err(Into::into).doing("exchange names with", b)?,
        }
        sync_directory(parent(a))?;
        sync_directory(parent(b))?;
        Ok(true)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = (a, b);
        Ok(false)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // It may have got another name. A leftover is harmless, and there is nobody to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_dots_is_where_the_file_system_has_it() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        create_directories(&root.join("a/b")).unwrap();
        assert_eq!(plain_path(&root.join("a/../c/x")).unwrap(), root.join("c/x"));
        assert_eq!(plain_path(&root.join("new/../c")).unwrap(), root.join("c"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
            assert_eq!(plain_path(&root.join("link/../c")).unwrap(), root.join("a/c"));
        }
        fs::write(root.join("file"), b"").unwrap();
        let error = create_directories(&root.join("file")).unwrap_err();
        assert!(matches!(error, FileError::InTheWay { .. }), "{error}");
    }
    use crate::files::{exists, write_atomic};

    #[test]
    fn list_is_sorted_and_follows_no_link() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        for name in ["b", "a", "c/d"] {
            write_atomic(&directory.path().join(name), b"12").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc", directory.path().join("e")).unwrap();
        let found: Vec<_> = list(directory.path()).unwrap().into_iter().map(|e| (e.name, e.kind, e.size)).collect();
        assert_eq!(found[0], ("a".to_owned(), EntryKind::File, 2));
        assert_eq!(found[1].0, "b");
        assert_eq!(found[2].1, EntryKind::Directory);
        #[cfg(unix)]
        assert_eq!(found[3].1, EntryKind::Symlink);
    }

    #[test]
    fn temporary_directories_go_unless_they_get_another_name() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let inner = temporary_directory(directory.path()).unwrap();
        let path = inner.path().to_owned();
        drop(inner);
        assert!(!exists(&path).unwrap());
        let target = directory.path().join("kept");
        let inner = temporary_directory(directory.path()).unwrap();
        rename_directory(inner.path(), &target).unwrap();
        drop(inner);
        assert!(exists(&target).unwrap());
        write_atomic(&target.join("x"), b"").unwrap();
        let inner = temporary_directory(directory.path()).unwrap();
        assert!(rename_directory(inner.path(), &target).is_err());
        assert!(remove_directory(&target).unwrap());
        assert!(!remove_directory(&target).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_scratch_directory_is_private_and_plainly_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = scratch_directory(&std::env::temp_dir()).unwrap();
        let name = directory.path().file_name().unwrap().to_str().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let path = directory.path().to_owned();
        drop(directory);
        assert!(!exists(&path).unwrap());
    }

    #[test]
    fn a_file_in_the_way_of_a_directory_is_an_error() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("file");
        write_atomic(&path, b"").unwrap();
        assert!(create_directories(&path.join("below")).is_err());
        assert!(create_directories(&path).is_err());
    }
}
