//! Coming from DVC and Git LFS: what is not found, and what was changed, is never passed over in silence.

use std::path::Path;
use std::process::Command;

use crate::harness::{Project, python, s3_environment, s3_url, script, talk, variable};

/// The MD5s of `a` and of [`large`], and the list that names both.
const A: &str = "0cc175b9c0f1b6a831c399e269772661";
const LARGE: &str = "4aba14a3846efbcabb4942274fa5639c";
const LIST: &str = r#"[{"md5": "0cc175b9c0f1b6a831c399e269772661", "relpath": "a"}, {"md5": "4aba14a3846efbcabb4942274fa5639c", "relpath": "deep/large"}]"#;
const LISTED: &str = "17aa2d2c6261422b241ad93346223166.dir";
/// The MD5 that DVC 2 has for `x\r\ny\r\n`.
const OLD: &str = "1b5bb282b8f8792875e3c4203cfa9c57";
/// The SHA-256 of `abc`.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn large() -> String {
    "0123456789abcdef".repeat(200_000)
}

fn git(project: &Project, arguments: &[&str]) {
    crate::data_versions::git(project.root(), arguments);
}

/// Puts the files of a folder of the project where DVC would have pushed them.
fn upload(project: &Project, folder: &str, url: &str) {
    let output = Command::new(python())
        .arg(script("s3_put.py"))
        .arg(project.path(folder))
        .arg(url)
        .envs(s3_environment(&variable("ROPEWALK_TEST_S3_SECRET")))
        .output()
        .expect("python");
    assert!(output.status.success(), "{}", talk(&output));
}

fn object(project: &Project, folder: &str, md5: &str, text: &str) {
    project.write(&format!("{folder}/{}/{}", &md5[..2], &md5[2..]), text);
}

/// A project of DVC on a machine of its own, whose settings, keys and data are in a place each.
fn dvc_project(place: &Path, url: &str, secret: &str) -> Project {
    let folder = |name: &str| place.join(name).display().to_string();
    let write = |name: &str, text: String| {
        std::fs::create_dir_all(place.join(name).parent().expect("folder")).expect("folder");
        std::fs::write(place.join(name), text).expect("write");
    };
    let key = variable("ROPEWALK_TEST_S3_KEY");
    write("keys", format!("[lab]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"));
    write("global/config", "['remote \"cloud\"']\nregion = us-east-1\nprofile = lab\n".to_owned());
    let project = Project::in_environment(&[
        ("DVC_SYSTEM_CONFIG_DIR", folder("system")),
        ("DVC_GLOBAL_CONFIG_DIR", folder("global")),
        ("AWS_SHARED_CREDENTIALS_FILE", folder("keys")),
        ("AWS_CONFIG_FILE", folder("none")),
        // What the remote says counts more.
        ("AWS_ACCESS_KEY_ID", "nobody".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "nothing".to_owned()),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1".to_owned()),
    ]);
    project.succeed(&["init", "."]);
    let endpoint = variable("ROPEWALK_TEST_S3");
    let config =
        format!("[core]\n    remote = cloud\n['remote \"cloud\"']\n    url = {url}\n    endpointurl = {endpoint}\n");
    project.write(".dvc/config", &config);
    project.write("data.dvc", &format!("outs:\n- md5: {LISTED}\n  nfiles: 2\n  hash: md5\n  path: data\n"));
    project.write("old.csv.dvc", &format!("outs:\n- md5: {OLD}\n  size: 6\n  path: old.csv\n"));
    project
}

