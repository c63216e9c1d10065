//! Whether the files of the cache still are what they were made as.
//!
//! They are read-only, but they are also hard links in work trees, and whoever owns a file can change it all the same.
//! Beside each lies a stamp: its size, when it was written, its mode, and when anything about it was changed, which nobody
//! can set back; and how many names it had then, because to give or take a name changes it too. A file without a stamp, or
//! with another one, is read again, unless it has other names now and is as it was written: then only that is noted. So
//! what was changed and made to look as before, while names came or went, is found by [`verify`] only. The mode is the
//! file's, not the name's: one with another mode than it was made with is no use, whatever its bytes.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ropewalk_types::Digest;

use crate::files::{self, Doing as _, EntryKind, FileError};

const STAMP: &str = ".stamp";
const LONGEST_STAMP: u64 = 128;

/// Whether `path` is there, holds what `digest` names and has the mode that it was made with; if not, it is removed, which
/// leaves its other names alone.
pub(super) fn holds(path: &Path, digest: &Digest) -> Result<bool, FileError> {
    let Some(now) = look(path)? else { return Ok(false) };
    let stamped = stamped(path)?;
    if stamped.as_ref() == Some(&now) {
        return Ok(true);
    }
    let linked = |stamped: &Stamp| stamped.written == now.written && stamped.names != now.names;
    if now.has_mode_of(stamped.as_ref()) && (stamped.as_ref().is_some_and(linked) || is_whole(path, digest)?) {
        now.write(path)?;
        return Ok(true);
    }
    remove(path)?;
    Ok(false)
}

/// Notes that `path` is as it should be, as when it was just made.
pub(super) fn stamp(path: &Path) -> Result<(), FileError> {
    look(path)?.map_or(Ok(()), |stamp| stamp.write(path))
}

/// Notes that `path` was given another name, unless it was written since its stamp was made: then it is read again when it
/// is next asked for.
pub(super) fn stamp_linked(path: &Path) -> Result<(), FileError> {
    match (stamped(path)?, look(path)?) {
        (Some(stamped), Some(now)) if (&stamped.written, stamped.mode) == (&now.written, now.mode) => now.write(path),
        _ => Ok(()),
    }
}

/// What tells whether a file may have been changed.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    /// Its size, and when it was written.
    written: String,
    /// Who may do what with it, as stat(2) tells it; 0 where the platform has no such thing.
    mode: u32,
    /// When anything about it was changed, its names among that.
    changed: String,
    /// How many names it has.
    names: u64,
}

impl Stamp {
    /// None for any text that is no stamp, such as one half written.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_suffix('\n')?.split(' ');
        let written = format!("{} {}", parts.next()?, parts.next()?);
        let mode = u32::from_str_radix(parts.next()?, 8).ok()?;
        let (changed, names) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { written, mode, changed, names })
    }

    fn write(&self, path: &Path) -> Result<(), FileError> {
        let Self { written, mode, changed, names } = self;
        files::write_note(&beside(path), format!("{written} {mode:o} {changed} {names}\n").as_bytes())
    }

    /// Whether the mode is the one that the file was made with; where no stamp tells it, one that nobody may write or
    /// execute by.
    fn has_mode_of(&self, stamped: Option<&Self>) -> bool {
        stamped.map_or(self.mode & 0o333 == 0, |stamped| stamped.mode == self.mode)
    }
}

/// Reads all files again and removes those that are not what they are called, or have another mode than they were made with;
/// gives how many there were, and those.
pub(super) fn verify(cache: &Path) -> Result<(u64, Vec<PathBuf>), FileError> {
    let (mut count, mut wrong) = (0, Vec::new());
    if files::kind(cache)? != Some(EntryKind::Directory) {
        return Ok((count, wrong));
    }
    for folder in files::list(cache)?.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
        for entry in files::list(&folder.path)? {
            let Ok(digest) = entry.name.parse::<Digest>() else { continue };
            count += 1;
            let Some(now) = look(&entry.path)? else { continue };
            if !now.has_mode_of(stamped(&entry.path)?.as_ref()) || !is_whole(&entry.path, &digest)? {
                remove(&entry.path)?;
                wrong.push(entry.path);
            }
        }
    }
    Ok((count, wrong))
}

