//! One dataset of a remote that is not whole is named, and is in no other's way.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Place, birds, clone, commit, git, read};
use crate::harness::{Project, talk};

/// The packs of a remote that is a folder.
fn packs(place: &Place) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(place.url.strip_prefix("file:").expect("a folder")).join("packs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}

/// Photos, notes and a table, all of it pushed.
fn three(place: &Place) -> Project {
    let project = birds(place);
    let file = read(&project, "ropewalk.toml");
    project.write("ropewalk.toml", &format!("{file}\n[data.people]\nsource = \"people.jsonl\"\n"));
    project.write("people.jsonl", "{\"id\":1}\n");
    project.succeed(&["run"]);
    project.write("notes/a.txt", "a note");
    project.succeed(&["data", "add", "notes"]);
    project.succeed(&["data", "commit", "notes", "-m", "notes"]);
    project.succeed(&["push"]);
    commit(&project, "notes and people");
    project
}

/// Of a clone, all but the photos come, which are said to be what is wrong.
fn assert_apart(first: &Project, says: &[&str]) {
    for arguments in [&["fetch"][..], &["pull"], &["pull", "--all"]] {
        let second = clone(first);
        let output = second.run(&[arguments, &["--output", "json"]].concat());
        let said = talk(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(says.iter().all(|says| said.contains(says)) && !said.contains("fetch --all"), "{arguments:?}: {said}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let gone = told["gone"].as_array().expect("a list");
        assert!(!gone.is_empty() && gone.iter().all(|one| one["name"] == "photos"), "{arguments:?}: {told}");
        assert!(gone[0]["hint"].as_str().is_some_and(|hint| said.contains(hint)), "{told}");
        assert_eq!(second.json(&["sql", "SELECT count(*) AS n FROM people"])[0]["n"], 1, "{arguments:?}");
        assert!(!second.path("photos").exists(), "{arguments:?}");
        if arguments == ["fetch"] {
            second.succeed(&["data", "checkout", "notes"]);
        }
        assert_eq!(read(&second, "notes/a.txt"), "a note", "{arguments:?}");
        let said = second.fail(2, &["data", "checkout", "photos"]);
        assert!(said.contains("error: dataset `photos`") && !said.contains("fetch --all"), "{said}");
    }
}

#[test]
fn a_dataset_that_was_never_pushed_stops_no_other() {
    let place = Place::local();
    let first = three(&place);
    first.write("photos/owl.jpg", "an owl");
    first.succeed(&["data", "commit", "photos", "-m", "owl"]);
    commit(&first, "owl");
    assert_apart(&first, &["dataset `photos`, version ", "`ropewalk push photos`"]);
    let second = clone(&first);
    second.fail(1, &["pull"]);
    first.succeed(&["push"]);
    second.succeed(&["pull"]);
    assert_eq!(read(&second, "photos/owl.jpg"), "an owl");
    // A pointer that was changed by hand is told from one that fits.
    let pointer = read(&second, "photos.dataset");
    second.write("photos.dataset", &pointer.replace("files 3", "files 99"));
    for arguments in [&["data", "status"][..], &["pull"]] {
        let output = second.run(arguments);
        let said = talk(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(1) && said.contains("`files` is 99, expected 3"), "{arguments:?}: {said}");
        assert!(said.contains("git checkout -- photos.dataset"), "{said}");
    }
    git(second.root(), &["checkout", "--", "photos.dataset"]);
    second.succeed(&["pull"]);
}

#[test]
fn a_dataset_whose_pack_is_damaged_stops_no_other() {
    let place = Place::local();
    let first = three(&place);
    let before = packs(&place);
    first.write("photos/owl.jpg", "an owl");
    first.succeed(&["data", "commit", "photos", "-m", "owl"]);
    commit(&first, "owl");
    first.succeed(&["push"]);
    let new: Vec<_> = packs(&place).difference(&before).cloned().collect();
    assert!(!new.is_empty());
    for pack in &new {
        let bytes = std::fs::read(pack).expect("pack");
        std::fs::remove_file(pack).expect("remove");
        std::fs::write(pack, &bytes[..8.min(bytes.len())]).expect("write");
    }
    assert_apart(&first, &["dataset `photos`", "is damaged in `packs/", "data verify --remote NAME --heal"]);
    first.succeed(&["data", "verify", "--remote", "origin", "--heal"]);
    let second = clone(&first);
    second.succeed(&["pull"]);
    assert_eq!(read(&second, "photos/owl.jpg"), "an owl");
}

#[cfg(unix)]
#[test]
fn what_cannot_be_committed_or_pushed_keeps_no_other_back() {
    let place = Place::local();
    let first = birds(&place);
    first.write("notes/a.txt", "a note");
    first.succeed(&["data", "add", "notes"]);
    first.succeed(&["data", "commit", "notes", "-m", "notes"]);
    first.succeed(&["push"]);
    commit(&first, "notes");
    let second = clone(&first);
    second.succeed(&["pull"]);
    first.write("photos/wren.jpg", "the first's");
    first.succeed(&["data", "commit", "photos", "-m", "the first's"]);
    first.succeed(&["push"]);
    second.write("photos/wren.jpg", "the second's");
    second.write("notes/a.txt", "another note");
    second.succeed(&["data", "commit", "-m", "the second's"]);

    let output = second.run(&["push", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", talk(&output));
    assert!(talk(&output).contains("warning: photos: "), "{}", talk(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let failed = &told["failed"];
    assert!(failed[0]["name"] == "photos" && failed[0]["code"] == "versions.diverged", "{told}");
    let heads = &told["pushed"]["heads"];
    assert!(heads[0][0] == "notes" && heads[0][1]["head"] == "moved" && heads[1].is_null(), "{told}");
    first.succeed(&["fetch"]);
    assert_eq!(first.succeed(&["data", "cat", "data:notes@latest/a.txt"]), "another note");

    second.write("photos/wren.jpg", "later");
    second.write("notes/a.txt", "later");
    std::os::unix::fs::symlink("a.txt", second.path("notes/link")).expect("link");
    let output = second.run(&["data", "commit", "-m", "later", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", talk(&output));
    assert!(talk(&output).contains("warning: notes: "), "{}", talk(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(told[0]["path"] == "notes" && told[0]["code"] == "versions.links", "{told}");
    assert!(told[1]["name"] == "photos" && told[1]["outcome"]["outcome"] == "committed", "{told}");
}
