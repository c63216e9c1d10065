//! What is wrong with one table, or unknown of it, is no reason to lose what concerns the others.

use serde_json::{Value, json};

use super::foreign::{object, object_write};
use super::{ONE, PEOPLE, Place, SHOP, TOTALS, count, shop, sum, table};
use crate::harness::{Project, talk};

fn classification(project: &Project, name: &str) -> Value {
    project.json(&["data", "lineage", name])["facts"]["classification"]["value"].clone()
}

#[test]
fn what_is_declared_later_of_an_ancestor_comes_with_the_next_fetch_by_name() {
    let place = Place::local();
    let plain = SHOP.replace("classification = \"personal\"\n", "");
    let files = [("people.jsonl", PEOPLE), ("orders.csv", "person,amount\n1,5\n"), ("totals.sql", TOTALS)];
    let first = place.machine(&plain, &files);
    first.succeed(&["run"]);
    first.succeed(&["push", "totals"]);
    let second = place.machine("[project]\nname = \"x\"\n", &[]);
    second.succeed(&["fetch", "totals"]);
    assert_eq!(classification(&second, "totals"), Value::Null);
    first.write("ropewalk.toml", &format!("{SHOP}\n[remote.origin]\nurl = \"{}\"\n", place.url));
    first.succeed(&["run"]);
    first.succeed(&["push", "totals"]);
    second.succeed(&["fetch", "totals"]);
    assert_eq!(classification(&second, "totals"), "personal", "no version is new, but what was said of people is");
}

#[test]
fn what_is_declared_of_a_table_that_is_refused_is_known_all_the_same() {
    let place = Place::local();
    shop(&place).succeed(&["push"]);
    let second =
        place.machine("[project]\nname = \"x\"\n[stage.people]\nsql = \"p.sql\"\n", &[("p.sql", "SELECT 1 AS q")]);
    second.succeed(&["run"]);
    let said = second.fail(1, &["pull"]);
    assert!(said.contains("people stays as it is") && said.contains("zone"), "{said}");
    assert_eq!(sum(&second, "SELECT q AS n FROM people"), Some(1));
    assert_eq!(classification(&second, "totals"), "personal");
}

#[test]
fn only_a_remote_that_has_the_bytes_is_said_to_have_them() {
    let (place, backup) = (Place::local(), Place::local());
    let first = place.machine(ONE, &[("a.csv", "x\n7\n")]);
    first.succeed(&["run"]);
    first.write("a.csv", "x\n8\n");
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let other = backup.machine(ONE, &[("a.csv", "x\n8\n")]);
    other.succeed(&["run"]);
    other.succeed(&["push"]);
    let second = place.machine(ONE, &[]);
    second.succeed(&["pull"]);
    second.succeed(&["remote", "add", "backup", &backup.url]);
    let told = second.json(&["fetch", "a", "--all", "--remote", "backup"]);
    assert_eq!(count(&table(&told, "a")["lacking"]), 0, "it never named the first version: {told}");
    assert_eq!(table(&told, "a")["elsewhere"], 0, "{told}");
    assert!(second.fail(2, &["sql", "SELECT x FROM a@v1"]).contains("are in the remote `origin`"));
    // Where it has them, it is as good as the other.
    first.succeed(&["remote", "add", "backup", &backup.url]);
    first.succeed(&["push", "--remote", "backup"]);
    second.succeed(&["fetch", "a", "--remote", "backup"]);
    assert!(second.fail(2, &["sql", "SELECT x FROM a@v1"]).contains("are in the remote `backup`"));
    second.succeed(&["fetch", "a", "--all", "--remote", "backup"]);
    assert_eq!(sum(&second, "SELECT x AS n FROM a@v1"), Some(7));
}

