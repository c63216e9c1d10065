//! The inference server as its clients meet it: from a folder of models to an endpoint, by the real clients.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Lines, Running, passes, python, script, suite};

/// A server of models on free ports; it ends with the test.
struct Served {
    told: Value,
    _server: Running,
    /// Held so that what it prints later has somewhere to go.
    _stdout: Lines,
}

impl Served {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.arg("serve").args(arguments).args(["--port", "0", "--grpc-port", "0", "--output", "json"]);
        command.current_dir(folder).env_remove("ROPEWALK_PROJECT").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut server = Running(command.spawn().expect("the binary starts"));
        let mut lines = Lines::of(server.0.stdout.take().expect("stdout"));
        Self { told: lines.object(), _server: server, _stdout: lines }
    }

    fn url(&self, of: &str) -> &str {
        self.told[of].as_str().unwrap_or_else(|| panic!("the server said no {of}: {}", self.told))
    }
}

/// The models of a suite of `tests/python`, in a folder of the test's.
fn models(scratch: &TempDir, of: &str) -> PathBuf {
    let folder = scratch.path().join("models");
    let made = Command::new(python()).arg(script(of)).arg(&folder).stdin(Stdio::null()).output().expect("python");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

#[test]
fn tritons_clients_work_unmodified() {
    let scratch = tempfile::tempdir().expect("folder");
    let folder = models(&scratch, "triton_suite/make_models.py");
    for (control, flags) in [("off", ["--model-control", "none"]), ("on", ["--model-control", "explicit"])] {
        let mut arguments = vec![folder.to_str().expect("text")];
        arguments.extend(flags);
        let served = Served::start(scratch.path(), &arguments);
        let mut suite = suite("triton_suite", scratch.path());
        suite.env("REST_URL", served.url("rest_url")).env("GRPC_URL", served.url("grpc_url"));
        passes(suite.env("MODELS", &folder).env("CONTROL", control));
    }
}

#[test]
fn mlflows_clients_score() {
    let scratch = tempfile::tempdir().expect("folder");
    let folder = models(&scratch, "scoring_suite/make_models.py");
    let model = folder.join("zipmap.onnx");
    let served = Served::start(scratch.path(), &[model.to_str().expect("text")]);
    let mut suite = suite("scoring_suite", scratch.path());
    passes(suite.env("SCORING_URL", served.url("rest_url")).env("SCORING_ONNX", &model).env_remove("SCORING_MODEL"));
}

/// The same suite on a server of several models, each with a signature of its own.
#[test]
fn several_models_are_scored_and_described() {
    let scratch = tempfile::tempdir().expect("folder");
    let made = scratch.path().join("several");
    for of in ["triton_suite/make_models.py", "scoring_suite/make_models.py"] {
        let making = Command::new(python()).arg(script(of)).arg(&made).stdin(Stdio::null()).output().expect("python");
        assert!(making.status.success(), "{}", String::from_utf8_lossy(&making.stderr));
    }
    let model = made.join("zipmap.onnx");
    let named = format!("zipmap={}", model.display());
    let folders = ["iris", "mixed", "text", "wide"].map(|name| made.join(name));
    let mut arguments: Vec<&str> = folders.iter().map(|folder| folder.to_str().expect("text")).collect();
    arguments.push(&named);
    let served = Served::start(scratch.path(), &arguments);
    let mut suite = suite("scoring_suite", scratch.path());
    passes(suite.env("SCORING_URL", served.url("rest_url")).env("SCORING_ONNX", &model).env("SCORING_MODEL", "zipmap"));
}
