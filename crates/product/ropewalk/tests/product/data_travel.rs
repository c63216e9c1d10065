//! Tables on their way between machines: what travels, what stays, and what nobody may lose.

mod apart;
mod foreign;
mod killed;

use std::path::Path;

use serde_json::Value;

use self::foreign::ref_write;
use crate::data_tables::TOTALS;
use crate::harness::{Draws, Place, Project, count, sizes_below, talk};

impl Place {
    /// A machine with this project file and these files, and the place as its remote.
    fn machine(&self, file: &str, files: &[(&str, &str)]) -> Project {
        let project = Project::in_environment(&self.environment);
        project.write("ropewalk.toml", &format!("{file}\n[remote.origin]\nurl = \"{}\"\n", self.url));
        for (name, text) in files {
            project.write(name, text);
        }
        project
    }

    /// A machine that has the table `a` from the place, and no sources.
    fn machine_pulled(&self) -> Project {
        let project = self.machine(ONE, &[]);
        project.succeed(&["pull"]);
        project
    }

    /// A machine that has made two versions of the table `a`, of one row each, and pushed them to the place.
    fn machine_pushed_twice(&self) -> Project {
        let project = self.machine(ONE, &[("a.csv", "x\n1\n")]);
        project.succeed(&["run"]);
        project.write("a.csv", "x\n2\n");
        project.succeed(&["run"]);
        project.succeed(&["push"]);
        project
    }

    /// Bytes in the packs of a remote that is a folder.
    fn packed(&self) -> u64 {
        let folder = self.folder.as_ref().expect("a folder").path().join("remote/packs");
        sizes(&folder)
    }
}

fn sizes(folder: &Path) -> u64 {
    sizes_below(folder).values().sum()
}

const SHOP: &str = r#"
[project]
name = "shop"
[data.people]
source = "people.jsonl"
owner = "ada@example.com"
classification = "personal"
[data.orders]
source = "orders.csv"
[stage.totals]
sql = "totals.sql"
"#;
const PEOPLE: &str = "{\"id\":1,\"name\":\"Ada\",\"tags\":[\"a\"],\"home\":{\"city\":\"Hull\",\"since\":\"2013-01-31\"}}\n\
    {\"id\":2,\"name\":\"Bob\",\"tags\":[]}\n";

/// Two versions of orders and of totals; the first orders are tagged.
fn shop(place: &Place) -> Project {
    let orders = "person,amount\n1,5\n2,7\n";
    let project = place.machine(SHOP, &[("people.jsonl", PEOPLE), ("orders.csv", orders), ("totals.sql", TOTALS)]);
    project.succeed(&["run"]);
    project.succeed(&["data", "tag", "orders@v1", "first"]);
    project.write("orders.csv", "person,amount\n1,5\n2,7\n1,30\n");
    project.succeed(&["run"]);
    project
}

fn table<'a>(told: &'a Value, name: &str) -> &'a Value {
    let found = told["tables"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    found.unwrap_or_else(|| panic!("no {name} in {told}"))
}

fn sum(project: &Project, question: &str) -> Option<i64> {
    project.json(&["sql", question])[0]["n"].as_i64()
}

#[test]
fn a_second_machine_has_the_tables_with_all_that_is_known_of_them() {
    a_second_machine(&Place::local());
}

#[test]
fn a_second_machine_has_the_tables_by_s3() {
    a_second_machine(&Place::s3());
}