#[test]
fn a_dvc_project_is_taken_over_from_its_s3_remote() {
    let (place, url) = (tempfile::tempdir().expect("folder"), s3_url());
    let project = dvc_project(place.path(), &url, &variable("ROPEWALK_TEST_S3_SECRET"));

    // Nothing was pushed yet.
    let said = project.fail(1, &["data", "import-dvc", "--dry-run"]);
    assert!(said.contains(LISTED) && said.contains("not found: 1 file of old.csv"), "{said}");
    assert!(said.contains("hint: `dvc fetch`"), "{said}");
    let said = project.fail(1, &["data", "import-dvc"]);
    assert!(said.contains("not taken over: data of data.dvc"), "{said}");
    assert!(!project.path("data.dataset").exists() && !project.path("old.csv.dataset").exists());

    for (md5, text) in [(LISTED, LIST), (A, "a"), (LARGE, "damaged")] {
        object(&project, "pushed/files/md5", md5, text);
    }
    object(&project, "pushed", OLD, "x\r\ny\r\n");
    upload(&project, "pushed", &url);
    project.succeed(&["data", "import-dvc", "--dry-run"]);
    let output = project.run(&["data", "import-dvc", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", talk(&output));
    assert!(talk(&output).contains("damaged") && talk(&output).contains(&LARGE[2..]), "{}", talk(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&told["imported"][0]["path"], &told["failed"][0]["path"]), (&"old.csv".into(), &"data".into()));
    assert_eq!(std::fs::read(project.path("old.csv")).expect("old.csv"), b"x\r\ny\r\n");
    assert!(!project.path("data.dataset").exists());

    object(&project, "pushed/files/md5", LARGE, &large());
    upload(&project, "pushed", &url);
    project.succeed(&["data", "import-dvc"]);
    assert_eq!(std::fs::read_to_string(project.path("data/a")).expect("a"), "a");
    assert!(std::fs::read_to_string(project.path("data/deep/large")).expect("large") == large());
    assert!(project.succeed(&["data", "log", "data"]).contains("Taken over from data.dvc"));
    project.succeed(&["data", "verify"]);
    let again = project.run(&["data", "import-dvc"]);
    assert!(again.status.success() && talk(&again).contains("it is a dataset already"), "{}", talk(&again));
}

#[test]
fn a_remote_of_dvc_that_cannot_be_read_is_named() {
    let (place, url) = (tempfile::tempdir().expect("folder"), s3_url());
    let project = dvc_project(place.path(), &url, "wrong");
    project.write(".dvc/config.local", "['remote \"box\"']\nurl = ssh://me:hush@box/dvc\n");
    let said = project.fail(1, &["data", "import-dvc"]);
    assert!(said.contains("`cloud`") && said.contains(&url), "{said}");
    assert!(said.contains("`box` (ssh://box/dvc)") && said.contains("`dvc fetch`"), "{said}");
    assert!(!said.contains("hush") && !said.contains("wrong\n"), "{said}");
    let said = project.fail(2, &["data", "import-dvc", "pushed"]);
    assert!(said.contains("no DVC project") && said.contains("hint: name the folder"), "{said}");
}

#[test]
fn what_of_a_dvc_project_is_damaged_or_cannot_be_read_is_named_and_the_rest_taken_over() {
    let project = Project::new();
    project.succeed(&["init", "."]);
    project.write(".dvc/config", "[core]\n    remote = shared\n['remote \"shared\"']\n    url = ../remote\n");
    let cache = ".dvc/cache/files/md5";
    // Damaged in the cache, and whole in the remote.
    object(&project, cache, A, "z");
    object(&project, "remote/files/md5", A, "a");
    project.write("good/a.dvc", &format!("outs:\n- md5: {A}\n  hash: md5\n  path: a\n"));
    object(&project, cache, LARGE, "z");
    project.write("large.dvc", &format!("outs:\n- md5: {LARGE}\n  hash: md5\n  path: large\n"));
    project.write("bad.dvc", "outs:\n- md5: {a: b}\n  path: x\n");

    let mut names = Vec::new();
    for arguments in [&["data", "import-dvc", "--dry-run"][..], &["data", "import-dvc"]] {
        let output = project.run(arguments);
        let said = talk(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("not taken over: what bad.dvc declares: cannot read `bad.dvc`, line 2: "), "{said}");
        assert!(said.contains(&format!("expected md5:{LARGE}, got md5:fbade9e36a3f36d3d676c1b808451dd7")), "{said}");
        assert!(said.contains("damaged: 1 file of large") && said.contains("`dvc fetch`"), "{said}");
        assert!(!said.contains("error:") && !said.contains("/./") && !said.contains("not found"), "{said}");
        let told = String::from_utf8(output.stdout).expect("text");
        names.push(told.split([':', ' ']).next().expect("a name").to_owned());
    }
    assert_eq!(names, ["a", "a"], "the same name before and after");
    assert_eq!(std::fs::read_to_string(project.path("good/a")).expect("a"), "a");
    assert!(!project.path("large.dataset").exists());
}

#[test]
fn files_of_git_lfs_are_held_against_their_pointers() {
    let project = Project::new();
    git(&project, &["init", "-q"]);
    git(&project, &["config", "filter.lfs.clean", "cat"]);
    project.succeed(&["init", "."]);
    project.write(".gitattributes", "*.bin filter=lfs\n");
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{ABC}\nsize 3\n");
    for path in ["images/same.bin", "images/changed.bin", "sounds/same.bin"] {
        project.write(path, &pointer);
    }
    git(&project, &["add", "-A"]);
    git(&project, &["commit", "-qm", "with Git LFS"]);
    for (path, text) in [("images/same.bin", "abc"), ("images/changed.bin", "xyz"), ("sounds/same.bin", "abc")] {
        project.write(path, text);
    }
    let said = project.fail(1, &["data", "import-lfs"]);
    assert!(said.contains("not found: 1 file of images, such as changed.bin"), "{said}");
    assert!(said.contains("hint: `git lfs fetch`"), "{said}");
    assert!(project.path("sounds.dataset").exists() && !project.path("images.dataset").exists());

    project.write(&format!(".git/lfs/objects/ba/78/{ABC}"), "abc");
    let output = project.run(&["data", "import-lfs"]);
    let said = talk(&output);
    assert!(output.status.success() && said.contains("changed since: 1 file of images, such as changed.bin"), "{said}");
    assert_eq!(std::fs::read_to_string(project.path("images/changed.bin")).expect("changed"), "xyz");
    let status = project.json(&["data", "status", "images"]);
    assert_eq!(status[0]["changed"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(project.succeed(&["data", "cat", "data:images@v1/changed.bin"]), "abc");
    project.succeed(&["data", "commit", "images", "-m", "changed"]);
    assert_eq!(project.succeed(&["data", "cat", "data:images@v2/changed.bin"]), "xyz");
}

#[test]
fn what_an_import_did_before_it_failed_is_told_and_forgotten_by_git() {
    let project = Project::new();
    git(&project, &["init", "-q"]);
    git(&project, &["config", "filter.lfs.clean", "cat"]);
    project.succeed(&["init", "."]);
    project.write(".gitattributes", "*.bin filter=lfs\n");
    let folders = ["images", "sounds", "voices"];
    for folder in folders {
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{ABC}\nsize 3\n");
        project.write(&format!("{folder}/same.bin"), &pointer);
    }
    git(&project, &["add", "-A"]);
    git(&project, &["commit", "-qm", "with Git LFS"]);
    for folder in folders {
        project.write(&format!("{folder}/same.bin"), "abc");
    }
    let tracked = || {
        let listed = Command::new("git").args(["ls-files", "--", "*.bin"]).current_dir(project.root()).output();
        String::from_utf8(listed.expect("git").stdout).expect("text")
    };

    // A folder lies where a pointer belongs.
    project.write("images.dataset/x", "");
    let said = project.fail(1, &["data", "import-lfs"]);
    assert!(said.contains("not taken over: images of Git LFS") && said.contains("images.dataset"), "{said}");
    assert!(said.contains("not taken over: voices of Git LFS: it was not tried"), "{said}");
    assert!(!said.contains("no files of Git LFS"), "{said}");
    assert_eq!(tracked().lines().count(), 3);

    std::fs::rename(project.path("images.dataset"), project.path("sounds.dataset")).expect("rename");
    let said = project.fail(1, &["data", "import-lfs"]);
    assert!(said.contains("not taken over: sounds of Git LFS") && said.contains("git no longer tracks"), "{said}");
    assert_eq!(tracked(), "sounds/same.bin\nvoices/same.bin\n");

    std::fs::remove_dir_all(project.path("sounds.dataset")).expect("remove");
    // As if that run had been killed before git was told.
    git(&project, &["add", "-f", "images/same.bin"]);
    project.write(".git/index.lock", "");
    let said = project.fail(1, &["data", "import-lfs"]);
    assert!(said.contains("git still tracks these files: ") && said.contains("index.lock"), "{said}");
    assert!(said.contains("next: git rm -r --cached --quiet -- images"), "{said}");
    std::fs::remove_file(project.path(".git/index.lock")).expect("lock");
    project.succeed(&["data", "import-lfs"]);
    assert_eq!(tracked(), "");
    let output = project.run(&["data", "import-lfs"]);
    assert!(output.status.success() && talk(&output).contains("no files of Git LFS were found"), "{}", talk(&output));
}

/// A table has the name that files would get: they get another one, so that the project can be run.
#[test]
fn what_is_taken_over_has_no_name_of_a_table() {
    /// Of `a`.
    const SHA256: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    let file = "[project]\nname = \"x\"\n[data.birds]\nsource = \"t.csv\"\n[data.images]\nsource = \"t.csv\"\n";
    let project = Project::with(&[("ropewalk.toml", file), ("t.csv", "x\n1\n"), (".gitignore", ".ropewalk\n")]);
    git(&project, &["init", "-q"]);
    project.write(".dvc/config", "");
    project.write("birds", "a");
    project.write("birds.dvc", &format!("outs:\n- md5: {A}\n  hash: md5\n  path: birds\n"));
    project.write(".git/info/exclude", "/birds\n");
    project.write(&format!(".git/lfs/objects/{}/{}/{SHA256}", &SHA256[..2], &SHA256[2..4]), "a");
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\nsize 1\n");
    project.write("images/a.bin", &pointer);
    crate::data_versions::commit(&project, "with DVC and Git LFS");
    project.succeed(&["data", "import-dvc"]);
    project.succeed(&["data", "import-lfs"]);
    let told = project.json(&["data", "status"]);
    let names: Vec<_> = told.as_array().into_iter().flatten().map(|one| one["pointer"]["name"].clone()).collect();
    assert_eq!(names, ["birds-2", "images-2"], "{told}");
    assert_eq!(std::fs::read_to_string(project.path("images/a.bin")).expect("laid out"), "a");
    project.succeed(&["run"]);
}
