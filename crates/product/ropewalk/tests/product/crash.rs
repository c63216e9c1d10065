use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::harness::{Draws, Project, s3_environment, s3_url, talk, variable};

/// Kills that must happen before a test is content.
const KILLS: usize = 50;
const KILLS_ON_S3: usize = 12;

/// What every stage made, by stage and output; the run that made it differs, of course.
fn outputs(told: &Value) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    for stage in told["stages"].as_array().expect("stages") {
        for (output, artifact) in stage["outputs"].as_object().expect("outputs") {
            let digest = artifact["digest"].as_str().expect("digest");
            digests.insert(format!("{}.{output}", stage["name"].as_str().expect("name")), digest.to_owned());
        }
    }
    digests
}

/// `kill -9` at random points of `run`, then `run` again: the result is that of an undisturbed run.
///
/// The moments are drawn from the length of an undisturbed run, so they fall into every part of it, also into the
/// first milliseconds and into commits. The draws repeat: a failure can be seen again.
#[test]
fn killed_at_any_point_the_result_is_the_same() {
    killed_often(KILLS, Project::flights, |project| format!("file:{}", project.path(".ropewalk/store").display()));
}

/// The same with the store on a server: objects there are written in parts, and refs by conditional puts.
#[test]
fn killed_at_any_point_with_its_store_on_s3_the_result_is_the_same() {
    killed_often(KILLS_ON_S3, flights_on_s3, |project| {
        let file = std::fs::read_to_string(project.path("ropewalk.toml")).expect("ropewalk.toml");
        let (_, rest) = file.split_once("storage = \"").expect("storage");
        rest.split('"').next().expect("url").to_owned()
    });
}

fn flights_on_s3() -> Project {
    let project = Project::in_environment(&s3_environment(&variable("ROPEWALK_TEST_S3_SECRET")));
    project.succeed(&["init", "--template", "flights", "."]);
    let file = std::fs::read_to_string(project.path("ropewalk.toml")).expect("ropewalk.toml");
    project.write("ropewalk.toml", &format!("{file}\n[backends]\nstorage = \"{}\"\n", s3_url()));
    project
}

fn killed_often(enough: usize, flights: impl Fn() -> Project, store: impl Fn(&Project) -> String) {
    let undisturbed = flights();
    let begun = Instant::now();
    let expected = outputs(&undisturbed.json(&["run"]));
    let whole = begun.elapsed();
    assert!(expected.len() >= 5, "{expected:?}");

    let mut draws = Draws(0x5eed);
    let mut kills = 0;
    while kills < enough {
        let project = flights();
        let mut last_kill = kills + 12;
        while kills < last_kill {
            if project.killed(&["run"], whole.mul_f64(draws.next() * 0.6)) {
                kills += 1;
            } else {
                // It came to its end first: everything is known, another kill would find nothing to disturb.
                last_kill = kills;
            }
        }
        let told = project.json(&["run"]);
        assert_eq!(outputs(&told), expected, "after {kills} kills");
        nothing_is_left_running(&project);
        no_piece_was_made_twice(&project, &store(&project));
    }
}

fn nothing_is_left_running(project: &Project) {
    let runs = project.json(&["runs", "ls"]);
    for run in runs.as_array().expect("runs") {
        assert_ne!(run["info"]["status"], "RUNNING", "a killed process left {run}");
    }
}

/// A finished workbook is a checkpoint, written once: a second generation of it would mean that it was read again.
fn no_piece_was_made_twice(project: &Project, url: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let options = ropewalk_store::BackendOptions::new(project.environment().iter().cloned());
        let store = ropewalk_store::Store::open_with(url, &options).await.expect("store");
        let pieces = store.ref_list("piece").await.expect("pieces");
        assert!(pieces.len() >= 13, "twelve workbooks and the weather: {}", pieces.len());
        for piece in pieces {
            let value = store.ref_get(&piece).await.expect("piece").expect("piece");
            assert_eq!(value.generation, 1, "{piece:?} was made again");
        }
    });
}

/// Two runs of one project at once: the second waits, and both end well with the same result.
#[test]
fn two_runs_at_once_take_turns() {
    let project = Project::flights();
    let start = || {
        let mut command = project.command(&["run", "--output", "json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    };
    let (first, second) = (start(), start());
    let first = first.wait_with_output().expect("first");
    let second = second.wait_with_output().expect("second");
    assert!(first.status.success() && second.status.success(), "{}\n{}", talk(&first), talk(&second));
    let waited = [&first, &second].into_iter().filter(|run| talk(run).contains("is being run by process")).count();
    assert_eq!(waited, 1, "{}\n{}", talk(&first), talk(&second));
    let told = |run: &std::process::Output| serde_json::from_slice::<Value>(&run.stdout).expect("JSON");
    let (first, second) = (told(&first), told(&second));
    assert_eq!(outputs(&first), outputs(&second));
    let executed = |told: &Value| told.to_string().matches("\"state\":\"executed\"").count();
    assert_eq!(executed(&first).min(executed(&second)), 0, "one of them has nothing to do");
}
