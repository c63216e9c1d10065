//! `docs/data.md` from an empty folder to a second machine, and what can go wrong on the way.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::Project;

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    let output = Command::new("git").args(identity).args(arguments).current_dir(folder).output().expect("git");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn commit(project: &Project, message: &str) {
    git(project.root(), &["add", "-A"]);
    git(project.root(), &["commit", "-qm", message]);
}

fn read(project: &Project, name: &str) -> String {
    std::fs::read_to_string(project.path(name)).expect(name)
}

/// A project with two photos, committed, and a remote.
fn birds(remote: &str) -> Project {
    let project = Project::new();
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    project.write("photos/robin.jpg", "not really a photo");
    project.write("photos/wren.jpg", "nor this");
    project.succeed(&["data", "add", "photos"]);
    project.succeed(&["data", "commit", "photos", "-m", "first birds"]);
    project.succeed(&["remote", "add", "origin", remote]);
    commit(&project, "track photos");
    project
}

fn clone(of: &Project) -> Project {
    let project = Project::new();
    let from = of.root().to_str().expect("path");
    git(project.root(), &["clone", "-q", from, "."]);
    project
}

fn local_remote() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("file:{}", folder.path().join("remote").display());
    (folder, url)
}

#[test]
fn from_an_empty_folder_to_a_second_machine() {
    let (_folder, url) = local_remote();
    let first = birds(&url);
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
    let (_folder, url) = local_remote();
    let project = birds(&url);
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
    let (_folder, url) = local_remote();
    let first = birds(&url);
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
    let (_folder, url) = local_remote();
    let project = Project::new();
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    let mut state = 1_u64;
    for number in 0..200 {
        let bytes: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect();
        project.write("noise/.keep", "");
        std::fs::write(project.path(&format!("noise/{number}.bin")), bytes).expect("write");
    }
    project.succeed(&["data", "add", "noise"]);
    project.succeed(&["data", "commit", "noise", "-m", "noise"]);
    project.succeed(&["remote", "add", "origin", &url]);
    commit(&project, "noise");
    for delay in [1_u64, 3, 7, 15, 30] {
        let mut child = project.command(&["push"]).spawn().expect("push");
        std::thread::sleep(Duration::from_millis(delay));
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("push");
    }
    project.succeed(&["push"]);
    let second = clone(&project);
    second.succeed(&["pull"]);
    for number in 0..200 {
        let name = format!("noise/{number}.bin");
        assert_eq!(
            std::fs::read(project.path(&name)).expect("ours"),
            std::fs::read(second.path(&name)).expect("theirs")
        );
    }
}

#[test]
fn two_pushes_at_once_are_both_whole() {
    let (_folder, url) = local_remote();
    let first = birds(&url);
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
    let (_folder, url) = local_remote();
    let project = birds(&url);
    project.write("photos/secret.jpg", "added by mistake");
    project.succeed(&["data", "add", "photos"]);
    std::fs::remove_file(project.path("photos/secret.jpg")).expect("remove");
    project.succeed(&["data", "add", "photos"]);
    let collected = project.json(&["data", "gc", "--grace", "0"]);
    assert!(collected["removed"]["pieces"].as_u64() >= Some(1), "{collected}");
    assert_eq!(project.succeed(&["data", "cat", "data:photos@v1/robin.jpg"]), "not really a photo");
    let verified = project.json(&["data", "verify"]);
    assert_eq!(verified["damaged"].as_array().map(Vec::len), Some(0), "{verified}");
    let costs = project.json(&["data", "du"]);
    assert_eq!(costs[0]["name"], "photos", "{costs}");
}

#[test]
fn an_s3_server_is_a_remote_and_a_wrong_secret_is_refused() {
    let variable =
        |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"));
    let prefix = format!("birds-{}", std::process::id());
    let url = format!("s3://{}/{prefix}", variable("ROPEWALK_TEST_S3_BUCKET"));
    let first = birds(&url);
    let with = |project: &Project, arguments: &[&str], secret: &str| {
        let mut command = project.command(arguments);
        command.env("AWS_ENDPOINT_URL", variable("ROPEWALK_TEST_S3")).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", variable("ROPEWALK_TEST_S3_KEY")).env("AWS_SECRET_ACCESS_KEY", secret);
        command.output().expect("the binary starts")
    };
    let wrong = with(&first, &["push"], "wrong");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    let secret = variable("ROPEWALK_TEST_S3_SECRET");
    let pushed = with(&first, &["push"], &secret);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let second = clone(&first);
    let pulled = with(&second, &["pull"], &secret);
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    assert_eq!(read(&second, "photos/robin.jpg"), "not really a photo");
    let kept = walk(&first.path(".ropewalk"));
    assert!(!kept.iter().any(|bytes| contains(bytes, secret.as_bytes())), "the secret is written nowhere");
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
