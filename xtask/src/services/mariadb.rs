//! MariaDB from Debian's packages.

use std::path::Path;

use anyhow::{Context, Result};

use super::certificates::Certificates;
use super::{Server, Services, as_user, free_ports, give};
use crate::process::output;

const ACCOUNT: &str = "mysql";
const PREPARE: &str = "CREATE DATABASE IF NOT EXISTS tests CHARACTER SET utf8mb4;\n\
    CREATE USER IF NOT EXISTS 'tester'@'127.0.0.1' IDENTIFIED BY 'ropewalk-test';\n\
    GRANT ALL ON *.* TO 'tester'@'127.0.0.1';\n";

pub(super) fn start(services: &mut Services, certificates: &Certificates) -> Result<()> {
    let folder = services.folder("mariadb")?;
    let [port] = free_ports()?;
    let prepare = folder.join("prepare.sql");
    std::fs::write(&prepare, PREPARE).with_context(|| format!("cannot write {}", prepare.display()))?;
    let (certificate, key) = certificates.copy(&folder)?;
    give(&folder, ACCOUNT)?;
    let data = folder.join("data");
    let mut install = as_user(ACCOUNT, Path::new("mariadb-install-db"))?;
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    output(install.arg(format!("--datadir={}", data.display())))?;
    let mut command = as_user(ACCOUNT, Path::new("mariadbd"))?;
    command.args([
        "--no-defaults",
        "--bind-address=127.0.0.1",
        "--skip-log-bin",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=0",
    ]);
    command.args([
        format!("--datadir={}", data.display()),
        format!("--socket={}", folder.join("socket").display()),
        format!("--pid-file={}", folder.join("pid").display()),
        format!("--port={port}"),
        format!("--init-file={}", prepare.display()),
        format!("--ssl-cert={}", certificate.display()),
        format!("--ssl-key={}", key.display()),
    ]);
    let server = Server::start("MariaDB", &mut command, port, "ready for connections", folder.with_extension("log"))?;
    let url = format!("mysql://tester:ropewalk-test@127.0.0.1:{port}/tests");
    services.add(server, [("ROPEWALK_TEST_MARIADB", url)]);
    Ok(())
}
