//! `data add` on a file system where the store shares the blocks of large files: killed, and without room.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::harness::{Draws, Project, sizes_below, talk, variable};

const LARGE: usize = 48 << 20;
const KILLS: usize = 12;
const ADD: &[&str] = &["data", "add", "large.bin", "--name", "large"];

/// Bytes that cannot be compressed, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut draws = Draws(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(draws.next().to_bits().to_le_bytes().into_iter().take(6));
    }
    bytes.truncate(length);
    bytes
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    sizes_below(folder).into_keys().collect()
}

fn half_written(project: &Project) -> usize {
    let files = files_below(&project.path(".ropewalk"));
    files.iter().filter(|file| file.to_string_lossy().contains(".tmp#")).count()
}

fn packs(project: &Project) -> usize {
    files_below(&project.path(".ropewalk/store/packs")).len()
}

fn assert_verifies(project: &Project) {
    let verified = project.json(&["data", "verify"]);
    assert_eq!(verified["damaged"].as_array().map(Vec::len), Some(0), "{verified}");
    assert_eq!(verified["missing"].as_array().map(Vec::len), Some(0), "{verified}");
}

/// Everything that the file system still takes, to the last block.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).expect("ballast");
    for length in [1 << 20, 4 << 10] {
        let block = noise(7, length);
        while file.write_all(&block).and_then(|()| file.sync_data()).is_ok() {}
    }
}

/// One test, because it uses up all of its file system.
#[test]
fn large_files_are_stored_whole_or_not_at_all() {
    let place = PathBuf::from(variable("ROPEWALK_TEST_REFLINK_FILLED"));
    killed_between_sharing_and_commit(&place);
    without_room(&place);
}

fn large_file(place: &Path) -> Project {
    let project = Project::below(place);
    project.succeed(&["init", "."]);
    std::fs::write(project.path("large.bin"), noise(1, LARGE)).expect("a large file");
    project
}

fn killed_between_sharing_and_commit(place: &Path) {
    let undisturbed = large_file(place);
    let begun = Instant::now();
    undisturbed.succeed(ADD);
    let whole = begun.elapsed();
    assert!(
        files_below(&undisturbed.path(".ropewalk/store/packs"))
            .iter()
            .any(|pack| { pack.metadata().expect("pack").len() > LARGE as u64 })
    );
    drop(undisturbed);

    let project = large_file(place);
    let mut draws = Draws(0xb10c);
    let (mut kills, mut left) = (0, 0);
    for _ in 0..KILLS * 8 {
        if kills == KILLS {
            break;
        }
        if project.killed(ADD, whole.mul_f64(draws.next() * 0.8)) {
            kills += 1;
            left = left.max(half_written(&project));
            assert_verifies(&project);
        } else {
            // It came to its end: begin anew with other bytes, in the place of those.
            project.succeed(&["data", "gc", "--grace", "0"]);
            std::fs::write(project.path("large.bin"), noise(100 + kills as u64, LARGE)).expect("a large file");
        }
    }
    assert_eq!(kills, KILLS);
    assert!(left > 0, "no kill fell between the sharing of the blocks and the commit");
    project.succeed(ADD);
    project.succeed(&["data", "commit", "-m", "large", "large"]);
    for _ in 0..2 {
        project.succeed(&["data", "gc", "--grace", "0"]);
    }
    assert_eq!(half_written(&project), 0);
    assert_verifies(&project);
    let bytes: u64 = files_below(&project.path(".ropewalk/store/packs"))
        .iter()
        .map(|pack| pack.metadata().expect("pack").len())
        .sum();
    assert!(bytes < 2 * LARGE as u64, "{bytes}: what killed commands had left is gone");
    std::fs::remove_file(project.path("large.bin")).expect("the large file");
    project.succeed(&["data", "checkout", "large"]);
    assert_eq!(std::fs::read(project.path("large.bin")).expect("file").len(), LARGE);
}

/// With no room at all, and with more and more of it, until it is enough.
fn without_room(place: &Path) {
    let project = large_file(place);
    // All that is made once is there.
    project.write("small.txt", "small");
    project.succeed(&["data", "add", "small.txt", "--name", "small"]);
    project.succeed(&["data", "commit", "-m", "small", "small"]);
    let ballast = place.join("ballast");
    fill(&ballast);
    let before = packs(&project);
    let mut refused = 0;
    for room in [0, 8 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20, 8 << 20] {
        let file = File::options().write(true).open(&ballast).expect("ballast");
        let length = file.metadata().expect("ballast").len();
        file.set_len(length.saturating_sub(room)).expect("room");
        file.sync_all().expect("room");
        let output = project.run(ADD);
        if output.status.success() {
            break;
        }
        refused += 1;
        let said = talk(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("free some space"), "{said}");
        assert_eq!(half_written(&project), 0, "{said}");
        // All of it, when only the audit trail had no room, or nothing.
        assert!(project.path("large.bin.dataset").exists() || packs(&project) == before, "{said}");
    }
    assert!(refused > 0);
    std::fs::remove_file(&ballast).expect("ballast");
    assert_verifies(&project);
    project.succeed(ADD);
    project.succeed(&["data", "commit", "-m", "with room", "large"]);
    assert_verifies(&project);
    assert_eq!(project.run(&["data", "cat", "large"]).stdout, noise(1, LARGE));
}
