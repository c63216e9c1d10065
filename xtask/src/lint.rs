//! What is checked of the project beside its code: spelling, licences, where dependencies come from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{cargo, carry_out, root, succeeds};
use crate::test::{python_environment, target_folder};

/// The spelling checker alone: what the tests need besides is installed while they are compiled.
const REQUIREMENTS: &str = "tests/python/lint-requirements.txt";
const DENY: &str = "0.20.2";

pub(crate) fn run() -> Result<()> {
    let root = root()?;
    let python = python_environment(REQUIREMENTS, "python-lint")?;
    carry_out(Command::new(python.with_file_name("typos")).current_dir(&root))?;
    println!("typos: no word is wrong");
    let deny = deny(&root)?;
    // Of all platforms: a build fetches only what this one needs.
    carry_out(cargo().current_dir(&root).args(["fetch", "--locked", "--quiet"]))?;
    // The advisory database is fetched from GitHub, which an air-gapped machine does not reach; the rest works offline.
    carry_out(Command::new(deny).current_dir(&root).args(["--offline", "check", "bans", "licenses", "sources"]))
}

/// `cargo-deny`, built once for a target folder, without optimization: it reads one graph.
fn deny(root: &Path) -> Result<PathBuf> {
    let folder = target_folder(root)?.join("tools").join(format!("cargo-deny-{DENY}"));
    let program = folder.join("bin/cargo-deny");
    if !succeeds(Command::new(&program).arg("--version")) {
        println!("building cargo-deny {DENY} into {}", folder.display());
        // In a folder of its own, which goes away again: it shares nothing with what is built here.
        let build = folder.join("build");
        let install = ["install", "--quiet", "--locked", "--debug", "--version", DENY, "--no-default-features"];
        let mut install_deny = cargo();
        install_deny.args(install).arg("cargo-deny").arg("--root").arg(&folder).arg("--target-dir").arg(&build);
        carry_out(install_deny.env("CARGO_PROFILE_DEV_DEBUG", "false"))?;
        std::fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    }
    Ok(program)
}
