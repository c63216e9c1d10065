//! What no remote has: taken from the work tree, or let go where that is asked for.

use serde_json::Value;

use super::{Change, GARBAGE, LOST, change, count, folder_of, hurt, photos, pushed, verify};
use crate::data_versions::{Place, commit, read};
use crate::harness::Project;

/// Cuts the pack with the large photo; the objects of versions are in others.
const LARGE_CUT: Change = |mut bytes| {
    if bytes.len() > 100_000 {
        bytes.truncate(8);
    }
    Some(bytes)
};
/// Changes that pack in the middle, where the large photo is.
const LARGE_CHANGED: Change = |mut bytes| {
    let middle = bytes.len() / 2;
    if bytes.len() > 100_000 {
        bytes[middle] ^= 1;
    }
    Some(bytes)
};
/// Another digit where a digest begins.
const OTHER_DIGIT: Change = |mut bytes| {
    if let Some(first) = bytes.first_mut() {
        *first = if *first == b'0' { b'1' } else { b'0' };
    }
    Some(bytes)
};
const EMPTY: Change = |_| Some(Vec::new());

fn own(project: &Project) -> Place {
    Place::at(&project.path(".ropewalk/store"))
}

/// The lines that a verification prints, which ends with `code`.
fn lines(project: &Project, arguments: &[&str], code: i32) -> Vec<String> {
    let arguments = [&["data", "verify"], arguments].concat();
    let output = project.run(&arguments);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}\n{}", crate::harness::talk(&output));
    told.lines().map(str::to_owned).collect()
}

#[test]
fn what_the_work_tree_still_has_heals_a_store_without_a_remote() {
    let place = Place::local();
    let project = photos(&place);
    project.succeed(&["remote", "rm", "origin"]);
    let owl = std::fs::read(project.path("photos/owl.raw")).expect("an owl");
    let bytes_of_owl = |says: &str| {
        let told = project.run(&["data", "cat", "data:photos@v2/owl.raw"]);
        assert!(told.stdout == owl, "{says}");
    };
    change(&own(&project), "packs", LARGE_CHANGED);
    let told = lines(&project, &[], 1);
    let whole = told.iter().find(|line| line.starts_with("NOT WHOLE: photos v2")).expect("who needs it");
    assert!(whole.contains("owl.raw") && !whole.contains("wren.jpg"), "{whole}");
    change(&own(&project), "packs", LARGE_CUT);
    let told = lines(&project, &[], 1);
    let damaged: Vec<_> = told.iter().filter(|line| line.starts_with("DAMAGED")).collect();
    assert!(damaged.len() == 1 && damaged[0].contains(" pieces in packs/"), "one line for one pack: {told:?}");
    // The files are as they were, and are stored again all the same.
    assert!(project.succeed(&["data", "commit", "photos", "-m", "again"]).contains("unchanged"));
    verify(&project, &[], 0);
    bytes_of_owl("added again");

    change(&own(&project), "packs", LARGE_CUT);
    let told = verify(&project, &["--heal"], 0);
    assert!(hurt(&told).is_empty() && count(&told["damaged"]) > 1, "{told}");
    verify(&project, &[], 0);
    bytes_of_owl("healed");

    // A version whose files lie in no work tree and in no remote is never given up: somebody removes it, and says why.
    project.succeed(&["data", "checkout", "photos@v1"]);
    change(&own(&project), "packs", LARGE_CUT);
    for arguments in [&["--heal"][..], &["--heal", "--give-up"]] {
        let told = lines(&project, arguments, 1);
        assert!(told.last().is_some_and(|line| line.contains("ropewalk data rm photos@v2 --reason WHY")), "{told:?}");
    }
    project.succeed(&["data", "tag", "photos@v2", "large"]);
    let removal = ["data", "rm", "photos@v2", "--reason", "the disk has lost it"];
    assert!(project.fail(2, &removal).contains("data tag photos large --delete"));
    project.succeed(&["data", "tag", "photos", "large", "--delete"]);
    project.succeed(&removal);
    verify(&project, &["--heal"], 0);
    verify(&project, &[], 0);
    let said = project.fail(2, &["data", "checkout", "photos@v2"]);
    assert!(said.contains("the disk has lost it"), "{said}");
    project.succeed(&["data", "checkout", "photos@latest"]);
    assert_eq!(read(&project, "photos/wren.jpg"), "nor this");
}

