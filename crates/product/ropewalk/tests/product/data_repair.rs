//! Damage in a remote and in a project's own store: named, and healed by whoever has the bytes.

use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_store::{BackendOptions, object_store_at};
use serde_json::Value;

use crate::data_versions::{Place, birds, clone, commit, read};
use crate::harness::{Draws, Project};

/// What becomes of an object; `None` removes it.
type Change = fn(Vec<u8>) -> Option<Vec<u8>>;

const LOST: Change = |_| None;
const GARBAGE: Change = |_| Some(b"garbage".to_vec());
const CUT: Change = |bytes| Some(bytes[..bytes.len().min(8)].to_vec());

/// Two versions of photos, the first with a tag; all of it in the remote.
fn photos(place: &Place) -> Project {
    let project = birds(place);
    project.succeed(&["data", "tag", "photos", "first-birds"]);
    project.write("photos/wren.jpg", "a better photo");
    let mut draws = Draws(7);
    let noise: Vec<u8> = (0..600_000).map(|_| (draws.next() * 256.0) as u8).collect();
    std::fs::write(project.path("photos/owl.raw"), noise).expect("write");
    project.succeed(&["data", "commit", "photos", "-m", "better birds"]);
    project.succeed(&["push"]);
    project
}

/// The photos and two versions of a table; all of it in the remote.
fn pushed(place: &Place) -> Project {
    let project = photos(place);
    let file = read(&project, "ropewalk.toml");
    project.write("ropewalk.toml", &format!("{file}\n[data.people]\nsource = \"people.jsonl\"\n"));
    project.write("people.jsonl", "{\"id\":1}\n");
    project.succeed(&["run"]);
    project.succeed(&["data", "tag", "people@v1", "one"]);
    project.succeed(&["push"]);
    project.write("people.jsonl", "{\"id\":1}\n{\"id\":2}\n");
    project.succeed(&["run"]);
    commit(&project, "all of it");
    project.succeed(&["push"]);
    project
}

/// Changes all objects of a remote in a folder; how many they are.
#[expect(clippy::default_trait_access, reason = "the types of the options are those of a crate that is not used here")]
fn change(place: &Place, folder: &str, change: Change) -> usize {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let options = BackendOptions::new(place.environment.iter().cloned());
        let (objects, path) = object_store_at(&format!("{}/{folder}", place.url), &options).expect("store");
        let listed: Vec<_> = objects.list(Some(&path)).try_collect().await.expect("list");
        for found in &listed {
            let read = objects.get_opts(&found.location, Default::default()).await.expect("read");
            let bytes = read.bytes().await.expect("bytes").to_vec();
            if let Some(changed) = change(bytes) {
                objects.put_opts(&found.location, changed.into(), Default::default()).await.expect("write");
            } else {
                let one = futures::stream::iter([Ok(found.location.clone())]).boxed();
                objects.delete_stream(one).try_collect::<Vec<_>>().await.expect("remove");
            }
        }
        listed.len()
    })
}

fn verify(project: &Project, arguments: &[&str], code: i32) -> Value {
    let arguments = [&["data", "verify", "--output", "json"], arguments].concat();
    let output = project.run(&arguments);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}\n{}", crate::harness::talk(&output));
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{arguments:?} printed no JSON ({error}): {told}"))
}

/// The numbers of the versions of photos that are said to lack something.
fn hurt(told: &Value) -> Vec<u64> {
    let affected = told["affected"].as_array().expect("a list").iter();
    let hurt = affected.filter(|one| one["name"] == "photos" && one["healed"] == false);
    let mut numbers: Vec<_> = hurt.filter_map(|one| one["number"].as_u64()).collect();
    numbers.sort_unstable();
    numbers
}

fn count(value: &Value) -> usize {
    value.as_array().unwrap_or_else(|| panic!("a list: {value}")).len()
}

/// A second machine has everything that the first one has, from the remote alone.
fn assert_travels(first: &Project, says: &str) {
    let second = clone(first);
    second.succeed(&["pull"]);
    for name in ["photos/robin.jpg", "photos/wren.jpg", "photos/owl.raw"] {
        let bytes = |project: &Project| std::fs::read(project.path(name)).expect(name);
        assert!(bytes(first) == bytes(&second), "{says}: {name}");
    }
    assert_eq!(count(&second.json(&["data", "log", "photos"])), 2, "{says}");
    second.succeed(&["data", "checkout", "photos@first-birds"]);
    assert_eq!(read(&second, "photos/wren.jpg"), "nor this", "{says}");
    assert_eq!(second.json(&["sql", "SELECT count(*) AS n FROM people"])[0]["n"], 2, "{says}");
    second.succeed(&["fetch", "people", "--all"]);
    assert_eq!(second.json(&["sql", "SELECT count(*) AS n FROM people@one"])[0]["n"], 1, "{says}");
}

#[test]
fn a_remote_is_healed_by_a_machine_that_has_the_bytes() {
    a_remote_is_healed(&Place::local());
}

#[test]
fn a_remote_in_s3_is_healed_by_a_machine_that_has_the_bytes() {
    a_remote_is_healed(&Place::s3());
}

