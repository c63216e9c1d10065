//! Versions and tags that are removed, by hand and by retention, and what the audit trail says of it.

mod killed;

use std::path::Path;

use serde_json::Value;

use crate::data_versions::{self, clone, commit as save};
use crate::harness::Project;

const SECRET: &str = "a name and a number that nobody wants to be known";

fn git(project: &Project, arguments: &[&str]) {
    data_versions::git(project.root(), arguments);
}

/// Bytes that no compression changes, and that can be found in a store's files.
fn noise(seed: u8) -> Vec<u8> {
    crate::harness::noise(u64::from(seed), 20_000)
}

/// Whether some file below `folder` holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("folder").any(|entry| {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let found = std::fs::read(&path).expect("read");
        found.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// A project with three versions of `photos`; noise, and a text, are in the second only. It is pushed.
fn birds(remote: &Path) -> Project {
    let project = Project::new();
    git(&project, &["init", "-q"]);
    project.succeed(&["init", "."]);
    project.succeed(&["remote", "add", "origin", &format!("file:{}", remote.display())]);
    project.write("photos/robin.jpg", "not really a photo");
    project.succeed(&["data", "add", "photos"]);
    project.succeed(&["data", "commit", "photos", "-m", "first"]);
    save(&project, "first");
    std::fs::write(project.path("photos/noise.bin"), noise(1)).expect("write");
    project.write("photos/secret.txt", SECRET);
    project.succeed(&["data", "commit", "photos", "-m", "second"]);
    save(&project, "second");
    for name in ["noise.bin", "secret.txt"] {
        std::fs::remove_file(project.path(&format!("photos/{name}"))).expect("remove");
    }
    project.write("photos/wren.jpg", "nor this");
    project.succeed(&["data", "commit", "photos", "-m", "third"]);
    save(&project, "third");
    project.succeed(&["push"]);
    project
}

fn actions(project: &Project) -> Vec<(String, Value)> {
    let trail = project.json(&["data", "audit", "photos"]);
    let entry = |entry: &Value| (entry["action"].as_str().expect("action").to_owned(), entry["details"].clone());
    trail.as_array().expect("entries").iter().map(entry).collect()
}

#[test]
fn a_removed_version_loses_its_bytes_here_there_and_on_other_machines() {
    let folder = tempfile::tempdir().expect("folder");
    let (remote, store) = (folder.path().join("remote"), ".ropewalk/store");
    let first = birds(&remote);
    let second = clone(&first);
    second.succeed(&["pull"]);
    second.succeed(&["fetch", "--all"]);
    let bytes = &noise(1)[..64];
    for place in [&remote, &first.path(store), &second.path(store)] {
        assert!(holds(place, bytes), "{}", place.display());
    }

    first.succeed(&["data", "tag", "photos@v2", "keep"]);
    let said = first.fail(2, &["data", "rm", "photos@v2", "--why", "not ours"]);
    assert!(said.contains("tagged `keep`") && said.contains("data tag photos keep --delete"), "{said}");
    first.succeed(&["data", "tag", "photos", "keep", "--delete"]);
    let said = first.fail(2, &["data", "rm", "photos@v3", "--why", "not ours"]);
    assert!(said.contains("in the work tree") && said.contains("data checkout photos@VERSION"), "{said}");
    assert!(first.fail(2, &["data", "rm", "photos@v2"]).contains("--reason"));
    assert!(first.fail(2, &["data", "rm", "photos", "--why", "x"]).contains("photos@VERSION"));
    assert!(first.fail(2, &["data", "rm", "photos@v9", "--why", "x"]).contains("no version `v9`"));
    assert!(first.fail(2, &["data", "rm", "photos@v2/secret.txt", "--why", "x"]).contains("as a whole"));

    let removed = first.json(&["data", "rm", "photos@v2", "--reason", "not ours"]);
    assert_eq!(removed["needed"], false, "{removed}");
    let (action, details) = actions(&first)[0].clone();
    assert_eq!((action.as_str(), &details["why"]), ("delete", &Value::from("not ours")));
    for arguments in [
        ["checkout", "photos@v2"].as_slice(),
        &["cat", "data:photos@v2/secret.txt"],
        &["diff", "photos@v2", "photos@v3"],
        &["tag", "photos@v2", "keep"],
        &["rm", "photos@v2", "--why", "again"],
    ] {
        let said = first.fail(2, &[["data"].as_slice(), arguments].concat());
        assert!(said.contains("was removed by") && said.contains("not ours"), "{arguments:?}: {said}");
        assert!(said.contains("data log photos"), "{said}");
    }
    let log = first.json(&["data", "log", "photos"]);
    assert_eq!((&log[1]["removed"]["why"], &log[0]["removed"]), (&Value::from("not ours"), &Value::Null), "{log}");
    assert!(first.succeed(&["data", "log", "photos"]).contains(": not ours"));
    assert!(first.succeed(&["data", "lineage", "photos@v2"]).contains("not ours"), "lineage knows it");
    assert_eq!(first.json(&["data", "du"]).as_array().map(Vec::len), Some(2));

    first.succeed(&["data", "gc", "--grace", "0"]);
    assert!(!holds(&first.path(store), bytes), "its bytes are gone");
    assert_eq!(first.succeed(&["data", "cat", "data:photos@v1/robin.jpg"]), "not really a photo");
    assert_eq!(first.json(&["data", "verify"])["missing"].as_array().map(Vec::len), Some(0));
    assert!(holds(&remote, bytes));
    assert!(first.succeed(&["push"]).contains("is removed in origin now"));
    first.succeed(&["data", "gc", "--remote", "origin", "--grace", "0"]);
    assert!(!holds(&remote, bytes), "there too");
    first.succeed(&["push"]);

    assert!(second.succeed(&["pull"]).contains("was removed in origin"));
    second.succeed(&["data", "gc", "--grace", "0"]);
    assert!(!holds(&second.path(store), bytes), "and on the other machine");
    second.succeed(&["fetch", "--all"]);
    git(&second, &["checkout", "-q", "HEAD~1"]);
    let said = second.fail(1, &["pull"]);
    assert!(said.contains("was removed by") && said.contains("not ours"), "{said}");
    git(&second, &["checkout", "-q", "main"]);
    second.succeed(&["pull"]);
    second.write("photos/owl.jpg", "an owl");
    second.succeed(&["data", "commit", "photos", "-m", "fourth"]);
    second.succeed(&["push"]);
    let third = clone(&second);
    third.succeed(&["pull", "--latest"]);
    assert!(third.path("photos/owl.jpg").exists());
}

