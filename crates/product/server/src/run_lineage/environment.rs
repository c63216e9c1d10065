use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ropewalk_store::files::{self, EntryKind};
use ropewalk_types::Digest;
use serde::{Deserialize, Serialize};

use crate::ServerError;

/// Files that name every package of an environment with its version, the most exact first.
const LOCKS: [&str; 8] = [
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "pixi.lock",
    "conda-lock.yml",
    "Pipfile.lock",
    "requirements.txt",
    "environment.yml",
];
/// Longest lock file that is kept, in bytes.
pub(crate) const LONGEST_LOCK: u64 = 16 << 20;

/// The programs that a run was made with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvironmentRecord {
    /// The version of this program.
    pub ropewalk: String,
    /// Of a command: the file of the project that says which packages it runs with.
    pub lock: Option<LockFile>,
    /// Of a command: the version of the Python that it finds, such as `3.12`.
    pub python: Option<String>,
    /// Of a command: the packages that this Python has, with their versions.
    pub packages: BTreeMap<String, String>,
}

/// A file that says which packages an environment has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    /// Its path in the project.
    pub path: String,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// What the project at `root` runs with; of a command line also the packages. Nothing is started to find them out.
pub(super) fn here(
    root: &Path,
    line: Option<&str>,
    variables: &BTreeMap<String, String>,
) -> Result<EnvironmentRecord, ServerError> {
    let ropewalk = env!("CARGO_PKG_VERSION").to_owned();
    let mut record = EnvironmentRecord { ropewalk, ..EnvironmentRecord::default() };
    let Some(line) = line else { return Ok(record) };
    record.lock = lock(root)?;
    if let Some(prefix) = python_prefix(line, variables) {
        for (version, folder) in package_folders(&prefix) {
            record.python = record.python.or(version);
            packages(&folder, &mut record.packages);
        }
    }
    Ok(record)
}

fn lock(root: &Path) -> Result<Option<LockFile>, ServerError> {
    for name in LOCKS {
        let path = root.join(name);
        if files::kind(&path)? == Some(EntryKind::File) && files::size(&path)? <= LONGEST_LOCK {
            let digest = Digest::of(&files::read_bounded(&path, LONGEST_LOCK)?);
            return Ok(Some(LockFile { path: name.to_owned(), digest }));
        }
    }
    Ok(None)
}

/// Where the Python is installed that a command line means: the one that it names by its path, that of the virtual
/// environment, or the first on `PATH`.
fn python_prefix(line: &str, variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    fn is_python(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"))
    }
    let named = line.split_whitespace().map(Path::new).find(|word| word.is_absolute() && is_python(word));
    if let Some(python) = named {
        return python.parent()?.parent().map(Path::to_owned);
    }
    if let Some(folder) = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().find_map(|name| variables.get(*name)) {
        return Some(PathBuf::from(folder));
    }
    let folders = variables.get("PATH")?.split(':').map(Path::new);
    let mut found = folders
        .filter(|folder| ["python3", "python"].iter().any(|name| files::exists(&folder.join(name)).unwrap_or(false)));
    found.next()?.parent().map(Path::to_owned)
}

/// The folders in which a Python finds installed packages, with its version where the path says it.
fn package_folders(prefix: &Path) -> Vec<(Option<String>, PathBuf)> {
    let mut folders = Vec::new();
    // Debian has its own beside the usual ones, of the same installation.
    for library in [prefix.join("lib"), prefix.join("local/lib")] {
        for entry in files::list(&library).unwrap_or_default() {
            let Some(version) = entry.name.strip_prefix("python") else { continue };
            let version = version.starts_with(|letter: char| letter.is_ascii_digit()).then(|| version.to_owned());
            let version = version.filter(|version| version.contains('.'));
            for packages in ["site-packages", "dist-packages"] {
                let folder = entry.path.join(packages);
                if files::exists(&folder).unwrap_or(false) {
                    folders.push((version.clone(), folder));
                }
            }
        }
    }
    folders
}

/// Adds what is installed in a folder: `NAME-VERSION.dist-info` for each
/// (<https://packaging.python.org/specifications/recording-installed-packages/>).
fn packages(folder: &Path, packages: &mut BTreeMap<String, String>) {
    for entry in files::list(folder).unwrap_or_default() {
        let installed = entry.name.strip_suffix(".dist-info").and_then(|name| name.split_once('-'));
        if let Some((name, version)) = installed {
            let name = name.to_lowercase().replace('_', "-");
            packages.entry(name).or_insert_with(|| version.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &Path)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.display().to_string())).collect()
    }

    #[test]
    fn the_packages_are_those_of_the_python_that_is_meant() {
        let folder = tempfile::tempdir().expect("folder");
        let install = |prefix: &str, package: &str| {
            let prefix = folder.path().join(prefix);
            files::create_directories(&prefix.join("lib/python3.12/site-packages").join(package)).expect("folder");
            files::create_directories(&prefix.join("bin")).expect("folder");
            files::write_atomic(&prefix.join("bin/python3"), b"").expect("write");
            prefix
        };
        let named = install("named", "Typing_Extensions-4.15.0.dist-info");
        let environment = install("environment", "numpy-2.1.0.dist-info");
        let system = install("system", "pip-25.0.dist-info");
        let found = |line: &str, pairs: &[(&str, &Path)]| {
            let record = here(folder.path(), Some(line), &variables(pairs)).expect("record");
            (record.python, record.packages.into_iter().collect::<Vec<_>>())
        };
        let one = |name: &str, version: &str| (Some("3.12".to_owned()), vec![(name.to_owned(), version.to_owned())]);
        let (bin, both) = (system.join("bin"), [("VIRTUAL_ENV", environment.as_path()), ("PATH", folder.path())]);
        let line = format!("{} train.py", named.join("bin/python3").display());
        assert_eq!(found(&line, &both), one("typing-extensions", "4.15.0"));
        assert_eq!(found("python train.py", &both), one("numpy", "2.1.0"));
        assert_eq!(found("python train.py", &[("PATH", bin.as_path())]), one("pip", "25.0"));
        assert_eq!(found("./train", &[]), (None, Vec::new()));
    }

    #[test]
    fn the_most_exact_lock_file_is_kept_and_only_for_commands() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["requirements.txt", "uv.lock"] {
            files::write_atomic(&folder.path().join(name), name.as_bytes()).expect("write");
        }
        let lock = here(folder.path(), Some("true"), &BTreeMap::new()).expect("record").lock.expect("a lock");
        assert_eq!(lock, LockFile { path: "uv.lock".to_owned(), digest: Digest::of(b"uv.lock") });
        assert_eq!(here(folder.path(), None, &BTreeMap::new()).expect("record").lock, None);
    }
}
