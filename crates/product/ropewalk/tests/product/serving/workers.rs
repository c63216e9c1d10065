//! `kill -9` of a Python worker under load.

use std::path::Path;

use serde_json::{Value, json};

use super::load::{Clients, Connection, until};
use super::logged::Logged;
use super::{Served, made};
use crate::harness::{Project, python};

/// What the parent may hold more after workers died than before: bytes.
const GROWTH: u64 = 16 << 20;

/// A request for the model `odd` of `mlflow_workers.py`, which doubles a number.
fn odd(name: &str, number: usize) -> Value {
    json!({"id": name, "inputs": [
        {"name": "what", "shape": [1, 1], "datatype": "BYTES", "data": ["fine"]},
        {"name": "number", "shape": [1, 1], "datatype": "FP64", "data": [number]},
    ]})
}

/// A line of `/proc/ID/status`, without its name.
fn status(id: u32, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim_matches([':', '\t', ' ']).to_owned()))
}

fn resident(id: u32) -> u64 {
    let text = status(id, "VmRSS").expect("it runs");
    text.trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

fn files(id: u32) -> usize {
    std::fs::read_dir(Path::new("/proc").join(id.to_string()).join("fd")).expect("it runs").count()
}

/// The processes whose parent this is, also those that have ended and were not waited for.
fn children(id: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("proc");
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|one| status(*one, "PPid").is_some_and(|parent| parent == id.to_string())).collect()
}

#[test]
fn a_python_worker_that_is_killed_comes_back_and_nobody_sees_more_than_503() {
    let project = Project::in_environment(&[("ROPEWALK_PYTHON", python().display().to_string())]);
    let scratch = tempfile::tempdir().expect("folder");
    let place = made(&scratch, "mlflow_workers.py").join("odd");
    let file = format!("[project]\nname = \"p\"\n[serve]\nmodels = [\"odd={}\"]\n", place.display());
    project.write("ropewalk.toml", &file);
    let server = Served::of_project(&project, [0, 0]);
    let mut connection = Connection::to(server.address());
    let mut ready = |path: &str| connection.ask("GET", path, "").expect("the server lives").status == 200;
    let [of_model, of_server] = ["/v2/models/odd/ready", "/v2/health/ready"];

    let clients = Clients::none().rest("odd", server.address(), 3, "odd", odd);
    clients.answered("odd", 200);
    let (memory, open) = (resident(server.id()), files(server.id()));
    for _ in 0..2 {
        let before = children(server.id());
        let [worker] = before.as_slice() else { panic!("one worker: {before:?}") };
        let refused = clients.seen().refused;
        let killed = std::process::Command::new("kill").args(["-9", &worker.to_string()]).status();
        assert!(killed.expect("kill").success());
        until("a client is told to come again", || clients.seen().refused > refused);
        // A worker takes seconds to start: at this moment nothing can answer.
        assert!(!ready(of_model) && !ready(of_server), "a server without a worker says that it is ready");
        until("it is ready again", || ready(of_model) && ready(of_server));
        clients.answered("odd", 100);
        let after = children(server.id());
        assert!(after.len() == 1 && after != before, "{before:?}, then {after:?}");
    }
    let (grown, opened) = (resident(server.id()).saturating_sub(memory), files(server.id()));
    let seen = clients.end();
    server.stop();
    println!("{} answered, {} refused, {grown} bytes more", seen.acknowledged.len(), seen.refused);
    assert!(grown <= GROWTH, "the server has grown by {grown} bytes");
    assert!(opened <= open + 4, "open files: {open}, then {opened}");
    assert!(seen.wrong.is_empty() && seen.broken == 0, "{:?}", seen.wrong.first());
    for one in &seen.acknowledged {
        let (_, number) = one.request.rsplit_once('-').expect("a number");
        let number: f64 = number.parse().expect("a number");
        assert_eq!(one.outputs["twice"], json!([number * 2.0]), "{one:?}");
    }
    Logged::of(&project).assert_holds(&seen, &[]);
}
