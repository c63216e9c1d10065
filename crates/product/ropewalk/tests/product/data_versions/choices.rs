//! Flags that decide: each does what it says, and nothing else.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Place, birds, clone, commit, read};
use crate::harness::{Draws, Project};

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut draws = Draws(seed);
    (0..length).map(|_| (draws.next() * 256.0) as u8).collect()
}

fn count(told: &Value) -> usize {
    told.as_array().unwrap_or_else(|| panic!("a list: {told}")).len()
}

#[test]
fn what_both_changed_is_decided_for_one_side_and_a_tag_is_moved() {
    let place = Place::local();
    let first = birds(&place);
    first.write("notes/a.txt", "nor this");
    first.succeed(&["data", "add", "notes"]);
    first.succeed(&["data", "commit", "-m", "notes", "notes"]);
    commit(&first, "notes");
    first.succeed(&["push"]);
    let second = clone(&first);
    second.succeed(&["pull"]);
    for (project, text) in [(&first, "first"), (&second, "second")] {
        project.write("photos/wren.jpg", text);
        project.write("notes/a.txt", text);
        project.succeed(&["data", "commit", "-m", text, "--author", "Ada <ada@example.com>"]);
    }
    first.succeed(&["push"]);
    second.succeed(&["fetch"]);
    for (name, file, side, text) in
        [("photos", "photos/wren.jpg", "--ours", "second"), ("notes", "notes/a.txt", "--theirs", "first")]
    {
        second.fail(2, &["data", "merge", name, "--ours", "--theirs"]);
        let listed = second.run(&["data", "merge", name]);
        let text_of = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.status.code() == Some(1) && text_of.contains("(both changed it)"), "{text_of}");
        assert_eq!(read(&second, file), "second", "nothing was done");
        let merged = second.json(&["data", "merge", name, side]);
        assert_eq!((merged["outcome"].as_str(), read(&second, file).as_str()), (Some("merged"), text), "{merged}");
        let log = second.json(&["data", "log", name]);
        assert_eq!((count(&log), log[0]["number"].as_u64()), (4, Some(3)), "{log}");
        assert_eq!(log.to_string().matches("Ada <ada@example.com>").count(), 2, "{log}");
    }
    second.succeed(&["push"]);

    let tagged = || second.succeed(&["data", "cat", "data:photos@good/wren.jpg"]);
    second.succeed(&["data", "tag", "photos@v1", "good"]);
    let said = second.fail(2, &["data", "tag", "photos@latest", "good"]);
    assert!(said.contains("--move") && tagged() == "nor this", "{said}");
    second.succeed(&["data", "tag", "photos@latest", "good", "--move"]);
    assert_eq!(tagged(), "second");
}

#[cfg(unix)]
#[test]
fn large_files_come_as_was_asked_for_and_as_doctor_says() {
    use std::os::unix::fs::MetadataExt as _;
    let project = Project::with(&[("ropewalk.toml", "[project]\nname = \"x\"\n[data.a]\nsource = \"a.csv\"\n")]);
    let (bytes, path) = (noise(0x11e, 2 << 20), project.path("large/a.bin"));
    std::fs::create_dir(project.path("large")).expect("folder");
    std::fs::write(&path, &bytes).expect("write");
    project.succeed(&["data", "add", "large"]);
    project.succeed(&["data", "commit", "-m", "large", "large"]);
    // Whether it has a second name, and whether it may be written.
    let state = || {
        let found = path.metadata().expect("the file");
        assert!(std::fs::read(&path).expect("read") == bytes);
        (found.nlink() > 1, !found.permissions().readonly())
    };
    let anew = |link: &str| {
        std::fs::remove_file(&path).expect("remove");
        project.succeed(&["data", "checkout", "large", "--link", link])
    };
    let said = anew("hardlink");
    assert!(said.contains("1 of them linked, read-only") && state() == (true, false), "{said}");
    // It stays where it is, and gets bytes of its own.
    project.succeed(&["data", "checkout", "large", "--link", "copy"]);
    assert_eq!(state(), (false, true));
    let said = anew("copy");
    assert!(!said.contains("of them") && state() == (false, true), "{said}");

    let findings = project.json(&["doctor"]);
    let finding = findings.as_array().and_then(|all| all.iter().find(|one| one["what"] == "checkout"));
    let detail = finding.and_then(|one| one["detail"].as_str()).unwrap_or_else(|| panic!("{findings}"));
    let (how, expected) = match detail {
        "clones that share their blocks" => ("1 of them cloned", (false, true)),
        "copies, and read-only hard links for large files" => ("1 of them linked, read-only", (true, false)),
        "copies" => ("1 file written", (false, true)),
        other => panic!("{other}"),
    };
    let said = anew("auto");
    assert!(said.contains(how) && state() == expected, "{detail}: {said}");
}

fn largest_file(folder: &Path) -> PathBuf {
    let (mut folders, mut largest) = (vec![folder.to_owned()], (0, PathBuf::new()));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                largest = largest.max((path.metadata().expect("metadata").len(), path));
            }
        }
    }
    largest.1
}

