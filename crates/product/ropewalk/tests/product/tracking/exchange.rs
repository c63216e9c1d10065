//! An MLflow that was filled by its own client is taken over, twice, and its clients find everything again.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::server::{Catalog, Home};
use crate::harness::{python, script};

/// Takes a place over and says what was new.
fn take_over(home: &Home, from: &str) -> Value {
    let mut command = home.command(&["tracking", "import", "--from", from, "--output", "json"]);
    let told = super::checked(&mut command);
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// Fills `folder` by MLflow's client; writes what was put there to `told.json`. `kind` is `db` or `files`.
fn filled(folder: &Path, kind: &str) -> String {
    let mut command = Command::new(python());
    command.arg(script("mlflow_filled.py")).args(["fill", kind]).arg(folder);
    super::checked(&mut command).lines().last().expect("the place").to_owned()
}

fn everything_is_found(home: &Home, folder: &Path) {
    let server = home.start();
    is_found_at(server.url(), folder, &[]);
}

fn is_found_at(place: &str, folder: &Path, without: &[&str]) {
    let mut command = Command::new(python());
    command.arg(script("mlflow_filled.py")).args(["check", place]).arg(folder).args(without);
    super::checked(&mut command);
}

fn is_taken_over(kind: &str, catalog: Catalog) {
    let home = Home::new(catalog);
    let source = tempfile::tempdir().expect("folder");
    let from = filled(source.path(), kind);
    let first = take_over(&home, &from);
    assert!(first["runs"]["new"].as_u64().is_some_and(|count| count >= 4), "{first}");
    everything_is_found(&home, source.path());
    let again = take_over(&home, &from);
    for (what, counts) in again.as_object().expect("counts").iter().filter(|(_, counts)| counts.is_object()) {
        assert_eq!(counts["new"], 0, "{what} was taken over twice: {again}");
    }
    everything_is_found(&home, source.path());
}

#[test]
fn a_database_of_mlflow_is_taken_over() {
    is_taken_over("db", Catalog::Sqlite);
}

#[test]
fn a_database_of_mlflow_is_taken_over_into_postgresql() {
    is_taken_over("db", Catalog::Postgres);
}

#[test]
fn a_folder_of_mlflow_is_taken_over() {
    is_taken_over("files", Catalog::Sqlite);
}

/// Over HTTP from one server to another, which need not be MLflow's.
#[test]
fn a_server_is_taken_over() {
    let (there, here) = (Home::new(Catalog::Sqlite), Home::new(Catalog::Sqlite));
    let source = tempfile::tempdir().expect("folder");
    take_over(&there, &filled(source.path(), "db"));
    let server = there.start();
    let first = take_over(&here, server.url());
    assert!(first["runs"]["new"].as_u64().is_some_and(|count| count >= 4), "{first}");
    everything_is_found(&here, source.path());
    assert_eq!(take_over(&here, server.url())["runs"]["new"], 0);
}

/// What is exported as a folder is read by MLflow itself and taken over by another home, with nothing lost on the way but
/// traces, which are not written.
#[test]
fn an_export_is_an_mlruns_that_others_read() {
    let (there, here) = (Home::new(Catalog::Sqlite), Home::new(Catalog::Sqlite));
    let source = tempfile::tempdir().expect("folder");
    take_over(&there, &filled(source.path(), "db"));
    let folder = source.path().join("exported");
    let target = folder.to_str().expect("text");
    super::checked(&mut there.command(&["tracking", "export", "--to", target]));
    super::checked(&mut there.command(&["tracking", "export", "--to", target]));
    take_over(&here, target);
    let server = here.start();
    for place in [server.url().to_owned(), format!("file://{target}")] {
        is_found_at(&place, source.path(), &["plain"]);
    }
}
