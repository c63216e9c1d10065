//! Objects of DVC on this machine: in its cache, and in remotes that are folders.

use std::path::{Path, PathBuf};

use ropewalk_store::files::{self, EntryKind};

use super::super::digests::{Md5Rule, Md5s, md5_of, md5s};
use super::super::plan::{DamagedObject, FileSource, PlannedFile};
use super::{Kept, MAX_LIST};
use crate::error::VersionsError;

/// A folder of this machine with objects of DVC.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) folder: PathBuf,
    pub(super) is_remote: bool,
}

impl Storage {
    /// Where an object of this digest may be.
    fn places(&self, md5: &str, rule: Md5Rule) -> [FileSource; 2] {
        names(md5, rule).map(|name| {
            let path = self.folder.join(name);
            if self.is_remote { FileSource::Remote(path) } else { FileSource::Cache(path) }
        })
    }
}

/// What an object of this digest may be called, by the layouts of DVC 3 and DVC 2; the likely one first.
pub(super) fn names(md5: &str, rule: Md5Rule) -> [String; 2] {
    let (first, rest) = md5.split_at_checked(2).unwrap_or((md5, ""));
    let (new, old) = (format!("files/md5/{first}/{rest}"), format!("{first}/{rest}"));
    match rule {
        Md5Rule::Plain => [new, old],
        Md5Rule::Unix => [old, new],
    }
}

/// What this machine has of a file.
pub(super) enum Here {
    Found(Box<PlannedFile>),
    Lacking {
        /// Whether a link lies in its place.
        stands_in: bool,
        /// The objects that should hold it and do not.
        damaged: Vec<DamagedObject>,
    },
}

/// The first place of this machine where the bytes of a file are, and are right.
///
/// # Errors
/// The file lies in the work tree and cannot be read, and nothing else is known of it.
pub(super) fn find(file: &Kept, rule: Md5Rule, directory: &Path, storages: &[Storage]) -> Result<Here, VersionsError> {
    let here = directory.join(&file.path);
    let kind = files::kind(&here)?;
    let stands_in = kind == Some(EntryKind::Symlink);
    // Not through a link: it leads into the cache, where the file is looked for anyway.
    let in_work_tree = (kind == Some(EntryKind::File)).then_some(FileSource::WorkTree(here));
    let stored = storages.iter().flat_map(|storage| storage.places(&file.md5, rule));
    let (mut damaged, mut unread) = (Vec::new(), None);
    for source in in_work_tree.into_iter().chain(stored) {
        let Some(path) = source.path() else { continue };
        let in_work_tree = matches!(source, FileSource::WorkTree(_));
        match md5s_at(path, rule) {
            Ok(None) => {}
            Ok(Some(found)) if found.fit(&file.md5) => {
                let (path, digest) = (file.path.clone(), format!("md5:{}", file.md5));
                let (size, content) = (found.size, Some(found.content));
                return Ok(Here::Found(Box::new(PlannedFile { path, digest, size, content, source, stands_in })));
            }
            // What is another there is a change of the user's.
            Ok(Some(_)) if in_work_tree => {}
            Ok(Some(found)) => {
                damaged.push(DamagedObject::of_md5(
                    &file.path,
                    path.display().to_string(),
                    &file.md5,
                    Ok(found.by_rule()),
                ));
            }
            // It is no object of DVC, which another copy of it could take the place of.
            Err(error) if in_work_tree => unread = Some(error),
            Err(error) => {
                damaged.push(DamagedObject::of_md5(&file.path, path.display().to_string(), &file.md5, Err(&error)));
            }
        }
    }
    match unread {
        Some(error) if damaged.is_empty() => Err(error),
        _ => Ok(Here::Lacking { stands_in, damaged }),
    }
}

/// The MD5s of the file at `path`; none if there is no file.
fn md5s_at(path: &Path, rule: Md5Rule) -> Result<Option<Md5s>, VersionsError> {
    if files::kind(path)? != Some(EntryKind::File) {
        return Ok(None);
    }
    md5s(path, rule).map(Some)
}

/// The list of the files of a folder, `HASH.dir`, where its bytes are right; and where they are not.
pub(super) fn local_list(storages: &[Storage], md5: &str, hash: &str) -> (Option<Vec<u8>>, Vec<DamagedObject>) {
    let mut damaged = Vec::new();
    for source in storages.iter().flat_map(|storage| storage.places(md5, Md5Rule::Plain)) {
        let Some(path) = source.path() else { continue };
        match list_at(path) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                let found = md5_of(&bytes);
                if found == hash {
                    return (Some(bytes), damaged);
                }
                damaged.push(DamagedObject::of_md5(md5, path.display().to_string(), hash, Ok(found.as_str())));
            }
            Err(error) => damaged.push(DamagedObject::of_md5(md5, path.display().to_string(), hash, Err(&error))),
        }
    }
    (None, damaged)
}

fn list_at(path: &Path) -> Result<Option<Vec<u8>>, VersionsError> {
    if files::kind(path)? != Some(EntryKind::File) {
        return Ok(None);
    }
    Ok(Some(files::read_bounded(path, MAX_LIST)?))
}
