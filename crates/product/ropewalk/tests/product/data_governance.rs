//! What is said of data and who did what with it: inherited from tracked files, declared by stages, told to people.

mod kept;

use serde_json::Value;

use crate::harness::{Project, talk};

const PEOPLE: &str = r#"
[project]
name = "x"
[data.people]
source = "data:people"
classification = "personal"
owner = "ada@example.com"
retention_days = 90
[data.table]
source = "people/*.csv"
[stage.count]
sql = "count.sql"
"#;

/// A project whose tracked files are read into a table, of which another is made.
fn people(file: &str) -> Project {
    let project = Project::with(&[
        ("ropewalk.toml", file),
        ("count.sql", "SELECT count(*) AS n FROM \"table\""),
        ("people/a.csv", "id\n1\n"),
        ("people/readme.txt", "who they are"),
    ]);
    project.succeed(&["data", "add", "people"]);
    project.succeed(&["data", "commit", "people", "-m", "first", "--author", "Ada <ada@example.com>"]);
    project
}

/// The name of the latest version of the tracked dataset `people`.
fn latest(project: &Project) -> String {
    let log = project.json(&["data", "log", "people"]);
    format!("data:people@{}", log[0]["digest"].as_str().expect("digest"))
}

fn lineage(project: &Project, name: &str) -> Value {
    project.json(&["data", "lineage", name])
}

/// Whether lineage has a link from `child`, or anything, to `parent`.
fn links(lineage: &Value, child: Option<&str>, parent: &str) -> bool {
    let mut steps = lineage["up"].as_array().expect("steps").iter();
    steps.any(|step| {
        step["link"]["parent"] == parent && child.is_none_or(|child| step["link"]["child"].as_str() == Some(child))
    })
}

fn entries(project: &Project, name: &str, action: &str) -> Vec<Value> {
    let trail = project.json(&["data", "audit", name]);
    trail.as_array().expect("trail").iter().filter(|entry| entry["action"] == action).cloned().collect()
}

#[test]
fn what_is_made_of_tracked_personal_files_is_personal() {
    let project = people(PEOPLE);
    project.succeed(&["run"]);
    let first = latest(&project);
    for name in ["table", "count"] {
        let told = lineage(&project, name);
        assert!(links(&told, None, &first), "{told}");
        let facts = &told["facts"];
        assert_eq!(facts["classification"]["value"], "personal", "{told}");
        assert_eq!((&facts["owners"][0], &facts["retention"]["value"]), (&"ada@example.com".into(), &90.into()));
    }
    let read = entries(&project, "people", "read").pop().expect("an entry about the reading");
    let wrote = entries(&project, "table", "write").pop().expect("an entry about the writing");
    assert_eq!((&read["object"], &read["details"]["stage"]), (&first.as_str().into(), &"table".into()), "{read}");
    assert!(read["number"].as_u64() < wrote["number"].as_u64(), "{read} {wrote}");
    let versions = project.json(&["data", "lineage", "people@v1"]);
    assert!(versions["versions"][0]["down"].to_string().contains("data:table@"), "{versions}");
    let state = |told: &Value| told["stages"].as_array().expect("stages").iter().all(|one| one["state"] == "cached");
    assert!(state(&project.json(&["run"])), "nothing is new");

    // Another file of the dataset is no file that the table is made of.
    project.write("people/readme.txt", "who they were");
    assert!(state(&project.json(&["run"])), "nothing is new");
    project.write("people/a.csv", "id\n1\n2\n");
    project.succeed(&["run"]);
    let told = lineage(&project, "table");
    assert_eq!(told["facts"]["classification"]["value"], "personal", "{told}");
    let steps = told["up"].as_array().expect("steps").iter();
    let changed: Vec<_> = steps.filter(|step| step["link"]["parent"] == first.as_str()).collect();
    assert_eq!(changed.len(), 1, "{told}");
    let child = changed[0]["link"]["child"].as_str().expect("child");
    assert!(child.starts_with("data:people@") && child != first, "it was not made of that version: {told}");
    let thread = project.succeed(&["trace", "data:table@latest"]);
    assert!(thread.contains("files that no version has") && thread.contains("\"first\" by Ada"), "{thread}");
    assert!(thread.contains("  personal, said of data:people@"), "{thread}");
    let read = entries(&project, "people", "read").remove(0);
    assert_eq!((&read["object"], &read["details"]["differs"]), (&first.as_str().into(), &true.into()), "{read}");

    project.succeed(&["data", "commit", "people", "-m", "second"]);
    project.succeed(&["run"]);
    let second = latest(&project);
    assert!(second != first && links(&lineage(&project, "table"), None, &second), "{second}");
}

