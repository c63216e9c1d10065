//! What must not be lost on the way: inheritance by links, past damaged pointers and from single files; names and entries.

use std::process::Output;

use serde_json::Value;

use super::{PEOPLE, entries, lineage, links, people};
use crate::harness::{Project, talk};

fn personal(project: &Project, name: &str, when: &str) {
    let told = lineage(project, name);
    assert_eq!(told["facts"]["classification"]["value"], "personal", "{when}: {told}");
}

/// All that a command said.
fn said(output: &Output) -> String {
    talk(output) + &String::from_utf8_lossy(&output.stdout)
}

#[cfg(unix)]
#[test]
fn files_that_were_moved_away_pass_on_what_is_said_of_them() {
    use std::os::unix::fs::symlink;

    let away = tempfile::tempdir().expect("a folder");
    let project = people(PEOPLE);
    std::fs::rename(project.path("people"), away.path().join("people")).expect("move");
    symlink(away.path().join("people"), project.path("alias")).expect("link");
    symlink("alias", project.path("people")).expect("link");
    symlink("people", project.path("again")).expect("link");
    symlink(away.path().join("people/a.csv"), project.path("one.csv")).expect("link");
    let beside = format!("../{}/people/*.csv", away.path().file_name().expect("name").display());
    let whole = format!("{}/people/*.csv", away.path().display());
    let sources = ["again/*.csv", "people/*.csv", "alias/*.csv", "one.csv", &beside, &whole];
    for (number, source) in sources.into_iter().enumerate() {
        // A version of its own: the one before it is known to be made of `people`.
        std::fs::write(away.path().join("people/a.csv"), format!("id\n{number}\n")).expect("write");
        project.write("ropewalk.toml", &PEOPLE.replace("people/*.csv", source));
        project.succeed(&["run"]);
        personal(&project, "table", source);
    }
}

#[test]
fn an_emptied_pointer_is_told_and_stops_only_what_needs_it() {
    let place = tempfile::tempdir().expect("a folder");
    let file = format!("{PEOPLE}[remote.origin]\nurl = \"file:{}\"\n", place.path().display());
    let project = people(&file);
    project.write("others/b.txt", "b");
    project.succeed(&["data", "add", "others"]);
    project.succeed(&["data", "commit", "others", "-m", "first"]);
    project.succeed(&["run"]);
    project.succeed(&["push"]);
    let pointer = std::fs::read_to_string(project.path("people.dataset")).expect("pointer");
    let asked = |arguments: &[&str]| {
        let output = project.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", said(&output));
        let told = said(&output);
        assert!(told.contains("people.dataset`, line 1") && told.contains("git checkout -- "), "{arguments:?}: {told}");
        told
    };
    for damaged in ["", "garbage\n", &pointer[40..]] {
        project.write("people.dataset", damaged);
        let told = asked(&["data", "status"]);
        assert!(told.contains("others (others, "), "the other is told of: {told}");
        let told = asked(&["pull"]);
        assert!(told.contains("others "), "the other is laid out: {told}");
        asked(&["run", "table"]);
        asked(&["sql", "SELECT * FROM 'people/a.csv'"]);
        asked(&["data", "add", "people"]);
    }
    project.write("people.dataset", &pointer);
    project.succeed(&["data", "status"]);
    project.succeed(&["run"]);
    personal(&project, "count", "mended");
}

#[test]
fn a_table_and_tracked_files_do_not_share_a_name() {
    let clash = PEOPLE.replace("[data.people]\nsource = \"data:people\"", "[data.people]\nsource = \"others.csv\"");
    let project = Project::with(&[
        ("ropewalk.toml", &clash),
        ("count.sql", "SELECT count(*) AS n FROM \"table\""),
        ("people/a.csv", "id\n1\n"),
        ("others.csv", "id\n9\n"),
    ]);
    for arguments in [["data", "add", "people"].as_slice(), &["data", "add", "people/a.csv", "--name", "people"]] {
        let said = project.fail(2, arguments);
        assert!(said.contains("[data.people] makes a dataset `people`") && said.contains("--name"), "{said}");
    }
    project.succeed(&["data", "add", "people", "--name", "folk"]);
    project.succeed(&["data", "add", "people"]);
    project.succeed(&["run"]);

    for file in [
        clash.replace("[data.people]", "[data.folk]"),
        clash.replace("[stage.count]\n", "[stage.count]\nout = \"folk\"\n"),
    ] {
        project.write("ropewalk.toml", &file);
        for arguments in [["run"].as_slice(), &["status"], &["data", "retention"]] {
            let said = project.fail(2, arguments);
            assert!(said.contains("makes a dataset `folk`") && said.contains("`folk_rows`"), "{said}");
        }
    }
    let declared = project.json(&["data", "audit", "folk"]);
    assert!(!declared.to_string().contains("declare"), "nothing is said of the files: {declared}");
    let said = project.fail(2, &["sql", "SELECT * FROM folk"]);
    assert!(said.contains("[data.folk_rows] source = \"people\""), "{said}");
}

