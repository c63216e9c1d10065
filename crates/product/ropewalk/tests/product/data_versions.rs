//! `docs/data.md` from an empty folder to a second machine, and what can go wrong on the way.

mod apart;
mod choices;
mod in_part;
mod killed;
#[cfg(target_os = "linux")]
mod memory;
mod said;
mod secrets;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) use crate::harness::Place;
use crate::harness::{Draws, Project, Running, talk};

pub(crate) fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    let output = Command::new("git").args(identity).args(arguments).current_dir(folder).output().expect("git");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn commit(project: &Project, message: &str) {
    git(project.root(), &["add", "-A"]);
    git(project.root(), &["commit", "-qm", message]);
}

pub(crate) fn read(project: &Project, name: &str) -> String {
    std::fs::read_to_string(project.path(name)).expect(name)
}

/// A project with two photos, committed, and a remote.
pub(crate) fn birds(remote: &Place) -> Project {
    let project = Project::in_environment(&remote.environment);
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    project.write("photos/robin.jpg", "not really a photo");
    project.write("photos/wren.jpg", "nor this");
    project.succeed(&["data", "add", "photos"]);
    project.succeed(&["data", "commit", "photos", "-m", "first birds"]);
    project.succeed(&["remote", "add", "origin", &remote.url]);
    commit(&project, "track photos");
    project
}

pub(crate) fn clone(of: &Project) -> Project {
    let project = Project::in_environment(of.environment());
    let from = of.root().to_str().expect("path");
    git(project.root(), &["clone", "-q", from, "."]);
    project
}

#[test]
fn from_an_empty_folder_to_a_second_machine() {
    let place = Place::local();
    let first = birds(&place);
    assert_eq!(read(&first, ".gitignore").lines().filter(|line| line.contains("photos")).count(), 1);
    first.succeed(&["data", "tag", "photos", "first-birds"]);
    first.write("photos/wren.jpg", "a better photo");
    first.write("photos/owl.jpg", "an owl");
    let status = first.json(&["data", "status"]);
    assert_eq!(status[0]["changed"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status[0]["added"].as_array().map(Vec::len), Some(1), "{status}");
    first.succeed(&["data", "commit", "-m", "better birds", "photos"]);
    commit(&first, "better birds");
    let diff = first.json(&["data", "diff", "photos@v1", "photos@v2"]);
    assert_eq!(
        (diff["added"][0]["path"].as_str(), diff["changed"][0]["path"].as_str()),
        (Some("owl.jpg"), Some("wren.jpg"))
    );
    assert_eq!(first.succeed(&["data", "cat", "data:photos@first-birds/wren.jpg"]), "nor this");
    first.succeed(&["push"]);
    assert!(first.succeed(&["push"]).contains("up to date"));

    let second = clone(&first);
    second.succeed(&["pull"]);
    assert_eq!(read(&second, "photos/wren.jpg"), "a better photo");
    assert_eq!(second.json(&["data", "log", "photos"]).as_array().map(Vec::len), Some(2));
    second.succeed(&["data", "checkout", "photos@first-birds"]);
    assert_eq!(read(&second, "photos/wren.jpg"), "nor this");
    assert!(!second.path("photos/owl.jpg").exists());
    second.succeed(&["data", "checkout", "photos@latest", "owl.jpg"]);
    assert!(second.path("photos/owl.jpg").exists() && !second.path("photos/robin.jpg").exists());
}

#[test]
fn what_no_version_holds_is_never_overwritten() {
    let place = Place::local();
    let project = birds(&place);
    project.write("photos/wren.jpg", "second");
    project.succeed(&["data", "commit", "-m", "two", "photos"]);
    project.write("photos/wren.jpg", "precious");
    let said = project.fail(2, &["data", "checkout", "photos@v1"]);
    assert!(said.contains("wren.jpg"), "{said}");
    assert_eq!(read(&project, "photos/wren.jpg"), "precious");
    project.succeed(&["data", "restore", "photos", "wren.jpg"]);
    assert_eq!(read(&project, "photos/wren.jpg"), "second");
}

#[test]
fn two_lines_of_work_are_merged_file_by_file() {
    let place = Place::local();
    let first = birds(&place);
    first.succeed(&["push"]);
    let second = clone(&first);
    second.succeed(&["pull"]);

    first.write("photos/owl.jpg", "an owl");
    first.succeed(&["data", "commit", "-m", "owl", "photos"]);
    commit(&first, "owl");
    first.succeed(&["push"]);

    second.write("photos/kite.jpg", "a kite");
    second.succeed(&["data", "commit", "-m", "kite", "photos"]);
    commit(&second, "kite");
    let said = second.fail(2, &["push"]);
    assert!(said.contains("pull") || said.contains("merge"), "{said}");

    let merge = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "pull", "-q", "--no-rebase", "origin", "main"])
        .current_dir(second.root())
        .output()
        .expect("git");
    assert!(!merge.status.success(), "the pointer conflicts");
    let said = second.fail(1, &["pull"]);
    assert!(said.contains("photos.dataset") && said.contains("conflict marker"), "{said}");
    second.succeed(&["fetch"]);
    second.succeed(&["data", "merge", "photos"]);
    for name in ["owl", "kite", "robin", "wren"] {
        assert!(second.path(&format!("photos/{name}.jpg")).exists(), "{name}");
    }
    commit(&second, "merged");
    second.succeed(&["push"]);
    assert_eq!(second.json(&["data", "log", "photos"]).as_array().map(Vec::len), Some(4));
}

