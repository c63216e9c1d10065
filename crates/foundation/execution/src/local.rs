use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::{Command, ExecutionError, Executor, Exit, Listener, Stream};

const LONGEST_LINE: u64 = 64 * 1024;

/// Runs commands as child processes of this one, each in a process group of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

#[async_trait]
impl Executor for LocalExecutor {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn run(&self, command: &Command, listener: &dyn Listener) -> Result<Exit, ExecutionError> {
        let mut child = tokio::process::Command::new("sh")
            .arg("-c")
            .arg(&command.line)
            .current_dir(&command.directory)
            .env_clear()
            .envs(&command.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ExecutionError::Start {
                program: "sh".to_owned(),
                directory: command.directory.clone(),
                source,
            })?;
        let mut group = Group { leader: child.id() };
        let output = follow(child.stdout.take(), Stream::Output, listener);
        let error = follow(child.stderr.take(), Stream::Error, listener);
        // The command has ended when its leader has; a grandchild that keeps a pipe open must not hold us.
        // Not the line: it may hold what nobody is to see.
        let lost = |source| ExecutionError::Lost { program: "sh".to_owned(), source };
        let streams = async { tokio::try_join!(output, error) };
        let status = {
            tokio::pin!(streams);
            tokio::select! {
                read = &mut streams => {
                    read.map_err(lost)?;
                    child.wait().await.map_err(lost)?
                }
                status = child.wait() => {
                    let status = status.map_err(lost)?;
                    group.stop();
                    streams.await.map_err(lost)?;
                    status
                }
            }
        };
        group.stop();
        Ok(ending(status))
    }
}

fn ending(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

async fn follow(pipe: Option<impl AsyncRead + Unpin>, stream: Stream, listener: &dyn Listener) -> std::io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        listener.line(stream, text.trim_end_matches(['\n', '\r']));
    }
}

/// The child's process group; stopping it also stops what the child left behind.
struct Group {
    leader: Option<u32>,
}

impl Group {
    fn stop(&mut self) {
        let leader = self.leader.take().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader {
            // An empty group answers ESRCH: everything has ended, which is what we want.
            let _ = kill_process_group(leader, Signal::TERM);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(Stream, String)>>);

    impl Listener for Heard {
        fn line(&self, stream: Stream, text: &str) {
            self.0.lock().expect("lock").push((stream, text.to_owned()));
        }
    }

    async fn run(line: &str) -> (Exit, Vec<(Stream, String)>) {
        let directory = tempfile::tempdir().expect("folder");
        let path = std::env::var("PATH").expect("PATH");
        let environment =
            BTreeMap::from([("PATH".to_owned(), path), ("GREETING".to_owned(), "hello $HOME".to_owned())]);
        let command = Command { line: line.to_owned(), directory: directory.path().to_owned(), environment };
        let heard = Heard::default();
        let exit = LocalExecutor.run(&command, &heard).await.expect("runs");
        (exit, heard.0.into_inner().expect("lock"))
    }

    #[tokio::test]
    async fn codes_and_lines_come_back() {
        let (exit, lines) = run("echo \"$GREETING\"; echo two >&2; exit 3").await;
        assert_eq!(exit, Exit::Code(3));
        assert!(lines.contains(&(Stream::Output, "hello $HOME".to_owned())), "{lines:?}");
        assert!(lines.contains(&(Stream::Error, "two".to_owned())), "{lines:?}");
    }

    #[tokio::test]
    async fn nothing_of_our_environment_leaks() {
        let (_, lines) = run("env | grep -c CARGO").await;
        assert_eq!(lines, [(Stream::Output, "0".to_owned())]);
    }

    #[tokio::test]
    async fn a_signal_is_told_from_a_code() {
        assert_eq!(run("kill -9 $$").await.0, Exit::Signal(9));
    }

    #[tokio::test]
    async fn a_child_left_behind_does_not_hold_us() {
        let started = std::time::Instant::now();
        assert_eq!(run("sleep 60 & exit 0").await.0, Exit::Code(0));
        assert!(started.elapsed().as_secs() < 30);
    }

    #[tokio::test]
    async fn a_missing_folder_is_said() {
        let command =
            Command { line: "true".into(), directory: "/no/such/folder".into(), environment: BTreeMap::new() };
        let error = LocalExecutor.run(&command, &Heard::default()).await.expect_err("no folder");
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }
}
