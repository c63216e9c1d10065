use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ropewalk_ingest::{
    READ_ITSELF, ScannedFile, Skipped, TableFormat as FileFormat, blocking, left_out, link_target, plain_format,
    read_once,
};
use ropewalk_store::files::{self, EntryKind};

use crate::DataError;
use crate::sql::TableFormat;

/// Files that one pattern may name, and folders that are looked through for them.
const MOST_FILES: usize = 10_000;
const DEEPEST: usize = 32;

/// The files that a pattern names, sorted by path.
pub(crate) enum Located {
    /// They say themselves which columns they have.
    Typed(TableFormat, Vec<ScannedFile>),
    /// What their columns are has to be found out.
    Scanned(Vec<ScannedFile>),
}

/// Which files on disk a SELECT may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAccess {
    root: PathBuf,
    outside: bool,
}

impl FileAccess {
    /// Files inside `root` only, the project's folder; relative paths begin there.
    ///
    /// A symbolic link inside that leads outside is refused as well.
    pub fn inside(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), outside: false }
    }

    /// Any file that this process may read; relative paths begin at `root`.
    pub fn anywhere(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), outside: true }
    }

    /// The files that `pattern` names, as they are named: by the links that lead to them.
    pub async fn files(&self, pattern: &str) -> Result<Vec<PathBuf>, DataError> {
        let (access, pattern) = (self.clone(), pattern.to_owned());
        blocking(move || {
            let (found, _) = access.named(&pattern)?;
            for path in &found {
                access.real(path)?;
            }
            Ok(found)
        })
        .await
    }

    /// The files that `pattern` names, and how they are to be read; and what is to be said of those that are left out.
    pub(crate) async fn locate(&self, pattern: &str) -> Result<(Located, Option<String>), DataError> {
        let (access, pattern) = (self.clone(), pattern.to_owned());
        blocking(move || access.find(&pattern)).await
    }

    fn named(&self, pattern: &str) -> Result<(Vec<PathBuf>, Option<String>), DataError> {
        let refuse = |reason: &str| DataError::File { path: pattern.to_owned(), reason: reason.to_owned() };
        if pattern.contains("://") {
            return Err(refuse("only files on this machine can be named in SQL: import it as a dataset"));
        }
        if !self.outside && Path::new(pattern).components().any(|part| matches!(part, Component::ParentDir)) {
            return Err(refuse("`..` leads out of the project"));
        }
        let path = self.root.join(pattern);
        if !self.outside && !path.starts_with(&self.root) {
            return Err(refuse("it lies outside the project"));
        }
        if !is_pattern(pattern) || files::exists(&path)? {
            return Ok((vec![path], None));
        }
        let (found, left_out) = self.followed(matching(&path, pattern)?);
        match left_out {
            None if found.is_empty() => Err(refuse("no file fits the pattern")),
            Some(all) if found.is_empty() => Err(refuse(&format!("no file that fits it is read: {all}"))),
            left_out => Ok((found, left_out)),
        }
    }

    /// The files that are read of those that fit a pattern, as an import reads them: links to files that are read themselves
    /// are left out, as are those that lead to no file of the project.
    fn followed(&self, found: Vec<Found>) -> (Vec<PathBuf>, Option<String>) {
        let root = [self.root.as_path()];
        let within: &[&Path] = if self.outside { &[] } else { &root };
        let (mut read, mut skipped) = (Vec::with_capacity(found.len()), Vec::new());
        let skip = |path: &Path, reason: &str| Skipped { name: self.shown(path), reason: reason.to_owned() };
        for one in found {
            let leads = if one.is_link { link_target(&one.path, within).map(drop) } else { Ok(()) };
            match leads {
                Ok(()) => read.push(one),
                Err(reason) => skipped.push(skip(&one.path, reason)),
            }
        }
        if read.iter().any(|one| one.is_link) {
            // A file that is gone meanwhile is missed when it is opened.
            let real = |one: &Found| one.path.canonicalize().unwrap_or_else(|_| one.path.clone());
            let (once, twice) = read_once(read, |one| one.is_link, real);
            read = once;
            skipped.extend(twice.iter().map(|one| skip(&one.path, READ_ITSELF)));
        }
        (read.into_iter().map(|one| one.path).collect(), left_out(&skipped))
    }

    /// What a file is called in what is said of it.
    fn shown(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).ok().filter(|below| *below != Path::new(""));
        below.unwrap_or(path).display().to_string()
    }

    fn find(&self, pattern: &str) -> Result<(Located, Option<String>), DataError> {
        let (found, left_out) = self.named(pattern)?;
        let (mut files, mut formats) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for path in &found {
            let name = self.shown(path);
            files.push(ScannedFile { path: self.real(path)?, name: name.clone() });
            formats.push(plain_format(&name).map_err(|reason| DataError::FileName { path: name, reason })?);
        }
        let all = |wanted: FileFormat| formats.iter().all(|format| *format == Some(wanted));
        let located = if all(FileFormat::Parquet) {
            Located::Typed(TableFormat::Parquet, files)
        } else if all(FileFormat::Arrow) {
            Located::Typed(TableFormat::Arrow, files)
        } else {
            Located::Scanned(files)
        };
        Ok((located, left_out))
    }

    /// The path without links, which must lie inside the root.
    fn real(&self, path: &Path) -> Result<PathBuf, DataError> {
        let refuse = |reason: String| DataError::File { path: self.shown(path), reason };
        let says = |error: std::io::Error| refuse(error.to_string());
        let real = path.canonicalize().map_err(says)?;
        if real.is_dir() {
            return Err(refuse(format!("it is a folder: write '{}/*.csv' for the files in it", self.shown(path))));
        }
        if !self.outside && !real.starts_with(self.root.canonicalize().map_err(says)?) {
            return Err(refuse("it lies outside the project".to_owned()));
        }
        Ok(real)
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// A file that fits a pattern.
struct Found {
    path: PathBuf,
    is_link: bool,
}

/// The files under the last folder that `path` names in full.
fn matching(path: &Path, pattern: &str) -> Result<Vec<Found>, DataError> {
    let wrong = |reason: String| DataError::File { path: pattern.to_owned(), reason };
    let text = path.to_str().ok_or_else(|| wrong("its folder's name is not UTF-8".to_owned()))?;
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let glob = glob.map_err(|error| wrong(error.kind().to_string()))?.compile_matcher();
    let fixed: PathBuf =
        path.components().take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy())).collect();
    let mut found = Vec::new();
    if files::exists(&fixed)? {
        walk(&fixed, &glob, 0, &mut found)?;
    }
    if found.len() > MOST_FILES {
        return Err(wrong(format!("more than {MOST_FILES} files fit it")));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Links to files are followed, links to folders are not.
fn walk(folder: &Path, glob: &GlobMatcher, depth: usize, found: &mut Vec<Found>) -> Result<(), DataError> {
    for entry in files::list(folder)? {
        match entry.kind {
            EntryKind::Directory if depth < DEEPEST => walk(&entry.path, glob, depth + 1, found)?,
            kind @ (EntryKind::File | EntryKind::Symlink)
                if glob.is_match(&entry.path) && found.len() <= MOST_FILES =>
            {
                found.push(Found { path: entry.path, is_link: kind == EntryKind::Symlink });
            }
            _ => {}
        }
    }
    Ok(())
}
