//! `kill -9` of servers under load.

use std::net::TcpListener;
use std::time::Duration;

use super::Served;
use super::load::{Clients, flight, now};
use super::logged::{Kill, Logged, assert_retryable};
use crate::harness::{Draws, Project};

/// Takes `a`, `b`, `carrier` and `month`; gives a label and two probabilities.
pub(super) const MODEL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../foundation/inference/tests/fixtures/logistic_raw_columns.onnx");

fn flights() -> Project {
    let project =
        Project::with(&[("ropewalk.toml", "[project]\nname = \"p\"\n[serve]\nmodels = [\"flights=m.onnx\"]\n")]);
    std::fs::copy(MODEL, project.path("m.onnx")).expect("model");
    project
}

/// Two ports that are free now: a server that starts again must have the same.
fn ports() -> [u16; 2] {
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    free.map(|listener| listener.local_addr().expect("an address").port())
}

fn killed(server: Served) -> Kill {
    let from = now();
    server.kill();
    Kill { from, to: now() }
}

#[test]
fn a_server_that_is_killed_loses_no_more_of_its_log_than_is_said() {
    let project = flights();
    let ports = ports();
    let [rest, grpc] = ports.map(|port| format!("127.0.0.1:{port}"));
    let mut draws = Draws(0x1065);
    let mut kills = Vec::new();
    let mut server = Served::of_project(&project, ports);
    let clients = Clients::none().rest("rest", &rest, 4, "flights", flight).grpc("grpc", &grpc);
    for round in 0..5 {
        clients.answered("rest", 100);
        clients.answered("grpc", 20);
        // Waiting is what is tested here: the moment of the kill.
        std::thread::park_timeout(Duration::from_secs_f64(draws.next() * 0.3));
        kills.push(killed(server));
        if round == 0 {
            // Nobody has sealed anything: it is read where the dead server left it.
            Logged::of(&project).assert_holds(&clients.seen(), &kills);
        }
        server = Served::of_project(&project, ports);
    }
    clients.answered("rest", 100);
    clients.answered("grpc", 20);
    let seen = clients.end();
    // While it runs, the log has all but what the last moment brought.
    let running = Kill { from: now(), to: f64::INFINITY };
    Logged::of(&project).assert_holds(&seen, &[kills.as_slice(), &[running]].concat());
    server.stop();
    assert_retryable(&seen);
    assert!(seen.broken >= kills.len(), "no client saw that: {}", seen.broken);
    let logged = Logged::of(&project);
    logged.assert_holds(&seen, &kills);
    // Sealed, and read once more by a server that came after them.
    Served::of_project(&project, ports).stop();
    assert_eq!(Logged::of(&project).count(), logged.count());
}

#[test]
fn two_servers_log_into_one_project_and_the_death_of_one_is_not_the_others() {
    let project = flights();
    let (one, other) = (Served::of_project(&project, [0, 0]), Served::of_project(&project, [0, 0]));
    let clients = Clients::none().rest("one", one.address(), 2, "flights", flight);
    let others = Clients::none().rest("other", other.address(), 2, "flights", flight);
    clients.answered("one", 200);
    others.answered("other", 200);
    let kill = killed(one);
    let mut seen = clients.end();
    others.answered("other", 100);
    // A third comes while the second writes, and seals what the first has left.
    let third = Served::of_project(&project, [0, 0]);
    let clients = Clients::none().rest("third", third.address(), 2, "flights", flight);
    clients.answered("third", 100);
    others.answered("other", 100);
    let (of_other, of_third) = (others.end(), clients.end());
    for server in [other, third] {
        server.stop();
    }
    let logged = Logged::of(&project);
    logged.assert_holds(&seen, &[kill]);
    for whole in [&of_other, &of_third] {
        logged.assert_holds(whole, &[]);
        assert_eq!((whole.broken, whole.refused), (0, 0));
    }
    seen.acknowledged.extend(of_other.acknowledged.into_iter().chain(of_third.acknowledged));
    seen.wrong.extend(of_other.wrong.into_iter().chain(of_third.wrong));
    assert_retryable(&seen);
}
