use std::path::PathBuf;
use std::sync::Arc;

use ropewalk_inference::{
    EmbeddedEngine, Engine, Engines, OnnxRuntimeEngine, OnnxRuntimeSearch, PythonEngine, PythonSettings,
};
use ropewalk_store::files;

use crate::Environment;

/// What the machine has of one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFinding {
    /// The engine's name.
    pub name: &'static str,
    /// Whether it can be used.
    pub available: bool,
    /// Its version, or what is missing.
    pub detail: String,
}

/// The engines of this program, in the order in which they are tried. The one place in which they are named.
///
/// `ORT_DYLIB_PATH` names the library of ONNX Runtime. Else it is looked for in `site-packages` of `VIRTUAL_ENV` and of the
/// Pythons in `PATH`, then in `./lib`. `ROPEWALK_PYTHON` names the interpreter of every Python model; else each has an
/// environment of its own by `uv`, or the first Python in `PATH`.
pub fn engines(environment: &Environment) -> Engines {
    let path = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let search = OnnxRuntimeSearch {
        path: path("ORT_DYLIB_PATH"),
        pythons: site_packages(environment),
        folders: vec![PathBuf::from("lib")],
    };
    let cache = path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")));
    let cache = cache.unwrap_or_else(std::env::temp_dir).join("ropewalk/python");
    let settings = PythonSettings {
        interpreter: path("ROPEWALK_PYTHON"),
        uv: program(environment, "uv"),
        fallback: program(environment, "python3"),
        ..PythonSettings::new(cache)
    };
    Engines::new(vec![
        Arc::new(EmbeddedEngine),
        Arc::new(OnnxRuntimeEngine::new(search)),
        Arc::new(PythonEngine::new(settings)),
    ])
}

/// A program in one of the folders of `PATH`.
fn program(environment: &Environment, name: &str) -> Option<PathBuf> {
    let folders = std::env::split_paths(environment.get("PATH")?).collect::<Vec<_>>();
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// `lib/pythonX.Y/site-packages` of the environment that is active, and of those to which the Pythons in `PATH` belong.
fn site_packages(environment: &Environment) -> Vec<PathBuf> {
    let active = environment.get("VIRTUAL_ENV").map(PathBuf::from);
    let in_path = program(environment, "python3").and_then(|python| Some(python.parent()?.parent()?.to_owned()));
    let mut folders = Vec::new();
    for root in active.into_iter().chain(in_path) {
        let Ok(entries) = files::list(&root.join("lib")) else { continue };
        let pythons = entries.into_iter().filter(|entry| entry.name.starts_with("python3"));
        for python in pythons {
            folders.extend(["site-packages", "dist-packages"].map(|name| python.path.join(name)));
        }
    }
    folders
}

/// Which engines there are here. Blocks.
pub fn engine_findings(environment: &Environment) -> Vec<EngineFinding> {
    let found = |engine: &Arc<dyn Engine>| {
        let (available, detail) = match engine.available() {
            Ok(version) => (true, version),
            Err(error) => (false, error.to_string()),
        };
        EngineFinding { name: engine.name().as_str(), available, detail }
    };
    engines(environment).list().iter().map(found).collect()
}
