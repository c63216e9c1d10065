//! One worker process: started, asked, watched.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ropewalk_execution::{Companion, RunningCompanion};
use ropewalk_store::files;
use serde_json::json;

use super::frame::{Answer, LEAD, lengths, message};
use super::{PythonSettings, failed};
use crate::InferenceError;

const SCRIPT: &str = include_str!("worker.py");
/// How often a worker that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How the workers of a model are started.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) settings: PythonSettings,
    pub(super) interpreter: PathBuf,
    pub(super) model: PathBuf,
    /// An empty folder to run in.
    pub(super) directory: PathBuf,
    pub(super) threads: usize,
}

/// Why a worker is no more, or must be no more.
pub(super) type Down = String;

#[derive(Debug)]
pub(super) struct Worker {
    running: RunningCompanion,
    memory_limit: Option<u64>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) body: Vec<u8>,
}

impl Recipe {
    fn companion(&self) -> Companion {
        let threads = self.threads.max(1).to_string();
        let of_threads = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"];
        let fixed = [("PYTHONUNBUFFERED", "1"), ("MLFLOW_DISABLE_TELEMETRY", "true"), ("DO_NOT_TRACK", "true")];
        let own = of_threads.map(|name| (name, threads.as_str())).into_iter().chain(fixed);
        let mut environment = self.settings.environment.clone();
        for (name, value) in own {
            environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        Companion {
            program: self.interpreter.to_string_lossy().into_owned(),
            arguments: vec!["-c".to_owned(), SCRIPT.to_owned()],
            directory: self.directory.clone(),
            environment,
        }
    }

    /// Starts a worker and waits until it has loaded the model; gives up when `closed` says so.
    ///
    /// To be called by the thread that will use the worker: the kernel kills the worker when its thread ends.
    pub(super) fn start(&self, closed: &dyn Fn() -> bool) -> Result<Worker, Down> {
        let running = self.companion().start().map_err(|error| error.to_string())?;
        let mut worker = Worker { running, memory_limit: self.settings.memory_limit };
        let model = self.model.to_string_lossy();
        let start = json!({ "model": model, "memory": self.settings.memory_limit });
        let start = message(&start, &[]).map_err(|error| error.to_string())?;
        let answered = worker.ask(&start, self.settings.start_limit, closed)?;
        match answered.answer.error {
            Some(error) => Err(format!("{}: {error}", self.model.display())),
            None => Ok(worker),
        }
    }
}

impl Worker {
    /// Sends a message and waits for the answer, at most for `limit`.
    pub(super) fn ask(&mut self, message: &[u8], limit: Duration, closed: &dyn Fn() -> bool) -> Result<Answered, Down> {
        let deadline = Instant::now() + limit;
        let mut socket = self.running.socket();
        let sent = socket.set_write_timeout(Some(limit)).and_then(|()| socket.write_all(message));
        sent.map_err(|error| self.down(&format!("it did not take the request: {error}")))?;
        let mut lead = [0; LEAD];
        self.read(&mut lead, deadline, closed)?;
        let (header, body) = lengths(lead).map_err(|error| error.to_string())?;
        let mut header = vec![0; header];
        self.read(&mut header, deadline, closed)?;
        let mut whole = vec![0; body];
        self.read(&mut whole, deadline, closed)?;
        let answer = serde_json::from_slice(&header).map_err(|error| self.down(&format!("its answer: {error}")))?;
        Ok(Answered { answer, body: whole })
    }

    fn read(&mut self, into: &mut [u8], deadline: Instant, closed: &dyn Fn() -> bool) -> Result<(), Down> {
        let mut at = 0;
        self.running.socket().set_read_timeout(Some(LOOK)).map_err(|error| error.to_string())?;
        while let Some(rest) = into.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match self.running.socket().read(rest) {
                Ok(0) => return Err(self.down("it ended")),
                Ok(count) => at += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.down(&error.to_string())),
            }
            if closed() {
                return Err("the model is being unloaded".to_owned());
            }
            if at < into.len() {
                if Instant::now() > deadline {
                    return Err(self.down("it took longer than the time limit and was killed"));
                }
                self.check_memory()?;
            }
        }
        Ok(())
    }

    /// Looks at a worker that has nothing to do.
    pub(super) fn check(&mut self) -> Result<(), Down> {
        match self.running.ended() {
            Ok(None) => self.check_memory(),
            _ => Err(self.down("it ended")),
        }
    }

    fn check_memory(&mut self) -> Result<(), Down> {
        match (self.memory_limit, resident(self.running.id())) {
            (Some(limit), Some(resident)) if resident > limit => {
                Err(self.down(&format!("it had {} MiB of memory, {} are allowed", resident >> 20, limit >> 20)))
            }
            _ => Ok(()),
        }
    }

    /// Kills the worker and says why it is no more, how it ended and what it said last.
    fn down(&mut self, reason: &str) -> Down {
        // One that closes its socket is about to end: its own code says more than our signal.
        let ended = self.running.wait(LOOK).ok().flatten();
        self.running.stop();
        let how = ended.map(|exit| format!(" ({exit})")).unwrap_or_default();
        let said = self.running.last_lines();
        let said = if said.is_empty() { String::new() } else { format!("; it said: {}", said.join(" | ")) };
        format!("worker {}: {reason}{how}{said}", self.running.id())
    }
}

/// Resident memory of a process in bytes, where the system says it (proc(5), `VmRSS`).
fn resident(id: u32) -> Option<u64> {
    let status = files::read_text(Path::new(&format!("/proc/{id}/status")), 1 << 16).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// The answer's tensors, or what went wrong in the model.
pub(super) fn tensors(answered: Answered) -> Result<Vec<crate::NamedTensor>, InferenceError> {
    if let Some(reason) = answered.answer.error {
        if answered.answer.fault == "input" {
            let [node, operator] = ["model", "predict"].map(str::to_owned);
            return Err(InferenceError::Evaluation { node, operator, reason });
        }
        return Err(failed(&reason));
    }
    let mut body = answered.body.as_slice();
    let named = answered.answer.tensors.iter().map(|received| {
        let tensor = received.take(&mut body)?;
        Ok(crate::NamedTensor::new(&*received.name, tensor))
    });
    named.collect()
}
