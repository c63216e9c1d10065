//! Whether the files of the cache still are what they were made as.
//!
//! They are read-only, but they are also hard links in work trees, and whoever owns a file can change it all the same.
//! Beside each lies a stamp: its size and when it was written. A file without one, or with another one, is read again.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ropewalk_types::Digest;

use crate::files::{self, Doing as _, EntryKind, FileError};

const STAMP: &str = ".stamp";
const LONGEST_STAMP: u64 = 64;

/// Whether `path` is there and holds what `digest` names; if it holds something else, it is removed, which leaves its other
/// names alone.
pub(super) fn holds(path: &Path, digest: &Digest) -> Result<bool, FileError> {
    let Some(now) = look(path)? else { return Ok(false) };
    let stamped = match files::read_text(&beside(path), LONGEST_STAMP) {
        Err(error) if error.is_not_found() => None,
        stamp => Some(stamp?),
    };
    if stamped.as_deref() == Some(now.as_str()) {
        return Ok(true);
    }
    if is_whole(path, digest)? {
        files::write_atomic(&beside(path), now.as_bytes())?;
        return Ok(true);
    }
    remove(path)?;
    Ok(false)
}

/// Notes that `path` is as it should be.
pub(super) fn stamp(path: &Path) -> Result<(), FileError> {
    look(path)?.map_or(Ok(()), |stamp| files::write_atomic(&beside(path), stamp.as_bytes()))
}

/// Reads all files again and removes those that are not what they are called; gives how many there were, and those.
pub(super) fn verify(cache: &Path) -> Result<(u64, Vec<PathBuf>), FileError> {
    let (mut count, mut wrong) = (0, Vec::new());
    if files::kind(cache)? != Some(EntryKind::Directory) {
        return Ok((count, wrong));
    }
    for folder in files::list(cache)?.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
        for entry in files::list(&folder.path)? {
            let Ok(digest) = entry.name.parse::<Digest>() else { continue };
            count += 1;
            if !is_whole(&entry.path, &digest)? {
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

fn is_whole(path: &Path, digest: &Digest) -> Result<bool, FileError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(files::open(path)?).doing("read", path)?;
    Ok(Digest::from(hasher.finalize()) == *digest)
}

/// Size and time of the file; `None` if it is not there.
fn look(path: &Path) -> Result<Option<String>, FileError> {
    let metadata = match files::open(path) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?.metadata().doing("look at", path)?,
    };
    let written = metadata.modified().doing("look at", path)?;
    let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some(format!("{} {}.{:09}\n", metadata.len(), since.as_secs(), since.subsec_nanos())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{create_directories, list, temporary_directory, write_atomic};

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