#[test]
fn a_killed_push_goes_on_and_a_pull_is_whole() {
    killed_on_the_way(&Place::local());
}

#[test]
fn a_killed_push_to_s3_goes_on_and_a_pull_is_whole() {
    killed_on_the_way(&Place::s3());
}

/// `kill -9` at random points of `data add`, `push` and `pull`, until they are through.
fn killed_on_the_way(place: &Place) {
    const FILES: usize = 200;
    let project = Project::in_environment(&place.environment);
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    let mut draws = Draws(0x7a77);
    std::fs::create_dir(project.path("noise")).expect("folder");
    for number in 0..FILES {
        let bytes: Vec<u8> = (0..20_000).map(|_| (draws.next() * 256.0) as u8).collect();
        std::fs::write(project.path(&format!("noise/{number}.bin")), bytes).expect("write");
    }
    project.killed_until_through(&["data", "add", "noise"], &mut draws);
    project.succeed(&["data", "commit", "noise", "-m", "noise"]);
    project.succeed(&["remote", "add", "origin", &place.url]);
    commit(&project, "noise");
    project.killed_until_through(&["push"], &mut draws);
    let second = clone(&project);
    second.killed_until_through(&["pull"], &mut draws);
    for number in 0..FILES {
        let name = format!("noise/{number}.bin");
        let (ours, theirs) = (std::fs::read(project.path(&name)), std::fs::read(second.path(&name)));
        assert_eq!(ours.expect("ours"), theirs.expect("theirs"), "{name}");
    }
    let verified = second.json(&["data", "verify"]);
    assert_eq!(verified["damaged"].as_array().map(Vec::len), Some(0), "{verified}");
    assert!(second.succeed(&["data", "status"]).contains("noise"));
}

#[test]
fn two_pushes_at_once_are_both_whole() {
    for place in [Place::local(), Place::s3()] {
        two_pushes(&place);
    }
}

fn two_pushes(place: &Place) {
    let first = birds(place);
    first.succeed(&["push"]);
    let second = clone(&first);
    second.succeed(&["pull"]);
    for (project, name) in [(&first, "one"), (&second, "two")] {
        project.write(&format!("photos/{name}.jpg"), name);
        project.succeed(&["data", "commit", "-m", name, "photos"]);
    }
    let mut children = [&first, &second].map(|project| project.command(&["push"]).spawn().expect("push"));
    let codes = children.each_mut().map(|child| child.wait().expect("push").code());
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    let third = clone(&first);
    third.succeed(&["pull", "--latest"]);
    let names = ["one", "two"].map(|name| third.path(&format!("photos/{name}.jpg")).exists());
    assert_eq!(names.iter().filter(|there| **there).count(), 1, "the first of them is the latest");
}