#[test]
fn files_that_are_tracked_later_and_names_of_others_count_too() {
    let untracked = PEOPLE.replace("[data.people]\nsource = \"data:people\"", "[data.others]\nsource = \"others.csv\"");
    let project = Project::with(&[
        ("ropewalk.toml", &untracked),
        ("count.sql", "SELECT count(*) AS n FROM \"table\""),
        ("people/a.csv", "id\n1\n"),
        ("others.csv", "id\n9\n"),
    ]);
    project.succeed(&["run"]);
    assert_eq!(lineage(&project, "count")["facts"]["classification"]["value"], Value::Null);
    let staff = PEOPLE.replace("[data.people]", "[data.staff]");
    project.write("ropewalk.toml", &staff);
    project.succeed(&["data", "add", "people"]);
    project.succeed(&["run"]);
    let told = lineage(&project, "count");
    assert_eq!(told["facts"]["classification"]["value"], "personal", "{told}");
    let from = told["facts"]["classification"]["from"][0].as_str().expect("from");
    assert!(from.starts_with("data:staff@"), "{told}");
}

#[test]
fn what_a_command_makes_of_tracked_files_inherits_too() {
    let more = "[stage.lines]\nrun = \"cat people/a.csv > out.txt\"\ndeps = [\"people/a.csv\"]\nout = { lines = \"out.txt\" }\n";
    let project = people(&format!("{PEOPLE}{more}"));
    let told = project.json(&["run", "lines"]);
    let run = told["stages"][0]["run"].as_str().expect("a run");
    let thread = project.json(&["trace", &format!("runs:/{run}")]);
    assert_eq!(thread["facts"]["classification"]["value"], "personal", "{thread}");
    assert!(thread.to_string().contains(&latest(&project)), "{thread}");
    let read = entries(&project, "people", "read");
    assert_eq!((read.len(), &read[0]["details"]["stage"]), (1, &"lines".into()), "{read:?}");
    let state = || project.json(&["run", "lines"])["stages"][0]["state"].clone();
    assert_eq!(state(), "cached");

    // Another version with the same bytes makes nothing else.
    project.write("people/readme.txt", "who they were");
    project.succeed(&["data", "commit", "people", "-m", "second"]);
    assert_eq!(state(), "cached");
    project.write("people/a.csv", "id\n1\n2\n");
    project.succeed(&["data", "add", "people"]);
    let told = project.json(&["run", "lines"]);
    let run = told["stages"][0]["run"].as_str().expect("a run");
    assert_eq!(told["stages"][0]["state"], "executed");
    let thread = project.json(&["trace", &format!("runs:/{run}")]);
    assert_eq!(thread["facts"]["classification"]["value"], "personal", "{thread}");
    project.succeed(&["data", "commit", "people", "-m", "third"]);
    assert_eq!(state(), "cached");
}

#[test]
fn another_name_goes_on_to_count_when_the_files_move_on() {
    let crew = PEOPLE.replace("[data.people]\nsource = \"data:people\"", "[data.crew]\nsource = \"data:people@v1\"");
    let project = people(&crew);
    let check = |when: &str| {
        project.succeed(&["run"]);
        for name in ["table", "count"] {
            let told = lineage(&project, name);
            assert_eq!(told["facts"]["classification"]["value"], "personal", "{when}: {told}");
        }
    };
    check("v1");
    project.write("people/a.csv", "id\n1\n2\n");
    check("changed");
    project.succeed(&["data", "add", "people"]);
    check("added");
    project.succeed(&["data", "commit", "people", "-m", "second"]);
    check("v2");
}