#[test]
fn without_its_remote_a_store_is_healed_from_the_work_tree() {
    let place = Place::local();
    let project = photos(&place);
    change(&own(&project), "packs", LARGE_CUT);
    let hidden = format!("{}.away", folder_of(&place).display());
    std::fs::rename(folder_of(&place), &hidden).expect("away");
    project.fail(2, &["data", "verify", "--heal", "origin"]);
    let told = verify(&project, &["--heal"], 0);
    assert!(told["notes"][0].as_str().is_some_and(|note| note.contains("no remote was asked")), "{told}");
    verify(&project, &[], 0);
    std::fs::rename(&hidden, folder_of(&place)).expect("back");
}

#[test]
fn while_a_remote_cannot_be_asked_nobody_is_told_to_remove_what_it_may_have() {
    let place = Place::local();
    let project = photos(&place);
    project.succeed(&["data", "checkout", "photos@v1"]);
    change(&own(&project), "packs", LARGE_CUT);
    let hidden = format!("{}.away", folder_of(&place).display());
    std::fs::rename(folder_of(&place), &hidden).expect("away");
    for (arguments, hint) in
        [(&["--heal"][..], "try another remote"), (&["--heal", "--give-up"][..], "run this again once")]
    {
        let told = lines(&project, arguments, 1);
        assert!(told.last().is_some_and(|last| last.contains(hint) && !last.contains("data rm")), "{told:?}");
    }
    std::fs::rename(&hidden, folder_of(&place)).expect("back");
    verify(&project, &["--heal", "origin", "--give-up"], 0);
}

#[test]
fn a_remote_is_given_up_by_nobody_who_has_lost_things_himself() {
    let place = Place::local();
    let project = photos(&place);
    project.succeed(&["data", "checkout", "photos@v1"]);
    for store in [&own(&project), &place] {
        change(store, "packs", LARGE_CUT);
    }
    let told = verify(&project, &["--remote", "origin", "--heal", "--give-up"], 1);
    assert!(told["unknown"][0].as_str().is_some_and(|why| why.contains("own store is not whole")), "{told}");
    assert_eq!(count(&told["given_up"]), 0, "{told}");
}

#[test]
fn a_tag_that_only_another_remote_knows_is_not_given_up() {
    let (place, backup) = (Place::local(), Place::local());
    let project = photos(&place);
    project.succeed(&["remote", "add", "backup", &backup.url]);
    project.succeed(&["push", "--remote", "backup"]);
    for store in [&own(&project), &place] {
        assert!(change(store, "refs/datasets/photos/tags", GARBAGE) > 0);
        assert!(change(store, "packs", LOST) > 0);
    }
    verify(&project, &["--heal", "origin"], 1);
    let told = verify(&project, &["--heal", "origin", "--give-up"], 0);
    assert_eq!(count(&told["given_up"]), 0, "{told}");
    verify(&project, &[], 0);
    project.succeed(&["data", "checkout", "photos@first-birds"]);
    assert_eq!(read(&project, "photos/wren.jpg"), "nor this");
}