fn a_second_machine(place: &Place) {
    let first = shop(place);
    let told = first.json(&["push"]);
    assert_eq!((count(&table(&told, "orders")["pushed"]), count(&table(&told, "people")["pushed"])), (2, 1), "{told}");
    let again = first.json(&["push"]);
    assert_eq!(
        (&again["transferred"]["pieces"], &table(&again, "totals")["present"]),
        (&0.into(), &2.into()),
        "{again}"
    );
    assert!(first.succeed(&["push"]).contains("totals: up to date"));
    let reads = first.json(&["data", "audit", "orders"]);
    assert!(reads.to_string().contains("\"pushing_to\":\"origin\""), "{reads}");

    let second = place.machine(SHOP, &[("totals.sql", TOTALS)]);
    let told = second.json(&["pull"]);
    assert_eq!(
        (count(&table(&told, "totals")["recorded"]), &table(&told, "totals")["elsewhere"]),
        (2, &1.into()),
        "{told}"
    );
    assert_eq!(table(&told, "orders")["elsewhere"], 0, "one is the latest, the other is tagged: {told}");
    assert_eq!(sum(&second, "SELECT sum(total) AS n FROM totals"), Some(42));
    assert_eq!(sum(&second, "SELECT sum(amount) AS n FROM orders@first"), Some(12));
    assert_eq!(sum(&second, "SELECT sum(amount) AS n FROM orders@v2"), Some(42));
    for command in [
        ["sql", "SELECT * FROM totals@v1"].as_slice(),
        &["data", "describe", "totals@v1"],
        &["data", "show", "totals@v1"],
        &["data", "diff", "totals@v1", "totals@v2"],
        &["data", "cat", "data:totals@v1/report.json"],
    ] {
        let said = second.fail(2, command);
        assert!(said.contains("are in the remote `origin`") && said.contains("ropewalk fetch totals --all"), "{said}");
    }
    assert!(second.succeed(&["data", "log", "totals"]).contains("(in origin)"));
    assert_eq!(count(&second.json(&["data", "verify"])["missing"]), 0, "what never came is not missing");
    let told = second.json(&["fetch", "totals", "--all"]);
    assert_eq!(
        (count(&table(&told, "totals")["content"]), &table(&told, "totals")["elsewhere"]),
        (1, &0.into()),
        "{told}"
    );
    let diff = second.json(&["data", "diff", "totals@v1", "totals@v2"]);
    assert_eq!((diff["rows_added"].as_u64(), diff["rows_removed"].as_u64()), (Some(1), Some(1)), "{diff}");

    let lineage = second.json(&["data", "lineage", "totals"]);
    assert_eq!(lineage["facts"]["classification"]["value"], "personal", "{lineage}");
    assert_eq!(lineage["facts"]["owners"][0], "ada@example.com");
    assert_eq!(lineage["up"], first.json(&["data", "lineage", "totals"])["up"].clone().moments_of(&lineage["up"]));
    let log = |project: &Project| project.json(&["data", "log", "orders"]);
    let (here, there) = (log(&first), log(&second));
    for at in [0, 1] {
        for field in ["digest", "zone", "rows", "columns", "bytes", "created_at", "stage_key"] {
            assert_eq!(here[at]["version"][field], there[at]["version"][field], "{field}");
        }
        assert_eq!((&here[at]["number"], &here[at]["tags"]), (&there[at]["number"], &there[at]["tags"]));
    }
    let trail = second.json(&["data", "audit", "totals"]);
    assert!(trail.to_string().contains("\"fetching_from\":\"origin\""), "{trail}");
    second.succeed(&["data", "audit", "--verify"]);
    second.succeed(&["data", "gc", "--grace", "0"]);
    assert_eq!(sum(&second, "SELECT count(*) AS n FROM totals@v1"), Some(2), "what came is kept");
    let entries = || count(&second.json(&["data", "audit", "--limit", "1000"]));
    let before = entries();
    assert_eq!(count(&second.json(&["fetch"])["tables"]), 3);
    assert_eq!(entries(), before, "nothing new, nothing written");

    // With the sources, the same stages make the same versions again.
    second.write("people.jsonl", PEOPLE);
    second.write("orders.csv", "person,amount\n1,5\n2,7\n1,30\n");
    let run = second.json(&["run"]);
    assert!(run["stages"].as_array().expect("stages").iter().all(|one| one["state"] == "executed"), "{run}");
    assert_eq!(count(&log(&second)), 2, "they were known");
    let told = second.json(&["push"]);
    assert_eq!(count(&table(&told, "orders")["pushed"]), 0, "{told}");
}

