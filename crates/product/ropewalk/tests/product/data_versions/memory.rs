//! What `data add`, `push` and `pull` take of memory: no more than is stated, however much there is.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Place, clone, commit, git};
use crate::harness::{Draws, Project, python, talk};

/// What each of the commands may take, in MiB: less than the large file has.
const LIMIT: u64 = 300;
/// Bytes that are drawn at once.
const BLOCK: usize = 6 << 20;
/// Blocks of the large file: 516 MiB.
const BLOCKS: u64 = 86;
const FILES: usize = 30_000;
/// Runs a command and prints the most memory that it had, in KiB (`getrusage(2)`).
const MEASURE: &str = "import resource, subprocess, sys\n\
    code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n\
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n\
    sys.exit(code)\n";

/// Bytes that cannot be compressed.
fn fill(draws: &mut Draws, block: &mut [u8]) {
    for word in block.chunks_exact_mut(6) {
        word.copy_from_slice(&draws.next().to_bits().to_le_bytes()[..6]);
    }
}

/// One large file and very many small ones.
fn write(project: &Project) {
    let (mut draws, mut block) = (Draws(0x3e3), vec![0; BLOCK]);
    let mut large = File::create(project.path("large.bin")).expect("create");
    for _ in 0..BLOCKS {
        fill(&mut draws, &mut block);
        large.write_all(&block).expect("write");
    }
    for folder in 0..50 {
        std::fs::create_dir_all(project.path(&format!("small/{folder}"))).expect("folder");
    }
    for number in 0..FILES {
        let bytes = &block[number * 150..][..1000 + number % 2000];
        std::fs::write(project.path(&format!("small/{}/{number}", number % 50)), bytes).expect("write");
    }
}

fn assert_bounded(project: &Project, arguments: &[&str]) {
    let mut command = Command::new(python());
    command.args(["-c", MEASURE, env!("CARGO_BIN_EXE_ropewalk")]).args(arguments);
    command.current_dir(project.root()).stdin(Stdio::null()).env_remove("ROPEWALK_PROJECT");
    command.envs(project.environment().iter().map(|(name, value)| (name, value)));
    let output = command.output().expect("Python");
    assert!(output.status.success(), "{arguments:?}: {}", talk(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    let peak: u64 = said.trim().parse().unwrap_or_else(|error| panic!("{arguments:?}: {said}: {error}"));
    assert!(peak > 1 << 10 && peak < LIMIT << 10, "{arguments:?} took {peak} KiB");
}

#[test]
fn memory_does_not_grow_with_what_travels() {
    let places = [("disk", Place::local()), ("s3", Place::s3())];
    let first = Project::in_environment(&places[1].1.environment);
    git(first.root(), &["init", "-q"]);
    first.succeed(&["init", "."]);
    write(&first);
    assert_bounded(&first, &["data", "add", "large.bin", "--name", "large"]);
    assert_bounded(&first, &["data", "add", "small"]);
    first.succeed(&["data", "commit", "-m", "all"]);
    for (name, place) in &places {
        first.succeed(&["remote", "add", name, &place.url]);
    }
    commit(&first, "all");
    for (name, _) in &places {
        for dataset in ["large", "small"] {
            assert_bounded(&first, &["push", dataset, "--remote", name]);
        }
        let second = clone(&first);
        for dataset in ["large", "small"] {
            assert_bounded(&second, &["pull", dataset, "--remote", name]);
        }
        let there = std::fs::metadata(second.path("large.bin")).expect("it came").len();
        assert_eq!(there, BLOCKS * BLOCK as u64, "{name}");
        let last = format!("small/{}/{}", (FILES - 1) % 50, FILES - 1);
        assert_eq!(std::fs::read(second.path(&last)).expect("read"), std::fs::read(first.path(&last)).expect("read"));
    }
}