/// Removes the files of which `is_kept` says that they need not be kept, stamps without a file, and what processes that
/// died before `before` had left half-written; shows each with its bytes.
pub(super) fn sweep(
    cache: &Path,
    before: SystemTime,
    is_kept: impl Fn(&Digest) -> bool,
    mut removed: impl FnMut(u64),
) -> Result<(), FileError> {
    if files::kind(cache)? != Some(EntryKind::Directory) {
        return Ok(());
    }
    for folder in files::list(cache)?.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
        for entry in files::list(&folder.path)?.into_iter().filter(|entry| entry.kind == EntryKind::File) {
            let old = entry.modified.is_some_and(|modified| modified < before);
            let goes = if let Some(name) = entry.name.strip_suffix(STAMP) {
                // Looked at now, not when the folder was listed: a file comes before its stamp.
                name.parse::<Digest>().is_ok() && !files::exists(&folder.path.join(name))?
            } else if let Ok(digest) = entry.name.parse::<Digest>() {
                old && !is_kept(&digest)
            } else {
                old && files::is_leftover(&entry.name)
            };
            if goes && files::remove_file(&entry.path)? {
                removed(entry.size);
            }
        }
    }
    Ok(())
}

/// Removes a file and its stamp, where they are there.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    files::remove_file(path)?;
    files::remove_file(&beside(path)).map(drop)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(STAMP);
    name.into()
}

/// The stamp of the file as it was made; `None` if there is none that can be read.
fn stamped(path: &Path) -> Result<Option<Stamp>, FileError> {
    match files::read_text(&beside(path), LONGEST_STAMP) {
        Err(error) if error.is_not_found() => Ok(None),
        stamp => Ok(Stamp::parse(&stamp?)),
    }
}

fn is_whole(path: &Path, digest: &Digest) -> Result<bool, FileError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(files::open(path)?).doing("read", path)?;
    Ok(Digest::from(hasher.finalize()) == *digest)
}

