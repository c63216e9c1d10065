//! `kill -9` of what makes and lays out versions.

use std::collections::BTreeMap;

use super::git;
use crate::harness::{Draws, Project};

const FILES: usize = 200;

fn noise(draws: &mut Draws, numbers: std::ops::Range<usize>) -> BTreeMap<String, Vec<u8>> {
    numbers
        .map(|number| (format!("{number}.bin"), (0..20_000).map(|_| (draws.next() * 256.0) as u8).collect()))
        .collect()
}

fn written(project: &Project, files: &BTreeMap<String, Vec<u8>>) {
    let folder = project.path("noise");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
    std::fs::create_dir(&folder).expect("the folder");
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).expect("write");
    }
}

fn laid_out(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(project.path("noise")).expect("the folder").map(|entry| entry.expect("entry"));
    entries
        .map(|entry| (entry.file_name().into_string().expect("a name"), std::fs::read(entry.path()).expect("read")))
        .collect()
}

#[test]
fn a_killed_commit_is_made_once_and_a_killed_checkout_ends_whole() {
    let project = Project::new();
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    let mut draws = Draws(0xc0331);
    let first = noise(&mut draws, 0..FILES);
    // Some files are as before, some are changed, some are new, some are gone.
    let mut second: BTreeMap<_, _> = first.clone().into_iter().filter(|(name, _)| !name.starts_with('1')).collect();
    second.extend(noise(&mut draws, FILES / 2..FILES * 3 / 2));

    let mut moments = Draws(0x6111);
    written(&project, &first);
    project.succeed(&["data", "add", "noise"]);
    project.killed_until_through(&["data", "commit", "noise", "-m", "first"], &mut moments);
    written(&project, &second);
    project.killed_until_through(&["data", "commit", "noise", "-m", "second"], &mut moments);
    let log = project.json(&["data", "log", "noise"]);
    let messages: Vec<_> = log.as_array().into_iter().flatten().map(|one| one["version"]["message"].as_str()).collect();
    assert_eq!(messages, [Some("second"), Some("first")], "each was made once: {log}");
    for (version, files) in [("noise@v1", &first), ("noise@v2", &second), ("noise@v1", &first)] {
        project.killed_until_through(&["data", "checkout", version], &mut moments);
        assert!(laid_out(&project) == *files, "{version}");
        assert!(project.succeed(&["data", "status"]).contains("clean"), "{version}");
    }
    let verified = project.json(&["data", "verify"]);
    let none = |what: &str| verified[what].as_array().is_some_and(Vec::is_empty);
    assert!(none("damaged") && none("missing"), "{verified}");
    project.succeed(&["data", "audit", "--verify"]);
}

#[test]
fn a_killed_merge_is_made_once_and_ends_whole() {
    let project = Project::new();
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    let mut draws = Draws(0x3e56e);
    let first = noise(&mut draws, 0..FILES);
    let mut theirs = first.clone();
    theirs.extend(noise(&mut draws, FILES / 2..FILES * 3 / 2));
    written(&project, &first);
    project.succeed(&["data", "add", "noise"]);
    project.succeed(&["data", "commit", "noise", "-m", "first"]);
    let pointer = std::fs::read_to_string(project.path("noise.dataset")).expect("the pointer");
    written(&project, &theirs);
    project.succeed(&["data", "commit", "noise", "-m", "theirs"]);
    project.write("noise.dataset", &pointer);
    project.succeed(&["data", "checkout", "noise"]);
    project.write("noise/ours.bin", "ours");
    project.succeed(&["data", "commit", "noise", "-m", "ours"]);

    project.killed_until_through(&["data", "merge", "noise"], &mut Draws(0x6112));
    let mut merged = theirs;
    merged.insert("ours.bin".to_owned(), b"ours".to_vec());
    assert!(laid_out(&project) == merged);
    assert!(project.succeed(&["data", "status"]).contains("clean"));
    let log = project.json(&["data", "log", "noise"]);
    assert_eq!(log.as_array().map(Vec::len), Some(4), "{log}");
}
