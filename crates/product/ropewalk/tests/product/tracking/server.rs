use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::harness::{Lines, Running, variable};

/// Which database a server keeps its records in.
#[derive(Clone, Copy)]
pub(super) enum Catalog {
    Sqlite,
    Postgres,
}

/// What outlives a server: its folder, and its database if that is elsewhere.
pub(super) struct Home {
    folder: TempDir,
    catalog: Option<String>,
}

impl Home {
    pub(super) fn new(catalog: Catalog) -> Self {
        let catalog = matches!(catalog, Catalog::Postgres).then(database);
        Self { folder: tempfile::tempdir().expect("folder"), catalog }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a server on it, on a free port.
    pub(super) fn start(&self) -> TrackingServer {
        let mut command = self.command(&["server", "--host", "127.0.0.1", "--port", "0", "--output", "json"]);
        let mut child = Running(command.stdout(Stdio::piped()).spawn().expect("the binary starts"));
        let mut lines = Lines::of(child.0.stdout.take().expect("stdout"));
        let told = lines.object();
        let url = told["url"].as_str().unwrap_or_else(|| panic!("the server said no url: {told}")).to_owned();
        TrackingServer { child, url, _stdout: lines }
    }

    /// The binary with what says where this home is.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.args(arguments).args(self.flags()).current_dir(self.folder()).stdin(Stdio::null());
        command.env_remove("ROPEWALK_PROJECT");
        command
    }

    /// What says where this home is.
    pub(super) fn flags(&self) -> Vec<OsString> {
        let catalog = self.catalog.iter().flat_map(|catalog| [OsString::from("--catalog"), OsString::from(catalog)]);
        [OsString::from("--data"), self.data().into()].into_iter().chain(catalog).collect()
    }
}

/// A new database on the PostgreSQL of the tests.
fn database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = variable("ROPEWALK_TEST_POSTGRES");
    let name = format!("tracking_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut command = Command::new("psql");
    command.arg(&server).args(["-q", "-c", &format!("CREATE DATABASE {name}")]);
    super::checked(&mut command);
    let (address, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{}/{name}", address.replacen("postgres://", "postgresql://", 1))
}

/// A server at work; it ends with the test.
pub(super) struct TrackingServer {
    child: Running,
    url: String,
    /// Held so that what it prints later has somewhere to go.
    _stdout: Lines,
}

impl TrackingServer {
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.child.0.kill().expect("kill");
        self.child.0.wait().expect("wait");
    }
}
