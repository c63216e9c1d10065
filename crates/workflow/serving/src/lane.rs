mod evaluate;
mod plan;
mod queue;
mod turn;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ropewalk_inference::{EngineName, Model, NamedTensor};
use ropewalk_types::{ModelName, Signature};
use tokio::sync::oneshot;

use crate::batch::{Joins, has_rows};
use crate::cost::Costs;
use crate::pool::Pool;
use crate::statistics::Counters;
use crate::{Batching, ModelSettings, QueuePolicy, RequestContext, ServingError};
use evaluate::Slot;
use queue::{Job, Queue};
use turn::Turn;

/// What is evaluated in less time than this is evaluated on the caller's task: a thread switch there and back costs a
/// good part of it, and a reactor that is kept for so long serves others none the worse.
const HERE: Duration = Duration::from_micros(200);

/// The least and the most that a client is told to wait before it tries again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where one version of a model is evaluated: at once on the caller's task if it is cheap and free, else in turn on
/// a pool of threads, alone or joined with others.
///
/// Locks are held for book-keeping only, never during an evaluation.
pub(crate) struct Lane {
    name: ModelName,
    model: Arc<dyn Model>,
    signature: Arc<Signature>,
    counters: Arc<Counters>,
    costs: Costs,
    pool: Arc<Pool>,
    /// Evaluations at the same time.
    concurrency: usize,
    /// Requests that may wait beyond those for which there is a free place.
    limit: usize,
    /// Least urgent priority; 0 if there are none.
    levels: u32,
    /// The level of a request that names no priority.
    default_level: u32,
    timeout: Option<Duration>,
    /// Levels with a queue of their own.
    queues: BTreeMap<u32, QueuePolicy>,
    batching: Option<(Batching, Joins)>,
    /// Rows at which a batch goes at once.
    preferred: Vec<usize>,
    /// Whether evaluations may run on the caller's task, and whether they are bounded there.
    here: Option<Bound>,
    waiting: AtomicUsize,
    state: Mutex<State>,
    arrived: Condvar,
}

/// How evaluations on the caller's task are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// By the number of the runtime's threads.
    Runtime,
    /// By the model's own concurrency.
    Concurrency,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    /// Places in use: calls of the pool that are not over, and evaluations on callers' tasks that are bounded.
    places: usize,
    /// Calls that no thread has followed yet.
    called: usize,
    /// Evaluations at this moment, where they are bounded.
    evaluating: usize,
    /// Whether a thread waits for a batch to fill.
    gathering: bool,
}

/// A request on its way to the engine, as [`Lane::asked`] makes it; its inputs were checked.
#[derive(Debug)]
pub(crate) struct Asked {
    inputs: Vec<NamedTensor>,
    rows: usize,
    bytes: u64,
    /// Its place in the queue.
    level: u32,
    /// How long it waits for its turn at most; none for as long as it takes.
    timeout: Option<Duration>,
}

/// The inputs given back, what the engine made of them, and how long it took.
#[derive(Debug)]
pub(crate) struct Evaluated {
    pub(crate) inputs: Vec<NamedTensor>,
    pub(crate) outputs: Vec<NamedTensor>,
    pub(crate) timing: Timing,
}

/// The parts of the time from a request's arrival in the lane to its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) queue: Duration,
    pub(crate) input: Duration,
    pub(crate) infer: Duration,
    pub(crate) output: Duration,
}

impl Lane {
    /// A lane for a model, on `shared` unless the model needs threads of its own: its worker processes are waited
    /// for, its threads are bound to CPUs or wait for batches, or it has more places than there are shared threads.
    ///
    /// # Errors
    /// [`ServingError::Threads`] if its own threads cannot be started.
    pub(crate) fn new(
        name: ModelName,
        model: Arc<dyn Model>,
        settings: &ModelSettings,
        shared: &Arc<Pool>,
        counters: Arc<Counters>,
    ) -> Result<Self, ServingError> {
        let signature = Arc::new(model.signature().clone());
        let foreign = model.engine() == EngineName::Python;
        let joins = Joins::of(&signature);
        let batching = settings.batching.filter(|_| joins != Joins::Never).map(|batching| (batching, joins));
        let standard = match (foreign, settings.cpus.len()) {
            (true, _) => 1,
            (false, 0) => shared.threads(),
            (false, cpus) => cpus,
        };
        let concurrency = settings.concurrency.unwrap_or(standard).max(1);
        let own = foreign || batching.is_some() || !settings.cpus.is_empty() || concurrency > shared.threads();
        let pool = if own { Arc::new(Pool::start(concurrency, &settings.cpus)?) } else { Arc::clone(shared) };
        let bound = if settings.concurrency.is_some() { Bound::Concurrency } else { Bound::Runtime };
        let threads_only = foreign || batching.is_some() || !settings.cpus.is_empty();
        Ok(Self {
            name,
            model,
            signature,
            counters,
            costs: Costs::default(),
            pool,
            concurrency,
            limit: settings.queue,
            levels: settings.priority_levels,
            default_level: match settings.default_priority {
                0 => settings.priority_levels,
                level => level.min(settings.priority_levels),
            },
            timeout: settings.timeout,
            queues: settings.queues.clone(),
            batching,
            preferred: settings.preferred_rows.clone(),
            here: (!threads_only).then_some(bound),
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
            arrived: Condvar::new(),
        })
    }

    pub(crate) fn model(&self) -> &Arc<dyn Model> {
        &self.model
    }

    pub(crate) fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    /// Whether a batch is more than one inference: the first dimensions are open.
    pub(crate) fn has_batches(&self) -> bool {
        Joins::of(&self.signature) != Joins::Never
    }

