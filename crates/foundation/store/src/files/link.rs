//! Second names and shared copies of files.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::path::Path;

use super::error::{Doing as _, FileError};
use super::{AtomicFile, temporary_directory, write_new};

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

/// Makes `to` a copy of all of `from` that shares its blocks, durable; `false` where that cannot be.
pub(crate) fn share_blocks(from: &Path, to: &Path) -> Result<bool, FileError> {
    let source = super::open(from)?;
    let size = source.metadata().doing("read the size of", from)?.len();
    let Some(length) = NonZeroU64::new(size) else { return Ok(false) };
    let file = AtomicFile::create(to)?;
    if file.share(&source, 0, 0, length).is_err() {
        return Ok(false);
    }
    file.commit()?;
    Ok(true)
}

/// Makes `to`, which must not be there, a second name of the file `from`, durable; `false` where that cannot be, and for
/// a file that more users may change than those who may change what lies beside `to`.
///
/// The time of the file's last change becomes that of this moment, so that the new name does not look like an old one.
#[cfg(unix)]
pub(crate) fn second_name(from: &Path, to: &Path) -> Result<bool, FileError> {
    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

    let directory = super::parent(to);
    super::create_directories(directory)?;
    let beside = rustix::fs::stat(directory).map_err(Into::into).doing("read the owner of", directory)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(from, flags, Mode::empty()).map_err(Into::into).doing("open", from)?;
    let file = File::from(file);
    let found = rustix::fs::fstat(&file).map_err(Into::into).doing("read the owner of", from)?;
    if found.st_dev != beside.st_dev {
        return Ok(false);
    }
    let group_writes = found.st_mode & 0o020 != 0 && found.st_gid != beside.st_gid;
    let foreign = found.st_uid != beside.st_uid || group_writes || found.st_mode & 0o002 != 0;
    if foreign || !FileType::from_raw_mode(found.st_mode).is_file() || super::atomic::touch(&file).is_err() {
        return Ok(false);
    }
    if fs::hard_link(from, to).is_err() {
        return Ok(false);
    }
    // Another file may have taken the name since it was opened.
    let linked = rustix::fs::statat(CWD, to, AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into).doing("look at", to)?;
    if (linked.st_dev, linked.st_ino) != (found.st_dev, found.st_ino) {
        super::remove_file(to)?;
        return Ok(false);
    }
    super::directory::sync_directory(directory)?;
    Ok(true)
}

/// Who may change a file is told in other ways elsewhere.
#[cfg(not(unix))]
pub(crate) fn second_name(_: &Path, _: &Path) -> Result<bool, FileError> {
    Ok(false)
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

    #[cfg(unix)]
    #[test]
    fn second_names_are_of_files_that_nobody_else_changes() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let at = |name: &str| directory.path().join(name);
        write_new(&at("from"), b"hemp", false).unwrap();
        let file = File::options().write(true).open(at("from")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let mode = |mode| fs::set_permissions(at("from"), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o646);
        assert!(!second_name(&at("from"), &at("below/open")).unwrap(), "everyone may change it");
        mode(0o444);
        assert!(second_name(&at("from"), &at("below/to")).unwrap());
        let (from, to) = (fs::metadata(at("from")).unwrap(), fs::metadata(at("below/to")).unwrap());
        assert_eq!((from.ino(), from.nlink()), (to.ino(), 2));
        assert!(to.modified().unwrap() > std::time::SystemTime::UNIX_EPOCH, "it is as young as its second name");
        assert!(!second_name(&at("from"), &at("below/to")).unwrap(), "nothing is replaced");
        symlink(at("from"), at("link")).unwrap();
        assert!(second_name(&at("link"), &at("below/link")).is_err(), "a link is not followed");
        assert!(!second_name(directory.path(), &at("below/folder")).unwrap());
        assert_eq!(list(&at("below")).unwrap().len(), 1);
    }

    #[test]
    fn shared_blocks_make_a_file_of_their_own() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let bytes = vec![7; 3 * SHARED_BLOCK as usize + 5];
        write_new(&from, &bytes, false).unwrap();
        let support = link_support(directory.path()).unwrap();
        assert_eq!(share_blocks(&from, &to).unwrap(), support.reflink);
        if support.reflink {
            fs::write(&from, b"changed").unwrap();
            assert!(fs::read(&to).unwrap() == bytes);
        } else {
            assert_eq!(list(directory.path()).unwrap().len(), 1, "nothing stays of what could not be");
        }
    }
}
