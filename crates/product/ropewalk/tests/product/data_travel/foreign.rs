//! Objects of a remote are anybody's bytes.

use ropewalk_store::{BackendOptions, RefName, Store};
use serde_json::Value;

use super::{ONE, Place, sum};
use crate::harness::talk;

fn on_remote<T>(place: &Place, work: impl AsyncFnOnce(Store) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let options = BackendOptions::new(place.environment.iter().cloned());
        work(Store::open_with(&place.url, &options).await.expect("store")).await
    })
}

pub(super) fn ref_write(place: &Place, name: &str, value: &str) {
    on_remote(place, async |store: Store| {
        let name = RefName::new(name).expect("name");
        let found = store.ref_get(&name).await.expect("ref").map(|found| found.generation);
        store.ref_set(&name, found, value.to_owned().into()).await.expect("set");
    });
}

/// The text that the only ref below `prefix` names.
pub(super) fn object(place: &Place, prefix: &str) -> (String, String) {
    on_remote(place, async |store: Store| {
        let names = store.ref_list(prefix).await.expect("refs");
        let name = names.first().expect("a ref");
        let value = store.ref_get(name).await.expect("ref").expect("a value");
        let digest = std::str::from_utf8(&value.bytes).expect("text").parse().expect("digest");
        let bytes = store.get_bytes(&digest).await.expect("object");
        (name.to_string(), String::from_utf8(bytes.to_vec()).expect("text"))
    })
}

pub(super) fn object_write(place: &Place, name: &str, text: &str) {
    let digest = on_remote(place, async |store: Store| {
        store.put_bytes(text.to_owned().into_bytes().into()).await.expect("put").digest
    });
    ref_write(place, name, &digest.to_string());
}

