use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ropewalk_store::files;

use super::OnnxRuntimeSearch;
use crate::{EngineName, InferenceError};

/// Where distributions and installers put libraries.
const SYSTEM_FOLDERS: [&str; 8] = [
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/onnxruntime/lib",
    "/opt/homebrew/lib",
];

/// The loaded library.
#[derive(Clone)]
pub(super) struct Library {
    pub(super) environment: Environment,
    version: String,
    path: PathBuf,
}

/// Whether this program is linked statically. The C library in such a program loads no other library: musl's refuses, and
/// GNU's would bring a second C library into the process.
const STATIC: bool = cfg!(all(target_os = "linux", target_feature = "crt-static"));

/// A process can have one environment of ONNX Runtime, so this is the one thing here that is not passed.
static LOADED: Mutex<Option<Library>> = Mutex::new(None);

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.path.display())
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The library, loaded; the error says where it was looked for.
pub(super) fn find(search: &OnnxRuntimeSearch) -> Result<Library, InferenceError> {
    let absent = |reason| InferenceError::EngineAbsent { engine: EngineName::OnnxRuntime.to_string(), reason };
    if STATIC {
        return Err(absent(
            "this program is linked statically and cannot load its library; use one that is not".to_owned(),
        ));
    }
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = &*loaded {
        return Ok(library.clone());
    }
    let mut looked = Vec::new();
    for place in places(search) {
        let candidates = candidates(&place);
        if candidates.is_empty() {
            looked.push(format!("{}: not there", place.display()));
        }
        for path in candidates {
            match load(&path) {
                Ok(library) => return Ok(loaded.insert(library).clone()),
                Err(reason) => looked.push(format!("{}: {reason}", path.display())),
            }
        }
    }
    let reason =
        format!("its library, 1.{} or newer, was found nowhere; looked in {}", ort::MINOR_VERSION, looked.join("; "));
    Err(absent(reason))
}

/// Files and folders to look at, in order.
fn places(search: &OnnxRuntimeSearch) -> Vec<PathBuf> {
    if let Some(path) = &search.path {
        return vec![path.clone()];
    }
    let pythons = search.pythons.iter().map(|folder| folder.join("onnxruntime/capi"));
    let system = SYSTEM_FOLDERS.into_iter().map(PathBuf::from);
    pythons.chain(search.folders.iter().cloned()).chain(system).collect()
}

/// The libraries at a place, the newest first.
fn candidates(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let mut found: Vec<_> = files::list(place)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| Some((version_in_name(&entry.name)?, entry.path)))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// The version in the name of a library (`libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib`), as numbers; empty
/// in `libonnxruntime.so`; none for another file.
fn version_in_name(name: &str) -> Option<Vec<u64>> {
    let rest = name.strip_prefix("libonnxruntime.")?;
    let version = match rest.strip_prefix("so") {
        Some("") => return Some(Vec::new()),
        Some(version) => version.strip_prefix('.')?,
        None if rest == "dylib" => return Some(Vec::new()),
        None => rest.strip_suffix(".dylib")?,
    };
    version.split('.').map(|part| part.parse().ok()).collect()
}

fn load(path: &Path) -> Result<Library, String> {
    // Only `init_from` answers with an error: whatever else is asked of `ort` before it succeeds panics.
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let environment = builder.with_name("ropewalk").with_telemetry(false).build().map_err(|error| error.to_string())?;
    // A link says less than the file that it leads to.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Ok(Library { environment, version: version(&real), path: path.to_owned() })
}

fn version(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match version_in_name(&name).filter(|numbers| numbers.len() > 1) {
        Some(numbers) => numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("."),
        None => build_branch(ort::info()).unwrap_or_else(|| format!("1.{} or newer", ort::MINOR_VERSION)),
    }
}

/// The version in `git-branch=rel-1.20.1` of the library's word on its own build.
fn build_branch(info: &str) -> Option<String> {
    let branch = info.split("git-branch=rel-").nth(1)?;
    Some(branch.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version_in_name("libonnxruntime.so.1.32.0"), Some(vec![1, 32, 0]));
        assert_eq!(version_in_name("libonnxruntime.1.9.0.dylib"), Some(vec![1, 9, 0]));
        assert_eq!(version_in_name("libonnxruntime.so"), Some(vec![]));
        assert_eq!(version_in_name("libonnxruntime.dylib"), Some(vec![]));
        assert_eq!(version_in_name("libonnxruntime_providers_shared.so"), None);
        assert!(version_in_name("libonnxruntime.so.1.9.0") < version_in_name("libonnxruntime.so.1.32.0"));
        assert_eq!(build_branch("ORT Build Info: git-branch=rel-1.20.1, git-commit-id=5c"), Some("1.20.1".to_owned()));
    }

    #[test]
    fn a_path_that_is_given_is_the_only_one() {
        let search = OnnxRuntimeSearch { path: Some("/a".into()), pythons: vec!["/b".into()], folders: vec![] };
        assert_eq!(places(&search), [PathBuf::from("/a")]);
        let search = OnnxRuntimeSearch { path: None, pythons: vec!["/b".into()], folders: vec!["lib".into()] };
        assert_eq!(places(&search)[..2], [PathBuf::from("/b/onnxruntime/capi"), PathBuf::from("lib")]);
    }
}
