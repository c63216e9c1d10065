use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::ServingError;

/// Something that a thread of a pool can be called to do.
pub(crate) trait Work: Send + Sync {
    /// Does one piece of it. Must not panic.
    fn work(self: Arc<Self>);
}

/// A fixed number of threads for evaluations, apart from those that read sockets and files.
///
/// Its queue holds calls, not requests; it is bounded by those who call, each of which has so many calls out at once.
/// The threads end when the pool is dropped, after what was called before.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: usize,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Calls>,
    called: Condvar,
}

#[derive(Default)]
struct Calls {
    waiting: VecDeque<Arc<dyn Work>>,
    closed: bool,
}

impl Pool {
    /// Starts the threads, each bound to `cpus` if there are any.
    ///
    /// # Errors
    /// [`ServingError::Threads`] if one cannot be started or bound.
    pub(crate) fn start(threads: usize, cpus: &[usize]) -> Result<Self, ServingError> {
        let pool = Self { shared: Arc::default(), threads: threads.max(1) };
        let (report, reports) = channel();
        for _ in 0..pool.threads {
            let (shared, cpus, report) = (Arc::clone(&pool.shared), cpus.to_vec(), report.clone());
            let started = thread::Builder::new().name("evaluate".to_owned());
            started.spawn(move || run(&shared, &cpus, report)).map_err(|problem| failed(&problem))?;
        }
        drop(report);
        // Ends when each thread has reported.
        reports.iter().collect::<Result<(), _>>()?;
        Ok(pool)
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls a thread; the calls are followed in their order.
    pub(crate) fn call(&self, work: Arc<dyn Work>) {
        self.shared.lock().waiting.push_back(work);
        self.shared.called.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.called.notify_all();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Arc<dyn Work>> {
        let mut calls = self.lock();
        loop {
            if let Some(work) = calls.waiting.pop_front() {
                return Some(work);
            }
            if calls.closed {
                return None;
            }
            calls = self.called.wait(calls).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run(shared: &Shared, cpus: &[usize], report: Sender<Result<(), ServingError>>) {
    let bound = bind(cpus);
    let stop = bound.is_err();
    // The one who starts the pool waits for the report.
    let _ = report.send(bound);
    drop(report);
    if stop {
        return;
    }
    while let Some(work) = shared.next() {
        work.work();
    }
}

/// Binds the calling thread to CPUs; to none leaves it free.
#[cfg(target_os = "linux")]
fn bind(cpus: &[usize]) -> Result<(), ServingError> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus {
        if *cpu >= CpuSet::MAX_CPU {
            return Err(ServingError::Threads { problem: format!("there is no CPU {cpu}") });
        }
        set.set(*cpu);
    }
    let problem = |error| ServingError::Threads { problem: format!("cannot bind a thread to CPUs {cpus:?}: {error}") };
    sched_setaffinity(None, &set).map_err(problem)
}

/// Binds the calling thread to CPUs; to none leaves it free.
#[cfg(not(target_os = "linux"))]
fn bind(cpus: &[usize]) -> Result<(), ServingError> {
    if cpus.is_empty() {
        return Ok(());
    }
    Err(ServingError::Threads { problem: "threads are bound to CPUs on Linux only".to_owned() })
}

fn failed(problem: &std::io::Error) -> ServingError {
    ServingError::Threads { problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;
    use std::time::Duration;

    use super::*;

    struct Says {
        word: usize,
        said: Sender<usize>,
    }

    impl Work for Says {
        fn work(self: Arc<Self>) {
            self.said.send(self.word).unwrap();
        }
    }

    fn hear(said: &Receiver<usize>) -> usize {
        said.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    #[test]
    fn calls_are_followed_in_order_and_all_before_the_end() {
        let (said, heard) = channel();
        let pool = Pool::start(1, &[]).unwrap();
        for word in 0..100 {
            pool.call(Arc::new(Says { word, said: said.clone() }));
        }
        drop((pool, said));
        assert!((0..100).all(|word| hear(&heard) == word));
        // The thread has ended with the pool: nobody holds the other end.
        assert!(heard.recv_timeout(Duration::from_secs(10)).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_cpu_that_is_not_there_is_refused() {
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let cpu = (0..1024).find(|cpu| allowed.is_set(*cpu)).unwrap();
        assert!(Pool::start(2, &[cpu]).is_ok());
        assert!(matches!(Pool::start(1, &[1 << 20]), Err(ServingError::Threads { .. })));
        assert!(matches!(Pool::start(2, &[1023]), Err(ServingError::Threads { .. })));
    }
}
