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
    let newest = newest(found).context("no version of PostgreSQL has `initdb`")?;
    println!("PostgreSQL is that of {}", newest.display());
    Ok(newest)
}

/// Of folders `VERSION/bin`; 9 is older than 15.
fn newest(folders: Vec<PathBuf>) -> Option<PathBuf> {
    let number = |part: &str| part.parse::<u32>().unwrap_or(0);
    let version = |folder: &PathBuf| -> Vec<u32> {
        let name = folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        name.split('.').map(number).collect()
    };
    folders.into_iter().max_by_key(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let folders =
            ["9.6", "15", "9.10", "9"].map(|version| Path::new("/usr/lib/postgresql").join(version).join("bin"));
        assert_eq!(newest(folders.to_vec()), Some(PathBuf::from("/usr/lib/postgresql/15/bin")));
        assert_eq!(newest(folders[2..].to_vec()).as_ref(), Some(&folders[2]));
        assert_eq!(newest(Vec::new()), None);
    }
}
