//! Walking a directory by metadata alone: what `status` costs when nothing has changed.

use std::path::Path;

use super::directory::EntryKind;
use super::error::FileError;

#[cfg(unix)]
use descriptor::walk;
#[cfg(not(unix))]
use portable::walk;

/// Directories within directories beyond this depth are refused; each level holds one open descriptor.
const MAX_DEPTH: usize = 128;

/// Something below a directory, as [`scan`] finds it; symbolic links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanEntry<'a> {
    /// Its path below the directory, `/`-separated.
    pub path: &'a str,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes of a file.
    pub size: u64,
    /// When its content was last written, in nanoseconds since 1970; 0 where the file system does not know.
    pub modified: i64,
    /// When its content or its metadata last changed, in nanoseconds since 1970; 0 where the platform does not know.
    pub changed: i64,
    /// Its number on the file system; 0 where the platform has none.
    pub inode: u64,
    /// Whether it is a file that its owner may execute; always `false` where the platform has no such bit.
    pub executable: bool,
}

/// What [`scan`] does after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanNext {
    /// Go on; if the entry is a directory, with what is in it.
    Enter,
    /// Go on, without what is in it.
    PassOver,
    /// End the walk.
    Stop,
}

/// What [`scan`] does about a name that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddNames {
    /// It is an error: what is looked at must be known in full.
    Refused,
    /// It is left out with all below it: what is looked for has other names. Where a platform lists no such name, it is
    /// an error all the same.
    LeftOut,
}

