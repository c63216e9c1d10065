//! `ropewalk-serve` as it goes into a container image: linked statically, then held to the limits of its size, start and
//! memory by a script.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, carry_out, root};
use crate::test::target_folder;

/// The package, which is also the program.
const PROGRAM: &str = "ropewalk-serve";
const PROFILE: &str = "serve";
/// What checks the program: program, a model with its expected answer, page that says how to make an image.
const SCRIPT: &str = "tests/python/static_binary.py";
const MODEL: &str = "logistic_scaled.onnx";
const PAGE: &str = "docs/how-to/serve-in-a-container.md";

/// Builds the program and checks it. `models` is the folder of the zoo.
pub(crate) fn check(python: &Path, models: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("{PROGRAM} is linked statically for Linux alone: not checked here");
        return Ok(());
    }
    let (root, program) = (root()?, build()?);
    let mut script = std::process::Command::new(python);
    script.arg(root.join(SCRIPT)).arg(program).arg(models.join(MODEL)).arg(root.join(PAGE));
    carry_out(&mut script)
}

/// The program, linked statically with the GNU C library of this machine.
fn build() -> Result<PathBuf> {
    let root = root()?;
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cargo();
    build.current_dir(&root).args(["build", "--package", PROGRAM, "--profile", PROFILE]);
    // With a target that is named, the flags are not those of build scripts and macros, which must be loaded.
    build.args(["--target", &target]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    build.env_remove("CARGO_ENCODED_RUSTFLAGS");
    carry_out(&mut build).context("cannot build the static binary")?;
    let program = target_folder(&root)?.join(target).join(PROFILE).join(PROGRAM);
    ensure!(program.is_file(), "{} was not built", program.display());
    Ok(program)
}
