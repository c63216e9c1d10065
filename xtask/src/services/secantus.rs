//! SecantusDB: a server of MongoDB's wire protocol on WiredTiger, that engine's own storage, with SCRAM-SHA-256.
//!
//! MongoDB Inc.'s own server is in none of the registries that the tests install from.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Server, Services, free_ports};

const USER: &str = "tester";
const PASSWORD: &str = "ropewalk-test";
const START: &str = include_str!("secantus_with_user.py");

pub(super) fn start(services: &mut Services, python: &Path) -> Result<()> {
    let folder = services.folder("secantus")?;
    let [port] = free_ports()?;
    let mut command = Command::new(python);
    command.args(["-c", START]).arg(port.to_string()).arg(folder.join("data")).args([USER, PASSWORD]);
    let server = Server::start("SecantusDB", &mut command, port, "secantus listening", folder.join("log"))?;
    let url = format!("mongodb://{USER}:{PASSWORD}@127.0.0.1:{port}/tests?authSource=admin");
    services.add(server, [("ROPEWALK_TEST_MONGODB", url)]);
    Ok(())
}
