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
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.arg("serve").args(arguments).args(["--port", "0", "--grpc-port", "0", "--output", "json"]);
        command.current_dir(folder).env_remove("ROPEWALK_PROJECT").stdin(Stdio::null());
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
