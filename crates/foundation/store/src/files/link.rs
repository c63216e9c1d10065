//! Second names and shared copies of files.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::path::Path;

use super::error::{Doing as _, FileError};
use super::{temporary_directory, write_new};

/// Which links a directory's file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSupport {
    /// Copies that share their blocks until one of them is changed.
    pub reflink: bool,
    /// Second names of one file.
    pub hardlink: bool,
}

/// Finds out by trying, in a directory that is removed again.
pub fn link_support(directory: &Path) -> Result<LinkSupport, FileError> {
    let scratch = temporary_directory(directory)?;
    let path = scratch.path().join("file");
    write_new(&path, b"hemp", false)?;
    let reflink = reflink(&path, &scratch.path().join("reflink")).is_ok();
    let hardlink = hard_link(&path, &scratch.path().join("hardlink")).is_ok();
    Ok(LinkSupport { reflink, hardlink })
}

/// Makes `to`, which must not be there, a copy of `from` that shares its blocks.
pub(crate) fn reflink(from: &Path, to: &Path) -> Result<(), FileError> {
    reflink_copy::reflink(from, to).doing("make a reflink at", to)
}

/// Where shared blocks may begin: a multiple of the block size of every file system that can share them.
pub(crate) const SHARED_BLOCK: u64 = 64 << 10;

/// Makes what lies in `to` from `at` on the `length` bytes of `from` from `start` on, sharing their blocks.
///
/// `start` and `at` are multiples of [`SHARED_BLOCK`], and `from` ends with the last of the bytes.
pub(super) fn reflink_part(from: &File, start: u64, to: &File, at: u64, length: NonZeroU64) -> io::Result<()> {
    reflink_copy::ReflinkBlockBuilder::new(from, to, length).from_offset(start).to_offset(at).reflink_block()
}

/// Makes `to`, which must not be there, a second name of `from`.
pub(crate) fn hard_link(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::hard_link(from, to).doing("make a hard link at", to)
}

/// Gives the owner of a copy the right to write that its source had not, and everyone who may read the right to execute
/// if that is wanted.
pub(crate) fn make_writable(path: &Path, executable: bool) -> Result<(), FileError> {
    let metadata = fs::metadata(path).doing("read the permissions of", path)?;
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() | 0o200;
        fs::Permissions::from_mode(if executable { mode | ((mode & 0o444) >> 2) } else { mode })
    };
    #[cfg(not(unix))]
    let permissions = {
        let mut permissions = metadata.permissions();
        permissions.set_readonly(false);
        permissions
    };
    fs::set_permissions(path, permissions).doing("set permissions of", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::list;

    #[test]
    fn trying_leaves_nothing() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let support = link_support(directory.path()).unwrap();
        assert!(list(directory.path()).unwrap().is_empty());
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        write_new(&from, b"hemp", false).unwrap();
        assert_eq!(hard_link(&from, &to).is_ok(), support.hardlink);
        assert_eq!(reflink(&from, &directory.path().join("copy")).is_ok(), support.reflink);
        assert!(hard_link(&from, &to).is_err(), "nothing is replaced");
    }
}
