use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{carry_out, succeeds};

/// Installs Debian packages whose `probe` program or file is missing.
pub(crate) fn install_missing(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = wanted.iter().filter(|(_, probe)| !is_there(probe)).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {} with apt-get", missing.join(", "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
        command
    };
    carry_out(apt().arg("update")).context("the tests need root to install packages")?;
    carry_out(apt().args(["install", "--yes", "--no-install-recommends"]).args(missing))
}

fn is_there(probe: &str) -> bool {
    succeeds(Command::new("sh").args(["-c", "command -v \"$0\"", probe]))
}
