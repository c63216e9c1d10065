//! Credentials are used, and written nowhere: not here, not there, not in what is told.

use futures::TryStreamExt as _;
use ropewalk_store::{BackendOptions, TreeEntry, object_store_at};
use ropewalk_types::Digest;
use serde_json::Value;

use super::{Place, birds, clone, commit, contains, read, walk};
use crate::harness::{Project, talk, variable};

#[test]
fn an_s3_server_is_a_remote_and_a_wrong_secret_is_refused() {
    const WRONG: &str = "not-the-secret-of-this-key";
    let place = Place::s3();
    let first = birds(&place);
    let secret = variable("ROPEWALK_TEST_S3_SECRET");
    let wrong = first.command(&["push"]).env("AWS_SECRET_ACCESS_KEY", WRONG).output().expect("the binary starts");
    assert_eq!(wrong.status.code(), Some(2), "{}", talk(&wrong));
    // What is told, here and there.
    let mut told = vec![wrong];
    first.write("table.csv", "x\n1\n");
    let file = read(&first, "ropewalk.toml");
    first.write("ropewalk.toml", &format!("{file}\n[data.table]\nsource = \"table.csv\"\n"));
    let mut say = |project: &Project, arguments: &[&str]| {
        let output = project.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", talk(&output));
        told.push(output);
    };
    say(&first, &["run"]);
    commit(&first, "a table");
    say(&first, &["push"]);
    let second = clone(&first);
    for arguments in [
        ["pull"].as_slice(),
        &["fetch", "--all", "--output", "json"],
        &["push"],
        &["remote", "ls"],
        &["doctor"],
        &["data", "audit"],
        &["data", "verify", "--heal", "origin"],
        &["data", "gc", "--remote", "origin"],
    ] {
        say(&second, arguments);
    }
    assert_eq!(read(&second, "photos/robin.jpg"), "not really a photo");
    let there = objects(&place);
    assert!(there.len() > 5, "{} objects are read", there.len());
    let told = told.into_iter().flat_map(|output| [output.stdout, output.stderr]);
    let written = told.chain(there).chain([&first, &second].into_iter().flat_map(|project| walk(project.root())));
    for bytes in written {
        assert!(
            ![secret.as_str(), WRONG].iter().any(|secret| contains(&bytes, secret.as_bytes())),
            "a secret is written"
        );
    }
}

/// The bytes of every object of a remote.
fn objects(place: &Place) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let options = BackendOptions::new(place.environment.iter().cloned());
        let (backend, prefix) = object_store_at(&place.url, &options).expect("the remote");
        let listed: Vec<_> = backend.list(Some(&prefix)).try_collect().await.expect("its objects");
        let mut objects = Vec::new();
        for meta in listed.iter().filter(|meta| meta.size > 0) {
            let whole = 0..meta.size;
            let found = backend.get_ranges(&meta.location, std::slice::from_ref(&whole)).await.expect("an object");
            objects.push(found.concat());
        }
        objects
    })
}

/// Runs the stage `x`; what it said, and the project file as it is kept with the run, by the digest of the code.
fn run_kept(project: &Project) -> (String, Digest, String) {
    let output = project.run(&["run", "x", "--output", "json"]);
    let said = talk(&output);
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let tree: Digest = told["code"]["tree"].as_str().expect("a tree").parse().expect("a digest");
    let kept = project.in_store(".ropewalk/store", async |store| {
        let found = store.tree_get(&tree).await.expect("kept");
        let Some(TreeEntry::File { digest, .. }) = found.get("ropewalk.toml") else { panic!("no project file") };
        store.get_bytes(digest).await.expect("bytes")
    });
    (said, tree, String::from_utf8(kept.to_vec()).expect("text"))
}

