use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};

use crate::{ExecutionError, Exit};

/// What is read from a pipe at a time, in bytes.
const PIECE: usize = 64 << 10;

/// A program with its arguments, run without a shell for what it prints.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name, looked up on `PATH`, or path.
    pub name: String,
    /// Arguments, passed as they are.
    pub arguments: Vec<String>,
    /// The folder in which it runs.
    pub directory: PathBuf,
    /// More output than this is an error, in bytes; of [`Program::stream`], more on its standard error.
    pub limit: u64,
}

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct ProgramOutput {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output, as text; other bytes are replaced.
    pub output: String,
    /// Its standard error, as text; other bytes are replaced.
    pub error: String,
}

impl Program {
    /// Runs it to its end, inheriting the environment, without standard input.
    pub async fn run(&self) -> Result<ProgramOutput, ExecutionError> {
        let mut child = self.start(Stdio::null())?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (output, error) = tokio::try_join!(self.read(stdout), self.read(stderr))?;
        let status = child.wait().await.map_err(|source| self.lost(source))?;
        let exit = status.code().map_or(Exit::Signal(0), Exit::Code);
        Ok(ProgramOutput { exit, output, error })
    }

    /// Like [`Program::run`], with `input` as its standard input, and with what it prints given to `each` piece by piece,
    /// however much that is; the `output` of the answer is empty.
    pub async fn stream(
        &self,
        input: &[u8],
        each: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<ProgramOutput, ExecutionError> {
        let mut child = self.start(Stdio::piped())?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ((), (), error) =
            tokio::try_join!(self.write(stdin, input), self.hand_on(stdout, each), self.read(stderr))?;
        let status = child.wait().await.map_err(|source| self.lost(source))?;
        let exit = status.code().map_or(Exit::Signal(0), Exit::Code);
        Ok(ProgramOutput { exit, output: String::new(), error })
    }

    fn start(&self, stdin: Stdio) -> Result<Child, ExecutionError> {
        tokio::process::Command::new(&self.name)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ExecutionError::Start {
                program: self.name.clone(),
                directory: self.directory.clone(),
                source,
            })
    }

    /// Owns the pipe, whose end tells the program that there is no more.
    async fn write(&self, pipe: Option<ChildStdin>, input: &[u8]) -> Result<(), ExecutionError> {
        let Some(mut pipe) = pipe else { return Ok(()) };
        match pipe.write_all(input).await {
            // It ended without having read all; its exit says whether that is right.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|source| self.lost(source)),
        }
    }

    async fn hand_on(
        &self,
        pipe: Option<impl AsyncReadExt + Unpin>,
        each: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), ExecutionError> {
        let Some(mut pipe) = pipe else { return Ok(()) };
        let mut piece = vec![0; PIECE];
        loop {
            match pipe.read(&mut piece).await.map_err(|source| self.lost(source))? {
                0 => return Ok(()),
                length => each(&piece[..length]),
            }
        }
    }

    async fn read(&self, pipe: Option<impl AsyncReadExt + Unpin>) -> Result<String, ExecutionError> {
        let Some(pipe) = pipe else { return Ok(String::new()) };
        let mut bytes = Vec::new();
        pipe.take(self.limit + 1).read_to_end(&mut bytes).await.map_err(|source| self.lost(source))?;
        if bytes.len() as u64 > self.limit {
            return Err(ExecutionError::TooMuchOutput { program: self.name.clone(), limit: self.limit });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn lost(&self, source: std::io::Error) -> ExecutionError {
        ExecutionError::Lost { program: self.name.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, arguments: &[&str], limit: u64) -> Program {
        let arguments = arguments.iter().map(|&one| one.to_owned()).collect();
        Program { name: name.to_owned(), arguments, directory: ".".into(), limit }
    }

    #[tokio::test]
    async fn arguments_are_not_read_by_a_shell() {
        let told = program("echo", &["$(id)", "; exit 1"], 100).run().await.expect("runs");
        assert_eq!(told.output, "$(id) ; exit 1\n");
        assert!(told.exit.success());
    }

    #[tokio::test]
    async fn any_amount_goes_through() {
        let input: Vec<u8> = (0..3 << 20).map(|at| b'a' + (at % 23) as u8).collect();
        let mut heard = Vec::new();
        let told = program("cat", &[], 4).stream(&input, &mut |piece| heard.extend_from_slice(piece)).await;
        assert!(told.expect("runs").exit.success());
        assert!(heard == input, "{} bytes came back", heard.len());
        // One that does not read what it is given.
        let told = program("false", &[], 4).stream(&input, &mut |_| ()).await.expect("runs");
        assert_eq!(told.exit, Exit::Code(1));
    }

    #[tokio::test]
    async fn output_is_bounded_and_a_missing_program_named() {
        let error = program("echo", &["0123456789"], 4).run().await.expect_err("too much");
        assert!(matches!(error, ExecutionError::TooMuchOutput { limit: 4, .. }), "{error}");
        let error = program("no-such-program-here", &[], 4).run().await.expect_err("missing");
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }
}
