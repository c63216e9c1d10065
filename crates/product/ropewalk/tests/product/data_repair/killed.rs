//! `kill -9` of what heals a remote.

use serde_json::Value;

use super::{GARBAGE, LOST, assert_travels, change, count, folder_of, hurt, pushed, verify};
use crate::data_versions::Place;
use crate::harness::{Project, moments, talk};

const HEAL: &[&str] = &["data", "verify", "--remote", "origin", "--heal"];

#[test]
fn a_killed_healing_shows_nothing_half_written_and_the_next_one_ends() {
    let place = Place::local();
    let first = pushed(&place);
    let mut kills = 0;
    for (folder, change_to) in [("packs", LOST), ("index", GARBAGE), ("refs", GARBAGE)] {
        for moment in moments() {
            let says = format!("{folder}, after {moment} changes");
            assert!(change(&place, folder, change_to) > 0, "{says}");
            let killed = first.killed_at(HEAL, folder_of(&place), moment);
            assert_nothing_half_written(&first, &place, &says);
            let told = verify(&first, &["--remote", "origin", "--heal"], 0);
            assert!(hurt(&told).is_empty(), "{says}: {told}");
            let told = verify(&first, &["--remote", "origin"], 0);
            assert_eq!((count(&told["affected"]), count(&told["damaged"])), (0, 0), "{says}: {told}");
            if !killed {
                break;
            }
            kills += 1;
        }
        assert_travels(&first, folder);
    }
    assert!(kills > 8, "only {kills} kills fell into a healing");
}

/// The remote can be read, and every pack that lies in it is whole.
fn assert_nothing_half_written(project: &Project, place: &Place, says: &str) {
    let output = project.run(&["data", "verify", "--remote", "origin", "--output", "json"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{says}: {}", talk(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for damage in told["damaged"].as_array().expect("a list") {
        let object = damage["object"].as_str().expect("an object");
        assert!(!object.starts_with("packs/") || !folder_of(place).join(object).exists(), "{says}: {damage}");
    }
}
