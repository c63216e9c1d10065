//! DVC: `*.dvc` files and `dvc.lock` (dvc.org, "Project Structure"), its cache and its remotes.
//!
//! DVC 3 keeps objects as `files/md5/ab/cdef…` and hashes bytes as they are; DVC 2 kept them as `ab/cdef…` and hashed
//! text with its line ends made those of Unix. A folder is an object `….dir`: a JSON list of paths and digests.

mod config;
mod declared;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use ropewalk_store::files::{self, EntryKind};
use serde::Deserialize;

use super::digests::{is_hex, md5_of, md5s};
use super::{FileSource, ImportPlan, PlannedFile, PlannedOutput, SkippedOutput, name_for, names_taken, reason_of};
use crate::discovery::{Place, Tracked};
use crate::error::VersionsError;
use crate::pointer::{Kind, Links};
use crate::work::{Data, look};
use crate::workspace::AddLinks;

use config::Storage;
use declared::{Declared, Output};

/// The largest list of a folder that is read: some ten million files.
const MAX_LIST: u64 = 1 << 30;
const MAX_FILES: usize = 16 << 20;

/// A file that DVC keeps.
#[derive(Clone, Debug)]
struct Kept {
    path: String,
    md5: String,
}

/// Why an output cannot be taken over.
type Reason = String;

pub(super) fn plan(
    root: &Path,
    folder: &Path,
    links: AddLinks,
    tracked: &[Tracked],
) -> Result<ImportPlan, VersionsError> {
    if files::kind(&folder.join(".dvc"))? != Some(EntryKind::Directory) {
        let reason = "it holds no folder `.dvc`, so it is no DVC project".to_owned();
        return Err(VersionsError::Foreign { path: folder.to_owned(), reason });
    }
    let storages = config::storages(folder)?;
    let mut taken = names_taken(tracked);
    let mut plan = ImportPlan::default();
    for Declared { file, outputs } in declared::all(folder)? {
        let declared_in = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        for output in outputs {
            match take(root, &output, &storages, links, tracked)? {
                Ok(Taken { path, kind, files, missing, links }) => {
                    let (name, declared_in) = (name_for(&path, &mut taken)?, declared_in.clone());
                    plan.outputs.push(PlannedOutput { name, path, declared_in, kind, files, missing, links });
                }
                Err(reason) => {
                    let (path, declared_in) = (output.path.display().to_string(), declared_in.clone());
                    plan.skipped.push(SkippedOutput { path, declared_in, reason });
                }
            }
        }
    }
    plan.outputs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(plan)
}

/// What a plan has of an output.
struct Taken {
    path: String,
    kind: Kind,
    files: Vec<PlannedFile>,
    missing: Vec<String>,
    links: Vec<String>,
}

fn take(
    root: &Path,
    output: &Output,
    storages: &[Storage],
    links: AddLinks,
    tracked: &[Tracked],
) -> Result<Result<Taken, Reason>, VersionsError> {
    let place = match Place::of(root, &output.path) {
        Ok(place) => place,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if tracked.iter().any(|tracked| tracked.place.path == place.path) {
        return Ok(Err("it is a dataset already".to_owned()));
    }
    let (kind, kept) = match list(output, storages, place.file_name())? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let directory = if kind == Kind::Folder { place.data.clone() } else { place.folder().to_owned() };
    let found = kept.par_iter().map(|file| find(file, output.plain, &directory, storages));
    let found = found.collect::<Result<Vec<_>, VersionsError>>()?;
    let missing = kept.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(file, _)| file.path.clone());
    let missing = missing.collect();
    let files: Vec<PlannedFile> = found.into_iter().flatten().collect();
    Ok(links_beside(&place, kind, &files, links).map(|links| Taken { path: place.path, kind, files, missing, links }))
}

/// The symbolic links that lie in the work tree and stand for none of the files.
fn links_beside(place: &Place, kind: Kind, files: &[PlannedFile], links: AddLinks) -> Result<Vec<String>, Reason> {
    if kind != Kind::Folder {
        return Ok(Vec::new());
    }
    let work = look(&Data::at(&place.data, kind).with_links(Links::Skipped), None);
    let mut found = work.map_err(|error| reason_of(&error))?.links;
    let stand_ins: HashSet<&str> = files.iter().filter(|file| file.stands_in).map(|file| file.path.as_str()).collect();
    found.retain(|link| !stand_ins.contains(link.as_str()));
    if links == AddLinks::AsBefore && !found.is_empty() {
        return Err(reason_of(&VersionsError::Links { path: place.data.clone(), links: found }));
    }
    Ok(found)
}

