//! The Python that runs a model.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ropewalk_execution::{Companion, Exit};
use ropewalk_store::files;
use ropewalk_types::Digest;
use serde::Deserialize;

use super::PythonSettings;
use crate::{EngineName, InferenceError};

/// What says which packages a model needs.
const PYTHON_ENVIRONMENT: &str = "python_env.yaml";
const REQUIREMENTS: &str = "requirements.txt";
/// The largest of them that is read, in bytes.
const BYTES_LIMIT: u64 = 1 << 20;
/// Lies in an environment that is whole.
const WHOLE: &str = "ropewalk-whole";
/// Time to see whether an interpreter has a package.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

fn absent(reason: String) -> InferenceError {
    InferenceError::EngineAbsent { engine: EngineName::Python.to_string(), reason }
}

/// What would run models, checked without importing anything.
pub(super) fn available(settings: &PythonSettings) -> Result<String, InferenceError> {
    if let Some(interpreter) = &settings.interpreter {
        has_mlflow(settings, interpreter)?;
        return Ok(format!("{} (configured)", interpreter.display()));
    }
    let uv = settings.uv.as_ref().map(|uv| format!("environments by {}", uv.display()));
    match (&settings.fallback, uv) {
        (Some(fallback), uv) if has_mlflow(settings, fallback).is_ok() => {
            Ok(uv.map_or_else(String::new, |uv| format!("{uv}, otherwise ")) + &fallback.display().to_string())
        }
        (_, Some(uv)) => Ok(uv),
        (Some(fallback), None) => has_mlflow(settings, fallback).map(|()| String::new()),
        (None, None) => {
            Err(absent("no interpreter is configured, and neither `uv` nor a Python with mlflow was found".to_owned()))
        }
    }
}

fn has_mlflow(settings: &PythonSettings, interpreter: &Path) -> Result<(), InferenceError> {
    let look = "import sys, importlib.util; sys.exit(0 if importlib.util.find_spec('mlflow') else 3)";
    let place = interpreter.display();
    match run(settings, interpreter, &["-c", look], Path::new("/"), LOOK_LIMIT) {
        Ok(()) => Ok(()),
        Err(Failure { exit: Some(Exit::Code(3)), .. }) => Err(absent(format!("{place} has no package mlflow"))),
        Err(failure) => Err(absent(format!("{place} cannot be used: {}", failure.reason))),
    }
}

/// The interpreter for the model in `folder`; makes its environment if there is none yet. Blocks, for minutes.
pub(super) fn interpreter(settings: &PythonSettings, folder: &Path) -> Result<PathBuf, InferenceError> {
    if let Some(interpreter) = &settings.interpreter {
        return Ok(interpreter.clone());
    }
    let needs = needs(folder)?;
    if let (Some(uv), Some(needs)) = (&settings.uv, &needs) {
        return made(settings, uv, folder, needs);
    }
    let missing = if needs.is_some() { "there is no `uv` to make its environment" } else { "it says no requirements" };
    settings.fallback.clone().ok_or_else(|| absent(format!("{missing}, and no other Python is configured")))
}

/// What a model needs.
struct Needs {
    /// The version of Python, if it says one.
    python: Option<String>,
    digest: Digest,
}

#[derive(Deserialize)]
struct PythonEnvironment {
    python: Option<String>,
}

fn needs(folder: &Path) -> Result<Option<Needs>, InferenceError> {
    let read = |name: &str| -> Result<Option<String>, InferenceError> {
        let path = folder.join(name);
        let malformed = |error: &files::FileError| InferenceError::Malformed { reason: error.to_string() };
        if !files::exists(&path).map_err(|error| malformed(&error))? {
            return Ok(None);
        }
        files::read_text(&path, BYTES_LIMIT).map(Some).map_err(|error| malformed(&error))
    };
    let (environment, requirements) = (read(PYTHON_ENVIRONMENT)?, read(REQUIREMENTS)?);
    let Some(requirements) = requirements else { return Ok(None) };
    let python = match &environment {
        Some(text) => {
            let parsed: Result<PythonEnvironment, _> = serde_saphyr::from_str(text);
            parsed
                .map_err(|error| InferenceError::Malformed { reason: format!("{PYTHON_ENVIRONMENT}: {error}") })?
                .python
        }
        None => None,
    };
    let digest = Digest::of(format!("{}\0{requirements}", environment.unwrap_or_default()).as_bytes());
    Ok(Some(Needs { python, digest }))
}

/// The interpreter of an environment that `uv` has made, now or before.
fn made(settings: &PythonSettings, uv: &Path, folder: &Path, needs: &Needs) -> Result<PathBuf, InferenceError> {
    let place = settings.cache.join(needs.digest.to_string());
    let failed = |error: &files::FileError| absent(format!("the model's environment cannot be kept: {error}"));
    files::create_directories(&settings.cache).map_err(|error| failed(&error))?;
    let lock = settings.cache.join(format!("{}.lock", needs.digest));
    let _alone = files::lock_wait(&lock, "environment of a model").map_err(|error| failed(&error))?;
    let interpreter = place.join("bin/python");
    if files::exists(&place.join(WHOLE)).map_err(|error| failed(&error))? {
        return Ok(interpreter);
    }
    // What an earlier attempt left.
    files::remove_directory(&place).map_err(|error| failed(&error))?;
    let (place_text, interpreter_text) = (place.to_string_lossy(), interpreter.to_string_lossy());
    let mut venv = vec!["venv", &*place_text];
    if let Some(python) = &needs.python {
        venv.extend(["--python", python]);
    }
    let install = ["pip", "install", "--python", &*interpreter_text, "-r", REQUIREMENTS];
    for arguments in [venv.as_slice(), install.as_slice()] {
        run(settings, uv, arguments, folder, settings.environment_limit).map_err(|failure| {
            absent(format!("`uv {}` could not make the model's environment: {}", arguments.join(" "), failure.reason))
        })?;
    }
    files::write_new(&place.join(WHOLE), b"", false).map_err(|error| failed(&error))?;
    Ok(interpreter)
}

struct Failure {
    exit: Option<Exit>,
    reason: String,
}

fn run(
    settings: &PythonSettings,
    program: &Path,
    arguments: &[&str],
    directory: &Path,
    limit: Duration,
) -> Result<(), Failure> {
    let companion = Companion {
        program: program.to_string_lossy().into_owned(),
        arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
        directory: directory.to_owned(),
        environment: settings.environment.clone(),
    };
    let failure = |error: ropewalk_execution::ExecutionError| Failure { exit: None, reason: error.to_string() };
    let mut running = companion.start().map_err(failure)?;
    let exit = running.wait(limit).map_err(failure)?;
    if exit.is_some_and(Exit::success) {
        return Ok(());
    }
    running.stop();
    let how = exit.map_or_else(|| format!("not done after {} s", limit.as_secs()), |exit| exit.to_string());
    Err(Failure { exit, reason: format!("{how}: {}", running.last_lines().join(" | ")) })
}