#[test]
fn garbage_goes_and_what_is_needed_stays() {
    let place = Place::local();
    let project = birds(&place);
    project.write("photos/secret.jpg", "added by mistake");
    project.succeed(&["data", "add", "photos"]);
    std::fs::remove_file(project.path("photos/secret.jpg")).expect("remove");
    project.succeed(&["data", "add", "photos"]);
    let told = project.json(&["data", "gc", "--grace", "0", "--dry-run"]);
    let collected = project.json(&["data", "gc", "--grace", "0"]);
    assert!(collected["removed"]["pieces"].as_u64() >= Some(1), "{collected}");
    assert!(
        collected["freed_bytes"].as_u64() > Some(0) && collected["freed_objects"].as_u64() > Some(0),
        "{collected}"
    );
    for amount in ["removed", "freed_bytes", "freed_objects", "kept"] {
        assert_eq!(told[amount], collected[amount], "{amount}: a dry run says what goes");
    }
    assert_eq!(project.succeed(&["data", "cat", "data:photos@v1/robin.jpg"]), "not really a photo");
    let verified = project.json(&["data", "verify"]);
    assert_eq!(verified["damaged"].as_array().map(Vec::len), Some(0), "{verified}");
    // What no version there names went along with a push of something that was only added.
    project.write("photos/lark.jpg", "never committed");
    project.succeed(&["data", "add", "photos"]);
    project.succeed(&["push"]);
    project.succeed(&["data", "restore", "photos"]);
    std::fs::remove_file(project.path("photos/lark.jpg")).expect("remove");
    project.succeed(&["data", "add", "photos"]);
    let there = project.json(&["data", "gc", "--remote", "origin", "--grace", "0"]);
    assert!(there["removed"]["pieces"].as_u64() >= Some(1), "{there}");
    let second = clone(&project);
    second.succeed(&["pull"]);
    assert_eq!(read(&second, "photos/robin.jpg"), "not really a photo");
    let costs = project.json(&["data", "du"]);
    assert_eq!(costs[0]["name"], "photos", "{costs}");
}

#[test]
fn nothing_is_removed_at_once_while_another_command_works() {
    let folder = tempfile::tempdir().expect("folder");
    let gate = folder.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
    let stage = format!("[stage.step]\nrun = \"cat {} > a\"\nout = {{ a = \"a\" }}\n", gate.display());
    let project = Project::with(&[("ropewalk.toml", &format!("[project]\nname = \"x\"\n{stage}"))]);
    let run = project.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let mut run = Running(run);
    // Opened by one side when the other does: from here on the stage is at work.
    let mut gate = std::fs::OpenOptions::new().write(true).open(gate).expect("gate");
    let said = project.fail(2, &["data", "gc", "--grace", "0"]);
    assert!(said.contains("other commands of this project use its store"), "{said}");
    project.succeed(&["data", "gc", "--grace", "0", "--dry-run"]);
    project.succeed(&["data", "gc"]);
    gate.write_all(b"1").expect("gate");
    drop(gate);
    assert!(run.0.wait().expect("run").success());
    project.succeed(&["data", "gc", "--grace", "0"]);
}

#[test]
fn a_wrong_path_changes_nothing() {
    let place = Place::local();
    let project = birds(&place);
    project.write("notes/a", "1");
    project.succeed(&["data", "add", "notes"]);
    let said = project.fail(2, &["data", "checkout", "photos", "robbin.jpg"]);
    assert!(said.contains("`robbin.jpg`") && said.contains("`robin.jpg`, `wren.jpg`"), "{said}");
    let said = project.fail(2, &["data", "checkout", "photos", "notes"]);
    assert!(said.contains("ropewalk data checkout notes"), "{said}");
    assert_eq!(read(&project, "photos/robin.jpg"), "not really a photo");
}

