//! Damage in a remote and in a project's own store: named, and healed by whoever has the bytes.

mod killed;
mod lost;
#[cfg(target_os = "linux")]
mod without_room;

use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_store::{BackendOptions, object_store_at};
use serde_json::Value;

use crate::data_versions::{Place, birds, clone, commit, git, read};
use crate::harness::{Project, count, noise};

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
    std::fs::write(project.path("photos/owl.raw"), noise(7, 600_000)).expect("write");
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
    let said = second.fail(1, &["pull", "photos"]);
    assert!(said.contains("dataset `photos`") && said.contains("holds no") && said.contains("data verify"), "{said}");
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

#[test]
fn a_machine_whose_head_is_damaged_fetches_no_content_that_it_never_had() {
    let place = Place::local();
    let first = photos(&place);
    commit(&first, "better birds");
    let second = clone(&first);
    second.succeed(&["pull"]);
    first.write("photos/wren.jpg", "the best photo");
    first.succeed(&["data", "commit", "photos", "-m", "the best birds"]);
    first.succeed(&["push"]);
    let own = Place::at(&second.path(".ropewalk/store"));
    assert!(change(&own, "refs/datasets/photos/head", GARBAGE) > 0);
    let told = verify(&second, &["--heal", "origin"], 0);
    assert_eq!((count(&told["refs"]), &told["refs"][0]["healed"]), (1, &Value::Bool(true)), "{told}");
    assert_eq!(told["fetched"], 1, "the object of the version that the head has become: {told}");
    assert_eq!(count(&second.json(&["data", "log", "photos"])), 3);
    let hidden = format!("{}.away", folder_of(&place).display());
    std::fs::rename(folder_of(&place), &hidden).expect("away");
    for never_here in ["photos@v1", "photos@v3"] {
        second.fail(2, &["data", "checkout", never_here]);
    }
    verify(&second, &[], 0);
}

#[test]
fn what_another_project_keeps_in_its_own_store_is_not_let_go() {
    let other = Project::new();
    git(other.root(), &["init", "-q"]);
    other.succeed(&["init", "."]);
    let file = read(&other, "ropewalk.toml");
    other.write("ropewalk.toml", &format!("{file}\n[data.people]\nsource = \"people.jsonl\"\n"));
    other.write("people.jsonl", "{\"id\":1}\n");
    other.succeed(&["run"]);
    let place = Place::at(&other.path(".ropewalk/store"));
    let first = birds(&place);
    first.succeed(&["push"]);
    assert!(change(&place, "packs", CUT) > 1);
    let told = verify(&first, &["--remote", "origin", "--heal"], 1);
    let damaged = told["damaged"].as_array().expect("a list");
    let with_healed = |healed: bool| damaged.iter().filter(|one| one["healed"] == healed).count();
    assert!(with_healed(true) > 0 && with_healed(false) > 0, "{told}");
    assert!(damaged.iter().all(|one| one["let_go"] == false), "{told}");
    assert!(told["notes"][0].as_str().expect("a note").contains("also the store of a project"), "{told}");
    let told = verify(&other, &[], 1);
    assert!(told["affected"].as_array().expect("a list").iter().any(|one| one["name"] == "people"), "{told}");
}

#[test]
fn a_store_whose_mark_is_lost_is_told_from_one_that_was_never_made() {
    let place = Place::local();
    let first = photos(&place);
    let mark = folder_of(&place).join("format");
    for heals in [&["push"][..], &["data", "verify", "--remote", "origin", "--heal"]] {
        std::fs::remove_file(&mark).expect("mark");
        for arguments in [&["fetch"][..], &["data", "verify", "--remote", "origin"]] {
            let said = first.fail(2, arguments);
            assert!(said.contains("`format` is lost") && said.contains("ropewalk push"), "{arguments:?}: {said}");
            assert!(!mark.exists(), "{arguments:?}");
        }
        first.succeed(heals);
        first.succeed(&["fetch"]);
    }
    std::fs::remove_file(first.path(".ropewalk/store/format")).expect("mark");
    let said = first.fail(2, &["data", "verify"]);
    assert!(said.contains("`format` is lost") && said.contains("--heal REMOTE"), "{said}");
    let told = verify(&first, &["--heal", "origin"], 0);
    assert_eq!(count(&told["notes"]), 1, "{told}");
    assert_eq!(count(&verify(&first, &[], 0)["notes"]), 0);
}