#[test]
fn a_tag_that_was_deleted_is_deleted_everywhere() {
    let folder = tempfile::tempdir().expect("folder");
    let first = birds(&folder.path().join("remote"));
    first.succeed(&["data", "tag", "photos@v1", "good"]);
    first.succeed(&["push"]);
    let second = clone(&first);
    second.succeed(&["pull"]);
    let tags = |project: &Project| project.json(&["data", "tag", "photos"]).as_array().map(Vec::len);
    assert_eq!(tags(&second), Some(1));
    first.succeed(&["data", "tag", "photos", "good", "--delete"]);
    first.succeed(&["fetch"]);
    assert_eq!(tags(&first), Some(0), "it does not come back");
    assert!(first.succeed(&["push"]).contains("photos: the tag good is deleted in origin now"));
    second.succeed(&["push"]);
    first.succeed(&["pull"]);
    assert_eq!(tags(&first), Some(0));
    let third = clone(&first);
    let said = second.succeed(&["fetch"]);
    assert!(said.contains("photos: the tag good was deleted in origin, and so here"), "{said}");
    assert_eq!(tags(&second), Some(0), "it is deleted there too");
    second.succeed(&["data", "tag", "photos@v1", "good"]);
    second.succeed(&["push"]);
    first.succeed(&["fetch"]);
    assert_eq!(tags(&first), Some(1), "it was set anew");
    third.succeed(&["pull"]);
    second.succeed(&["data", "tag", "photos", "good", "--delete"]);
    second.succeed(&["push"]);
    let told = third.json(&["pull", "--all"]);
    assert_eq!(told["pulled"]["fetched"]["deleted_tags"], serde_json::json!([["photos", "good"]]), "{told}");
}