    /// Requests that wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A request for this lane. How long it waits is settled here: its own timeout stands in the place of the model's,
    /// and its deadline shortens either.
    pub(crate) fn asked(&self, inputs: Vec<NamedTensor>, rows: usize, bytes: u64, context: &RequestContext) -> Asked {
        let level = self.level(context.priority);
        let standard = self.queues.get(&level).map_or(self.timeout, |policy| policy.timeout);
        let timeout = [context.timeout.or(standard), context.deadline].into_iter().flatten().min();
        Asked { inputs, rows, bytes, level, timeout }
    }

    /// Evaluates a request here and now, or in its turn.
    pub(crate) async fn evaluate(self: &Arc<Self>, asked: Asked) -> Result<Evaluated, ServingError> {
        match self.place_here(asked.bytes) {
            Some(place) => {
                let result = self.evaluate_one(asked.inputs, asked.rows, asked.bytes, Duration::ZERO);
                drop(place);
                result
            }
            None => self.evaluate_in_turn(asked).await,
        }
    }

    async fn evaluate_in_turn(self: &Arc<Self>, asked: Asked) -> Result<Evaluated, ServingError> {
        // Tokio's clock, so that a test that stops it stops this one, too. What no clock can tell is no deadline.
        let now = tokio::time::Instant::now();
        let deadline = asked.timeout.and_then(|timeout| now.checked_add(timeout));
        let (reply, mut answer) = oneshot::channel();
        let joinable = self
            .batching
            .is_some_and(|(batching, _)| asked.rows <= batching.max_rows && has_rows(&asked.inputs, asked.rows));
        let job = Job {
            inputs: asked.inputs,
            rows: asked.rows,
            bytes: asked.bytes,
            joinable,
            queued: Instant::now(),
            deadline: deadline.map(tokio::time::Instant::into_std),
            reply,
        };
        let turn = self.enter(asked.level, job)?;
        let answered = match deadline {
            None => answer.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, &mut answer).await {
                Ok(answered) => answered,
                Err(_) if turn.withdraw() => {
                    turn.over();
                    return Err(self.late(now.elapsed()));
                }
                // Its evaluation has begun: the deadline was for the wait.
                Err(_) => answer.await,
            },
        };
        turn.over();
        answered.unwrap_or_else(|_| Err(self.engine_failed()))
    }

    /// Puts a request into the queue, unless that is full.
    fn enter(self: &Arc<Self>, level: u32, job: Job) -> Result<Turn, ServingError> {
        let mut state = self.lock();
        let free = self.concurrency.saturating_sub(state.evaluating);
        let (waiting, limit) = self.waiting_beside(level, &state.queue);
        if waiting >= limit.saturating_add(free) {
            let retry_after = self.retry_after(waiting, job.bytes);
            return Err(ServingError::Overloaded { model: self.name.to_string(), waiting, retry_after });
        }
        let key = state.queue.push(level, job);
        self.call(&mut state);
        self.told(&state);
        if state.gathering {
            self.arrived.notify_all();
        }
        Ok(Turn::new(self, key))
    }

    /// How many requests share a queue with those of a level, and how many may.
    fn waiting_beside(&self, level: u32, queue: &Queue) -> (usize, usize) {
        if let Some(own) = self.queues.get(&level) {
            return (queue.len_of(level), own.queue);
        }
        let elsewhere: usize = self.queues.keys().map(|level| queue.len_of(*level)).sum();
        (queue.len().saturating_sub(elsewhere), self.limit)
    }

    /// Calls as many threads as there are requests and free places. A thread that gathers takes what arrives.
    fn call(self: &Arc<Self>, state: &mut State) {
        while !state.gathering && state.places < self.concurrency && state.called < state.queue.len() {
            state.places += 1;
            state.called += 1;
            self.pool.call(Arc::clone(self) as Arc<dyn crate::pool::Work>);
        }
    }

    /// A place on the caller's task, where an evaluation of that size is cheap and nobody waits for it.
    fn place_here(self: &Arc<Self>, bytes: u64) -> Option<Slot> {
        let bound = self.here?;
        if self.waiting() > 0 || self.costs.expected(bytes)? > HERE {
            return None;
        }
        if bound == Bound::Runtime {
            return Some(Slot::free());
        }
        let mut state = self.lock();
        if state.places >= self.concurrency {
            return None;
        }
        state.places += 1;
        state.evaluating += 1;
        Some(Slot::of(self))
    }

    /// The level in the queue of a priority: 0 is the default, and all past the last is the least urgent.
    fn level(&self, priority: u32) -> u32 {
        if priority == 0 { self.default_level } else { priority.min(self.levels) }
    }

    /// When a request of that size would have its turn if it came now.
    fn retry_after(&self, waiting: usize, bytes: u64) -> Duration {
        let each = self.costs.expected(bytes).unwrap_or_default().as_secs_f64();
        let all = each * waiting as f64 / self.concurrency as f64;
        Duration::try_from_secs_f64(all.ceil()).unwrap_or(RETRY.1).clamp(RETRY.0, RETRY.1)
    }

    fn late(&self, waited: Duration) -> ServingError {
        ServingError::DeadlineExceeded { model: self.name.to_string(), waited }
    }

    fn engine_failed(&self) -> ServingError {
        ServingError::EngineFailed { model: self.name.to_string() }
    }

    fn told(&self, state: &State) {
        self.waiting.store(state.queue.len(), Ordering::Relaxed);
    }

    /// No step under the lock leaves the state half changed, so a panic of another thread does not matter.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("name", &self.name).field("concurrency", &self.concurrency).finish_non_exhaustive()
    }
}
