//! Whether the files of the cache still are what they were made as.
//!
//! They are read-only, but they are also hard links in work trees, and whoever owns a file can change it all the same.
//! Beside each lies a stamp: its size and when it was written. A file without one, or with another one, is read again.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

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
