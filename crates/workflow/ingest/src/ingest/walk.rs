use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ropewalk_store::files::{self, EntryKind};
use walkdir::WalkDir;

use super::limits::Limits;
use crate::IngestError;
use crate::report::Skipped;

/// Why the links that [`read_once`] gives back are passed over.
pub const READ_ITSELF: &str = "a symbolic link to a file that is read itself";

/// A file that a source names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalFile {
    pub(crate) path: PathBuf,
    /// What reports call it.
    pub(crate) name: String,
    /// The path that lineage shows: below the project when it lies inside.
    pub(crate) shown: PathBuf,
}

/// The files that `patterns` stand for, sorted by name, and what was passed over.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) files: Vec<LocalFile>,
    pub(crate) skipped: Vec<Skipped>,
    /// Whether the source is one file that is named itself.
    pub(crate) single: bool,
}

/// Finds the files of paths and glob patterns, relative to `project`.
pub(crate) fn walk(project: &Path, patterns: &[String], limits: &Limits) -> Result<Walked, IngestError> {
    let mut walked = Walked::default();
    let several = patterns.len() > 1;
    let mut walking = Walking { project, limits, several, seen: BTreeSet::new(), links: BTreeSet::new() };
    for pattern in patterns {
        let path = project.join(pattern);
        if !has_wildcard(pattern) || files::exists(&path)? {
            walking.path(path, &mut walked)?;
            continue;
        }
        let found = |walked: &Walked| (walked.files.len(), walked.skipped.len());
        let before = found(&walked);
        walking.pattern(pattern, &mut walked)?;
        if found(&walked) == before {
            return Err(IngestError::NoFile { pattern: pattern.clone() });
        }
    }
    walked.files.sort_by(|a, b| a.name.cmp(&b.name));
    walking.once(&mut walked);
    if let Some(pair) = walked.files.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let reason = format!("it and `{}` would have the same name", pair[0].path.display());
        return Err(IngestError::SourceKind { file: pair[1].path.display().to_string(), reason });
    }
    Ok(walked)
}

/// The file that `link` leads to, which must lie in one of the folders `within`, if there are any; or why it is passed over.
pub fn link_target(link: &Path, within: &[&Path]) -> Result<PathBuf, &'static str> {
    let Ok(real) = link.canonicalize() else { return Err("a symbolic link that leads nowhere") };
    if !real.is_file() {
        return Err("a symbolic link to what is no regular file");
    }
    if within.is_empty() {
        return Ok(real);
    }
    for folder in within {
        // Named as files of the project are, so that it is known whose it is.
        if let Ok(whole) = folder.canonicalize()
            && let Ok(below) = real.strip_prefix(&whole)
        {
            return Ok(folder.join(below));
        }
    }
    Err("a symbolic link that leads out of the project")
}

/// Those of `found` that are read, and the links to what is read itself, or by a link before them: their rows would be
/// there twice.
pub fn read_once<T>(found: Vec<T>, is_link: impl Fn(&T) -> bool, real: impl Fn(&T) -> PathBuf) -> (Vec<T>, Vec<T>) {
    let mut read: BTreeSet<PathBuf> = found.iter().filter(|file| !is_link(file)).map(&real).collect();
    found.into_iter().partition(|file| !is_link(file) || read.insert(real(file)))
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

struct Walking<'a> {
    project: &'a Path,
    limits: &'a Limits,
    /// Whether names are those below the project, so that files of several folders can be told apart.
    several: bool,
    seen: BTreeSet<PathBuf>,
    /// The paths, as lineage shows them, of what was found by a symbolic link.
    links: BTreeSet<PathBuf>,
}

