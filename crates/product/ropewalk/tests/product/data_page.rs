//! `docs/data.md` as a new user follows it: its commands run as they stand, in the order in which they stand.
//!
//! What a fence says behind its backquotes decides. `sh` is run by `bash -eu` and must end well, on the machine that is
//! named next, which is the first one if none is; with `fails` its last command must end with exit code 1, with `refused`
//! with 2. `text printed` is what the block before it printed: lines in this order, `…` for anything. Other `text` is for
//! reading only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::talk;
use crate::page::{Block, blocks, failing, shows};

const PAGE: &str = include_str!("../../../../../docs/data.md");
/// What the page has in the place of the reader's own repository, and of the folder that both machines see.
const REPOSITORY: &str = "https://git.example.com/you/birds.git";
const SHARED: &str = "/srv/";
const MACHINES: [&str; 4] = ["dvc", "first", "second", "third"];

/// A project of DVC that keeps a file in Git LFS too, each with the bytes `abc`, as the reader has it.
const FOREIGN: &str = r"
mkdir foreign
cd foreign
git init
ropewalk init .
mkdir -p .dvc/cache/files/md5/90 .git/lfs/objects/ba/78 images
touch .dvc/config
echo /cache > .dvc/.gitignore
printf abc > .dvc/cache/files/md5/90/0150983cd24fb0d6963f7d28e17f72
printf 'outs:\n- md5: 900150983cd24fb0d6963f7d28e17f72\n  size: 3\n  hash: md5\n  path: data.csv\n' > data.csv.dvc
oid=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
printf abc > .git/lfs/objects/ba/78/$oid
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 3\n' $oid > images/a.bin
git add .
git commit -m 'as it was'
";

/// The machines, what they share, and the folder in which the shell of each stands.
struct World {
    folder: TempDir,
    shells: BTreeMap<&'static str, PathBuf>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("srv")).expect("what is shared");
        let repository = folder.path().join("hosted/birds.git");
        let made = Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(repository).status();
        assert!(made.expect("git").success());
        Self { folder, shells: BTreeMap::new() }
    }

    fn home(&self, machine: &str) -> PathBuf {
        self.folder.path().join(machine)
    }

    /// Makes the home of a machine, with what git has to know of its owner.
    fn machine(&mut self, machine: &'static str) -> PathBuf {
        assert!(MACHINES.contains(&machine), "there is no machine `{machine}`");
        let home = self.home(machine);
        let begin = || {
            std::fs::create_dir(&home).expect("a home");
            let config = format!(
                "[user]\nname = {machine}\nemail = {machine}@example.com\n[init]\ndefaultBranch = main\n[advice]\ndetachedHead = false\n"
            );
            std::fs::write(home.join(".gitconfig"), config).expect("settings of git");
            home.clone()
        };
        self.shells.entry(machine).or_insert_with(begin).clone()
    }

    /// Runs lines as if they were typed on a machine; what they printed.
    fn run(&mut self, machine: &'static str, lines: &str, at: &str) -> String {
        let stands = self.machine(machine);
        let home = self.home(machine);
        let hosted = self.folder.path().join("hosted/birds.git").display().to_string();
        let shared = format!("{}/", self.folder.path().join("srv").display());
        let lines = lines.replace(REPOSITORY, &hosted).replace(SHARED, &shared);
        let program = Path::new(env!("CARGO_BIN_EXE_ropewalk")).parent().expect("its folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("PATH"));
        // Nothing of whoever runs the tests, such as credentials, reaches the page.
        let output = Command::new("bash")
            .args(["-eu", "-o", "pipefail", "-c", &format!("trap 'pwd > \"$HOME/.stands\"' EXIT\n{lines}")])
            .current_dir(stands)
            .env_clear()
            .envs([("PATH", path.as_str()), ("LANG", "C.UTF-8"), ("USER", machine), ("GIT_CONFIG_NOSYSTEM", "1")])
            .env("HOME", &home)
            .stdin(Stdio::null())
            .output()
            .expect("bash");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{at} on {machine}: {}\n{lines}\n{printed}\n{}", output.status, talk(&output));
        let stands = std::fs::read_to_string(home.join(".stands")).expect("where it stands");
        self.shells.insert(machine, stands.trim_end().into());
        printed
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }
}

#[test]
fn the_page_runs_as_it_stands() {
    let mut world = World::new();
    world.run("dvc", FOREIGN, "the set-up");
    let (mut printed, mut compared) = (None, 0);
    for Block { line, words, text } in blocks(PAGE) {
        let at = format!("docs/data.md:{line}");
        match words.as_slice() {
            ["sh", rest @ ..] => {
                let chained = ["&&", "||"].iter().any(|sign| text.contains(sign));
                assert!(!chained, "{at}: `bash -e` goes on after what fails before `&&`: give it a line of its own");
                let (machine, lines) = match rest {
                    [] => ("first", text),
                    [machine] => (*machine, text),
                    [machine, "fails"] => (*machine, failing(&text, 1)),
                    [machine, "refused"] => (*machine, failing(&text, 2)),
                    other => panic!("{at}: {other:?} says nothing"),
                };
                printed = Some(world.run(machine, &lines, &at));
            }
            ["text", "printed"] => {
                let printed = printed.take().unwrap_or_else(|| panic!("{at}: no command stands before it"));
                assert!(shows(&text, &printed), "{at}: it printed\n{printed}");
                compared += 1;
            }
            ["text"] => printed = None,
            other => panic!("{at}: {other:?} is neither run nor said to be text"),
        }
    }
    assert!(world.shells.keys().copied().eq(MACHINES), "{:?}", world.shells);
    assert!(compared >= 5, "{compared}");
    for (file, text) in [("owl.jpg", "an owl"), ("kite.jpg", "a kite"), ("wren.jpg", "the best wren")] {
        for machine in ["first", "second"] {
            assert_eq!(world.read(&format!("{machine}/birds/photos/{file}")), text, "{machine}");
        }
    }
    assert_eq!(world.read("third/birds/photos/wren.jpg"), "a better photo");
    for file in ["data.csv", "images/a.bin"] {
        assert_eq!(world.read(&format!("dvc/foreign/{file}")), "abc");
    }
}
