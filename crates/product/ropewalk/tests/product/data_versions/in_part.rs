//! Versions of which only a part is here: what they cost, and what needs no remote.

use super::{Place, birds, clone, commit, git};
use crate::harness::{Project, noise};

#[test]
fn what_is_here_in_part_is_counted_and_needs_no_remote() {
    let place = Place::local();
    let first = birds(&place);
    let large = noise(1, 3_000_000);
    std::fs::write(first.path("photos/large.raw"), &large).expect("large");
    std::fs::write(first.path("photos/small.raw"), noise(2, 1_000_000)).expect("small");
    first.succeed(&["data", "commit", "photos", "-m", "raw"]);
    commit(&first, "raw");
    first.succeed(&["push"]);
    let second = clone(&first);
    second.succeed(&["data", "checkout", "photos", "large.raw"]);
    let costs = second.json(&["data", "du"]);
    let sizes = [costs[0]["logical_bytes"].as_u64(), costs[1]["logical_bytes"].as_u64()];
    assert_eq!(sizes, [Some(4_000_026), Some(26)], "of all its files, here or not: {costs}");
    let stored = costs[0]["stored_bytes"].as_u64().expect("a number");
    assert!((3_000_000..3_100_000).contains(&stored), "of the file that is here: {costs}");

    let remote = place.folder.as_ref().expect("folder").path().join("remote");
    std::fs::rename(&remote, remote.with_file_name("away")).expect("moved away");
    for command in ["restore", "checkout"] {
        std::fs::remove_file(second.path("photos/large.raw")).expect("removed");
        second.succeed(&["data", command, "photos", "large.raw"]);
        assert!(std::fs::read(second.path("photos/large.raw")).expect("large") == large, "{command}");
    }
    assert!(second.run(&["data", "cat", "photos/large.raw"]).stdout == large);
    assert!(second.run(&["data", "cat", "data:photos@latest/large.raw"]).stdout == large);
    assert!(!second.run(&["data", "cat", "photos/small.raw"]).status.success());
    std::fs::rename(remote.with_file_name("away"), &remote).expect("moved back");
    second.succeed(&["data", "checkout", "photos", "small.raw"]);
    assert!(second.path("photos/small.raw").exists());
}

#[test]
fn what_others_need_too_is_only_here_for_none_of_them() {
    let project = Project::new();
    git(project.root(), &["init", "-q"]);
    project.succeed(&["init", "."]);
    for name in ["one", "two"] {
        std::fs::create_dir(project.path(name)).expect("folder");
        std::fs::write(project.path(name).join("file"), noise(3, 500_000)).expect("file");
        project.succeed(&["data", "add", name]);
        project.succeed(&["data", "commit", name, "-m", "the same"]);
    }
    let all = project.json(&["data", "du"]);
    for (at, name) in [(0, "one"), (1, "two")] {
        let alone = project.json(&["data", "du", name]);
        assert_eq!((alone[0]["name"].as_str(), alone.as_array().map(Vec::len)), (Some(name), Some(1)), "{alone}");
        assert_eq!(alone[0], all[at], "whichever are asked for");
        assert!(alone[0]["stored_bytes"].as_u64() > Some(500_000), "{alone}");
        assert!(alone[0]["own_bytes"].as_u64() < Some(10_000), "{alone}");
    }
}