/// The stamp of the file as it is now; `None` if it is not there.
fn look(path: &Path) -> Result<Option<Stamp>, FileError> {
    let metadata = match files::open(path) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?.metadata().doing("look at", path)?,
    };
    let written = metadata.modified().doing("look at", path)?;
    let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    let written = format!("{} {}.{:09}", metadata.len(), since.as_secs(), since.subsec_nanos());
    #[cfg(unix)]
    let (mode, changed, names) = {
        use std::os::unix::fs::MetadataExt as _;
        let changed = format!("{}.{:09}", metadata.ctime(), metadata.ctime_nsec());
        (metadata.mode() & 0o7777, changed, metadata.nlink())
    };
    #[cfg(not(unix))]
    let (mode, changed, names) = (0, "0".to_owned(), 1);
    Ok(Some(Stamp { written, mode, changed, names }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{create_directories, list, temporary_directory, write_atomic};

    #[test]
    fn stamps_are_read_back_and_other_text_is_none() {
        let (written, changed) = ("7 1.000000002".to_owned(), "3.000000004".to_owned());
        let stamp = Stamp { written, mode: 0o444, changed, names: 2 };
        assert_eq!(Stamp::parse("7 1.000000002 444 3.000000004 2\n"), Some(stamp));
        let without_end = "7 1.000000002 444 3.000000004 2";
        for text in ["", "7 1.000000002\n", without_end, "7 1.0 444 3.0 x\n", "7 1.0 444 3.0 2 5\n"] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
        assert_eq!(Stamp::parse("7 1.000000002 3.000000004 2\n"), None, "without a mode, as they once were");
    }

    #[cfg(unix)]
    #[test]
    fn another_mode_is_a_change_whatever_the_bytes_and_the_names() {
        use std::os::unix::fs::PermissionsExt as _;
        let cache = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = cache.path().join("file");
        let (other, hemp) = (cache.path().join("other"), Digest::of(b"hemp"));
        let set_mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        for (stamped, mode) in [(true, 0o555), (true, 0o400), (false, 0o555), (false, 0o644)] {
            write_atomic(&path, b"hemp").unwrap();
            set_mode(0o444);
            if stamped {
                stamp(&path).unwrap();
            }
            set_mode(mode);
            files::hard_link(&path, &other).unwrap();
            stamp_linked(&path).unwrap();
            assert!(!holds(&path, &hemp).unwrap(), "{mode:o}");
            assert!(!files::exists(&path).unwrap() && files::remove_file(&other).unwrap());
        }
        write_atomic(&path, b"hemp").unwrap();
        set_mode(0o444);
        assert!(holds(&path, &hemp).unwrap(), "of one without a stamp that nobody may write, the bytes count");
    }

    #[cfg(unix)]
    #[test]
    fn another_name_is_noted_and_is_no_change() {
        let cache = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = cache.path().join("file");
        write_atomic(&path, b"hemp").unwrap();
        stamp(&path).unwrap();
        files::hard_link(&path, &cache.path().join("other")).unwrap();
        // It would be found to be another file if it were read.
        let other = Digest::of(b"yarn");
        assert!(holds(&path, &other).unwrap());
        assert!(files::read_text(&beside(&path), LONGEST_STAMP).unwrap().ends_with(" 2\n"));
        assert!(holds(&path, &other).unwrap());
        files::write_note(&beside(&path), b"").unwrap();
        assert!(!holds(&path, &other).unwrap(), "without a stamp it is read");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_written_before_another_name_is_noted_is_read_again() {
        let cache = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = cache.path().join("file");
        write_atomic(&path, b"hemp").unwrap();
        stamp(&path).unwrap();
        let other = cache.path().join("other");
        files::hard_link(&path, &other).unwrap();
        stamp_linked(&path).unwrap();
        assert!(holds(&path, &Digest::of(b"yarn")).unwrap(), "a name alone is no change");
        std::fs::write(&other, b"hemp and tar").unwrap();
        stamp_linked(&path).unwrap();
        assert!(!holds(&path, &Digest::of(b"hemp")).unwrap());
        assert!(!files::exists(&path).unwrap() && files::exists(&other).unwrap());
        // One without a stamp gets none.
        write_atomic(&path, b"hemp").unwrap();
        stamp_linked(&path).unwrap();
        assert!(!files::exists(&beside(&path)).unwrap());
    }

    #[test]
    fn what_is_swept() {
        let cache = temporary_directory(&std::env::temp_dir()).unwrap();
        let file = |bytes: &[u8]| {
            let name = Digest::of(bytes).to_string();
            let path = cache.path().join(&name[..2]).join(&name);
            write_atomic(&path, bytes).unwrap();
            stamp(&path).unwrap();
            path
        };
        let (kept, gone, alone) = (file(b"kept"), file(b"gone"), file(b"alone"));
        files::remove_file(&alone).unwrap();
        let leftover = cache.path().join("ab/.tmp#77000000001");
        create_directories(&cache.path().join("ab")).unwrap();
        write_atomic(&leftover, b"half").unwrap();
        write_atomic(&cache.path().join("ab/of somebody.stamp"), b"else").unwrap();
        let is_kept = |digest: &Digest| *digest == Digest::of(b"kept");
        let names = || {
            let folders = list(cache.path()).unwrap().into_iter().map(|folder| list(&folder.path).unwrap());
            let mut names: Vec<_> = folders.flatten().map(|entry| entry.path).collect();
            names.sort();
            names
        };
        let sweep = |before| {
            let mut count = 0;
            super::sweep(cache.path(), before, is_kept, |_| count += 1).unwrap();
            count
        };
        assert_eq!(sweep(UNIX_EPOCH), 1, "of what is young only the stamp without a file");
        assert!(!names().contains(&beside(&alone)) && names().contains(&gone));
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        // The file, and half a file; the stamp had its file when it was looked at, or not.
        let count = sweep(later) + sweep(later);
        assert_eq!(count, 3);
        let mut expected = vec![kept.clone(), beside(&kept), cache.path().join("ab/of somebody.stamp")];
        expected.sort();
        assert_eq!(names(), expected);
        assert_eq!(sweep(later), 0);
        super::sweep(&cache.path().join("never made"), later, is_kept, |_| ()).unwrap();
    }
}