#[test]
fn a_fresh_clone_reads_single_files() {
    const FILES: usize = 30;
    let place = Place::local();
    let first = birds(&place);
    let mut draws = Draws(0xc107e);
    std::fs::create_dir(first.path("noise")).expect("folder");
    let mut noise = || (0..40_000).map(|_| (draws.next() * 256.0) as u8).collect::<Vec<u8>>();
    for number in 0..FILES {
        std::fs::write(first.path(&format!("noise/{number}.bin")), noise()).expect("write");
    }
    first.succeed(&["data", "add", "noise"]);
    first.succeed(&["data", "commit", "-m", "noise", "noise"]);
    commit(&first, "noise");
    first.succeed(&["push"]);

    let second = clone(&first);
    assert_eq!(second.succeed(&["data", "cat", "photos/wren.jpg"]), "nor this");
    assert_eq!(second.succeed(&["data", "cat", "data:photos@v1/wren.jpg"]), "nor this");
    let read = second.run(&["data", "cat", "noise/7.bin"]);
    assert_eq!(read.stdout, std::fs::read(first.path("noise/7.bin")).expect("file"), "{}", talk(&read));
    let kept = || walk(&second.path(".ropewalk/store")).iter().map(Vec::len).sum::<usize>();
    assert!(kept() < 1_000, "{} bytes: nothing is kept", kept());
    second.succeed(&["data", "checkout", "noise", "7.bin", "1?.bin"]);
    assert_eq!(std::fs::read_dir(second.path("noise")).expect("folder").count(), 11);
    assert!((440_000..500_000).contains(&kept()), "{} bytes: eleven files of thirty", kept());
    assert!(second.succeed(&["data", "status", "noise"]).contains("clean"));
    second.succeed(&["pull"]);
    assert_eq!(second.json(&["data", "status", "noise"])[0]["selection"][0], "7.bin");
    second.succeed(&["data", "checkout", "noise"]);
    assert_eq!(std::fs::read_dir(second.path("noise")).expect("folder").count(), FILES);
    assert_eq!(second.json(&["data", "verify"])["damaged"].as_array().map(Vec::len), Some(0));
}

#[test]
fn only_a_push_makes_a_remote() {
    let place = Place::local();
    let project = birds(&place);
    let folder = place.url.strip_prefix("file:").expect("local");
    for arguments in [
        ["pull", "photos"].as_slice(),
        &["fetch"],
        &["data", "gc", "--remote", "origin"],
        &["data", "verify", "--heal", "origin"],
    ] {
        let said = project.fail(2, arguments);
        assert!(said.contains(&place.url) && said.contains("ropewalk push"), "{arguments:?}: {said}");
        assert!(!Path::new(folder).exists(), "{arguments:?}");
    }
    let second = clone(&project);
    let said = second.fail(2, &["data", "cat", "photos/wren.jpg"]);
    assert!(said.contains(&place.url) && !Path::new(folder).exists(), "{said}");
    project.succeed(&["push"]);
    second.succeed(&["pull"]);
    // One that a later Ropewalk has made.
    let mark = Path::new(folder).join("format");
    let ours = std::fs::read(&mark).expect("mark");
    std::fs::write(&mark, "ropewalk store 99\n").expect("mark");
    let said = second.fail(2, &["fetch"]);
    assert!(said.contains(&place.url) && said.contains("99"), "{said}");
    std::fs::write(&mark, ours).expect("mark");
    let said = project.fail(2, &["pull", "--remote", "nowhere"]);
    assert!(said.contains("no remote `nowhere`") && said.contains("`origin`"), "{said}");
    project.succeed(&["remote", "rm", "origin"]);
    let said = project.fail(2, &["fetch"]);
    assert!(said.contains("the project has no remote\n") && !said.contains("is not known here"), "{said}");
}

