//! `docs/how-to/serve-with-curl.md` as somebody types it: its commands run as they stand, in the order in which they stand.
//!
//! What a fence says behind its backquotes decides. The last line of `sh serves` is the server that `$URL` is from then on, on
//! free ports; what ran before is ended. `sh` is run by `bash -eu` and must end well. `text printed` is what the block before
//! it printed: lines in this order, `…` for anything. Other `text` is for reading only.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Lines, Running, python, script, talk};
use crate::page::{Block, blocks, shows};

const PAGE: &str = include_str!("../../../../../docs/how-to/serve-with-curl.md");

/// The folder in which somebody stands, and the server that is asked.
struct World {
    folder: TempDir,
    server: Option<(Running, Lines)>,
    url: String,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut making = Command::new(python());
        let made = making.arg(script("page_suite/make_models.py")).arg(folder.path()).output().expect("python");
        assert!(made.status.success(), "{}", talk(&made));
        Self { folder, server: None, url: String::new() }
    }

    fn bash(&self, lines: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_ropewalk")).parent().expect("its folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("PATH"));
        let mut command = Command::new("bash");
        // Nothing of whoever runs the tests, such as a proxy, reaches the page.
        command.args(["-eu", "-o", "pipefail", "-c", lines]).current_dir(self.folder.path()).env_clear();
        command.envs([("PATH", path.as_str()), ("LANG", "C.UTF-8"), ("URL", self.url.as_str())]);
        command.env("HOME", self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs the lines before the last one, and starts it as the server.
    fn serve(&mut self, lines: &str) {
        self.server = None;
        let lines = lines.trim_end();
        let (before, last) = lines.rsplit_once('\n').unwrap_or(("", lines));
        let lines = format!("{{\n:\n{before}\n}} >&2\nexec {last} --port 0 --grpc-port 0 --output json");
        let mut server = Running(self.bash(&lines).stdout(Stdio::piped()).spawn().expect("bash"));
        let mut told = Lines::of(server.0.stdout.take().expect("stdout"));
        let object: Value = told.object();
        object["rest_url"].as_str().expect("the address of REST").clone_into(&mut self.url);
        self.server = Some((server, told));
    }

    fn run(&self, lines: &str, at: &str) -> String {
        let output = self.bash(lines).output().expect("bash");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{at}: {}\n{lines}\n{printed}\n{}", output.status, talk(&output));
        printed
    }
}

#[test]
fn the_page_runs_as_it_stands() {
    let mut world = World::new();
    let (mut printed, mut servers, mut compared) = (None, 0, 0);
    for Block { line, words, text } in blocks(PAGE) {
        let at = format!("docs/how-to/serve-with-curl.md:{line}");
        match words.as_slice() {
            ["sh", "serves"] => {
                world.serve(&text);
                servers += 1;
            }
            ["sh"] => printed = Some(world.run(&text, &at)),
            ["text", "printed"] => {
                let printed = printed.take().unwrap_or_else(|| panic!("{at}: no command stands before it"));
                assert!(shows(&text, &printed), "{at}: it printed\n{printed}");
                compared += 1;
            }
            ["text"] => {}
            other => panic!("{at}: {other:?} is neither run nor said to be text"),
        }
    }
    assert!(servers == 4 && compared >= 20, "{servers} servers, {compared} answers");
}
