use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{ExecutionError, Exit};

/// All of our environment that a companion inherits.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];
/// Lines of standard error that are kept.
const LINES_KEPT: usize = 50;
/// A longer line is cut, in bytes.
const LONGEST_LINE: u64 = 4 << 10;
/// How often it is looked whether a companion has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long the last words of one that has ended are waited for: a process that left its group may hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program that runs beside this one until it is stopped.
///
/// Its standard input is one end of a socket pair, over which the two talk: there is no name in the file system that
/// others could find, and the end of either is seen by the other. Its standard output is thrown away; of its standard
/// error the last 50 lines are kept.
#[derive(Clone, Debug)]
pub struct Companion {
    /// Name, looked up on `PATH`, or path.
    pub program: String,
    /// Arguments, passed as they are.
    pub arguments: Vec<String>,
    /// The folder in which it runs.
    pub directory: PathBuf,
    /// Its environment, besides `PATH`, `HOME` and `LANG`, which it inherits unless they are given here.
    pub environment: BTreeMap<String, String>,
}

/// A companion that was started. It and all that it started are killed when this is dropped.
#[derive(Debug)]
pub struct RunningCompanion {
    program: String,
    child: Child,
    /// Its process group, until that was killed: after its end the number may be another's.
    group: Option<Pid>,
    socket: UnixStream,
    lines: Arc<Mutex<VecDeque<String>>>,
    /// Reads its standard error.
    reader: Option<JoinHandle<()>>,
}

impl Companion {
    /// Starts it, in a process group of its own.
    pub fn start(&self) -> Result<RunningCompanion, ExecutionError> {
        let failed =
            |source| ExecutionError::Start { program: self.program.clone(), directory: self.directory.clone(), source };
        let (socket, theirs) = UnixStream::pair().map_err(failed)?;
        let inherited = INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(inherited)
            .envs(&self.environment)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let lines = Arc::default();
        let reader = child.stderr.take().map(|pipe| {
            let lines = Arc::clone(&lines);
            std::thread::spawn(move || keep_last(pipe, &lines))
        });
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(RunningCompanion { program: self.program.clone(), child, group, socket, lines, reader })
    }
}

impl RunningCompanion {
    /// Our end of the socket.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<Exit>, ExecutionError> {
        let lost = |source| ExecutionError::Lost { program: self.program.clone(), source };
        let status = self.child.try_wait().map_err(lost)?;
        if status.is_some() {
            self.kill_group();
            self.hear_out();
        }
        Ok(status
            .map(|status| status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or_default()), Exit::Code)))
    }

    /// Waits for its end, at most for `limit`; none if it still runs then. Blocks.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<Exit>, ExecutionError> {
        let start = Instant::now();
        loop {
            match self.ended()? {
                None if start.elapsed() < limit => std::thread::sleep(LOOK),
                ended => return Ok(ended),
            }
        }
    }

    /// The last lines of its standard error, at most 50.
    pub fn last_lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Kills it and all that it started, and waits for its end.
    pub fn stop(&mut self) {
        self.kill_group();
        let _ = self.child.wait();
        self.hear_out();
    }

    /// Reads what it said last: all that could write is dead, so that does not take long.
    fn hear_out(&mut self) {
        let start = Instant::now();
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) && start.elapsed() < LAST_WORDS {
            std::thread::sleep(LOOK / 10);
        }
        self.reader = None;
    }

    fn kill_group(&mut self) {
        if let Some(group) = self.group.take() {
            // An empty group answers ESRCH: everything has ended, which is what we want.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for RunningCompanion {
    fn drop(&mut self) {
        self.stop();
    }
}

fn keep_last(pipe: impl Read, lines: &Mutex<VecDeque<String>>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn companion(line: &str) -> Companion {
        Companion {
            program: "sh".to_owned(),
            arguments: vec!["-c".to_owned(), line.to_owned()],
            directory: ".".into(),
            environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        }
    }

    #[test]
    fn it_talks_over_its_standard_input() {
        let mut running = companion("read line; echo \"$GREETING $line\" >&0; exit 3").start().unwrap();
        running.socket().write_all(b"you\n").unwrap();
        let mut heard = String::new();
        BufReader::new(running.socket()).read_line(&mut heard).unwrap();
        assert_eq!(heard, "hello you\n");
        assert_eq!(running.wait(LIMIT).unwrap(), Some(Exit::Code(3)));
    }

    #[test]
    fn it_inherits_no_more_than_is_said() {
        let running = companion("(env | cut -d= -f1 | sort | tr '\\n' ' ') >&0").start().unwrap();
        let mut heard = String::new();
        running.socket().read_to_string(&mut heard).unwrap();
        let known = ["GREETING", "HOME", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "_"];
        assert!(heard.split_whitespace().all(|name| known.contains(&name)), "{heard}");
        assert!(heard.contains("PATH"), "{heard}");
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut running = companion("for n in $(seq 1 60); do echo line $n >&2; done").start().unwrap();
        assert_eq!(running.wait(LIMIT).unwrap(), Some(Exit::Code(0)));
        let lines = running.last_lines();
        assert_eq!((lines.len(), lines.first().map(String::as_str)), (50, Some("line 11")));
    }

    #[test]
    fn what_it_started_goes_with_it() {
        let mut running = companion("sleep 300 & echo $! >&0; wait").start().unwrap();
        let mut heard = String::new();
        BufReader::new(running.socket()).read_line(&mut heard).unwrap();
        assert_eq!(running.wait(Duration::ZERO).unwrap(), None);
        running.stop();
        assert_eq!(running.ended().unwrap(), Some(Exit::Signal(9)));
        let status = PathBuf::from(format!("/proc/{}/status", heard.trim()));
        let alive = || std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("State:\tZ"));
        let start = Instant::now();
        while alive() && start.elapsed() < LIMIT {
            std::thread::yield_now();
        }
        assert!(!alive(), "the child of the companion still runs");
    }

    #[test]
    fn a_missing_program_is_named() {
        let missing = Companion { program: "no-such-program-here".to_owned(), ..companion("") };
        assert!(missing.start().unwrap_err().to_string().contains("no-such-program-here"));
    }
}
