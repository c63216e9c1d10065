//! PostgreSQL from Debian's packages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::certificates::Certificates;
use super::{Server, Services, as_user, free_ports, give};
use crate::process::output;

const ACCOUNT: &str = "postgres";
const USER: &str = "tester";
const PASSWORD: &str = "ropewalk-test";

pub(super) fn start(services: &mut Services, certificates: &Certificates) -> Result<()> {
    let folder = services.folder("postgres")?;
    let [port] = free_ports()?;
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD).with_context(|| format!("cannot write {}", password.display()))?;
    let (certificate, key) = certificates.copy(&folder)?;
    give(&folder, ACCOUNT)?;
    let programs = programs()?;
    let data = folder.join("data");
    let mut initdb = as_user(ACCOUNT, &programs.join("initdb"))?;
    initdb.arg("-D").arg(&data).args(["-U", USER, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]);
    output(initdb.arg(format!("--pwfile={}", password.display())))?;
    let mut command = as_user(ACCOUNT, &programs.join("postgres"))?;
    command.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p"]).arg(port.to_string());
    command.arg("-k").arg(&folder).args(["-c", "fsync=off", "-c", "max_connections=100"]);
    command.args(["-c", "ssl=on", "-c"]).arg(format!("ssl_cert_file={}", certificate.display()));
    command.arg("-c").arg(format!("ssl_key_file={}", key.display()));
    let server =
        Server::start("PostgreSQL", &mut command, port, "ready to accept connections", folder.with_extension("log"))?;
    let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres");
    services.add(server, [("ROPEWALK_TEST_POSTGRES", url)]);
    Ok(())
}

/// Debian keeps the programs of each version in a folder of its own; the newest is taken.
fn programs() -> Result<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql");
    let found = std::fs::read_dir(versions).with_context(|| format!("{} is not there", versions.display()))?;
    let mut found: Vec<_> = found.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|folder| folder.join("initdb").exists());
    found.sort();
    found.pop().context("no version of PostgreSQL has `initdb`")
}
