//! The inference server as its clients meet it: from a folder of models to an endpoint, by the real clients.

#[cfg(target_os = "linux")]
mod full_disk;
mod killed;
mod load;
mod logged;
mod soak;
#[cfg(target_os = "linux")]
mod workers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Lines, Project, Running, passes, python, script, suite};

/// A server of models; it ends with the test.
struct Served {
    told: Value,
    server: Running,
    /// Held so that what it prints later has somewhere to go.
    _stdout: Lines,
}

impl Served {
    /// A server on free ports, in a folder that is no project.
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::with(folder, arguments, &[])
    }

    fn with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.arg("serve").args(arguments).args(["--port", "0", "--grpc-port", "0", "--output", "json"]);
        command.current_dir(folder).env_remove("ROPEWALK_PROJECT").stdin(Stdio::null()).envs(variables.iter().copied());
        Self::of(command)
    }

    /// A server of what a project's `[serve]` says, on these ports.
    fn of_project(project: &Project, [port, grpc_port]: [u16; 2]) -> Self {
        let (port, grpc_port) = (port.to_string(), grpc_port.to_string());
        Self::of(project.command(&["serve", "--port", &port, "--grpc-port", &grpc_port, "--output", "json"]))
    }

    fn of(mut command: Command) -> Self {
        let mut server = Running(command.stdout(Stdio::piped()).spawn().expect("the binary starts"));
        let mut lines = Lines::of(server.0.stdout.take().expect("stdout"));
        Self { told: lines.object(), server, _stdout: lines }
    }

    fn url(&self, of: &str) -> &str {
        self.told[of].as_str().unwrap_or_else(|| panic!("the server said no {of}: {}", self.told))
    }

    /// Host and port of REST.
    fn address(&self) -> &str {
        self.url("rest_url").strip_prefix("http://").expect("an address")
    }

    fn id(&self) -> u32 {
        self.server.0.id()
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.server.0.kill().expect("kill");
        self.server.0.wait().expect("wait");
    }

    /// Asks it to end, which it must do well.
    fn stop(mut self) {
        assert!(Command::new("kill").args(["-TERM", &self.id().to_string()]).status().expect("kill").success());
        let ended = self.server.0.wait().expect("wait");
        assert!(ended.success(), "the server ended with {ended}");
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