#[test]
fn garbage_is_counted_before_it_goes_and_damage_is_healed() {
    let place = Place::local();
    let project = birds(&place);
    let bytes = noise(0xbad, 40_000);
    std::fs::write(project.path("photos/noise.jpg"), &bytes).expect("write");
    project.succeed(&["data", "commit", "-m", "noise", "photos"]);
    project.succeed(&["push"]);
    project.write("photos/secret.jpg", "added by mistake");
    project.succeed(&["data", "add", "photos"]);
    std::fs::remove_file(project.path("photos/secret.jpg")).expect("remove");
    project.succeed(&["data", "add", "photos"]);
    let collect = |more: &[&str]| project.json(&[&["data", "gc", "--grace", "0"], more].concat());
    let (counted, again) = (collect(&["--dry-run"]), collect(&["--dry-run"]));
    assert!(counted["removed"]["pieces"].as_u64() > Some(0) && counted == again, "{counted} {again}");
    assert!(project.succeed(&["data", "gc", "--grace", "0", "--dry-run"]).contains("would be removed"));
    let gone = collect(&[]);
    assert_eq!((&gone["removed"], &gone["kept"]), (&counted["removed"], &counted["kept"]), "{gone}");
    assert_eq!(collect(&["--dry-run"])["removed"]["pieces"], 0);

    let pack = largest_file(&project.path(".ropewalk/store/packs"));
    let mut damaged = std::fs::read(&pack).expect("a pack");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::remove_file(&pack).expect("the pack");
    std::fs::write(&pack, &damaged).expect("the pack");
    let output = project.run(&["data", "verify", "--output", "json"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &found["damaged"][0]["healed"]), (Some(1), &Value::Bool(false)), "{found}");
    let healed = project.json(&["data", "verify", "--heal", "origin"]);
    assert_eq!((count(&healed["damaged"]), &healed["damaged"][0]["healed"]), (1, &Value::Bool(true)), "{healed}");
    let found = project.json(&["data", "verify"]);
    assert_eq!((count(&found["damaged"]), count(&found["missing"])), (0, 0), "{found}");
    assert!(project.run(&["data", "cat", "data:photos@latest/noise.jpg"]).stdout == bytes);
}

#[test]
fn a_remote_has_a_plain_name_and_a_url_of_a_kind_that_is_built_in() {
    let project = Project::new();
    project.succeed(&["init", "."]);
    let before = read(&project, "ropewalk.toml");
    for bad in ["", "..", "a/b", "../x", "my disk", "a\u{1b}[2J", "a\nb", ".hidden", "--", "é"] {
        let said = project.fail(2, &["remote", "add", "--", bad, "file:remote"]);
        assert!(said.contains("cannot name a remote") && said.contains("letters, digits"), "{bad:?}: {said}");
        assert!(!said.contains('\u{1b}'), "{said}");
    }
    for bad in ["ftp://host/x", "remote", "https://host/x", "file:", ""] {
        let said = project.fail(2, &["remote", "add", "origin", bad]);
        assert!(said.contains("this build knows") && said.contains("s3://BUCKET/PREFIX"), "{bad:?}: {said}");
    }
    assert_eq!(read(&project, "ropewalk.toml"), before);
    project.succeed(&["remote", "add", "disk-2.b_c", "file:remote"]);
    assert!(read(&project, "ropewalk.toml").contains("disk-2.b_c"));
}

#[test]
fn a_remote_is_no_place_of_the_project_itself() {
    let project = birds(&Place::local());
    let before = read(&project, "ropewalk.toml");
    let own = format!("file:{}", project.path(".ropewalk/store").display());
    for (url, why) in [
        ("file:~/birds", "home folder"),
        ("file:.ropewalk/store", "the project's own store"),
        ("file:.ropewalk", "the project's own state"),
        ("file:nowhere/../.ropewalk/x", "the project's own state"),
        (own.as_str(), "the project's own store"),
        ("file:photos", "in the data of `photos`"),
        ("file:photos/deep/birds", "in the data of `photos`"),
        ("file:backup", "git would take it"),
    ] {
        let said = project.fail(2, &["remote", "add", "other", url]);
        assert!(said.contains(why) && said.contains("hint: "), "{url}: {said}");
    }
    assert_eq!(read(&project, "ropewalk.toml"), before);
    let ignored = format!("{}/backup/\n", read(&project, ".gitignore"));
    project.write(".gitignore", &ignored);
    project.succeed(&["remote", "add", "other", "file:backup"]);
    // What is not there is told by its words.
    project.succeed(&["remote", "add", "beside", "file:../nowhere/../birds"]);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_project_is_the_place_that_it_leads_to() {
    let project = birds(&Place::local());
    let outside = tempfile::tempdir().expect("a folder");
    for (link, target) in [("out", outside.path().to_owned()), ("later", outside.path().join("later"))] {
        std::os::unix::fs::symlink(target, project.path(link)).expect("a link");
        project.succeed(&["remote", "add", link, &format!("file:{link}")]);
        project.succeed(&["remote", "add", &format!("{link}-deep"), &format!("file:{link}/deep")]);
    }
    std::os::unix::fs::symlink("photos", project.path("in")).expect("a link");
    let said = project.fail(2, &["remote", "add", "other", "file:in/deep"]);
    assert!(said.contains("in the data of `photos`"), "{said}");
}
