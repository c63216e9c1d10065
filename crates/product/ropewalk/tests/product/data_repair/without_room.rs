//! Healing and collecting on a disk that is full.

use crate::data_versions::{Place, birds};
use crate::harness::{Project, noise, talk};

/// What was there stays byte for byte, nothing half-written lies beside it, and what is damaged is told as before.
const COMPARED: &str = r#"
as_before() {
    sha256sum --quiet -c sums || echo "other bytes"
    find small -name '.tmp#*'
    "$ropewalk" data verify $1 --output json > now.json
    cmp before.json now.json && echo "as before"
}
"#;

/// Each failure is one error that says what to do.
fn assert_refused(said: &str, times: usize) {
    for beginning in ["error: ", "hint: free some space"] {
        assert_eq!(said.lines().filter(|line| line.starts_with(beginning)).count(), times, "{beginning}: {said}");
    }
    assert_eq!(said.matches("No space left").count(), times, "{said}");
}

#[test]
fn a_remote_without_room_is_no_worse_after_a_healing_and_is_healed_once_there_is_room() {
    let project = birds(&Place::local());
    project.succeed(&["remote", "rm", "origin"]);
    let ignored = std::fs::read_to_string(project.path(".gitignore")).expect("a file");
    project.write(".gitignore", &format!("{ignored}/small/\n"));
    project.succeed(&["remote", "add", "origin", "file:small/remote"]);
    std::fs::write(project.path("photos/owl.raw"), noise(7, 600_000)).expect("write");
    project.succeed(&["data", "commit", "photos", "-m", "an owl"]);
    let script = r#"
        "$ropewalk" push 2> /dev/null > /dev/null || exit 78
        rm "$(ls -S -d small/remote/packs/* | head -n 1)"
        find small -type f -exec sha256sum {} + > sums
        "$ropewalk" data verify --remote origin --output json > before.json
        cat /dev/zero > small/filler 2> /dev/null
        for room in 0 64 256; do
            truncate -s "-${room}K" small/filler
            "$ropewalk" data verify --remote origin --heal > /dev/null
            echo "full $?"
            as_before "--remote origin"
        done
        rm small/filler
        "$ropewalk" data verify --remote origin --heal > /dev/null
        echo "healed $?"
        "$ropewalk" data verify --remote origin > /dev/null
        echo "whole $?"
    "#;
    let output = project.on_small_disk("4m", &format!("{COMPARED}{script}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "full 2\nas before\n".repeat(3) + "healed 0\nwhole 0\n";
    assert_eq!(told, expected, "{}", talk(&output));
    assert_refused(&talk(&output), 3);
}

#[test]
fn collecting_without_room_for_merged_packs_loses_nothing_and_merges_once_there_is_room() {
    let project = Project::new();
    project.succeed(&["init", "."]);
    let file = std::fs::read_to_string(project.path("ropewalk.toml")).expect("project file");
    project.write("ropewalk.toml", &format!("{file}\n[backends]\nstorage = \"file:small/store\"\n"));
    for (seed, name) in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].into_iter().enumerate() {
        project.write(&format!("later/{name}"), "");
        std::fs::write(project.path(&format!("later/{name}")), noise(seed as u64, 100_000)).expect("write");
    }
    let script = r#"
        mkdir noise
        for name in a b c d e f g h i j; do
            mv "later/$name" noise/
            "$ropewalk" data add noise > /dev/null || exit 78
            "$ropewalk" data commit noise -m "$name" > /dev/null || exit 78
        done
        find noise small -type f -exec sha256sum {} + > sums
        "$ropewalk" data verify --output json > before.json || exit 78
        cat /dev/zero > small/filler 2> /dev/null
        for room in 0 64 512; do
            truncate -s "-${room}K" small/filler
            "$ropewalk" data gc --grace 0 > /dev/null
            echo "full $?"
            as_before
        done
        rm small/filler
        "$ropewalk" data gc --grace 0 | grep -q "merged: " && echo "merged"
        "$ropewalk" data verify > /dev/null
        echo "whole $?"
        ls small/store/packs | wc -l
        rm -r noise
        "$ropewalk" data restore noise > /dev/null 2> /dev/null
        grep noise/ sums | sha256sum --quiet -c && echo "laid out"
    "#;
    let output = project.on_small_disk("8m", &format!("{COMPARED}{script}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "full 2\nas before\n".repeat(3) + "merged\nwhole 0\n1\nlaid out\n";
    assert_eq!(told, expected, "{}", talk(&output));
    assert_refused(&talk(&output), 3);
}