#[test]
fn secrets_of_the_project_file_are_hidden_in_what_is_kept() {
    let file = |token: &str, header: &str, parameter: &str| {
        format!(
            "[project]\nname = \"x\"\n[data.a]\nsource = \"https://a.example/x.csv?token={token}\"\n\
             headers = {{ Authorization = {header} }}\n[stage.x]\n\
             run = \"echo https://a.example/y?code={parameter} > out.txt\"\nout = {{ lines = \"out.txt\" }}\n"
        )
    };
    let secrets = ["url-3f9a7c21", "header-3f9a7c22", "command-3f9a7c23"];
    let written = file(secrets[0], &format!("\"Bearer {}\"", secrets[1]), secrets[2]);
    let project = Project::with(&[("ropewalk.toml", &written)]);
    let (said, tree, kept) = run_kept(&project);
    let places = "data.a.source, data.a.headers.Authorization, stage.x.run";
    assert!(
        said.matches("warning: secrets").count() == 1 && said.contains(places) && said.contains("${NAME}"),
        "{said}"
    );
    assert_eq!(kept, file("***", "\"***\"", "***"));
    for bytes in walk(&project.path(".ropewalk")) {
        // What a command writes is its own.
        assert!(!secrets[..2].iter().any(|secret| contains(&bytes, secret.as_bytes())), "a secret is written");
    }
    project.write("ropewalk.toml", &file("other", "\"Basic other\"", "other"));
    assert_eq!(run_kept(&project).1, tree, "it is the same code");

    // What is switched off is kept as well.
    let commented = format!("{}# token = \"comment-3f9a7c24\"\n", file("***", "\"***\"", "***"));
    project.write("ropewalk.toml", &commented);
    let (said, _, kept) = run_kept(&project);
    assert!(said.contains("warning: secrets") && said.contains("a comment"), "{said}");
    assert_eq!(kept, commented.replace("comment-3f9a7c24", "***"));

    let clean = file("${TOKEN}", "{ env = \"TOKEN\" }", "${CODE}");
    project.write("ropewalk.toml", &clean);
    let (said, _, kept) = run_kept(&project);
    assert!(!said.contains("warning") && kept == clean, "{said}");
    let said = project.fail(1, &["run", "a"]);
    assert!(said.contains("the environment variable `TOKEN` is not set"), "{said}");
}

/// The run of `stage` fails; what it said, in which as in all that is kept of it `secret` does not stand.
fn fails_without(project: &Project, stage: &str, secret: &str) -> String {
    let output = project.command(&["run", stage]).env("SECRET", secret).output().expect("the binary starts");
    let said = talk(&output);
    assert!(output.status.code() == Some(1) && !said.contains(secret), "{said}");
    let kept = walk(&project.path(".ropewalk"));
    assert!(kept.len() > 1 && !kept.iter().any(|bytes| contains(bytes, secret.as_bytes())), "{stage}: it is kept");
    said
}

#[test]
fn what_fails_is_told_and_kept_without_secrets() {
    const SECRET: &str = "failing-51c07be2";
    let command = |word: &str| {
        format!(
            "\"grep -q project ropewalk.toml && {word} https://a.example/y?token={SECRET}\"\ndeps = [\"ropewalk.toml\"]"
        )
    };
    let file = format!(
        "[project]\nname = \"x\"\n\
         [data.a]\nsource = \"sqlite:a.db?key=${{SECRET}}\"\nquery = \"SELECT 1 AS a\"\n\
         [data.b]\nsource = \"sqlite:b.db#token=${{SECRET}}\"\nquery = \"SELECT 1 AS a\"\n\
         [stage.c]\nrun = {}\nout = {{ lines = \"c.txt\" }}\n\
         [stage.d]\nrun = {}\nout = {{ lines = \"d.txt\" }}\n",
        command("false"),
        command("true"),
    );
    let project = Project::with(&[("ropewalk.toml", &file)]);
    for (stage, told) in [
        ("a", "cannot read the URL `sqlite:a.db?key=***`"),
        ("b", "cannot read the URL `sqlite:b.db#token=***`"),
        ("c", "false https://a.example/y?token=***` ended with"),
        ("d", "true https://a.example/y?token=***` ended well but did not make `d.txt`"),
    ] {
        let said = fails_without(&project, stage, SECRET);
        assert!(said.contains(told), "{said}");
    }
    let raw = Digest::of(file.as_bytes());
    let is_kept = project.in_store(".ropewalk/store", async |store| store.contains(&raw).await.expect("looked"));
    assert!(!is_kept, "the project file is kept as it is");
}