#[test]
fn retention_reaches_tracked_files_and_one_tag_is_in_nobodys_way() {
    let folder = tempfile::tempdir().expect("folder");
    let project = birds(&folder.path().join("remote"));
    let file = std::fs::read_to_string(project.path("ropewalk.toml")).expect("project file");
    let declared = "\n[data.albums]\nsource = \"data:photos\"\nretention_days = 0\n\
                    [data.a]\nsource = \"a.csv\"\nretention_days = 0\n\
                    [data.b]\nsource = \"b.csv\"\nretention_days = 0\n";
    project.write("a.csv", "x\n1\n");
    project.write("b.csv", "x\n2\n");
    project.succeed(&["data", "tag", "photos@v1", "good"]);
    assert_eq!(project.json(&["data", "retention"]), serde_json::json!([]));
    project.write("ropewalk.toml", &format!("{file}{declared}"));
    let listed = project.json(&["data", "retention"]);
    let states = |due: &Value, dataset: &str| -> Vec<(String, String)> {
        let of = due.as_array().expect("due").iter().filter(|one| one["dataset"] == dataset);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        of.map(|one| (text(&one["state"]), text(&one["reason"]))).collect()
    };
    let photos = states(&listed, "photos");
    assert_eq!(photos.len(), 3, "before any run: {listed}");
    assert!(photos[0].0 == "kept" && photos[0].1.contains("tagged `good`"), "{listed}");
    assert_eq!(photos[1].0, "due");
    assert!(photos[2].0 == "kept" && photos[2].1.contains("work tree"), "{listed}");

    project.succeed(&["run"]);
    project.succeed(&["data", "tag", "a", "good"]);
    let text = project.succeed(&["data", "retention", "--remove", "--why", "gdpr"]);
    assert!(text.contains("kept: version") && text.contains("tagged `good`") && text.contains("removed"), "{text}");
    let after = project.json(&["data", "retention"]);
    assert_eq!((states(&after, "photos").len(), states(&after, "a").len()), (2, 1), "{after}");
    assert_eq!(states(&after, "b"), [], "the tag on `a` did not stop it");
    assert!(project.fail(2, &["data", "cat", "data:photos@v2/secret.txt"]).contains("gdpr"));
    assert!(project.fail(2, &["sql", "SELECT * FROM b"]).contains("gdpr"));
    assert_eq!(project.json(&["sql", "SELECT x FROM a"])[0]["x"], 1);
    project.succeed(&["data", "gc", "--grace", "0"]);
    assert!(!holds(&project.path(".ropewalk/store"), &noise(1)[..64]));

    // A version of a table by hand, in the same words.
    let said = project.fail(2, &["data", "rm", "a@latest", "--why", "asked to"]);
    assert!(said.contains("tagged `good`"), "{said}");
    project.succeed(&["data", "tag", "a", "good", "--delete"]);
    project.succeed(&["data", "rm", "a@latest", "--why", "asked to"]);
    assert!(project.fail(2, &["sql", "SELECT * FROM a"]).contains("asked to"));
    project.succeed(&["data", "audit", "--verify"]);
}

#[test]
fn a_stage_does_not_read_what_was_removed() {
    let folder = tempfile::tempdir().expect("folder");
    let project = birds(&folder.path().join("remote"));
    let file = std::fs::read_to_string(project.path("ropewalk.toml")).expect("project file");
    let stage = |source: &str| {
        project.write(
            "ropewalk.toml",
            &format!(
                "{file}\n[data.album]\nsource = \"data:{source}\"\n[stage.list]\nrun = \"ls inputs/album > out.txt\"\n\
                 in = [\"album\"]\nout = {{ list = \"out.txt\" }}\n"
            ),
        );
    };
    stage("photos@v2");
    project.succeed(&["run"]);
    project.succeed(&["data", "rm", "photos@v2", "--why", "not ours"]);
    let said = project.run(&["run"]);
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("was removed by") && said.contains("not ours"), "{said}");
    project.succeed(&["data", "gc", "--grace", "0"]);
    assert!(!holds(&project.path(".ropewalk/store"), &noise(1)[..64]), "that a stage had read it keeps nothing");
    stage("photos");
    project.succeed(&["run"]);
}

#[test]
fn a_single_file_that_was_removed_is_not_kept_by_the_stage_that_gave_it_on() {
    let file = "[project]\nname = \"x\"\n[data.noise]\nsource = \"data:noise.bin\"\n\
                [stage.size]\nrun = \"wc -c inputs/noise/noise.bin > out.txt\"\nin = [\"noise\"]\n\
                out = { size = \"out.txt\" }\n";
    let project = Project::with(&[("ropewalk.toml", file)]);
    for (seed, message) in [(1, "first"), (2, "second")] {
        std::fs::write(project.path("noise.bin"), noise(seed)).expect("write");
        project.succeed(&["data", "add", "noise.bin"]);
        project.succeed(&["data", "commit", "noise.bin", "-m", message]);
        project.succeed(&["run"]);
    }
    let kept = |seed: u8| holds(&project.path(".ropewalk/store"), &noise(seed)[..64]);
    assert!(kept(1) && kept(2));
    project.succeed(&["data", "rm", "noise.bin@v1", "--why", "not ours"]);
    project.succeed(&["data", "gc", "--grace", "0"]);
    assert!(!kept(1) && kept(2), "that a stage had it keeps nothing");
    project.succeed(&["run"]);
}

