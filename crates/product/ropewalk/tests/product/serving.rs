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
        Self::with(folder, arguments, &[])
    }

    fn with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.arg("serve").args(arguments).args(["--port", "0", "--grpc-port", "0", "--output", "json"]);
        command.current_dir(folder).env_remove("ROPEWALK_PROJECT").stdin(Stdio::null()).stdout(Stdio::piped());
        command.envs(variables.iter().copied());
        let mut server = Running(command.spawn().expect("the binary starts"));
        let mut lines = Lines::of(server.0.stdout.take().expect("stdout"));
        Self { told: lines.object(), _server: server, _stdout: lines }
    }

    fn url(&self, of: &str) -> &str {
        self.told[of].as_str().unwrap_or_else(|| panic!("the server said no {of}: {}", self.told))
    }
}

/// What a suite of `tests/python` needs, such as its models, in a folder of the test's.
fn made(scratch: &TempDir, of: &str) -> PathBuf {
    let folder = scratch.path().join("made");
    let making = Command::new(python()).arg(script(of)).arg(&folder).stdin(Stdio::null()).output().expect("python");
    assert!(making.status.success(), "{}", String::from_utf8_lossy(&making.stderr));
    folder
}

#[test]
fn tritons_clients_work_unmodified() {
    let scratch = tempfile::tempdir().expect("folder");
    let folder = made(&scratch, "triton_suite/make_models.py");
    for (control, flags) in [("off", ["--model-control", "none"]), ("on", ["--model-control", "explicit"])] {
        let mut arguments = vec![folder.to_str().expect("text")];
        arguments.extend(flags);
        let served = Served::start(scratch.path(), &arguments);
        let mut suite = suite("triton_suite", scratch.path());
        suite.env("REST_URL", served.url("rest_url")).env("GRPC_URL", served.url("grpc_url"));
        passes(suite.env("MODELS", &folder).env("CONTROL", control));
    }
}

/// Two servers: one for everybody, and one that asks for a key, of which one reaches all models and the other `flights`.
#[test]
fn the_page_works_in_a_browser() {
    let scratch = tempfile::tempdir().expect("folder");
    let (key, of_flights) = ("a-key-of-hemp-and-tar", "a-key-of-jute-and-tar");
    let keys = "[serve.keys.all]\nenv = \"ALL\"\n[serve.keys.one]\nenv = \"ONE\"\nmodels = [\"flights\"]\n";
    std::fs::write(scratch.path().join("serve.toml"), keys).expect("written");
    let folder = made(&scratch, "page_suite/make_models.py").join("models");
    let folder = folder.to_str().expect("text");
    let open = Served::start(scratch.path(), &[folder]);
    let keyed = Served::with(scratch.path(), &[folder, "--config", "serve.toml"], &[("ALL", key), ("ONE", of_flights)]);
    let mut suite = suite("page_suite", scratch.path());
    suite.env("PAGE_URL", open.url("rest_url")).env("PAGE_KEYED_URL", keyed.url("rest_url"));
    passes(suite.env("PAGE_KEY", key).env("PAGE_FLIGHTS_KEY", of_flights).env("PAGE_MODELS", folder));
}

#[test]
fn mlflows_clients_score() {
    let scratch = tempfile::tempdir().expect("folder");
    let folder = made(&scratch, "scoring_suite/make_models.py");
    let model = folder.join("zipmap.onnx");
    let served = Served::start(scratch.path(), &[model.to_str().expect("text")]);
    let mut suite = suite("scoring_suite", scratch.path());
    passes(suite.env("SCORING_URL", served.url("rest_url")).env("SCORING_ONNX", &model).env_remove("SCORING_MODEL"));
}
