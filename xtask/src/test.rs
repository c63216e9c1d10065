use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::process::{cargo, carry_out, output, root, succeeds};
use crate::services::{AZURITE, Services, install_missing};
use crate::{static_binary, zoo};

/// Where the tests find the Python that has the foreign clients.
const PYTHON_VARIABLE: &str = "ROPEWALK_TEST_PYTHON";

/// The Debian packages that the tests' servers are or need, each with a program by which it is known to be there.
const PACKAGES: [(&str, &str); 8] = [
    ("postgresql", "pg_ctlcluster"),
    ("mariadb-server", "mariadbd"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    // The browser alone, without windows, sound and printing.
    ("chromium-headless-shell", "chromium-headless-shell"),
    ("xfsprogs", "mkfs.xfs"),
    ("nodejs", "node"),
    ("npm", "npm"),
];

/// The crates whose rules lie in the catalogue: their tests run on SQLite with all others, and again on PostgreSQL.
const ON_POSTGRES: [&str; 5] =
    ["ropewalk-catalog", "ropewalk-lineage", "ropewalk-tracking", "ropewalk-registry", "ropewalk-mlflow"];
/// Where `Catalog::in_memory` finds a server.
const CATALOG_VARIABLE: &str = "ROPEWALK_TEST_CATALOG";

/// All tests of the workspace, to be run, or only compiled.
fn everything(nextest: bool, run: bool) -> Result<Command> {
    let mut everything = cargo();
    everything.current_dir(root()?);
    if nextest {
        everything.args(["nextest", "run", "--cargo-profile", "release"]);
    } else {
        everything.args(["test", "--release"]);
    }
    // The examples are for benches/compare; that they compile is seen by clippy.
    everything.args(["--workspace", "--lib", "--bins", "--tests"]);
    everything.arg(if run { "--no-fail-fast" } else { "--no-run" });
    Ok(everything)
}

fn run_tests(
    nextest: bool,
    filter: Option<&str>,
    python: &Path,
    services: &Services,
    models: &[zoo::Made],
) -> Result<()> {
    let mut everything = everything(nextest, true)?;
    let mut on_postgres = cargo();
    if nextest {
        // The whole workspace, filtered: another selection would be built anew with other features.
        let packages = ON_POSTGRES.map(|package| format!("package({package})")).join(" + ");
        on_postgres.args(["nextest", "run", "--cargo-profile", "release", "--workspace", "--no-fail-fast"]);
        on_postgres.args(["--lib", "--bins", "--tests"]);
        // What somebody picks need not be among these; without a filter no test at all is a fault of ours.
        on_postgres
            .args(["--no-tests", if filter.is_some() { "pass" } else { "fail" }, "--filterset"])
            .arg(format!("({packages}) & kind(lib)"));
    } else {
        on_postgres.args(["test", "--release", "--no-fail-fast", "--lib"]);
        on_postgres.args(ON_POSTGRES.iter().flat_map(|package| ["--package", package]));
    }
    let server = services.variable("ROPEWALK_TEST_POSTGRES").context("PostgreSQL is not among the servers")?;
    on_postgres.env(CATALOG_VARIABLE, server);
    for command in [&mut everything, &mut on_postgres] {
        command.current_dir(root()?).env(PYTHON_VARIABLE, python).envs(services.variables());
        command.envs(models.iter().map(|made| (made.variable, &made.folder)));
        carry_out(command.args(filter))?;
    }
    Ok(())
}

/// Installs what the tests need, then runs them.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    let nextest = succeeds(cargo().args(["nextest", "--version"]));
    if !nextest {
        println!("cargo-nextest is not installed: the same tests run under `cargo test`, which is slower");
    }
    // The processors compile while downloads are waited for.
    let built = std::thread::spawn(move || carry_out(&mut everything(nextest, false)?));
    let prepared = prepare();
    built.join().map_err(|_| anyhow!("the build broke off"))??;
    let (python, modules, models) = prepared?;
    let services = Services::start(&python, &modules)?;
    run_tests(nextest, filter, &python, &services, &models)?;
    // Who picks a test does not mean this.
    if filter.is_none() { check_static_binary(&python, &models) } else { Ok(()) }
}

/// The Python with the clients, the packages of npm, and the models that exporters make.
fn prepare() -> Result<(PathBuf, PathBuf, Vec<zoo::Made>)> {
    let python = python_clients()?;
    install_missing(&PACKAGES)?;
    Ok((python, node_packages()?, zoo::make()?))
}

/// Installs what the check of the static binary needs, then runs it alone.
pub(crate) fn static_binary() -> Result<()> {
    check_static_binary(&python_clients()?, &zoo::make()?)
}

fn check_static_binary(python: &Path, models: &[zoo::Made]) -> Result<()> {
    let zoo = models.iter().find(|made| made.variable == zoo::ZOO).context("the zoo is not among what was made")?;
    static_binary::check(python, &zoo.folder)
}

/// A virtual environment with the pinned clients.
pub(crate) fn python_clients() -> Result<PathBuf> {
    python_environment("tests/python/requirements.txt", "python-clients")
}

/// The Python of a virtual environment with these pins, made anew in the target folder when the pins change.
pub(crate) fn python_environment(requirements: &str, folder: &str) -> Result<PathBuf> {
    let root = root()?;
    let folder = target_folder(&root)?.join(folder);
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    let pins = root.join(requirements);
    let wanted = std::fs::read(&pins).with_context(|| format!("cannot read {}", pins.display()))?;
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }
    println!("installing the Python packages of {requirements} into {}", folder.display());
    install_python()?;
    carry_out(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    carry_out(Command::new(&python).args(pip).arg(&pins))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

/// `node_modules` with the pinned packages, made anew when the pins change.
fn node_packages() -> Result<PathBuf> {
    let folder = target_folder(&root()?)?.join("node-packages");
    let (modules, stamp) = (folder.join("node_modules"), folder.join("installed.txt"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == AZURITE) {
        return Ok(modules);
    }
    println!("installing {AZURITE} into {}", folder.display());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut npm = Command::new("npm");
    npm.arg("install").arg("--prefix").arg(&folder);
    // It has no native parts whose scripts would have to run; what is optional is for other databases.
    npm.args(["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional", "--loglevel=error"]);
    carry_out(npm.arg(AZURITE))?;
    std::fs::write(&stamp, AZURITE).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(modules)
}

/// Python with `venv`, from the system's packages where it is not there.
fn install_python() -> Result<()> {
    if succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        return Ok(());
    }
    // Debian's python3 alone can be there without these.
    install_missing(&[("python3", "python3"), ("python3-venv", "python3-venv-is-missing")])
}

pub(crate) fn target_folder(root: &Path) -> Result<PathBuf> {
    let metadata = output(cargo().current_dir(root).args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let folder = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(folder))
}