#[test]
fn one_bad_pointer_is_in_nobodys_way() {
    let folder = tempfile::tempdir().expect("folder");
    let project = birds(&folder.path().join("remote"));
    let file = std::fs::read_to_string(project.path("ropewalk.toml")).expect("project file");
    let stages = "\n[data.album]\nsource = \"data:photos\"\n[stage.list]\nrun = \"ls inputs/album > out.txt\"\n\
                  in = [\"album\"]\nout = { list = \"out.txt\" }\n";
    project.write("ropewalk.toml", &format!("{file}{stages}"));
    let pointer = std::fs::read_to_string(project.path("photos.dataset")).expect("pointer");
    let mark = pointer.lines().next().expect("a line");
    project.write("bad.dataset", &format!("{mark}\n<<<<<<< ours\nname bad\n=======\nname bad\n>>>>>>> theirs\n"));
    project.write("worse.dataset", &format!("{mark}\nnonsense\n"));
    for arguments in [["data", "ls"].as_slice(), &["data", "log", "photos"], &["data", "lineage", "photos"], &["run"]] {
        project.succeed(arguments);
    }
    let output = project.run(&["data", "ls", "--output", "json"]);
    let (said, listed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("bad") && said.contains("worse") && said.contains("git checkout --"), "{said}");
    assert!(listed.contains("\"photos\""), "{listed}");
    let said = project.fail(2, &["data", "log", "fish"]);
    assert!(said.contains("`fish`"), "{said}");
}

#[test]
fn the_trail_has_what_is_done_before_it_is_done() {
    let folder = tempfile::tempdir().expect("folder");
    let project = birds(&folder.path().join("remote"));
    let heard = actions(&project);
    let written = heard.iter().filter(|(action, details)| action == "write" && details["message"].is_string()).count();
    assert_eq!(written, 3, "{heard:?}");
    assert_eq!(heard[0].1["pushed_to"], "origin", "{heard:?}");
    project.succeed(&["push"]);
    assert_eq!(actions(&project).len(), heard.len(), "nothing was pushed");
    project.succeed(&["data", "tag", "photos@v1", "good"]);
    // What fails leaves its entry.
    project.fail(2, &["data", "tag", "photos@v2", "good"]);
    project.fail(2, &["data", "rm", "photos@v1", "--why", "not ours"]);
    let heard: Vec<_> = actions(&project).into_iter().map(|(action, _)| action).take(3).collect();
    assert_eq!(heard, ["delete", "tag", "tag"]);
    // A trail that cannot be written lets nothing be done.
    project.write("photos/owl.jpg", "an owl");
    let file = std::fs::read_to_string(project.path("ropewalk.toml")).expect("project file");
    project.write("ropewalk.toml", &format!("{file}\n[backends]\ncatalog = \"sqlite:ropewalk.toml/catalog.db\"\n"));
    project.fail(2, &["data", "commit", "photos", "-m", "fourth"]);
    project.write("ropewalk.toml", &file);
    assert_eq!(project.json(&["data", "log", "photos"]).as_array().map(Vec::len), Some(3));
    project.succeed(&["data", "commit", "photos", "-m", "fourth"]);
    project.succeed(&["data", "audit", "--verify"]);
}

#[test]
fn a_folder_that_became_a_file_is_committed() {
    let folder = tempfile::tempdir().expect("folder");
    let project = birds(&folder.path().join("remote"));
    std::fs::remove_dir_all(project.path("photos")).expect("remove");
    project.write("photos", "one file now");
    let status = project.json(&["data", "status"]);
    assert_eq!(status[0]["added"].as_array().map(Vec::len), Some(1), "{status}");
    let said = project.fail(2, &["data", "restore", "photos"]);
    assert!(said.contains("`photos` is a file now, and was a folder"), "{said}");
    project.succeed(&["data", "commit", "photos", "-m", "one file"]);
    assert!(project.succeed(&["data", "status"]).contains("clean"));
    project.succeed(&["data", "checkout", "photos@v3"]);
    assert!(project.path("photos/wren.jpg").exists());
    project.succeed(&["data", "checkout", "photos@latest"]);
    assert_eq!(std::fs::read_to_string(project.path("photos")).expect("file"), "one file now");
}

#[test]
fn nobody_collects_in_the_store_of_another_project() {
    let folder = tempfile::tempdir().expect("folder");
    let first = birds(&folder.path().join("remote"));
    let store = first.path(".ropewalk/store");
    // It has refs of tracked files only, as a remote has; added and not committed is known to its work tree alone.
    first.write("photos/owl.jpg", SECRET);
    first.succeed(&["data", "add", "photos"]);
    let other = Project::new();
    git(&other, &["init", "-q"]);
    other.succeed(&["init", "."]);
    other.succeed(&["remote", "add", "theirs", &format!("file:{}", store.display())]);
    let said = other.fail(2, &["data", "gc", "--remote", "theirs", "--grace", "0"]);
    assert!(said.contains("also the store of a project"), "{said}");
    assert!(holds(&store, SECRET.as_bytes()));
    other.succeed(&["remote", "add", "origin", &format!("file:{}", folder.path().join("remote").display())]);
    other.succeed(&["data", "gc", "--remote", "origin", "--grace", "0"]);
}