#[test]
fn a_single_tracked_file_can_be_declared_and_given_to_stages() {
    let file = "[project]\nname = \"x\"\n[data.staff]\nsource = \"data:staff.csv\"\nclassification = \"personal\"\n\
                owner = \"ada@example.com\"\n[data.\"staff.csv\"]\nsource = \"data:staff.csv\"\nretention_days = 90\n\
                [data.table]\nsource = \"staff.csv\"\n\
                [stage.lines]\nrun = \"cat inputs/staff/staff.csv > out.txt\"\nin = [\"staff\"]\n\
                out = { lines = \"out.txt\" }\n";
    let project = Project::with(&[("ropewalk.toml", file), ("staff.csv", "id\n1\n")]);
    project.succeed(&["data", "add", "staff.csv"]);
    let check = |when: &str| {
        let told = project.json(&["run"]);
        let stages = told["stages"].as_array().expect("stages");
        let run = stages.iter().find(|one| one["name"] == "lines").and_then(|one| one["run"].as_str());
        let thread = project.json(&["trace", &format!("runs:/{}", run.expect("a run"))]);
        personal(&project, "table", when);
        let table = lineage(&project, "table");
        let given = stages.iter().find(|one| one["name"] == "staff").map(|one| &one["outputs"]["staff"]["digest"]);
        let given = format!("data:staff@{}", given.and_then(Value::as_str).expect("what stages get"));
        assert!(links(&table, None, &given), "{when}: the table read the file of that name too: {table}");
        for facts in [&thread["facts"], &table["facts"]] {
            assert_eq!(facts["classification"]["value"], "personal", "{when}: {facts}");
            assert_eq!(facts["owners"][0], "ada@example.com", "{when}: {facts}");
            assert_eq!(facts["retention"]["value"], 90, "{when}: {facts}");
        }
        let told = project.json(&["run"]);
        let known = told["stages"].as_array().expect("stages").iter().all(|one| one["state"] == "cached");
        assert!(known, "{when}: {told}");
    };
    check("added");
    project.succeed(&["data", "commit", "staff.csv", "-m", "first"]);
    check("committed");
    project.write("staff.csv", "id\n1\n2\n");
    project.succeed(&["data", "commit", "staff.csv", "-m", "second"]);
    check("second");
    project.succeed(&["data", "rm", "staff.csv@v1", "--reason", "asked to"]);
    project.succeed(&["data", "gc", "--grace", "0"]);
    check("collected");
}

#[test]
fn lineage_is_drawn_as_a_tree() {
    let project = people(PEOPLE);
    project.succeed(&["run"]);
    let below = |way: &str, dataset: &str, parent: &str, child: &str| {
        let text = project.succeed(&["data", "lineage", dataset, way]);
        let mut lines = text.lines().skip_while(|line| !line.contains(parent));
        let found = lines.next().unwrap_or_else(|| panic!("no {parent}: {text}"));
        let depth = |line: &str| line.chars().position(char::is_alphanumeric).expect("a letter");
        let mut inside = lines.take_while(|line| depth(line) > depth(found));
        assert!(inside.any(|line| line.contains(child)), "{child} below {parent}: {text}");
    };
    below("--up", "count", "stage:count@", "data:table@");
    below("--up", "count", "stage:table@", "data:people@");
    below("--down", "table", "stage:count@", "data:count@");
}

#[test]
fn files_that_are_asked_by_their_path_are_read_of_their_dataset() {
    let project = people(PEOPLE);
    project.write("loose.csv", "id\n1\n");
    project.succeed(&["sql", "SELECT * FROM 'loose.csv'"]);
    assert!(entries(&project, "people", "query").is_empty());
    let question = "SELECT count(*) FROM 'people/*.csv' JOIN 'loose.csv' USING (id)";
    project.succeed(&["sql", question]);
    project.succeed(&["data", "describe", "--file", "people/a.csv"]);
    let asked = entries(&project, "people", "query");
    assert_eq!((asked.len(), &asked[0]["details"]["sql"]), (1, &question.into()), "{asked:?}");
    assert!(asked[0]["who"].as_str().is_some_and(|who| !who.is_empty()), "{asked:?}");
    assert_eq!(asked[0]["object"], super::latest(&project).as_str(), "{asked:?}");
    let read = entries(&project, "people", "read");
    assert_eq!((read.len(), &read[0]["details"]["what"]), (1, &"describe".into()), "{read:?}");
    project.fail(2, &["sql", "SELECT * FROM 'people/none.csv'"]);
    assert_eq!(entries(&project, "people", "query").len(), 1, "nothing was read");
}

#[test]
fn what_nobody_has_is_not_in_the_trail() {
    let place = tempfile::tempdir().expect("a folder");
    let project = people(&format!("{PEOPLE}[remote.origin]\nurl = \"file:{}\"\n", place.path().display()));
    project.succeed(&["push"]);
    for arguments in [
        ["pull", "nope"].as_slice(),
        &["pull", "nope", "--all"],
        &["pull", "nope", "--latest"],
        &["data", "checkout", "nope"],
        &["data", "restore", "nope"],
    ] {
        assert!(!project.run(arguments).status.success(), "{arguments:?}");
    }
    assert!(!project.json(&["data", "audit"]).to_string().contains("nope"));
}
