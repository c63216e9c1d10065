//! Credentials are used, and written nowhere: not here, not there, not in what is told.

use futures::TryStreamExt as _;
use ropewalk_store::{BackendOptions, object_store_at};

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