#[test]
fn less_care_than_tracked_files_need_must_have_a_reason() {
    let lower = |more: &str| {
        PEOPLE.replace("people/*.csv\"\n", &format!("people/*.csv\"\nclassification = \"internal\"\n{more}"))
    };
    let project = people(&lower(""));
    let said = project.fail(1, &["run"]);
    assert!(said.contains("which is `personal`") && said.contains("reason = "), "{said}");
    project.write("ropewalk.toml", &lower("reason = \"numbers only\"\n"));
    project.succeed(&["run"]);
    let text = project.succeed(&["data", "lineage", "table"]);
    for line in ["  internal, said of it\n", "    inherited would be: personal\n", "    why: numbers only ("] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let declared = entries(&project, "table", "declare");
    assert_eq!(declared[0]["details"]["why"], "numbers only", "{declared:?}");
}

#[test]
fn what_is_said_under_another_name_is_said_of_the_files() {
    let project = people(&PEOPLE.replace("[data.people]\n", "[data.crew]\n"));
    project.succeed(&["run"]);
    for name in ["people", "crew"] {
        let told = lineage(&project, name);
        let facts = &told["versions"][0]["facts"];
        assert_eq!((&facts["classification"]["value"], &facts["retention"]["value"]), (&"personal".into(), &90.into()));
        assert_eq!((&facts["owners"][0], &facts["undeclared"]), (&"ada@example.com".into(), &Value::Array(Vec::new())));
        let said = project.succeed(&["data", "lineage", name]);
        assert!(said.contains("  personal, said of data:crew@") && !said.contains("no classification"), "{said}");
    }
    for said in [project.succeed(&["data", "lineage", "table"]), project.succeed(&["trace", "data:table@latest"])] {
        assert!(said.contains("  personal, said of data:crew@") && !said.contains("no classification"), "{said}");
    }
}

#[test]
fn what_is_said_later_under_another_name_is_said_of_what_was_made_before() {
    let said_later = PEOPLE.replace("[data.people]\n", "[data.crew]\n");
    let project = people(&said_later.replace("classification = \"personal\"\n", ""));
    project.succeed(&["run"]);
    assert!(project.succeed(&["data", "lineage", "table"]).contains("no classification is said of data:people@"));
    project.write("ropewalk.toml", &said_later);
    project.succeed(&["run", "crew"]);
    let said = project.succeed(&["data", "lineage", "table"]);
    assert!(said.contains("  personal, said of data:crew@") && !said.contains("no classification"), "{said}");
}

#[test]
fn what_was_made_of_personal_files_is_not_lowered_by_the_way() {
    let project = people(PEOPLE);
    project.succeed(&["run"]);
    let public = "people/*.csv\"\nclassification = \"public\"\n";
    let of_table = PEOPLE.replace("people/*.csv\"\n", public);
    let of_files = format!("{PEOPLE}[data.crew]\nsource = \"data:people\"\nclassification = \"public\"\n");
    for (file, lowered) in [(of_table, "[data.table]"), (of_files, "[data.crew]")] {
        project.write("ropewalk.toml", &file);
        for command in [["run"].as_slice(), &["run", "people"], &["data", "retention"]] {
            let said = project.fail(2, command);
            assert!(said.contains(lowered) && said.contains("which is `personal`"), "{said}");
            assert!(said.contains("made of `data:people@") && said.contains("reason = "), "{said}");
            for name in ["table", "count"] {
                let told = lineage(&project, name);
                assert_eq!(told["facts"]["classification"]["value"], "personal", "{told}");
            }
        }
    }
    let trail = project.json(&["data", "audit"]);
    let declared = trail.as_array().expect("trail").iter().filter(|entry| entry["action"] == "declare");
    let declared: Vec<_> = declared.map(|entry| entry["object"].as_str().expect("object")).collect();
    assert_eq!(declared, ["data:people"], "what is refused is not recorded");
}