impl Walking<'_> {
    /// A file or a folder that is named itself. That nothing is there is found when it is opened.
    fn path(&mut self, path: PathBuf, walked: &mut Walked) -> Result<(), IngestError> {
        let kind = files::kind(&path)?;
        let is_folder = match kind {
            Some(EntryKind::Directory) => true,
            None => false,
            // A link to a folder that is named itself is followed.
            Some(_) => {
                let opened = files::open(&path)?.metadata();
                opened.map_err(IngestError::stream(format!("look at `{}`", path.display())))?.is_dir()
            }
        };
        if is_folder {
            return self.folder(&path, None, walked);
        }
        walked.single = !self.several;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        self.file(path.clone(), path, name, kind == Some(EntryKind::Symlink), walked)
    }

    fn pattern(&mut self, pattern: &str, walked: &mut Walked) -> Result<(), IngestError> {
        let wrong =
            |error: globset::Error| IngestError::Settings { reason: format!("`{pattern}` is no pattern ({error})") };
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(wrong)?;
        let fixed: PathBuf = pattern.split('/').take_while(|part| !has_wildcard(part)).collect();
        // An absolute pattern begins with an empty part.
        let root = if pattern.starts_with('/') { Path::new("/").join(fixed) } else { self.project.join(fixed) };
        // Nothing lies in a folder that is not there.
        if files::exists(&root)? { self.folder(&root, Some(&glob.compile_matcher()), walked) } else { Ok(()) }
    }

    fn folder(&mut self, root: &Path, fits: Option<&GlobMatcher>, walked: &mut Walked) -> Result<(), IngestError> {
        for entry in WalkDir::new(root).follow_links(false) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(root).display().to_string();
                IngestError::Stream { action: format!("look into `{path}`"), source: error.into() }
            })?;
            if entry.file_type().is_dir() {
                continue;
            }
            let path = entry.path();
            let below = path.strip_prefix(self.project).unwrap_or(path);
            if fits.is_some_and(|fits| !fits.is_match(below)) {
                continue;
            }
            let name = path.strip_prefix(root).unwrap_or(path);
            let Some(name) = name.to_str().map(str::to_owned) else {
                let name = name.to_string_lossy().into_owned();
                walked.skipped.push(Skipped { name, reason: "its name is not UTF-8".to_owned() });
                continue;
            };
            let file = match entry.file_type() {
                kind if kind.is_file() => Ok(path.to_owned()),
                kind if kind.is_symlink() => self.linked(root, path),
                _ => Err("not a regular file"),
            };
            match file {
                Ok(file) => self.file(path.to_owned(), file, name, entry.file_type().is_symlink(), walked)?,
                Err(reason) => walked.skipped.push(Skipped { name, reason: reason.to_owned() }),
            }
        }
        Ok(())
    }

    /// The file that a link below `root` leads to, which must lie in the project or in `root`; or why it is passed over.
    fn linked(&self, root: &Path, link: &Path) -> Result<PathBuf, &'static str> {
        link_target(link, &[self.project, root])
    }

    /// Adds the file `path` that was found at `at`, by a link or in its own place.
    fn file(
        &mut self,
        at: PathBuf,
        path: PathBuf,
        name: String,
        is_link: bool,
        walked: &mut Walked,
    ) -> Result<(), IngestError> {
        if walked.files.len() >= self.limits.files {
            let reason = format!("the source has more than {} files (`limits.files`)", self.limits.files);
            return Err(IngestError::Settings { reason });
        }
        let shown = at.strip_prefix(self.project).unwrap_or(&at).to_owned();
        let name = if self.several { shown.to_string_lossy().into_owned() } else { name };
        if is_link {
            self.links.insert(shown.clone());
        }
        if self.seen.insert(at) {
            walked.files.push(LocalFile { path, name, shown });
        }
        Ok(())
    }

    /// Passes over the links that lead to what is read itself, or by a link before them: its rows would be there twice.
    fn once(&self, walked: &mut Walked) {
        if self.links.is_empty() {
            return;
        }
        // A file that is gone meanwhile is missed when it is opened.
        let real = |file: &LocalFile| file.path.canonicalize().unwrap_or_else(|_| file.path.clone());
        let is_link = |file: &LocalFile| self.links.contains(&file.shown);
        let (kept, twice) = read_once(std::mem::take(&mut walked.files), is_link, real);
        walked.files = kept;
        let skipped = twice.into_iter().map(|file| Skipped { name: file.name, reason: READ_ITSELF.to_owned() });
        walked.skipped.extend(skipped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(patterns: &[&str]) -> Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        for path in ["a/1.csv", "a/b/2.csv", "a/b/3.txt", "c.csv"] {
            let path = directory.path().join(path);
            files::create_directories(path.parent().unwrap()).unwrap();
            files::write_atomic(&path, b"x").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("a/link.csv")).unwrap();
        let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let walked = walk(directory.path(), &patterns, &Limits::default()).map_err(|error| error.to_string())?;
        assert!(walked.skipped.iter().all(|skipped| skipped.reason == "a symbolic link that leads out of the project"));
        Ok(walked.files.into_iter().map(|file| file.name).collect())
    }

    #[test]
    fn folders_files_and_patterns() {
        assert_eq!(names(&["a"]).unwrap(), ["1.csv", "b/2.csv", "b/3.txt"]);
        assert_eq!(names(&["c.csv"]).unwrap(), ["c.csv"]);
        assert_eq!(names(&["a/*.csv"]).unwrap(), ["1.csv"]);
        assert_eq!(names(&["a/**/*.csv"]).unwrap(), ["1.csv", "b/2.csv"]);
        assert_eq!(names(&["**/{1,2}.csv"]).unwrap(), ["a/1.csv", "a/b/2.csv"]);
        assert_eq!(names(&["a/**/*.csv", "c.csv", "a/1.csv"]).unwrap(), ["a/1.csv", "a/b/2.csv", "c.csv"]);
        assert!(names(&["a/l*.csv"]).unwrap().is_empty(), "a link that leads out is listed, not followed");
        assert!(names(&["z/*.csv"]).unwrap_err().contains("no file fits `z/*.csv`"));
        assert!(names(&["a/*.pdf"]).unwrap_err().contains("no file fits `a/*.pdf`"));
    }

    #[cfg(unix)]
    #[test]
    fn links_to_files_of_the_project_are_followed() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        files::create_directories(&at("d/sub")).unwrap();
        for path in ["feb.csv", "d/jan.csv"] {
            files::write_atomic(&at(path), b"x").unwrap();
        }
        symlink("../feb.csv", at("d/feb.csv")).unwrap();
        symlink("sub", at("d/folder.csv")).unwrap();
        symlink("gone.csv", at("d/lost.csv")).unwrap();
        for pattern in ["d", "d/*.csv"] {
            let walked = walk(directory.path(), &[pattern.to_owned()], &Limits::default()).unwrap();
            let found: Vec<_> =
                walked.files.iter().map(|file| (file.name.as_str(), file.shown.clone(), file.path.clone())).collect();
            let feb = ("feb.csv", PathBuf::from("d/feb.csv"), at("feb.csv"));
            assert_eq!(found, [feb, ("jan.csv", PathBuf::from("d/jan.csv"), at("d/jan.csv"))], "{pattern}");
            let skipped: Vec<_> = walked.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
            assert!(skipped.contains(&"folder.csv") && skipped.contains(&"lost.csv"), "{skipped:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_and_the_links_to_it_are_read_once() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        files::create_directories(&at("d")).unwrap();
        for path in ["feb.csv", "d/march.csv"] {
            files::write_atomic(&at(path), b"x").unwrap();
        }
        for (target, link) in [("march.csv", "d/latest.csv"), ("../feb.csv", "d/a.csv"), ("a.csv", "d/b.csv")] {
            symlink(target, at(link)).unwrap();
        }
        for (patterns, read, passed_over) in [
            (&["d"][..], vec!["a.csv", "march.csv"], vec!["b.csv", "latest.csv"]),
            (&["**/*.csv"][..], vec!["d/march.csv", "feb.csv"], vec!["d/a.csv", "d/b.csv", "d/latest.csv"]),
            (&["d/latest.csv", "d/march.csv"][..], vec!["d/march.csv"], vec!["d/latest.csv"]),
            (&["d/latest.csv"][..], vec!["latest.csv"], vec![]),
        ] {
            let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            let walked = walk(directory.path(), &patterns, &Limits::default()).unwrap();
            let found: Vec<_> = walked.files.iter().map(|file| file.name.as_str()).collect();
            let skipped: Vec<_> = walked.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
            assert_eq!((found, skipped), (read, passed_over), "{patterns:?}");
            assert!(walked.skipped.iter().all(|skipped| skipped.reason == READ_ITSELF), "{patterns:?}");
        }
    }
}
