//! What is checked of the project beside its code: spelling, licences, where dependencies come from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, carry_out, root, succeeds};
use crate::test::{python_clients, target_folder};

const DENY: &str = "0.20.2";

pub(crate) fn run() -> Result<()> {
    let root = root()?;
    carry_out(Command::new(python_clients()?.with_file_name("typos")).current_dir(&root))?;
    println!("typos: no word is wrong");
    let deny = deny(&root)?;
    // Of all platforms: a build fetches only what this one needs.
    carry_out(cargo().current_dir(&root).args(["fetch", "--locked", "--quiet"]))?;
    // The advisory database is fetched from GitHub, which an air-gapped machine does not reach; the rest works offline.
    carry_out(Command::new(deny).current_dir(&root).args(["--offline", "check", "bans", "licenses", "sources"]))
}

/// `cargo-deny`, built once for a target folder.
fn deny(root: &Path) -> Result<PathBuf> {
    let folder = target_folder(root)?.join("tools").join(format!("cargo-deny-{DENY}"));
    let program = folder.join("bin/cargo-deny");
    if !succeeds(Command::new(&program).arg("--version")) {
        println!("building cargo-deny {DENY} into {}", folder.display());
        let install = ["install", "--quiet", "--locked", "--version", DENY, "--no-default-features", "cargo-deny"];
        carry_out(cargo().args(install).arg("--root").arg(&folder))?;
    }
    Ok(program)
}
