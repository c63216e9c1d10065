//! Azurite: Microsoft's emulator of Azure Blob Storage, which checks the signatures of shared keys.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Server, Services, free_ports};
use crate::process::output;

/// Later versions need a newer Node.js than Debian has.
pub(crate) const PACKAGE: &str = "azurite@3.35.0";
const ACCOUNT: &str = "ropewalk";
/// In base64, as keys of Azure are.
const KEY: &str = "YS1zZWNyZXQtb2YtdGhlLXRlc3Rz";
const CONTAINER: &str = "ropewalk-test";
const ENDPOINT: &str = "ROPEWALK_TEST_AZURE";
/// No client of ours creates containers.
const CREATE: &str = include_str!("azure_container.py");

pub(super) fn start(services: &mut Services, node_modules: &Path) -> Result<()> {
    let folder = services.folder("azurite")?;
    let [port] = free_ports()?;
    let mut command = Command::new("node");
    command.arg(node_modules.join("azurite/dist/src/blob/main.js"));
    command.args(["--blobHost", "127.0.0.1", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
    command.arg("--blobPort").arg(port.to_string()).arg("--location").arg(folder.join("data"));
    command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
    let server = Server::start("Azurite", &mut command, port, "successfully listens", folder.join("log"))?;
    services.add(
        server,
        [
            // It tells accounts apart by the first part of the path, as it has one host.
            (ENDPOINT, format!("http://127.0.0.1:{port}/{ACCOUNT}")),
            ("ROPEWALK_TEST_AZURE_ACCOUNT", ACCOUNT.to_owned()),
            ("ROPEWALK_TEST_AZURE_KEY", KEY.to_owned()),
            ("ROPEWALK_TEST_AZURE_CONTAINER", CONTAINER.to_owned()),
        ],
    );
    Ok(())
}

pub(super) fn container_create(services: &Services, python: &Path) -> Result<()> {
    let endpoint = services.variable(ENDPOINT).unwrap_or_default();
    output(Command::new(python).args(["-c", CREATE, endpoint, ACCOUNT, KEY, CONTAINER])).map(drop)
}