#[test]
fn stages_declare_more_than_a_classification_and_of_all_that_they_make() {
    let more = "[stage.lines]\nrun = \"echo 1 > out.txt\"\nin = [\"table\"]\nout = { lines = \"out.txt\" }\n";
    let file = format!("{PEOPLE}{more}");
    let project = people(&file);
    let told = project.json(&["run"]);
    let stages = told["stages"].as_array().expect("stages");
    let run = stages.iter().find(|one| one["name"] == "lines").and_then(|one| one["run"].as_str()).expect("a run");
    let facts = || project.json(&["trace", &format!("runs:/{run}")])["facts"].clone();
    assert_eq!(facts()["classification"]["value"], "personal", "what a run leaves behind inherits");

    let of_count = |reason: &str| {
        let declares = format!(
            "declares = {{ classification = \"internal\", reason = \"{reason}\", owner = \"bob\", \
             description = \"how many\", retention_days = 7 }}"
        );
        let of_lines = "declares = { classification = \"public\", reason = \"a number\", owner = \"eve\" }";
        let text = file.replace("sql = \"count.sql\"", &format!("sql = \"count.sql\"\n{declares}"));
        text.replace("[stage.lines]\n", &format!("[stage.lines]\n{of_lines}\n"))
    };
    project.write("ropewalk.toml", &of_count("sums only"));
    project.succeed(&["run"]);
    let text = project.succeed(&["data", "lineage", "count"]);
    for line in [
        "  internal, said of it\n",
        "    inherited would be: personal\n",
        "    why: sums only (",
        "  owner bob, said of it\n",
        "  described as how many, said of it\n",
        "  kept 7 days, said of it\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let of_lines = facts();
    assert_eq!((&of_lines["classification"]["value"], &of_lines["owners"][0]), (&"public".into(), &"eve".into()));
    assert_eq!(of_lines["reasons"][0]["why"], "a number", "{of_lines}");

    project.write("ropewalk.toml", &of_count("counted only"));
    project.succeed(&["run"]);
    let declared = entries(&project, "count", "declare");
    let why: Vec<_> = declared.iter().map(|entry| entry["details"]["why"].as_str().expect("why")).collect();
    assert_eq!(why, ["counted only", "sums only"], "another reason is recorded");

    let others = "[project]\nname = \"x\"\n[stage.people]\nrun = \"echo 1 > out.txt\"\nout = { lines = \"out.txt\" }\n\
                  declares = { owner = \"eve\" }\n";
    project.write("ropewalk.toml", others);
    assert!(project.fail(2, &["run"]).contains("tracked files have its name"));

    project.write("ropewalk.toml", &file);
    project.succeed(&["run"]);
    assert_eq!(facts()["classification"]["value"], "personal", "nobody says otherwise any longer");
    assert_eq!(lineage(&project, "count")["facts"]["owners"][0], "ada@example.com");
    let text = project.succeed(&["data", "lineage", "count", "--up"]);
    assert!(text.contains("  owner ada@example.com, said of data:people@"), "{text}");
    assert!(text.contains("  kept 90 days, said of data:people@"), "{text}");
}

#[test]
fn questions_to_the_log_of_predictions_are_in_the_trail() {
    let project = Project::with(&[("ropewalk.toml", "[project]\nname = \"x\"\n")]);
    project.succeed(&["sql", "SELECT count(*) FROM runs"]);
    assert_eq!(project.json(&["data", "audit"]), Value::Array(Vec::new()), "runs hold nothing that models were asked");
    project.succeed(&["sql", "SELECT inputs FROM predictions"]);
    let asked = entries(&project, "predictions", "query");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["details"]["sql"], "SELECT inputs FROM predictions");
}