/// Moments at which links were written are those of the machine.
trait MomentsOf {
    fn moments_of(self, other: &Value) -> Value;
}

impl MomentsOf for Value {
    fn moments_of(mut self, other: &Value) -> Value {
        for (one, other) in self.as_array_mut().into_iter().flatten().zip(other.as_array().into_iter().flatten()) {
            one["at"] = other["at"].clone();
        }
        self
    }
}

#[test]
fn what_is_pushed_by_name_brings_what_was_declared_above_it() {
    let place = Place::local();
    let first = shop(&place);
    let told = first.json(&["push", "totals"]);
    assert_eq!(count(&told["tables"]), 1, "{told}");
    let said = first.fail(2, &["push", "nothing"]);
    assert!(said.contains("`nothing`") && said.contains("`totals`"), "{said}");
    let second = place.machine("[project]\nname = \"x\"\n", &[]);
    assert!(talk(&second.run(&["fetch", "totals", "orders"])).contains("origin has nothing of orders"));
    assert_eq!(sum(&second, "SELECT sum(total) AS n FROM totals"), Some(42));
    let facts = second.json(&["data", "lineage", "totals"])["facts"].clone();
    assert_eq!(facts["classification"]["value"], "personal", "people are not here, what was said of them is: {facts}");
}

const KEPT: &str =
    "[project]\nname = \"x\"\n[data.a]\nsource = \"a.csv\"\nretention_days = 0\n[data.b]\nsource = \"b.csv\"\n";

fn noise(seed: u64) -> String {
    let mut draws = Draws(seed);
    let rows: Vec<String> = (0..3000).map(|_| format!("{}\n", draws.next())).collect();
    format!("x\n{}", rows.concat())
}

