//! Files laid out below a directory that others may change at the same time, without ever following a link below it.

use std::path::{Path, PathBuf};

use super::atomic::temporary_name;
use super::error::FileError;

#[cfg(unix)]
use descriptor::Folder as Open;
#[cfg(not(unix))]
use portable::Folder as Open;

/// A directory and those below it in which files are to be laid out.
#[derive(Debug)]
pub(crate) struct WorkTree {
    root: PathBuf,
    folders: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    /// Below the root, `/`-separated; empty for the root.
    path: String,
    /// It was made here, so that nobody expects a file in it that could be half-written.
    new: bool,
}

/// A directory of a [`WorkTree`], by its place in the order in which they were entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FolderId(usize);

impl WorkTree {
    /// The tree below `root`, which is created if it is missing.
    pub(crate) fn open(root: &Path) -> Result<Self, FileError> {
        let new = super::kind(root)?.is_none();
        super::create_directories(root)?;
        Ok(Self { root: root.to_owned(), folders: vec![Known { path: String::new(), new }] })
    }

    /// Makes sure that there is a directory at `path`, with those above it; a symbolic link or a file on the way is an
    /// error. Paths that follow each other should lie near each other.
    pub(crate) fn enter(&mut self, path: &str) -> Result<FolderId, FileError> {
        if let Some(last) = self.folders.len().checked_sub(1).filter(|last| self.folders[*last].path == path) {
            return Ok(FolderId(last));
        }
        let mut open = Open::root(&self.root)?;
        let mut new = self.folders[0].new;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let created = open.create(name)?;
            new = created;
            open = open.below(name)?;
        }
        self.folders.push(Known { path: path.to_owned(), new });
        Ok(FolderId(self.folders.len() - 1))
    }

    /// Begins to write files.
    pub(crate) fn writer(&self) -> FolderWriter<'_> {
        FolderWriter { tree: self, current: None }
    }

    /// The path of a file in a folder.
    pub(crate) fn path(&self, folder: FolderId, name: &str) -> PathBuf {
        self.root.join(&self.folders[folder.0].path).join(name)
    }
}

/// Writes files, holding the last directory open.
pub(crate) struct FolderWriter<'a> {
    tree: &'a WorkTree,
    current: Option<(FolderId, Open)>,
}

impl FolderWriter<'_> {
    /// Writes a file, replacing what is there unless that is a directory; it appears whole, except in a directory that
    /// was new itself.
    pub(crate) fn write(
        &mut self,
        folder: FolderId,
        name: &str,
        bytes: &[u8],
        executable: bool,
    ) -> Result<(), FileError> {
        let new = self.tree.folders[folder.0].new;
        let open = self.folder(folder)?;
        // Whoever makes a file in a new directory at the same time has it replaced, too.
        if new && open.write_new(name, bytes, executable)? {
            return Ok(());
        }
        let temporary = temporary_name();
        open.write_new(&temporary, bytes, executable)?;
        open.rename(&temporary, name)
    }

    /// Gives a file that was made beside `name` that name.
    pub(crate) fn rename(&mut self, folder: FolderId, from: &str, name: &str) -> Result<(), FileError> {
        self.folder(folder)?.rename(from, name)
    }

    fn folder(&mut self, folder: FolderId) -> Result<&Open, FileError> {
        let open = match self.current.take() {
            Some((current, open)) if current == folder => open,
            _ => {
                let names = self.tree.folders[folder.0].path.split('/').filter(|name| !name.is_empty());
                names.into_iter().try_fold(Open::root(&self.tree.root)?, |open, name| open.below(name))?
            }
        };
        Ok(&self.current.insert((folder, open)).1)
    }
}

#[cfg(unix)]
mod descriptor {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};

    use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
    use rustix::io::Errno;

    use super::FileError;
    use crate::files::error::Doing as _;

    /// A directory that is held open.
    #[derive(Debug)]
    pub(super) struct Folder {
        descriptor: OwnedFd,
        /// For errors.
        path: PathBuf,
    }

    impl Folder {
        pub(super) fn root(path: &Path) -> Result<Self, FileError> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(Into::into).doing("open", path)?;
            Ok(Self { descriptor, path: path.to_owned() })
        }

        pub(super) fn below(&self, name: &str) -> Result<Self, FileError> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let path = self.path.join(name);
            match openat(&self.descriptor, name, flags, Mode::empty()) {
                Err(Errno::NOTDIR | Errno::LOOP) => Err(FileError::InTheWay { path }),
                opened => Ok(Self { descriptor: opened.map_err(Into::into).doing("open", &path)?, path }),
            }
        }

        /// Says whether the directory was not there before.
        pub(super) fn create(&self, name: &str) -> Result<bool, FileError> {
            match mkdirat(&self.descriptor, name, Mode::from_raw_mode(0o777)) {
                Err(Errno::EXIST) => Ok(false),
                created => self.doing("create directory", name, created).map(|()| true),
            }
        }

        /// Says `false` when something is there.
        pub(super) fn write_new(&self, name: &str, bytes: &[u8], executable: bool) -> Result<bool, FileError> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
            let opened = match openat(&self.descriptor, name, flags, mode) {
                Err(Errno::EXIST) => return Ok(false),
                opened => self.doing("create", name, opened)?,
            };
            let written = File::from(opened).write_all(bytes);
            if written.is_err() {
                // A part of a file must not stay; the error that matters is the first.
                let _ = unlinkat(&self.descriptor, name, AtFlags::empty());
            }
            written.doing("write", &self.path.join(name)).map(|()| true)
        }

        pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
            let renamed = match renameat(&self.descriptor, from, &self.descriptor, to) {
                Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                    Err(FileError::InTheWay { path: self.path.join(to) })
                }
                renamed => self.doing("rename to this name", to, renamed),
            };
            if renamed.is_err() {
                let _ = unlinkat(&self.descriptor, from, AtFlags::empty());
            }
            renamed
        }

        fn doing<T>(&self, action: &'static str, name: &str, result: rustix::io::Result<T>) -> Result<T, FileError> {
            match result {
                Ok(value) => Ok(value),
                Err(errno) => Err(errno.into()).doing(action, &self.path.join(name)),
            }
        }
    }
}

