//! `.dvc/config` and `.dvc/config.local`: where the cache and the remotes are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_store::files;

use super::super::FileSource;
use super::against;
use crate::error::VersionsError;

const MAX_BYTES: u64 = 1 << 20;

/// A folder with objects of DVC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    folder: PathBuf,
    remote: bool,
}

impl Storage {
    /// Where an object of this digest may be, by the layouts of DVC 3 and DVC 2.
    pub(super) fn places(&self, md5: &str) -> impl Iterator<Item = PathBuf> + use<'_> {
        let (first, rest) = md5.split_at_checked(2).unwrap_or((md5, ""));
        let (first, rest) = (first.to_owned(), rest.to_owned());
        ["files/md5", ""].into_iter().map(move |layout| self.folder.join(layout).join(&first).join(&rest))
    }

    pub(super) fn source(&self, path: PathBuf) -> FileSource {
        if self.remote { FileSource::Remote(path) } else { FileSource::Cache(path) }
    }
}

/// The cache, then the remotes that are folders of this machine.
pub(super) fn storages(project: &Path) -> Result<Vec<Storage>, VersionsError> {
    let folder = project.join(".dvc");
    let mut settings = Settings::default();
    for name in ["config", "config.local"] {
        let path = folder.join(name);
        if files::exists(&path)? {
            settings.read(&files::read_text(&path, MAX_BYTES)?);
        }
    }
    let cache = settings.get("cache", "dir").map_or_else(|| folder.join("cache"), |path| against(&folder, path));
    let mut storages = vec![Storage { folder: cache, remote: false }];
    for (section, values) in &settings.sections {
        let url = values.get("url").filter(|_| section.starts_with("remote "));
        let local = url.and_then(|url| url.strip_prefix("file://").or_else(|| (!url.contains("://")).then_some(url)));
        storages.extend(local.map(|path| Storage { folder: against(&folder, path), remote: true }));
    }
    Ok(storages)
}

/// Sections of `key = value` lines.
#[derive(Default)]
struct Settings {
    sections: BTreeMap<String, BTreeMap<String, String>>,
}

impl Settings {
    fn read(&mut self, text: &str) {
        let mut section = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                // `['remote "name"']`
                unquoted(name).clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once('=') {
                let values = self.sections.entry(section.clone()).or_default();
                values.insert(key.trim().to_owned(), unquoted(value.trim()).to_owned());
            }
        }
    }

    fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(String::as_str)
    }
}

fn unquoted(text: &str) -> &str {
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    quoted('\'').or_else(|| quoted('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_and_local_remotes_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("p");
        let config = "# comment\n[core]\n    remote = a\n['remote \"a\"']\n    url = ../../shared\n\
                      ['remote \"cloud\"']\n    url = s3://bucket/x\n['remote \"b\"']\nurl = 'file:///mnt/b'\n";
        files::write_atomic(&project.join(".dvc/config"), config.as_bytes()).unwrap();
        let cache = Storage { folder: project.join(".dvc/cache"), remote: false };
        let remote = |folder: PathBuf| Storage { folder, remote: true };
        let expected = [cache, remote(folder.path().join("shared")), remote("/mnt/b".into())];
        assert_eq!(storages(&project).unwrap(), expected);
        files::write_atomic(&project.join(".dvc/config.local"), b"[cache]\ndir = /big/cache\n").unwrap();
        let storages = storages(&project).unwrap();
        assert_eq!(storages[0].folder, Path::new("/big/cache"));
        let places: Vec<_> = storages[0].places("abcd.dir").collect();
        assert_eq!(places, [Path::new("/big/cache/files/md5/ab/cd.dir"), Path::new("/big/cache/ab/cd.dir")]);
    }
}