#[test]
fn what_was_tampered_with_in_a_remote_is_refused() {
    let place = Place::local();
    let two = format!("{ONE}[data.b]\nsource = \"b.csv\"\n");
    let first = place.machine(&two, &[("a.csv", "x,y\n1,2\n3,4\n"), ("b.csv", "x\n7\n")]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let (name, good) = object(&place, "tables/a/versions/");
    let (state_name, state) = object(&place, "tables/a/state");
    for (bad, says) in [
        (good.replace("\"rows\":2,\"stage_key\"", "\"rows\":3,\"stage_key\""), "its record says 3 rows"),
        (good.replace("{\"name\":\"y\"", "{\"name\":\"z\""), "other columns"),
        (good.replace("\"type\":\"int64\"", "\"type\":\"text\""), "other columns"),
        (good.replace("\"format\":1", "\"format\":2"), "written by a newer Ropewalk"),
        (good.replace("\"zone\":\"raw\"", "\"zone\":\"rare\""), "cannot be used"),
        (good.replace("\"name\":\"a\",\"number\"", "\"name\":\"b\",\"number\""), "of `b`"),
        (good.replace("\"created_at\":1", "\"created_at\":9"), "clocks"),
        ("no JSON".to_owned(), "cannot be used"),
        (format!("{{\"x\":\"{}\"}}", "y".repeat(17 << 20)), "at most"),
    ] {
        assert_ne!(bad, good, "{says}");
        object_write(&place, &name, &bad);
        refused(&place, says);
    }
    ref_write(&place, &name, "no digest");
    refused(&place, "names no object");
    ref_write(&place, &name, &name[name.len() - 64..].replace(|_: char| true, "0"));
    refused(&place, "has no");
    object_write(&place, &name, &good);
    for bad in [state.replace("\"a\"", "\"b\""), "[]".to_owned(), state.replace("\"at\":1", "\"at\":9")] {
        assert_ne!(bad, state);
        object_write(&place, &state_name, &bad);
        refused(&place, "cannot be used");
    }
    object_write(&place, &state_name, &state);
    // Bytes that are no table, under a name that fits them.
    let digest = good.split("\"digest\":\"").nth(1).expect("digest")[..64].to_owned();
    let empty =
        on_remote(&place, async |store: Store| store.tree_put(&ropewalk_store::Tree::new()).await.expect("tree"));
    let fake = later(&good.replace(&digest, &empty.to_string()));
    object_write(&place, &format!("tables/a/versions/{empty}"), &fake);
    refused(&place, "cannot be read");
    // A push of what is right does not stumble over it.
    assert!(first.succeed(&["push"]).contains("a: up to date"));
}

/// The record, of a version that was made a second later.
fn later(record: &str) -> String {
    let (before, rest) = record.split_once("\"created_at\":").expect("a time");
    let (time, after) = rest.split_once(',').expect("more");
    format!("{before}\"created_at\":{},{after}", time.parse::<i64>().expect("a time") + 1000)
}

/// A machine that pulls is told what is wrong with `a`, has nothing of it, and has `b`.
fn refused(place: &Place, says: &str) {
    let machine = place.machine("[project]\nname = \"x\"\n", &[]);
    let said = machine.fail(1, &["pull"]);
    assert!(said.contains("a stays as it is") && said.contains(says), "{says}: {said}");
    assert!(machine.fail(2, &["sql", "SELECT * FROM a"]).contains("no dataset `a`"), "{says}");
    assert_eq!(sum(&machine, "SELECT x AS n FROM b"), Some(7), "{says}");
}

#[test]
fn a_version_whose_record_lies_is_found_out_when_its_bytes_come() {
    let place = Place::local();
    let first = place.machine(ONE, &[("a.csv", "x\n1\n")]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let (name, good) = object(&place, "tables/a/versions/");
    first.write("a.csv", "x\n2\n");
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    object_write(&place, &name, &good.replace("\"rows\":1,\"stage_key\"", "\"rows\":9,\"stage_key\""));
    let second = place.machine("[project]\nname = \"x\"\n", &[]);
    second.succeed(&["pull"]);
    assert_eq!(sum(&second, "SELECT x AS n FROM a"), Some(2));
    let said = second.fail(1, &["fetch", "a", "--all"]);
    assert!(said.contains("its record says 9 rows") && said.contains("hold 1"), "{said}");
    let said = second.fail(2, &["sql", "SELECT count(*) FROM a@v1"]);
    assert!(said.contains("are in the remote"), "{said}");
}

#[test]
fn a_remote_without_the_bytes_is_told_and_another_one_helps() {
    let (place, backup) = (Place::local(), Place::local());
    let first = place.machine(ONE, &[("a.csv", "x\n1\n")]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let (_, good) = object(&place, "tables/a/versions/");
    let digest = good.split("\"digest\":\"").nth(1).expect("digest")[..64].to_owned();
    let ghost = "0".repeat(64);
    object_write(&place, &format!("tables/a/versions/{ghost}"), &later(&good.replace(&digest, &ghost)));
    let second = place.machine(ONE, &[]);
    let output = second.run(&["pull"]);
    assert!(output.status.success() && talk(&output).contains("does not have its bytes"), "{}", talk(&output));
    assert!(second.fail(2, &["sql", "SELECT * FROM a"]).contains("are in the remote `origin`"));
    second.succeed(&["remote", "add", "backup", &backup.url]);
    let output = second.run(&["push", "--remote", "backup"]);
    assert!(output.status.success() && talk(&output).contains("was not pushed"), "{}", talk(&output));
    second.succeed(&["fetch", "a", "--all", "--remote", "origin"]);
    second.succeed(&["push", "--remote", "backup"]);
    let third = backup.machine(ONE, &[]);
    third.succeed(&["pull"]);
    assert_eq!(sum(&third, "SELECT x AS n FROM a"), Some(1), "by way of another machine");
    let made = |place: &Place| {
        let (_, record) = object(place, "tables/a/versions/");
        serde_json::from_str::<Value>(&record).expect("JSON")["made"]["stage"]["summary"]["rows"].clone()
    };
    assert_eq!(made(&backup), 1, "how it was made travels on");
}
