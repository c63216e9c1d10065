//! `kill -9` of what removes versions: afterwards each stands or does not, and the audit trail says the same as the refs.

use serde_json::Value;

use super::{holds, noise};
use crate::harness::{Project, moments};

/// A project in which `photos` has this many versions.
fn photos(versions: u8) -> Project {
    let project = Project::new();
    project.succeed(&["init", "."]);
    project.write("photos/robin.jpg", "not really a photo");
    project.succeed(&["data", "add", "photos"]);
    for number in 1..=versions {
        commit(&project, number);
    }
    project
}

/// Makes a version with bytes that no other has.
fn commit(project: &Project, number: u8) {
    std::fs::write(project.path("photos/noise.bin"), noise(number)).expect("write");
    project.succeed(&["data", "commit", "photos", "-m", &format!("version {number}")]);
}

/// Whether each version is removed, from the first to the newest. The audit trail is whole and knows of every removal, and
/// of the versions from the one of number `from` on, those that are not removed can be read.
fn removed(project: &Project, from: u8, says: &str) -> Vec<bool> {
    let trail = project.json(&["data", "audit", "photos", "--limit", "1000"]);
    let deleted = |digest: &str| {
        let mut entries = trail.as_array().expect("entries").iter();
        entries.any(|entry| entry["action"] == "delete" && entry["object"] == format!("data:photos@{digest}"))
    };
    let log = project.json(&["data", "log", "photos"]);
    let newest_first = log.as_array().expect("versions").iter();
    let removed = newest_first.rev().map(|one| {
        let removed = one["removed"] != Value::Null;
        assert!(!removed || deleted(one["digest"].as_str().expect("digest")), "{says}: {one}");
        let number = one["number"].as_u64().expect("a number");
        if (u64::from(from)..u64::from(from) + 4).contains(&number) {
            let cat = format!("data:photos@v{number}/robin.jpg");
            assert_eq!(project.run(&["data", "cat", &cat]).status.success(), !removed, "{says}: {one}");
        }
        removed
    });
    let removed = removed.collect();
    project.succeed(&["data", "audit", "--verify"]);
    let verified = project.json(&["data", "verify"]);
    assert_eq!(verified["whole"], true, "{says}: {verified}");
    removed
}

#[test]
fn a_killed_removal_stands_or_does_not_and_can_be_made_again() {
    const VERSIONS: u8 = 24;
    let project = photos(VERSIONS);
    let mut kills = 0;
    for (version, moment) in (1..VERSIONS).zip(moments()) {
        let (spec, says) = (format!("photos@v{version}"), format!("after {moment} changes"));
        let rm = ["data", "rm", spec.as_str(), "--reason", "not ours"];
        let killed = project.killed_at(&rm, &project.path(".ropewalk"), moment);
        let at = usize::from(version) - 1;
        if removed(&project, version, &says)[at] {
            let said = project.fail(2, &rm);
            assert!(said.contains("was removed by") && said.contains("not ours"), "{says}: {said}");
        } else {
            project.succeed(&rm);
        }
        let now = removed(&project, version, &says);
        assert!(now[..=at].iter().all(|removed| *removed) && !now[at + 1], "{says}: {now:?}");
        if !killed {
            break;
        }
        kills += 1;
    }
    assert!(kills > 3, "only {kills} kills fell into a removal");
}

#[test]
fn a_killed_retention_and_a_killed_collection_end_when_they_are_run_again() {
    let mut last = 1;
    let project = photos(last);
    let file = std::fs::read_to_string(project.path("ropewalk.toml")).expect("project file");
    let albums = "\n[data.albums]\nsource = \"data:photos\"\nretention_days = 0\n";
    project.write("ropewalk.toml", &format!("{file}{albums}"));
    let (watched, store) = (project.path(".ropewalk"), project.path(".ropewalk/store"));
    let (retention, gc) = (["data", "retention", "--remove", "--why", "gdpr"], ["data", "gc", "--grace", "0"]);
    let (mut kills, mut collections) = (0, 0);
    for moment in moments() {
        let says = format!("after {moment} changes");
        for _ in 0..3 {
            last += 1;
            commit(&project, last);
        }
        let killed = project.killed_at(&retention, &watched, moment);
        removed(&project, last - 3, &says);
        project.succeed(&retention);
        let now = removed(&project, last - 3, &says);
        let (newest, older) = now.split_last().expect("versions");
        assert!(!newest && older.iter().all(|removed| *removed), "{says}: {now:?}");

        let collected = !project.killed_at(&gc, &watched, moment);
        assert_eq!(removed(&project, last - 3, &says), now, "{says}");
        project.succeed(&gc);
        assert_eq!(removed(&project, last - 3, &says), now, "{says}");
        assert!(!holds(&store, &noise(last - 1)[..64]) && holds(&store, &noise(last)[..64]), "{says}");
        if !killed && collected {
            break;
        }
        kills += usize::from(killed);
        collections += usize::from(!collected);
    }
    assert!(kills > 3 && collections > 3, "only {kills} and {collections} kills fell into it");
}