/// The files of an output.
fn list(
    output: &Output,
    storages: &[Storage],
    file_name: &str,
) -> Result<Result<(Kind, Vec<Kept>), Reason>, VersionsError> {
    if let Some(files) = &output.files {
        let files = files.iter().map(|(path, md5)| Kept { path: path.clone(), md5: md5.clone() }).collect();
        return Ok(checked(files).map(|files| (Kind::Folder, files)));
    }
    let Some(md5) = &output.md5 else { return Ok(Err("it has no MD5, so its content was never stored".to_owned())) };
    let Some(hash) = md5.strip_suffix(".dir") else {
        let file = Kept { path: file_name.to_owned(), md5: md5.clone() };
        return Ok(checked(vec![file]).map(|files| (Kind::of_file(output.executable), files)));
    };
    if !is_hex(hash, 32) {
        return Ok(Err(format!("`{}` is no MD5", md5.escape_debug())));
    }
    for path in storages.iter().flat_map(|storage| storage.places(md5)) {
        if files::kind(&path)? != Some(EntryKind::File) {
            continue;
        }
        let bytes = files::read_bounded(&path, MAX_LIST)?;
        if md5_of(&bytes) != hash {
            continue;
        }
        return Ok(folder_list(&bytes).and_then(checked).map(|files| (Kind::Folder, files)));
    }
    Ok(Err(format!("the list of its files, `{md5}`, is neither in the cache nor in a remote that is a local folder")))
}

/// An entry of a `.dir` object.
#[derive(Deserialize)]
struct Listed {
    md5: String,
    relpath: String,
}

fn folder_list(bytes: &[u8]) -> Result<Vec<Kept>, Reason> {
    let listed: Vec<Listed> =
        serde_json::from_slice(bytes).map_err(|error| format!("the list of its files cannot be read: {error}"))?;
    Ok(listed.into_iter().map(|listed| Kept { path: listed.relpath, md5: listed.md5 }).collect())
}

/// Files in order, whose paths stay within the folder.
fn checked(mut files: Vec<Kept>) -> Result<Vec<Kept>, Reason> {
    if files.len() > MAX_FILES {
        return Err(format!("it has {} files, more than {MAX_FILES}", files.len()));
    }
    for file in &files {
        let part = |part: &str| !matches!(part, "" | "." | ".." | ".git" | ".ropewalk") && part.len() <= 255;
        let plain = file.path.split('/').all(part) && !file.path.contains(['\\', '\0', '\n']);
        if !plain {
            return Err(format!("`{}` is no path inside it", file.path.escape_debug()));
        }
        if !is_hex(&file.md5, 32) {
            return Err(format!("`{}` is no MD5", file.md5.escape_debug()));
        }
    }
    files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    match files.windows(2).find(|pair| matches!(pair, [a, b] if a.path == b.path)) {
        Some([twice, ..]) => Err(format!("`{}` is listed twice", twice.path)),
        _ => Ok(files),
    }
}

/// The first place where the bytes of a file are, and are right.
fn find(
    file: &Kept,
    plain: bool,
    directory: &Path,
    storages: &[Storage],
) -> Result<Option<PlannedFile>, VersionsError> {
    let here = directory.join(&file.path);
    let kind = files::kind(&here)?;
    let stands_in = kind == Some(EntryKind::Symlink);
    let mut sources: Vec<FileSource> = Vec::new();
    // Not through a link: it leads into the cache, where the file is looked for anyway.
    if kind == Some(EntryKind::File) {
        sources.push(FileSource::WorkTree(here));
    }
    for storage in storages {
        sources.extend(storage.places(&file.md5).map(|path| storage.source(path)));
    }
    for source in sources {
        if files::kind(source.path())? != Some(EntryKind::File) {
            continue;
        }
        let found = md5s(source.path())?;
        if found.plain == file.md5 || (!plain && found.unix == file.md5) {
            let (path, digest, size) = (file.path.clone(), format!("md5:{}", file.md5), found.size);
            return Ok(Some(PlannedFile { path, digest, size, source, stands_in }));
        }
    }
    Ok(None)
}

/// A path of the other tool, read against the folder of the file that it is written in.
fn against(folder: &Path, path: &str) -> PathBuf {
    let path = Path::new(path);
    let mut joined = if path.is_absolute() { PathBuf::new() } else { folder.to_owned() };
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => drop(joined.pop()),
            part => joined.push(part),
        }
    }
    joined
}