/// Shows everything below `directory` to `visit`, a directory before what is in it.
///
/// The order of files is the byte order of their paths. What is removed during the walk is left out. A directory more than
/// 128 levels down is an error. Nothing is read but names and metadata, and memory is taken for the names of the
/// directories from the top to the current one only.
pub fn scan(
    directory: &Path,
    odd_names: OddNames,
    visit: &mut dyn FnMut(&ScanEntry<'_>) -> ScanNext,
) -> Result<(), FileError> {
    walk(directory, odd_names, visit)
}

fn too_deep(path: std::path::PathBuf) -> FileError {
    let source = std::io::Error::other(format!("it lies more than {MAX_DEPTH} directories deep"));
    FileError::Io { action: "scan", path, source }
}

fn not_utf8(path: std::path::PathBuf) -> FileError {
    FileError::Io { action: "scan", path, source: std::io::Error::other("its name is not UTF-8") }
}

/// With calls relative to open directories, so that the kernel resolves one component an entry.
#[cfg(unix)]
mod descriptor {
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::path::{Path, PathBuf};

    use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, Stat, openat, statat};
    use rustix::io::Errno;

    use super::{EntryKind, FileError, MAX_DEPTH, OddNames, ScanEntry, ScanNext, not_utf8, too_deep};
    use crate::files::error::Doing as _;

    const NANOSECONDS: i64 = 1_000_000_000;

    pub(super) fn walk(
        directory: &Path,
        odd_names: OddNames,
        visit: &mut dyn FnMut(&ScanEntry<'_>) -> ScanNext,
    ) -> Result<(), FileError> {
        let opened = rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.map_err(Into::into).doing("scan", directory)?;
        Walk { root: directory, path: String::new(), odd_names, visit }.directory(opened, MAX_DEPTH).map(drop)
    }

    struct Walk<'a> {
        root: &'a Path,
        /// Of the directory that is being read, with a slash at its end, or empty.
        path: String,
        odd_names: OddNames,
        visit: &'a mut dyn FnMut(&ScanEntry<'_>) -> ScanNext,
    }

    /// The names in one directory; those of directories end with a slash, which puts them where their files belong.
    #[derive(Default)]
    struct Names {
        text: String,
        ends: Vec<(usize, usize)>,
    }

    impl Walk<'_> {
        /// Says whether the walk goes on.
        fn directory(&mut self, opened: OwnedFd, depth: usize) -> Result<bool, FileError> {
            let depth = depth.checked_sub(1).ok_or_else(|| too_deep(self.current()))?;
            let mut directory = self.doing(Dir::new(opened))?;
            let names = self.names(&mut directory)?;
            let descriptor = self.doing(directory.fd())?;
            for name in names.iter() {
                let bare = name.strip_suffix('/').unwrap_or(name);
                let stat = match statat(descriptor, bare, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    stat => self.doing(stat)?,
                };
                let length = self.path.len();
                self.path.push_str(bare);
                match (self.visit)(&entry(&self.path, &stat)) {
                    ScanNext::Stop => return Ok(false),
                    ScanNext::Enter if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                        let below = match openat(descriptor.as_fd(), bare, flags, Mode::empty()) {
                            Err(Errno::NOENT) => None,
                            opened => Some(self.doing(opened)?),
                        };
                        self.path.push('/');
                        if let Some(below) = below
                            && !self.directory(below, depth)?
                        {
                            return Ok(false);
                        }
                    }
                    ScanNext::Enter | ScanNext::PassOver => {}
                }
                self.path.truncate(length);
            }
            Ok(true)
        }

        fn names(&self, directory: &mut Dir) -> Result<Names, FileError> {
            let mut names = Names::default();
            while let Some(found) = directory.read() {
                let found = self.doing(found)?;
                let bytes = found.file_name().to_bytes();
                if bytes == b"." || bytes == b".." {
                    continue;
                }
                let name = match std::str::from_utf8(bytes) {
                    Ok(name) => name,
                    Err(_) if self.odd_names == OddNames::LeftOut => continue,
                    Err(_) => return Err(not_utf8(self.current().join(String::from_utf8_lossy(bytes).as_ref()))),
                };
                let start = names.text.len();
                names.text.push_str(name);
                if self.is_directory(directory, &found)? {
                    names.text.push('/');
                }
                names.ends.push((start, names.text.len()));
            }
            names.sort();
            Ok(names)
        }

        /// Some file systems do not say in a listing what an entry is.
        fn is_directory(&self, directory: &Dir, found: &DirEntry) -> Result<bool, FileError> {
            if found.file_type() != FileType::Unknown {
                return Ok(found.file_type() == FileType::Directory);
            }
            match statat(self.doing(directory.fd())?, found.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(false),
                stat => Ok(FileType::from_raw_mode(self.doing(stat)?.st_mode) == FileType::Directory),
            }
        }

        fn current(&self) -> PathBuf {
            self.root.join(&self.path)
        }

        fn doing<T>(&self, result: rustix::io::Result<T>) -> Result<T, FileError> {
            match result {
                Ok(value) => Ok(value),
                Err(errno) => Err(errno.into()).doing("scan", &self.current()),
            }
        }
    }

    impl Names {
        fn sort(&mut self) {
            let Self { text, ends } = self;
            let bytes = text.as_bytes();
            ends.sort_unstable_by(|a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
        }

        fn iter(&self) -> impl Iterator<Item = &str> {
            self.ends.iter().map(|&(start, end)| &self.text[start..end])
        }
    }

    fn entry<'a>(path: &'a str, stat: &Stat) -> ScanEntry<'a> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink,
            _ => EntryKind::Other,
        };
        ScanEntry {
            path,
            kind,
            size: stat.st_size as u64,
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
            inode: stat.st_ino,
            executable: kind == EntryKind::File && stat.st_mode & 0o100 != 0,
        }
    }

    fn nanoseconds(seconds: impl Into<i64>, rest: i64) -> i64 {
        seconds.into().saturating_mul(NANOSECONDS).saturating_add(rest)
    }
}

/// By path, where directories cannot be held open.
#[cfg(not(unix))]
mod portable {
    use std::path::Path;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::{EntryKind, FileError, MAX_DEPTH, OddNames, ScanEntry, ScanNext, too_deep};
    use crate::files::directory::list;

