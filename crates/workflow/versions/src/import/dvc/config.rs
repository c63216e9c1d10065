//! The settings of DVC: where the cache and the remotes are (dvc.org, "Configuration").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_store::files;

use super::against;
use super::remote::DvcRemote;
use crate::error::VersionsError;

const MAX_BYTES: u64 = 1 << 20;
/// Remotes whose URL begins with the name of another: `remote://NAME/PATH`.
const MAX_NESTED: usize = 8;
/// Settings that are paths, read against the folder of the file that has them.
const PATHS: [&str; 4] = ["url", "dir", "credentialpath", "configpath"];

/// What the settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) cache: PathBuf,
    /// The default remote first, then the others by name.
    pub(super) remotes: Vec<DvcRemote>,
}

/// Reads `beside`, then `.dvc/config` and `.dvc/config.local` of the project; of several values the last counts.
pub(super) fn read(project: &Path, beside: &[PathBuf], home: Option<&Path>) -> Result<Config, VersionsError> {
    let folder = project.join(".dvc");
    let mut settings = Settings::default();
    let of_project = ["config", "config.local"].map(|name| folder.join(name));
    for path in beside.iter().chain(&of_project) {
        if files::exists(path)? {
            let base = path.parent().unwrap_or(&folder);
            settings.read(&files::read_text(path, MAX_BYTES)?, base, home);
        }
    }
    let cache = settings.get("cache", "dir").map_or_else(|| folder.join("cache"), PathBuf::from);
    let default = settings.get("core", "remote").map(str::to_lowercase);
    let mut remotes: Vec<_> = settings.remotes.iter().map(|(name, values)| settings.remote(name, values)).collect();
    remotes.sort_by_key(|remote| default.as_deref() != Some(remote.name.as_str()));
    Ok(Config { cache, remotes })
}

type Values = BTreeMap<String, String>;

/// Sections of `key = value` lines.
#[derive(Default)]
struct Settings {
    sections: BTreeMap<String, Values>,
    /// `['remote "name"']`
    remotes: BTreeMap<String, Values>,
}

impl Settings {
    fn read(&mut self, text: &str, base: &Path, home: Option<&Path>) {
        let mut values = self.section("");
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| Some(rest.rsplit_once(']')?.0)) {
                values = self.section(&unquoted(name.trim()).to_lowercase());
            } else if let Some((key, value)) = line.split_once('=') {
                let (key, value) = (key.trim().to_lowercase(), unquoted(value.trim()));
                let value = if PATHS.contains(&key.as_str()) { located(base, home, value) } else { value.to_owned() };
                values.insert(key, value);
            }
        }
    }

    fn section(&mut self, name: &str) -> &mut Values {
        let remote = name.strip_prefix("remote").map(str::trim);
        match remote.and_then(|rest| rest.strip_prefix('"')?.strip_suffix('"')) {
            Some(remote) => self.remotes.entry(remote.to_owned()).or_default(),
            None => self.sections.entry(name.to_owned()).or_default(),
        }
    }

    fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(String::as_str)
    }

    /// A remote, with what it takes from the one that its URL names.
    fn remote(&self, name: &str, values: &Values) -> DvcRemote {
        let mut settings = values.clone();
        for _ in 0..MAX_NESTED {
            let url = settings.get("url").cloned().unwrap_or_default();
            let Some(rest) = url.strip_prefix("remote://") else { break };
            let (other, path) = rest.split_once('/').unwrap_or((rest, ""));
            let Some(other) = self.remotes.get(&other.to_lowercase()) else { break };
            let above = other.get("url").map_or("", String::as_str).trim_end_matches('/');
            settings.insert("url".to_owned(), format!("{above}/{path}"));
            for (key, value) in other {
                settings.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let url = settings.remove("url").unwrap_or_default();
        DvcRemote { name: name.to_owned(), url, settings }
    }
}

/// A value without its quotes; without them, what follows ` #` is a comment.
fn unquoted(text: &str) -> &str {
    for quote in ['\'', '"'] {
        if let Some((value, _)) = text.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return value;
        }
    }
    text.split_once(" #").map_or(text, |(value, _)| value.trim_end())
}

/// A path, absolute; a URL as it is.
fn located(base: &Path, home: Option<&Path>, value: &str) -> String {
    if value.contains("://") {
        return value.to_owned();
    }
    let path = match (value.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            against(home, rest.trim_start_matches('/'))
        }
        _ => against(base, value),
    };
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(name: &str, url: &str, settings: &[(&str, &str)]) -> DvcRemote {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        DvcRemote { name: name.to_owned(), url: url.to_owned(), settings }
    }

    #[test]
    fn cache_and_remotes_are_found_the_default_first() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("p");
        let config = "# comment\n[core]\n    remote = Cloud\n['remote \"a\"']\n    url = ../../shared\n\
                      ['remote \"Cloud\"']\n    url = s3://bucket/x # not y\n    EndpointURL = http://h:1\n\
                      [ 'remote \"b\"' ]\nurl = 'file:///mnt/b # c'\n['remote \"nested\"']\nurl = remote://cloud/deep\n\
                      ['remote \"mine\"']\nurl = ~/dvc\n";
        files::write_atomic(&project.join(".dvc/config"), config.as_bytes()).unwrap();
        let shared = folder.path().join("shared").display().to_string();
        let cloud = [("endpointurl", "http://h:1")];
        let read = |beside: &[PathBuf]| read(&project, beside, Some("/home/me".as_ref())).unwrap();
        let expected = [
            remote("cloud", "s3://bucket/x", &cloud),
            remote("a", &shared, &[]),
            remote("b", "file:///mnt/b # c", &[]),
            remote("mine", "/home/me/dvc", &[]),
            remote("nested", "s3://bucket/x/deep", &cloud),
        ];
        assert_eq!(read(&[]), Config { cache: project.join(".dvc/cache"), remotes: expected.to_vec() });

        // What is said nearer to the project counts more, key by key.
        let (system, global) = (folder.path().join("system/config"), folder.path().join("global/config"));
        files::write_atomic(&system, b"[cache]\ndir = far\n['remote \"cloud\"']\nregion = mars\nprofile = x\n")
            .unwrap();
        files::write_atomic(&global, b"[cache]\ndir = near\n['remote \"cloud\"']\nregion = moon\n").unwrap();
        files::write_atomic(&project.join(".dvc/config.local"), b"[core]\nremote = a\n").unwrap();
        let found = read(&[system, global, folder.path().join("none")]);
        assert_eq!(found.cache, folder.path().join("global/near"));
        assert_eq!(found.remotes[0].name, "a");
        let cloud = [("endpointurl", "http://h:1"), ("profile", "x"), ("region", "moon")];
        assert_eq!(found.remotes[2], remote("cloud", "s3://bucket/x", &cloud));
    }

    #[test]
    fn a_remote_that_names_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let config = "['remote \"a\"']\nurl = remote://b/x\n['remote \"b\"']\nurl = remote://a/y\n[broken\n= x\n";
        files::write_atomic(&folder.path().join(".dvc/config"), config.as_bytes()).unwrap();
        let config = read(folder.path(), &[], None).unwrap();
        assert!(config.remotes.iter().all(|remote| remote.url.starts_with("remote://")), "{config:?}");
    }
}