#[test]
fn a_removal_travels_and_takes_the_bytes_along() {
    let place = Place::local();
    let first = place.machine(KEPT, &[("a.csv", &noise(1)), ("b.csv", "x\n1\n")]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let (second, third) = (place.machine(KEPT, &[]), place.machine(KEPT, &[]));
    for project in [&second, &third] {
        project.succeed(&["pull"]);
        assert_eq!(sum(project, "SELECT count(*) AS n FROM a"), Some(3000));
    }
    third.succeed(&["data", "tag", "a", "precious"]);
    let before = place.packed();
    first.succeed(&["data", "retention", "--remove", "--reason", "gdpr"]);
    let told = first.json(&["push"]);
    assert_eq!((count(&table(&told, "a")["removed"]), count(&table(&told, "b")["removed"])), (1, 0), "{told}");
    assert!(place.packed() >= before, "a push removes no bytes");
    let said = talk(&second.run(&["push"]));
    assert!(said.contains("was removed in origin") && said.contains("gdpr"), "{said}");
    // Whoever collects, also one that still has the version.
    second.succeed(&["data", "gc", "--remote", "origin", "--grace", "0"]);
    assert!(place.packed() + 20_000 < before, "{} of {before} bytes are left", place.packed());

    let told = second.json(&["fetch"]);
    assert_eq!(count(&table(&told, "a")["removed"]), 1, "{told}");
    let said = second.fail(2, &["sql", "SELECT * FROM a"]);
    assert!(said.contains("gdpr"), "{said}");
    let stored = || sizes(&second.path(".ropewalk/store/packs")) + sizes(&second.path(".ropewalk/cache"));
    let before = stored();
    second.succeed(&["data", "gc", "--grace", "0"]);
    assert!(stored() + 20_000 < before, "{} of {before} bytes are left", stored());
    assert!(second.json(&["data", "audit", "a"]).to_string().contains("\"why\":\"gdpr\""));

    let output = third.run(&["fetch"]);
    assert!(talk(&output).contains("tagged `precious` here"), "{}", talk(&output));
    assert_eq!(sum(&third, "SELECT count(*) AS n FROM a"), Some(3000), "a tag holds it until it goes");
    third.succeed(&["data", "tag", "a", "precious", "--delete"]);
    third.succeed(&["fetch"]);
    third.fail(2, &["sql", "SELECT * FROM a"]);
    let fourth = place.machine(KEPT, &[]);
    fourth.succeed(&["pull"]);
    fourth.fail(2, &["sql", "SELECT * FROM a"]);
    assert_eq!(sum(&fourth, "SELECT count(*) AS n FROM b"), Some(1));

    // Made again after it was removed, it is there again, and travels.
    first.succeed(&["run"]);
    let told = first.json(&["push"]);
    assert_eq!(count(&table(&told, "a")["pushed"]), 1, "{told}");
    fourth.succeed(&["pull"]);
    assert_eq!(sum(&fourth, "SELECT count(*) AS n FROM a"), Some(3000));
    for project in [&second, &third] {
        let told = project.json(&["pull"]);
        let one = table(&told, "a");
        assert_eq!((count(&one["again"]), count(&one["removed"])), (1, 0), "{told}");
        assert_eq!(sum(project, "SELECT count(*) AS n FROM a"), Some(3000), "there too, where it was removed");
        project.succeed(&["data", "audit", "--verify"]);
        let told = project.json(&["pull"]);
        assert!(count(&table(&told, "a")["again"]) == 0 && project.succeed(&["push"]).contains("a: up to date"));
    }
}

#[test]
fn a_removal_that_never_came_does_not_remove_what_was_made_again() {
    let place = Place::local();
    let first = place.machine_pushed_twice();
    let second = place.machine(ONE, &[]);
    second.succeed(&["pull"]);
    first.succeed(&["data", "rm", "a@latest", "--reason", "gdpr"]);
    first.succeed(&["push"]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    // It hears of both at once.
    assert!(second.succeed(&["push"]).contains("a: up to date"));
    let told = second.json(&["pull"]);
    let one = table(&told, "a");
    assert_eq!((count(&one["removed"]), count(&one["again"])), (0, 0), "it was never removed here: {told}");
    assert_eq!(sum(&second, "SELECT x AS n FROM a"), Some(2));
    // Nor does a second push of the removal.
    second.succeed(&["push"]);
    first.succeed(&["pull"]);
    assert_eq!(sum(&first, "SELECT x AS n FROM a"), Some(2));
    assert_eq!(sum(&place.machine_pulled(), "SELECT x AS n FROM a"), Some(2));
}

#[test]
fn after_a_removal_the_latest_is_the_one_before_everywhere() {
    let place = Place::local();
    let first = place.machine_pushed_twice();
    let second = place.machine(ONE, &[("a.csv", "x\n1\n")]);
    second.succeed(&["pull", "--all"]);
    // What was the first version is the latest again, and then a third one is.
    second.succeed(&["run"]);
    second.write("a.csv", "x\n3\n");
    second.succeed(&["run"]);
    second.succeed(&["push"]);
    second.succeed(&["data", "rm", "a@latest", "--reason", "gdpr"]);
    second.succeed(&["push"]);
    first.succeed(&["pull"]);
    for project in [&second, &first, &place.machine_pulled()] {
        assert_eq!(sum(project, "SELECT x AS n FROM a"), Some(1));
    }
}

#[test]
fn a_collection_in_the_remote_keeps_what_others_pushed() {
    let place = Place::local();
    let file = |name: &str| format!("[project]\nname = \"x\"\n[data.{name}]\nsource = \"{name}.csv\"\n");
    let machines = ["a", "b"].map(|name| {
        let source = format!("{name}.csv");
        let project =
            place.machine(&file(name), &[(source.as_str(), &noise(name.len() as u64 + u64::from(name.as_bytes()[0])))]);
        project.succeed(&["run"]);
        project.write(&source, &noise(u64::from(name.as_bytes()[0]) + 100));
        project.succeed(&["run"]);
        project.succeed(&["push"]);
        project
    });
    machines[0].write("photos/robin.jpg", "not really a photo");
    machines[0].succeed(&["data", "add", "photos"]);
    machines[0].succeed(&["data", "commit", "photos", "-m", "birds"]);
    machines[0].succeed(&["push"]);
    let stranger = place.machine("[project]\nname = \"x\"\n", &[]);
    for project in machines.iter().chain([&stranger]) {
        // Twice: what the first had set aside, the second would remove.
        for _ in 0..2 {
            let gone = project.json(&["data", "gc", "--remote", "origin", "--grace", "0"]);
            assert_eq!(gone["removed"]["pieces"], 0, "{gone}");
        }
    }
    let last = place.machine("[project]\nname = \"x\"\n", &[]);
    last.succeed(&["pull", "--all"]);
    last.succeed(&["pull", "photos"]);
    for name in ["a@v1", "a@v2", "b@v1", "b@v2"] {
        assert_eq!(sum(&last, &format!("SELECT count(DISTINCT x) AS n FROM {name}")), Some(3000), "{name}");
    }
    assert_eq!(count(&last.json(&["data", "verify"])["missing"]), 0);

    // A ref of a later program needs something that this one cannot tell.
    ref_write(&place, "tables/a/sketches", "x");
    let said = stranger.fail(2, &["data", "gc", "--remote", "origin", "--grace", "0"]);
    assert!(said.contains("tables/a/sketches") && said.contains("nothing was removed"), "{said}");
    assert!(talk(&last.run(&["fetch"])).contains("only a newer Ropewalk can read"));
}

#[test]
fn a_store_that_others_push_to_keeps_their_tables() {
    let owner = Project::with(&[
        ("ropewalk.toml", "[project]\nname = \"x\"\n[data.a]\nsource = \"a.csv\"\n"),
        ("a.csv", "x\n1\n"),
    ]);
    owner.succeed(&["run"]);
    let url = format!("file:{}", owner.path(".ropewalk/store").display());
    let file = format!("[project]\nname = \"y\"\n[data.b]\nsource = \"b.csv\"\n[remote.origin]\nurl = \"{url}\"\n");
    let guest = Project::with(&[("ropewalk.toml", &file), ("b.csv", &noise(3))]);
    guest.succeed(&["run"]);
    guest.succeed(&["push"]);
    owner.succeed(&["data", "gc", "--grace", "0"]);
    let reader = Project::with(&[("ropewalk.toml", &file)]);
    reader.succeed(&["pull"]);
    assert_eq!(sum(&reader, "SELECT count(*) AS n FROM b"), Some(3000));
    assert_eq!(sum(&owner, "SELECT count(*) AS n FROM a"), Some(1));
}

const ONE: &str = "[project]\nname = \"x\"\n[data.a]\nsource = \"a.csv\"\n";

#[test]
fn a_version_that_is_the_latest_again_is_that_on_other_machines() {
    let place = Place::local();
    let (first, second) = (place.machine(ONE, &[]), place.machine(ONE, &[]));
    for (content, latest) in [("x\n1\n", 1), ("x\n2\n", 2), ("x\n1\n", 1)] {
        first.write("a.csv", content);
        first.succeed(&["run"]);
        first.succeed(&["push"]);
        second.succeed(&["pull"]);
        assert_eq!(sum(&second, "SELECT x AS n FROM a"), Some(latest), "{content}");
    }
}

#[test]
fn two_machines_that_made_versions_apart_agree() {
    let place = Place::local();
    let first = place.machine(ONE, &[("a.csv", "x\n1\n")]);
    let second = place.machine(ONE, &[("a.csv", "x\n2\n")]);
    first.succeed(&["run"]);
    second.succeed(&["run"]);
    first.succeed(&["push"]);
    let text = second.succeed(&["pull"]);
    assert!(text.contains("is v2 here, because v1 is another version"), "{text}");
    assert_eq!(sum(&second, "SELECT x AS n FROM a"), Some(2), "what came is older than the latest here");
    second.succeed(&["push"]);
    let text = first.succeed(&["pull"]);
    assert!(text.contains("is v2 here, because v1 is another version"), "{text}");
    assert_eq!((sum(&first, "SELECT x AS n FROM a"), sum(&first, "SELECT x AS n FROM a@v1")), (Some(2), Some(1)));
    // A source that went back to what it was is the latest everywhere.
    first.succeed(&["data", "tag", "a@v1", "good"]);
    second.write("a.csv", "x\n1\n");
    second.succeed(&["run"]);
    second.succeed(&["push"]);
    first.succeed(&["pull"]);
    assert_eq!(sum(&first, "SELECT x AS n FROM a"), Some(1));

    // Tags: new ones travel, none is moved in silence, one that was taken away does not come back.
    first.succeed(&["push"]);
    second.succeed(&["data", "tag", "a@v1", "good"]);
    let said = talk(&second.run(&["pull"]));
    assert!(said.contains("a@good is") && said.contains("in origin"), "{said}");
    assert!(talk(&second.run(&["push"])).contains("--move-tags"));
    second.succeed(&["push", "--move-tags"]);
    assert!(talk(&first.run(&["pull"])).contains("a@good is"));
    first.succeed(&["data", "tag", "a", "good", "--delete"]);
    first.succeed(&["pull"]);
    assert_eq!(count(&first.json(&["data", "tag", "a"])), 0, "it was set before it was taken away");
    first.succeed(&["push"]);
    second.succeed(&["pull"]);
    assert_eq!(count(&second.json(&["data", "tag", "a"])), 0);
    second.succeed(&["data", "tag", "a", "good"]);
    second.succeed(&["push"]);
    first.succeed(&["pull"]);
    assert_eq!(count(&first.json(&["data", "tag", "a"])), 1, "it was set again");
}

#[test]
fn a_table_in_another_zone_is_refused_and_the_others_come() {
    let place = Place::local();
    let first = place
        .machine(SHOP, &[("people.jsonl", PEOPLE), ("orders.csv", "person,amount\n1,5\n"), ("totals.sql", TOTALS)]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let other = "[project]\nname = \"x\"\n[stage.orders]\nsql = \"orders.sql\"\n";
    let second = place.machine(other, &[("orders.sql", "SELECT 1 AS amount")]);
    second.succeed(&["run"]);
    let said = second.fail(1, &["pull"]);
    assert!(
        said.contains("orders stays as it is") && said.contains("zone `processed`") && said.contains("`raw`"),
        "{said}"
    );
    assert_eq!(sum(&second, "SELECT amount AS n FROM orders"), Some(1));
    assert_eq!(sum(&second, "SELECT sum(total) AS n FROM totals"), Some(5));
    second.fail(1, &["fetch", "orders"]);
}

#[test]
fn a_push_with_another_zone_is_refused_and_poisons_nothing() {
    let place = Place::local();
    let first = place.machine(KEPT, &[("a.csv", "x\n1\n"), ("b.csv", "x\n1\n")]);
    first.succeed(&["run"]);
    first.succeed(&["push"]);
    let processed = KEPT.replace("[data.a]", "[data.a]\nzone = \"processed\"");
    assert_ne!(processed, KEPT);
    let second = place.machine(&processed, &[("a.csv", "x\n2\n"), ("b.csv", "x\n2\n")]);
    second.succeed(&["run"]);
    let said = second.fail(1, &["push"]);
    assert!(said.contains("raw") && said.contains("processed"), "{said}");
    let third = place.machine(KEPT, &[]);
    third.succeed(&["pull"]);
    assert_eq!(sum(&third, "SELECT sum(x) AS n FROM a"), Some(1));
    assert_eq!(sum(&third, "SELECT sum(x) AS n FROM b@latest"), Some(2), "the other table came");
}