    pub(super) fn walk(
        directory: &Path,
        _: OddNames,
        visit: &mut dyn FnMut(&ScanEntry<'_>) -> ScanNext,
    ) -> Result<(), FileError> {
        below(directory, "", MAX_DEPTH, visit).map(drop)
    }

    fn below(
        directory: &Path,
        above: &str,
        depth: usize,
        visit: &mut dyn FnMut(&ScanEntry<'_>) -> ScanNext,
    ) -> Result<bool, FileError> {
        let depth = depth.checked_sub(1).ok_or_else(|| too_deep(directory.to_owned()))?;
        let mut entries = list(directory)?;
        let key = |entry: &crate::files::Entry| {
            let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
            format!("{}{slash}", entry.name)
        };
        entries.sort_by_cached_key(key);
        for found in entries {
            let path = format!("{above}{}", found.name);
            let (kind, size, executable) = (found.kind, found.size, found.executable);
            let modified = found.modified.map_or(0, nanoseconds);
            match visit(&ScanEntry { path: &path, kind, size, modified, changed: 0, inode: 0, executable }) {
                ScanNext::Stop => return Ok(false),
                ScanNext::Enter if kind == EntryKind::Directory => {
                    if !below(&found.path, &format!("{path}/"), depth, visit)? {
                        return Ok(false);
                    }
                }
                ScanNext::Enter | ScanNext::PassOver => {}
            }
        }
        Ok(true)
    }

    fn nanoseconds(time: SystemTime) -> i64 {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanoseconds| -nanoseconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{AtomicFile, temporary_directory, write_atomic};

    fn all(directory: &Path, next: impl Fn(&str) -> ScanNext) -> Vec<(String, EntryKind, u64, bool)> {
        let mut found = Vec::new();
        let mut visit = |entry: &ScanEntry<'_>| {
            found.push((entry.path.to_owned(), entry.kind, entry.size, entry.executable));
            next(entry.path)
        };
        scan(directory, OddNames::Refused, &mut visit).unwrap();
        found
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        for name in ["a/x", "a/y/z", "a.b", "a0", "b", "ä"] {
            write_atomic(&directory.path().join(name), name.as_bytes()).unwrap();
        }
        let tool = AtomicFile::create(&directory.path().join("tool")).unwrap();
        tool.set_executable().unwrap();
        tool.commit().unwrap();
        let found = all(directory.path(), |_| ScanNext::Enter);
        let paths: Vec<_> = found.iter().map(|entry| entry.0.as_str()).collect();
        assert_eq!(paths, ["a.b", "a", "a/x", "a/y", "a/y/z", "a0", "b", "tool", "ä"]);
        let files: Vec<_> = found.iter().filter(|entry| entry.1 == EntryKind::File).collect();
        assert!(files.is_sorted_by_key(|entry| entry.0.as_bytes()));
        assert!(files.iter().all(|entry| entry.0 == "tool" || entry.2 == entry.0.len() as u64));
        #[cfg(unix)]
        assert!(files.iter().all(|entry| entry.3 == (entry.0 == "tool")));
    }

    #[test]
    fn the_visitor_decides_how_far_it_goes() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        for name in ["a/x", "b/x", "c"] {
            write_atomic(&directory.path().join(name), b"").unwrap();
        }
        let next = |path: &str| if path == "a" { ScanNext::PassOver } else { ScanNext::Enter };
        let paths: Vec<_> = all(directory.path(), next).into_iter().map(|entry| entry.0).collect();
        assert_eq!(paths, ["a", "b", "b/x", "c"]);
        let next = |path: &str| if path == "b/x" { ScanNext::Stop } else { ScanNext::Enter };
        assert_eq!(all(directory.path(), next).len(), 4);
        assert!(
            scan(&directory.path().join("none"), OddNames::Refused, &mut |_| ScanNext::Enter)
                .unwrap_err()
                .is_not_found()
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_change_shows_and_a_link_is_not_followed() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("file");
        write_atomic(&path, b"hemp").unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("link")).unwrap();
        let metadata = path.metadata().unwrap();
        scan(directory.path(), OddNames::Refused, &mut |entry| {
            match entry.path {
                "file" => {
                    assert_eq!(entry.inode, metadata.ino());
                    assert_eq!(entry.modified, metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec());
                    assert_eq!(entry.changed, metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec());
                }
                "link" => assert_eq!(entry.kind, EntryKind::Symlink),
                other => panic!("{other}"),
            }
            ScanNext::Enter
        })
        .unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn hostile_directories_are_errors() {
        use std::os::unix::ffi::OsStrExt as _;
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let mut deep = directory.path().join("deep");
        for _ in 0..MAX_DEPTH {
            deep.push("d");
        }
        super::super::create_directories(&deep).unwrap();
        let error = scan(directory.path(), OddNames::Refused, &mut |_| ScanNext::Enter).unwrap_err();
        assert!(error.to_string().contains("directories deep"), "{error}");
        write_atomic(&directory.path().join(std::ffi::OsStr::from_bytes(b"\xff")), b"").unwrap();
        let error = scan(directory.path(), OddNames::Refused, &mut |_| ScanNext::PassOver).unwrap_err();
        assert!(error.to_string().contains("not UTF-8"), "{error}");
        let mut seen = Vec::new();
        scan(directory.path(), OddNames::LeftOut, &mut |entry| {
            seen.push(entry.path.to_owned());
            ScanNext::PassOver
        })
        .unwrap();
        assert_eq!(seen, ["deep"]);
    }
}