#[test]
fn git_lfs_is_taken_over_and_forgotten() {
    let project = Project::new();
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    let oid = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 3\n");
    project.write(&format!(".git/lfs/objects/ba/78/{oid}"), "abc");
    project.write("images/a.bin", &pointer);
    project.write("it's.bin", &pointer);
    project.write("plain/a", "1");
    commit(&project, "with Git LFS");
    std::os::unix::fs::symlink("a.bin", project.path("images/link.bin")).expect("link");
    let said = project.run(&["data", "import-lfs", "--dry-run"]);
    assert!(talk(&said).contains("--skip-links"), "{}", talk(&said));
    let said = project.run(&["data", "import-lfs", "--dry-run", "--follow-links"]);
    assert!(talk(&said).contains("would put") && talk(&said).contains("images/link.bin"), "{}", talk(&said));
    let said = talk(&project.run(&["data", "import-lfs", "--follow-links"]));
    assert!(said.contains("images/link.bin"), "{said}");
    assert_eq!(read(&project, "images/link.bin"), "abc");
    assert_eq!((read(&project, "images/a.bin"), read(&project, "it's.bin")), ("abc".to_owned(), "abc".to_owned()));
    let said = project.fail(2, &["data", "add", "plain"]);
    assert!(said.contains("git tracks it already"), "{said}");
    project.succeed(&["data", "add", "plain", "--force"]);
    commit(&project, "with Ropewalk");
    let listed = Command::new("git").args(["ls-files"]).current_dir(project.root()).output().expect("git");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for path in ["images/a.bin", "it's.bin", "plain/a"] {
        assert!(!listed.lines().any(|line| line == path), "{path}: {listed}");
        assert!(project.path(path).exists(), "{path}");
    }
    assert!(listed.contains("images.dataset") && listed.contains("plain.dataset"), "{listed}");
}

#[test]
fn one_bad_dataset_does_not_hide_the_others() {
    let place = Place::local();
    let project = birds(&place);
    project.write("notes/a", "1");
    project.succeed(&["data", "add", "notes"]);
    std::fs::rename(project.path("notes.dataset"), project.path("moved.dataset")).expect("rename");
    let output = project.run(&["data", "status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("photos (photos,") && text.contains("name it `notes.dataset` again"), "{text}");
    let output = project.run(&["data", "status", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(told[0]["problem"].is_string() && told[1]["pointer"]["name"] == "photos", "{told}");
    // Neither does it hide them from other commands.
    project.succeed(&["data", "log", "photos"]);
    assert_eq!(project.succeed(&["data", "cat", "photos/wren.jpg"]), "nor this");
}

#[test]
fn what_is_wrong_is_said_with_what_can_be_done() {
    let place = Place::local();
    let project = birds(&place);
    for arguments in
        [["log", "photo"].as_slice(), &["tag", "photo"], &["du", "photo"], &["audit", "photo"], &["cat", "photo/x"]]
    {
        let said = project.fail(2, &[["data"].as_slice(), arguments].concat());
        assert!(said.contains("`photo`") && said.contains("there are `photos`"), "{arguments:?}: {said}");
    }
    let said = project.fail(2, &["data", "cat", "photos"]);
    assert!(said.contains("`photos/PATH`") && said.contains("`robin.jpg`"), "{said}");
    let said = project.fail(2, &["data", "cat", "photos/owl.jpg"]);
    assert!(!said.contains("data list"), "{said}");
    project.write("photos/wren.jpg", "changed");
    let said = project.fail(2, &["data", "merge", "photos"]);
    assert!(said.contains("ropewalk data restore photos") && !said.contains("--force"), "{said}");
    let said = project.fail(2, &["data", "commit", "-m", "", "photos"]);
    assert!(said.contains("-m"), "{said}");
    project.succeed(&["data", "tag", "photos", "good"]);
    project.succeed(&["data", "commit", "-m", "two", "photos"]);
    let said = project.fail(2, &["data", "tag", "photos", "good"]);
    assert!(said.contains("--move"), "{said}");
    project.write("photos/\u{1b}[2Jowl.jpg", "an owl");
    for arguments in [["data", "status"].as_slice(), &["data", "diff", "photos"]] {
        let text = project.succeed(arguments);
        assert!(text.contains("\\u{1b}[2Jowl.jpg") && !text.contains('\u{1b}'), "{text}");
    }
}

fn walk(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(std::fs::read(&path).expect("read"));
        }
    }
    found
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