fn a_remote_is_healed(place: &Place) {
    let first = pushed(place);
    let told = verify(&first, &["--remote", "origin"], 0);
    assert!(told["pieces"].as_u64() > Some(8) && told["whole"] == true, "{told}");
    for (says, folders, change_to) in [
        ("every pack is lost", &["packs"][..], LOST),
        ("every pack is cut", &["packs"], CUT),
        ("every index is garbage", &["index"], GARBAGE),
        ("every index is lost", &["index"], LOST),
        ("all objects are lost", &["packs", "index"], LOST),
    ] {
        for folder in folders {
            assert!(change(place, folder, change_to) > 0, "{says}");
        }
        let told = verify(&first, &["--remote", "origin"], 1);
        assert_eq!(hurt(&told), [1, 2], "{says}: {told}");
        let told = verify(&first, &["--remote", "origin", "--heal"], 0);
        assert!(hurt(&told).is_empty() && count(&told["affected"]) >= 4, "{says}: {told}");
        let told = verify(&first, &["--remote", "origin"], 0);
        assert_eq!((count(&told["affected"]), count(&told["damaged"])), (0, 0), "{says}: {told}");
        assert_travels(&first, says);
    }
}

#[test]
fn damaged_refs_of_a_remote_are_set_again() {
    let place = Place::local();
    let first = pushed(&place);
    assert!(change(&place, "refs", GARBAGE) > 5);
    let second = clone(&first);
    let said = second.fail(2, &["pull", "photos"]);
    assert!(said.contains("holds no") && said.contains("data verify"), "{said}");
    let told = verify(&first, &["--remote", "origin"], 1);
    assert_eq!((count(&told["refs"]), count(&told["tables"])), (2, 3), "a head, a tag; two records, a state: {told}");
    let told = verify(&second, &["--remote", "origin", "--heal"], 1);
    assert!(told["refs"].as_array().expect("refs").iter().all(|one| one["healed"] == false), "{told}");
    verify(&first, &["--remote", "origin", "--heal"], 0);
    verify(&first, &["--remote", "origin"], 0);
    assert_travels(&first, "refs");
}

#[test]
fn what_a_machine_does_not_have_is_told_and_another_remote_helps() {
    let (place, backup) = (Place::local(), Place::local());
    let first = pushed(&place);
    first.succeed(&["remote", "add", "backup", &backup.url]);
    first.succeed(&["push", "--remote", "backup"]);
    commit(&first, "a second remote");
    let second = clone(&first);
    second.succeed(&["pull", "--remote", "origin"]);
    change(&place, "packs", LOST);
    let hidden = format!("{}.away", folder_of(&backup).display());
    std::fs::rename(folder_of(&backup), &hidden).expect("away");
    let told = verify(&second, &["--remote", "origin", "--heal"], 1);
    assert_eq!(hurt(&told), [1], "it has the second version only: {told}");
    assert_eq!(count(&told["notes"]), 1, "{told}");
    std::fs::rename(&hidden, folder_of(&backup)).expect("back");
    verify(&second, &["--remote", "origin", "--heal"], 0);
    verify(&second, &["--remote", "origin"], 0);
    assert_travels(&first, "backup");
}

fn folder_of(place: &Place) -> &Path {
    Path::new(place.url.strip_prefix("file:").expect("a folder"))
}

#[test]
fn a_store_of_ones_own_is_healed_with_all_versions_and_says_so_the_first_time() {
    let place = Place::local();
    let first = photos(&place);
    let own = Place::at(&first.path(".ropewalk/store"));
    for (says, folders, change_to) in [
        ("every pack and index is lost", &["packs", "index"][..], LOST),
        ("every index is garbage", &["index"], GARBAGE),
        ("every pack is lost", &["packs"], LOST),
        ("every ref of photos is garbage", &["refs/datasets/photos"], GARBAGE),
    ] {
        for folder in folders {
            assert!(change(&own, folder, change_to) > 0, "{says}");
        }
        verify(&first, &[], 1);
        let told = verify(&first, &["--heal", "origin"], 0);
        let healed = |list: &Value| list.as_array().expect("a list").iter().filter(|one| one["healed"] == true).count();
        assert!(healed(&told["affected"]) + healed(&told["refs"]) > 1, "{says}: {told}");
        let told = verify(&first, &[], 0);
        assert_eq!((count(&told["damaged"]), count(&told["missing"])), (0, 0), "{says}: {told}");
        // Without the remote, and in a work tree that has nothing of it.
        let hidden = format!("{}.away", folder_of(&place).display());
        std::fs::rename(folder_of(&place), &hidden).expect("away");
        first.succeed(&["data", "checkout", "photos@first-birds"]);
        assert_eq!(read(&first, "photos/wren.jpg"), "nor this", "{says}");
        first.succeed(&["data", "checkout", "photos@v2"]);
        assert_eq!(read(&first, "photos/wren.jpg"), "a better photo", "{says}");
        std::fs::rename(&hidden, folder_of(&place)).expect("back");
    }
}
