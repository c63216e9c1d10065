//! Real servers for the tests: started in a folder of their own on free loopback ports, stopped when the tests end.

mod azurite;
mod certificates;
mod mariadb;
mod packages;
mod postgres;
mod reflink;
mod seaweed;
mod secantus;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use certificates::Certificates;

pub(crate) use azurite::PACKAGE as AZURITE;
pub(crate) use packages::install_missing;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_mins(2);
/// Of util-linux, which every Debian has: the process is killed with its parent.
const ENDING: &str = "--pdeathsig=KILL";
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The servers that the tests talk to, and where tests find them.
pub(crate) struct Services {
    running: Vec<Server>,
    variables: Vec<(&'static str, String)>,
    mounted: Vec<reflink::Mounted>,
    /// Removed with all data when the tests end.
    folder: PathBuf,
}

impl Services {
    /// Starts all of them; `python` has the pinned packages, `node_modules` those of Node.js.
    pub(crate) fn start(python: &Path, node_modules: &Path) -> Result<Self> {
        let weed = python.with_file_name("weed");
        let folder = std::env::temp_dir().join(format!("ropewalk-services-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut services = Self { running: Vec::new(), variables: Vec::new(), mounted: Vec::new(), folder };
        services.mounted = reflink::mount(&mut services)?;
        seaweed::start(&mut services, &weed)?;
        azurite::start(&mut services, node_modules)?;
        secantus::start(&mut services, python)?;
        let certificates = Certificates::make(&mut services)?;
        postgres::start(&mut services, &certificates)?;
        mariadb::start(&mut services, &certificates)?;
        for server in &mut services.running {
            server.wait()?;
        }
        seaweed::bucket_create(&services, &weed)?;
        azurite::container_create(&services, python)?;
        Ok(services)
    }

    /// Where the tests find the servers, as environment variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// One of these variables.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// An empty folder for a server.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    fn add(&mut self, server: Server, variables: impl IntoIterator<Item = (&'static str, String)>) {
        self.running.push(server);
        self.variables.extend(variables);
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.running.clear();
        self.mounted.clear();
        // A leftover in the system's temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One server, killed when dropped.
struct Server {
    name: &'static str,
    process: Child,
    /// It is ready when it takes connections here …
    port: u16,
    /// … and its log has this line, for one that takes connections before.
    says: &'static str,
    log: PathBuf,
}

impl Server {
    fn start(name: &'static str, command: &mut Command, port: u16, says: &'static str, log: PathBuf) -> Result<Self> {
        let output = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone()?;
        let mut command = ending_with_us(command);
        let process = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let process = process.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, process, port, says, log })
    }

    fn wait(&mut self) -> Result<()> {
        let begin = Instant::now();
        while !self.is_ready() {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, self.said());
            }
            ensure!(begin.elapsed() < PATIENCE, "{} takes no connections: {}", self.name, self.said());
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let says = std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains(self.says));
        says && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
    }

    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `command`, killed by the kernel when this process dies, however it does.
fn ending_with_us(command: &Command) -> Command {
    let mut ending = Command::new("setpriv");
    ending.arg(ENDING).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => ending.env(name, value),
            None => ending.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        ending.current_dir(folder);
    }
    ending
}

/// Ports that are free now, all different.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Whether this process is root, under which database servers refuse to run.
fn is_root() -> Result<bool> {
    let id = crate::process::output(Command::new("id").arg("-u"))?;
    Ok(id.trim() == "0")
}

/// `program`, run as `user` when this process is root.
fn as_user(user: &str, program: &Path) -> Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    // Whoever becomes another user forgets what was to end it.
    command.args([format!("--reuid={user}"), format!("--regid={user}")]).args(["--clear-groups", ENDING]).arg(program);
    Ok(command)
}

/// Gives `folder` to `user` when this process is root.
fn give(folder: &Path, user: &str) -> Result<()> {
    if is_root()? { crate::process::carry_out(Command::new("chown").arg("-R").arg(user).arg(folder)) } else { Ok(()) }
}
