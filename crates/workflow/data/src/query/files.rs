use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ropewalk_ingest::{ScannedFile, TableFormat as FileFormat, blocking, plain_format};
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
            let found = access.named(&pattern)?;
            for path in &found {
                access.real(path, &pattern)?;
            }
            Ok(found)
        })
        .await
    }

    /// The files that `pattern` names, and how they are to be read.
    pub(crate) async fn locate(&self, pattern: &str) -> Result<Located, DataError> {
        let (access, pattern) = (self.clone(), pattern.to_owned());
        blocking(move || access.find(&pattern)).await
    }

    fn named(&self, pattern: &str) -> Result<Vec<PathBuf>, DataError> {
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
        let found = if !is_pattern(pattern) || files::exists(&path)? { vec![path] } else { matching(&path, pattern)? };
        if found.is_empty() {
            return Err(refuse("no file fits the pattern"));
        }
        Ok(found)
    }

    fn find(&self, pattern: &str) -> Result<Located, DataError> {
        let found = self.named(pattern)?;
        let (mut files, mut formats) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for path in &found {
            let name = path.strip_prefix(&self.root).unwrap_or(path).display().to_string();
            files.push(ScannedFile { path: self.real(path, pattern)?, name: name.clone() });
            formats.push(plain_format(&name).map_err(|reason| DataError::FileName { path: name, reason })?);
        }
        let all = |wanted: FileFormat| formats.iter().all(|format| *format == Some(wanted));
        Ok(if all(FileFormat::Parquet) {
            Located::Typed(TableFormat::Parquet, files)
        } else if all(FileFormat::Arrow) {
            Located::Typed(TableFormat::Arrow, files)
        } else {
            Located::Scanned(files)
        })
    }

    /// The path without links, which must lie inside the root.
    fn real(&self, path: &Path, pattern: &str) -> Result<PathBuf, DataError> {
        let says = |error: std::io::Error| DataError::File { path: pattern.to_owned(), reason: error.to_string() };
        let real = path.canonicalize().map_err(says)?;
        if real.is_dir() {
            let reason = format!("it is a folder: write '{pattern}/*.csv' for the files in it");
            return Err(DataError::File { path: pattern.to_owned(), reason });
        }
        if !self.outside && !real.starts_with(self.root.canonicalize().map_err(says)?) {
            let reason = "it lies outside the project".to_owned();
            return Err(DataError::File { path: pattern.to_owned(), reason });
        }
        Ok(real)
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The files under the last folder that `path` names in full.
fn matching(path: &Path, pattern: &str) -> Result<Vec<PathBuf>, DataError> {
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
    found.sort();
    Ok(found)
}

/// Links to files are followed, links to folders are not.
fn walk(folder: &Path, glob: &GlobMatcher, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for entry in files::list(folder)? {
        match entry.kind {
            EntryKind::Directory if depth < DEEPEST => walk(&entry.path, glob, depth + 1, found)?,
            EntryKind::File | EntryKind::Symlink if glob.is_match(&entry.path) && found.len() <= MOST_FILES => {
                found.push(entry.path);
            }
            _ => {}
        }
    }
    Ok(())
}