/// By path, where directories cannot be held open.
#[cfg(not(unix))]
mod portable {
    use std::fs::{self, OpenOptions};
    use std::io::{self, Write as _};
    use std::path::{Path, PathBuf};

    use super::FileError;
    use crate::files::error::Doing as _;
    use crate::files::{EntryKind, kind};

    #[derive(Debug)]
    pub(super) struct Folder {
        path: PathBuf,
    }

    impl Folder {
        pub(super) fn root(path: &Path) -> Result<Self, FileError> {
            Ok(Self { path: path.to_owned() })
        }

        pub(super) fn below(&self, name: &str) -> Result<Self, FileError> {
            let path = self.path.join(name);
            match kind(&path)? {
                Some(EntryKind::Directory) => Ok(Self { path }),
                _ => Err(FileError::InTheWay { path }),
            }
        }

        pub(super) fn create(&self, name: &str) -> Result<bool, FileError> {
            let path = self.path.join(name);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                created => created.doing("create directory", &path).map(|()| true),
            }
        }

        pub(super) fn write_new(&self, name: &str, bytes: &[u8], _: bool) -> Result<bool, FileError> {
            let path = self.path.join(name);
            let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                opened => opened.doing("create", &path)?,
            };
            let written = file.write_all(bytes);
            if written.is_err() {
                let _ = fs::remove_file(&path);
            }
            written.doing("write", &path).map(|()| true)
        }

        pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
            let (from, to) = (self.path.join(from), self.path.join(to));
            if kind(&to)? == Some(EntryKind::Directory) {
                let _ = fs::remove_file(&from);
                return Err(FileError::InTheWay { path: to });
            }
            let renamed = fs::rename(&from, &to);
            if renamed.is_err() {
                let _ = fs::remove_file(&from);
            }
            renamed.doing("rename to this name", &to)
        }
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Diagnose as _;

    use super::*;
    use crate::files::{list, read, temporary_directory, write_atomic};

    #[test]
    fn files_are_written_and_replaced() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let root = directory.path().join("deep/root");
        write_atomic(&root.join("old/x"), b"old").unwrap();
        let mut tree = WorkTree::open(&root).unwrap();
        let (old, new, top) = (tree.enter("old").unwrap(), tree.enter("new/deep").unwrap(), tree.enter("").unwrap());
        assert_eq!(tree.enter("").unwrap(), top);
        let mut writer = tree.writer();
        for (folder, name) in [(old, "x"), (old, "y"), (new, "x"), (top, "x"), (new, "x")] {
            writer.write(folder, name, name.as_bytes(), name == "y").unwrap();
        }
        for path in ["old/x", "old/y", "new/deep/x", "x"] {
            assert_eq!(read(&root.join(path)).unwrap(), path.as_bytes()[path.len() - 1..], "{path}");
        }
        let found = list(&root.join("old")).unwrap();
        assert_eq!(found.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
        #[cfg(unix)]
        assert!(found[1].executable && !found[0].executable);
    }

    #[test]
    fn what_is_in_the_way_is_an_error() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let root = directory.path().join("root");
        for path in ["file", "folder/x"] {
            write_atomic(&root.join(path), b"mine").unwrap();
        }
        let mut tree = WorkTree::open(&root).unwrap();
        assert_eq!(tree.enter("file").unwrap_err().code(), "file.in_the_way");
        assert_eq!(tree.enter("file/below").unwrap_err().code(), "file.in_the_way");
        let top = tree.enter("").unwrap();
        assert_eq!(tree.writer().write(top, "folder", b"x", false).unwrap_err().code(), "file.in_the_way");
        assert_eq!(list(&root).unwrap().len(), 2, "nothing half-written stays");
        assert_eq!(read(&root.join("folder/x")).unwrap(), b"mine");
    }

    #[cfg(unix)]
    #[test]
    fn no_link_leads_out() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let (root, elsewhere) = (directory.path().join("root"), directory.path().join("elsewhere"));
        write_atomic(&elsewhere.join("x"), b"mine").unwrap();
        write_atomic(&root.join("there"), b"").unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.join("link")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("x"), root.join("x")).unwrap();
        let mut tree = WorkTree::open(&root).unwrap();
        for path in ["link", "link/deep"] {
            assert_eq!(tree.enter(path).unwrap_err().code(), "file.in_the_way", "{path}");
        }
        // A link in the place of a file is replaced, not followed.
        let top = tree.enter("").unwrap();
        tree.writer().write(top, "x", b"new", false).unwrap();
        assert_eq!(read(&root.join("x")).unwrap(), b"new");
        assert_eq!(list(&elsewhere).unwrap().len(), 1);
        assert_eq!(read(&elsewhere.join("x")).unwrap(), b"mine");
        // One that takes the place of a directory after that was entered is found, too.
        let folder = tree.enter("folder").unwrap();
        super::super::remove_directory(&root.join("folder")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.join("folder")).unwrap();
        assert_eq!(tree.writer().write(folder, "x", b"new", false).unwrap_err().code(), "file.in_the_way");
        assert_eq!(read(&elsewhere.join("x")).unwrap(), b"mine");
    }
}