#[test]
fn a_head_that_leads_nowhere_goes_back_when_it_is_given_up() {
    let place = Place::local();
    let first = photos(&place);
    commit(&first, "better birds");
    for store in [&own(&first), &place] {
        assert!(change(store, "refs/datasets/photos/head", OTHER_DIGIT) > 0);
    }
    let said = first.fail(1, &["fetch"]);
    assert!(said.contains("has lost it") && said.contains("--give-up"), "{said}");
    let told = lines(&first, &["--heal", "origin"], 1);
    assert!(told.last().is_some_and(|line| line.contains("--give-up")), "{told:?}");
    let second = super::clone(&first);
    assert!(second.fail(1, &["fetch", "photos"]).contains("has lost it"));
    assert_eq!(count(&second.json(&["data", "log", "photos"])), 1, "the one with a tag");

    // The pointer and the generations before it tell what the head was.
    let told = verify(&first, &["--heal", "origin", "--give-up"], 0);
    assert_eq!(count(&told["given_up"]), 1, "{told}");
    verify(&first, &[], 0);
    let log = first.json(&["data", "log", "photos"]);
    assert_eq!((count(&log), &log[0]["head"]), (2, &serde_json::Value::Bool(true)), "{log}");
    let trail = first.json(&["data", "audit", "photos"]).to_string();
    assert!(trail.contains("given_up"), "{trail}");
    let said = first.fail(2, &["push"]);
    assert!(said.contains("data verify --remote origin --heal --give-up") && !said.contains("merge"), "{said}");
    verify(&first, &["--remote", "origin", "--heal"], 1);
    verify(&first, &["--remote", "origin", "--heal", "--give-up"], 0);
    first.succeed(&["push"]);
    verify(&first, &["--remote", "origin"], 0);
    second.succeed(&["fetch", "photos"]);
    assert_eq!(count(&second.json(&["data", "log", "photos"])), 2);
}

fn unhealed(told: &Value) -> Vec<&str> {
    let affected = told["affected"].as_array().expect("a list").iter();
    affected.filter(|one| one["healed"] == false).filter_map(|one| one["what"].as_str()).collect()
}

#[test]
fn code_of_runs_is_made_again_from_the_work_tree_or_given_up() {
    let place = Place::local();
    let project = pushed(&place);
    assert!(change(&own(&project), "packs", LOST) > 0);
    verify(&project, &[], 1);
    // What a run recorded of itself is in no remote; its code is in the work tree.
    let told = verify(&project, &["--heal", "origin"], 1);
    let lost = unhealed(&told);
    assert!(!lost.is_empty() && lost.iter().all(|what| what.starts_with("the artifact ")), "{told}");
    verify(&project, &["--heal", "origin", "--give-up"], 0);
    verify(&project, &[], 0);

    let file = read(&project, "ropewalk.toml");
    project.write("ropewalk.toml", &format!("{file}\n# changed since\n"));
    assert!(change(&own(&project), "packs", LOST) > 0);
    let told = verify(&project, &["--heal", "origin"], 1);
    assert!(matches!(unhealed(&told)[..], [lost] if lost.starts_with("the code of run ")), "{told}");
    verify(&project, &["--heal", "origin", "--give-up"], 0);
    verify(&project, &[], 0);
    let thread = project.succeed(&["trace", "data:people@one"]);
    assert!(thread.contains("lost, given up by"), "{thread}");
}

#[test]
fn refs_a_mark_and_strangers_are_put_right() {
    let place = Place::local();
    let project = photos(&place);
    assert!(change(&own(&project), "refs/datasets/photos/head", LOST) > 0);
    let told = verify(&project, &[], 1);
    assert_eq!(count(&told["refs"]), 1, "{told}");
    verify(&project, &["--heal", "origin"], 0);
    assert_eq!(count(&project.json(&["data", "log", "photos"])), 2);

    let own = own(&project);
    for (store, heal) in [(&own, &["--heal", "origin"][..]), (&place, &["--remote", "origin", "--heal"][..])] {
        let folder = folder_of(store);
        for spoilt in [EMPTY, GARBAGE] {
            let mark = folder.join("format");
            let text = spoilt(std::fs::read(&mark).expect("a mark")).expect("bytes");
            std::fs::write(&mark, text).expect("a mark");
            let stray = folder.join("refs/datasets/photos/head/notes.txt");
            std::fs::write(&stray, "what is this").expect("a stray");
            let told = verify(&project, heal, 0);
            assert_eq!(count(&told["notes"]), 2, "{told}");
            assert!(!stray.exists());
            assert_eq!(count(&verify(&project, heal, 0)["notes"]), 0);
        }
    }
}
