//! The tracking server as its clients meet it: MLflow's own clients, `kill -9`, two servers over one database.

mod exchange;
mod server;

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Draws, Lines, Running, passes, python, script, suite};
use server::{Catalog, Home};

/// Kills under load; each time all that was acknowledged until then is looked for.
const KILLS: usize = 8;

/// The broad suite of MLflow's Python clients, of which every expectation holds for MLflow's server.
fn clients_are_content(catalog: Catalog) {
    let home = Home::new(catalog);
    let server = home.start();
    let mut suite = suite("mlflow_suite", home.folder());
    passes(suite.env("MLFLOW_TRACKING_URI", server.url()).env_remove("SUITE_SERVER"));
}

#[test]
fn mlflows_clients_work_on_sqlite() {
    clients_are_content(Catalog::Sqlite);
}

#[test]
fn mlflows_clients_work_on_postgresql() {
    clients_are_content(Catalog::Postgres);
}

/// Gates that the command line declares hold for MLflow's client while the server runs, and see what its models take.
fn gates_hold_for_clients(catalog: Catalog) {
    let home = Home::new(catalog);
    let server = home.start();
    let mut client = Command::new(python());
    client.arg(script("tracking_gates.py")).args([server.url(), env!("CARGO_BIN_EXE_ropewalk")]).args(home.flags());
    client.current_dir(home.folder()).stdin(Stdio::null());
    assert!(checked(&mut client).ends_with("done\n"));
}

#[test]
fn gates_hold_for_clients_on_sqlite() {
    gates_hold_for_clients(Catalog::Sqlite);
}

#[test]
fn gates_hold_for_clients_on_postgresql() {
    gates_hold_for_clients(Catalog::Postgres);
}

/// What MLflow's client registers is served from the same home: with weights beside the graph, and only if it answers its own
/// example as it says; an alias moves under load without a failed request.
#[test]
fn registered_models_are_served() {
    let home = Home::new(Catalog::Sqlite);
    let server = home.start();
    let mut client = Command::new(python());
    client.arg(script("registered_models.py")).args([server.url(), env!("CARGO_BIN_EXE_ropewalk")]).args(home.flags());
    client.current_dir(home.folder()).stdin(Stdio::null());
    assert!(checked(&mut client).ends_with("done\n"));
}

/// `kill -9` under load from several threads, again and again on the same data: nothing acknowledged is lost, no batch
/// is there by half, and what was never written is not there.
fn survives_kills(catalog: Catalog) {
    let home = Home::new(catalog);
    let journal = home.folder().join("journal.jsonl");
    let journal = journal.to_str().expect("text");
    let load = script("tracking_load.py");
    let mut draws = Draws(0x5eed);
    let mut acknowledged = 0;
    for _ in 0..KILLS {
        let server = home.start();
        let mut driver = Command::new(python());
        driver.arg(&load).args(["write", server.url(), journal]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut driver = Running(driver.spawn().expect("python"));
        let mut told = Lines::of(driver.0.stdout.take().expect("stdout"));
        assert_eq!(told.next().as_deref(), Some("loaded"), "the load did not begin");
        // Waiting is what is tested here: the moment of the kill.
        std::thread::park_timeout(Duration::from_secs_f64(draws.next()));
        server.kill();
        let last = told.last().expect("the driver says how much was acknowledged");
        assert!(driver.0.wait().expect("driver").success(), "{last}");
        acknowledged += last.split(' ').next().and_then(|count| count.parse::<usize>().ok()).expect("a count");
        let server = home.start();
        checked(Command::new(python()).arg(&load).args(["check", server.url(), journal]));
    }
    assert!(acknowledged > KILLS * 60, "there was hardly any load: {acknowledged} writes");
}

#[test]
fn killed_under_load_nothing_acknowledged_is_lost_on_sqlite() {
    survives_kills(Catalog::Sqlite);
}

#[test]
fn killed_under_load_nothing_acknowledged_is_lost_on_postgresql() {
    survives_kills(Catalog::Postgres);
}

/// What one acknowledged the other shows at once; a name, a param's value, a version's number only one gets.
#[test]
fn two_servers_over_one_postgresql_are_as_one() {
    let home = Home::new(Catalog::Postgres);
    let (first, second) = (home.start(), home.start());
    checked(Command::new(python()).arg(script("tracking_load.py")).args(["two", first.url(), second.url()]));
}

/// Runs a script that must end well; what it printed.
fn checked(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("starts");
    let (told, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{told}\n{talk}");
    told.into_owned()
}
