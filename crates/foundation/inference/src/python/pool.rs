//! The workers of one model, each with a thread that starts, asks and restarts it.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::worker::{Down, Recipe, Worker, tensors};
use super::{failed, not_ready};
use crate::{InferenceError, NamedTensor};

/// How long a worker that failed is not started again: doubled each time, until one answers.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often an idle worker is looked at.
const LOOK: Duration = Duration::from_millis(500);

type Reply = Result<Vec<NamedTensor>, InferenceError>;

#[derive(Debug)]
struct Job {
    message: Vec<u8>,
    /// Not begun after this.
    deadline: Instant,
    reply: SyncSender<Reply>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Workers that can answer.
    up: usize,
    /// Why the last worker that failed did.
    problem: Option<Down>,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    recipe: Recipe,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `count` workers and waits for the first that has loaded the model.
    pub(super) fn start(recipe: Recipe, count: usize) -> Result<Self, InferenceError> {
        let shared = Arc::new(Shared { recipe, state: Mutex::default(), changed: Condvar::new() });
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..count.max(1) {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("python-worker-{number}"));
            pool.threads.push(thread.spawn(move || shared.keep()).map_err(|error| failed(&error))?);
        }
        let mut state = pool.shared.lock();
        while state.up == 0 && state.problem.is_none() {
            state = pool.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(problem) = state.problem.take().filter(|_| state.up == 0) {
            return Err(failed(&problem));
        }
        drop(state);
        Ok(pool)
    }

    /// Asks the first worker that is free. Blocks.
    pub(super) fn ask(&self, message: Vec<u8>) -> Reply {
        let limit = self.shared.recipe.settings.request_limit;
        let (reply, answer) = sync_channel(1);
        {
            let mut state = self.shared.lock();
            if state.up == 0 {
                return Err(state.not_up());
            }
            state.jobs.push_back(Job { message, deadline: Instant::now() + limit, reply });
        }
        self.shared.changed.notify_all();
        wait(&answer, limit)
    }

    /// Whether a worker is up; the error says why not.
    pub(super) fn ready(&self) -> Result<(), String> {
        let state = self.shared.lock();
        if state.up > 0 { Ok(()) } else { Err(state.why_not_up()) }
    }
}

/// Waits for its turn and for its answer, which have the same limit; and a little for the worker's end to be seen.
fn wait(answer: &Receiver<Reply>, limit: Duration) -> Reply {
    match answer.recv_timeout(limit * 2 + Duration::from_secs(5)) {
        Ok(reply) => reply,
        Err(RecvTimeoutError::Timeout) => Err(not_ready("no worker took the request in time")),
        Err(RecvTimeoutError::Disconnected) => Err(not_ready("the worker that had the request is gone")),
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

impl State {
    fn why_not_up(&self) -> String {
        let problem = self.problem.as_deref().unwrap_or("they are being started");
        format!("no worker is up: {problem}")
    }

    fn not_up(&self) -> InferenceError {
        not_ready(&self.why_not_up())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> bool {
        self.lock().closed
    }

    /// Keeps one worker up until the pool is closed.
    fn keep(&self) {
        let mut pause = FIRST_PAUSE;
        while !self.closed() {
            let problem = match self.recipe.start(&|| self.closed()) {
                Ok(mut worker) => {
                    self.lock().up += 1;
                    self.changed.notify_all();
                    let (problem, answered) = self.serve(&mut worker);
                    if answered {
                        pause = FIRST_PAUSE;
                    }
                    problem
                }
                Err(problem) => problem,
            };
            self.failed(problem);
            self.pause(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Remembers why a worker is no more, and answers those who would wait for one in vain.
    fn failed(&self, problem: Down) {
        let mut state = self.lock();
        state.problem = Some(problem);
        if state.up == 0 {
            let error = state.not_up();
            for job in state.jobs.drain(..) {
                // Who asked may have gone.
                let _ = job.reply.send(Err(error.clone()));
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn pause(&self, pause: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout_while(state, pause, |state| !state.closed));
    }

    /// Answers with this worker until it fails or the pool is closed, and counts it out; says whether it ever answered.
    fn serve(&self, worker: &mut Worker) -> (Down, bool) {
        let mut answered = false;
        loop {
            let job = match self.next() {
                Next::Job(job) => job,
                Next::Nothing => match worker.check() {
                    Ok(()) => continue,
                    Err(problem) => {
                        self.lock().up -= 1;
                        return (problem, answered);
                    }
                },
                Next::Closed => {
                    self.lock().up -= 1;
                    return ("the model is being unloaded".to_owned(), answered);
                }
            };
            if Instant::now() > job.deadline {
                let _ = job.reply.send(Err(not_ready("all workers were busy until the request was too old")));
                continue;
            }
            match worker.ask(&job.message, self.recipe.settings.request_limit, &|| self.closed()) {
                Ok(answer) => {
                    answered = true;
                    let _ = job.reply.send(tensors(answer));
                }
                Err(problem) => {
                    // Before the reply: who gets it and asks whether we are ready must not hear yes.
                    self.lock().up -= 1;
                    let _ = job.reply.send(Err(not_ready(&problem)));
                    return (problem, answered);
                }
            }
        }
    }

    fn next(&self) -> Next {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, LOOK, |state| state.jobs.is_empty() && !state.closed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.jobs.pop_front() {
            _ if state.closed => Next::Closed,
            Some(job) => Next::Job(job),
            None => Next::Nothing,
        }
    }
}

enum Next {
    Job(Job),
    Nothing,
    Closed,
}