#[test]
fn tags_and_removals_that_come_by_fetch_are_in_the_trail() {
    let place = tempfile::tempdir().expect("a folder");
    let file = format!("[project]\nname = \"x\"\n[remote.origin]\nurl = \"file:{}\"\n", place.path().display());
    let project = people(&file);
    project.write("people/a.csv", "id\n1\n2\n");
    project.succeed(&["data", "commit", "people", "-m", "second"]);
    project.succeed(&["data", "tag", "people@v1", "old"]);
    project.succeed(&["push"]);
    let pointer = std::fs::read_to_string(project.path("people.dataset")).expect("pointer");
    let second = Project::with(&[("ropewalk.toml", &file), ("people.dataset", &pointer)]);
    second.succeed(&["fetch"]);
    let tagged = entries(&second, "people", "tag");
    assert_eq!((tagged.len(), &tagged[0]["details"]["tag"]), (1, &"old".into()), "{tagged:?}");
    assert!(tagged[0]["details"]["fetched_from"].as_str().is_some_and(|from| from.starts_with("file:")), "{tagged:?}");

    project.succeed(&["data", "tag", "people", "old", "--delete"]);
    project.succeed(&["data", "rm", "people@v1", "--reason", "asked to"]);
    project.succeed(&["push"]);
    second.succeed(&["pull"]);
    let deleted = entries(&second, "people", "delete");
    let details: Vec<_> = deleted.iter().map(|entry| &entry["details"]).collect();
    assert_eq!(details.len(), 2, "{deleted:?}");
    assert_eq!((&details[1]["tag"], &details[0]["why"]), (&"old".into(), &"asked to".into()), "{deleted:?}");
    assert!(details[0]["by"].is_string() && details[0]["fetched_from"].is_string(), "{deleted:?}");
    second.succeed(&["pull"]);
    assert_eq!(entries(&second, "people", "delete").len(), 2, "nothing is done twice");
}

#[test]
fn the_record_of_an_import_is_told_to_people() {
    let file = "[project]\nname = \"x\"\n[data.many]\nsource = \"many/*.csv\"\n\
                [data.asked]\nsource = \"sqlite:.ropewalk/catalog.db\"\nquery = \"SELECT 7 AS n\"\n";
    let project = Project::with(&[("ropewalk.toml", file)]);
    for number in 0..23 {
        project.write(&format!("many/{number:02}.csv"), "n\n1\n2\n");
    }
    project.succeed(&["status"]);
    project.succeed(&["run"]);
    let text = project.succeed(&["data", "show", "many"]);
    assert!(text.contains("read\n  many/*.csv, digest "), "{text}");
    assert!(text.contains("  00.csv, 2 rows, digest ") && text.contains("  19.csv, "), "{text}");
    assert!(!text.contains("20.csv") && text.contains("  … and 3 more\n"), "{text}");
    let text = project.succeed(&["data", "show", "asked"]);
    assert!(text.contains("imported\n  sqlite:.ropewalk/catalog.db, ") && text.contains(", 1 row, digest "), "{text}");
    assert!(text.contains("    SELECT 7 AS n\n"), "{text}");
    let shown = project.json(&["data", "show", "many"]);
    assert!(shown["sources"][0].as_str().is_some_and(|uri| uri.starts_with("file:many/*.csv#")), "{shown}");
}

#[test]
fn a_table_is_compared_with_the_version_before() {
    let project = Project::with(&[
        ("ropewalk.toml", "[project]\nname = \"x\"\n[data.a]\nsource = \"a.csv\"\n"),
        ("a.csv", "n\n1\n"),
    ]);
    project.succeed(&["run"]);
    let said = talk(&project.run(&["data", "diff", "a"]));
    assert!(said.contains("has one version"), "{said}");
    project.write("a.csv", "n\n1\n2\n3\n");
    project.succeed(&["run"]);
    let rows =
        |arguments: &[&str]| project.json(&[["data", "diff"].as_slice(), arguments].concat())["rows_added"].as_u64();
    assert_eq!((rows(&["a"]), rows(&["a@v1"]), rows(&["a@v2"])), (Some(2), Some(2), Some(0)));
}