#[test]
fn a_state_that_is_full_stops_the_push_of_its_table_only() {
    let place = Place::local();
    let file = format!("{ONE}[data.b]\nsource = \"b.csv\"\n");
    let first = place.machine(&file, &[("a.csv", "x\n1\n"), ("b.csv", "x\n1\n")]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    // Of the 16 MiB that a state may have, 40 bytes are left.
    let (name, state) = object(&place, "tables/a/state");
    let mut state: Value = serde_json::from_str(&state).expect("JSON");
    state["removed"] = json!({});
    let mut left = (16 << 20) - 40 - state.to_string().len();
    for number in 0.. {
        let removed = json!({ "at": 1, "who": "eve", "why": "x" });
        let frame = removed.to_string().len() + 64 + 2 + 1 + 1;
        let length = left.saturating_sub(frame).min(120 << 10);
        if length == 0 {
            break;
        }
        state["removed"][format!("{number:064x}")] = json!({ "at": 1, "who": "eve", "why": "x".repeat(length + 1) });
        left -= frame + length;
    }
    object_write(&place, &name, &state.to_string());
    first.succeed(&["data", "tag", "a", "good"]);
    first.write("b.csv", "x\n2\n");
    first.succeed(&["run"]);
    let output = first.run(&["push"]);
    let said = talk(&output);
    assert!(!output.status.success() && said.contains("a stays as it is") && said.contains("are accepted"), "{said}");
    let second = place.machine("[project]\nname = \"x\"\n", &[]);
    second.succeed(&["pull"]);
    assert_eq!(sum(&second, "SELECT x AS n FROM b"), Some(2), "the other one travelled");
}

#[test]
fn lineage_that_cannot_be_followed_stops_the_push_of_its_table_only() {
    let place = Place::local();
    let first = place.machine(ONE, &[("a.csv", "x\n1\n")]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let (name, record) = object(&place, "tables/a/versions/");
    let mut record: Value = serde_json::from_str(&record).expect("JSON");
    let mut child = format!("data:a@{}", record["digest"].as_str().expect("digest"));
    let links = (0..64).map(|number| {
        let parent = format!("data:n@{number:064x}");
        let link = json!({ "child": child, "parent": parent, "relation": "read" });
        child = parent;
        link
    });
    record["links"] = links.collect();
    object_write(&place, &name, &record.to_string());
    let file = "[project]\nname = \"x\"\n[data.b]\nsource = \"b.csv\"\n[data.a]\nsource = \"a.csv\"\n[stage.c]\nsql = \"c.sql\"\n";
    let second = place.machine(file, &[("b.csv", "x\n2\n"), ("a.csv", "x\n1\n"), ("c.sql", "SELECT x FROM a")]);
    second.succeed(&["pull"]);
    second.succeed(&["run"]);
    let output = second.run(&["push"]);
    let said = talk(&output);
    assert!(!output.status.success() && said.contains("c stays as it is") && said.contains("64 steps"), "{said}");
    let said = talk(&second.run(&["push", "b", "c"]));
    assert!(said.contains("c stays as it is") && said.contains("64 steps"), "{said}");
    let third = place.machine("[project]\nname = \"x\"\n", &[]);
    third.succeed(&["pull"]);
    assert_eq!(sum(&third, "SELECT x AS n FROM b"), Some(2), "the other one travelled");
}

#[test]
fn records_that_would_fill_the_memory_are_refused() {
    let place = Place::local();
    let file = format!("{ONE}[data.b]\nsource = \"b.csv\"\n");
    let first = place.machine(&file, &[("a.csv", "x\n1\n"), ("b.csv", "x\n2\n")]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let (_, record) = object(&place, "tables/a/versions/");
    let mut record: Value = serde_json::from_str(&record).expect("JSON");
    record["made"]["stage"]["summary"] = "x".repeat((16 << 20) - 4096).into();
    for number in 0..17 {
        record["digest"] = format!("{number:064x}").into();
        record["links"] = json!([]);
        object_write(&place, &format!("tables/a/versions/{number:064x}"), &record.to_string());
    }
    let second = place.machine("[project]\nname = \"x\"\n", &[]);
    let said = second.fail(1, &["pull"]);
    assert!(said.contains("a stays as it is") && said.contains("new here"), "{said}");
    assert_eq!(sum(&second, "SELECT x AS n FROM b"), Some(2));
}
