use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ropewalk_inference::NamedTensor;
use tokio::sync::oneshot;

use super::plan::plan;
use super::queue::Job;
use super::{Evaluated, Lane, State, Timing};
use crate::batch::{Joins, join, split};
use crate::pool::Work;
use crate::{Batching, ServingError, trial};

/// Evaluations of made-up inputs that are timed at load.
const TIMED: usize = 3;

/// After one that takes so long no other is timed.
const SLOW: Duration = Duration::from_millis(50);

/// A place to evaluate, given back when dropped.
pub(super) struct Slot(Option<Arc<Lane>>);

impl Slot {
    /// One that nobody counts.
    pub(super) fn free() -> Self {
        Self(None)
    }

    /// One of the lane's places, which was counted.
    pub(super) fn of(lane: &Arc<Lane>) -> Self {
        Self(Some(Arc::clone(lane)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(lane) = &self.0 {
            lane.leave(1);
        }
    }
}

type Answer = (oneshot::Sender<Result<Evaluated, ServingError>>, Result<Evaluated, ServingError>);

impl Work for Lane {
    fn work(self: Arc<Self>) {
        let jobs = self.take();
        let evaluated = usize::from(!jobs.is_empty());
        let answers = self.answer(jobs);
        // First the place, then the answer: who has got one finds the place free.
        self.leave(evaluated);
        for (reply, answer) in answers {
            // A client that went away does not listen; that is counted where its future was dropped.
            let _ = reply.send(answer);
        }
    }
}

impl Lane {
    /// Evaluates made-up inputs so often, and measures what an evaluation costs; says what went wrong, if it did:
    /// zeros need not make sense to a model. Blocks.
    pub(crate) fn warm_up(&self, evaluations: u32) -> Result<(), String> {
        if evaluations == 0 {
            return Ok(());
        }
        let inputs = trial::made_up(&self.signature).ok_or("its inputs are too large to be made up")?;
        let bytes = crate::measure::tensor_bytes(&inputs);
        for _ in 0..evaluations {
            self.predict(&inputs).map_err(|problem| problem.to_string())?;
        }
        let mut least = Duration::MAX;
        for _ in 0..TIMED {
            let begun = Instant::now();
            self.predict(&inputs).map_err(|problem| problem.to_string())?;
            least = least.min(begun.elapsed());
            if least > SLOW {
                break;
            }
        }
        self.costs.learn(bytes, least);
        Ok(())
    }

    /// Evaluates one request on the calling thread.
    pub(super) fn evaluate_one(
        &self,
        inputs: Vec<NamedTensor>,
        rows: usize,
        bytes: u64,
        queue: Duration,
    ) -> Result<Evaluated, ServingError> {
        let begun = Instant::now();
        let outputs = self.predict(&inputs)?;
        let infer = begun.elapsed();
        self.costs.learn(bytes, infer);
        let timing = Timing { queue, infer, ..Timing::default() };
        self.counters.count_execution(rows, timing);
        Ok(Evaluated { inputs, outputs, timing })
    }

    /// Gives back a place, and whether it was used to evaluate.
    fn leave(self: &Arc<Self>, evaluated: usize) {
        let mut state = self.lock();
        state.places -= 1;
        state.evaluating -= evaluated;
        self.call(&mut state);
    }

    fn predict(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, ServingError> {
        // Models are stateless to their callers, so that one can be asked again after a panic.
        match catch_unwind(AssertUnwindSafe(|| self.model.predict(inputs))) {
            Ok(outputs) => Ok(outputs?),
            Err(_) => Err(self.engine_failed()),
        }
    }

    /// What is to be evaluated next; nothing if all have left, or if another thread is gathering.
    fn take(self: &Arc<Self>) -> Vec<Job> {
        let mut state = self.lock();
        state.called = state.called.saturating_sub(1);
        let mut late = Vec::new();
        let jobs = match self.batching {
            None => state.queue.pop(Instant::now(), &mut late).into_iter().collect(),
            Some(_) if state.gathering => Vec::new(),
            Some((batching, joins)) => {
                state.gathering = true;
                let (jobs, mut after) = self.gather(state, batching, joins, &mut late);
                after.gathering = false;
                state = after;
                jobs
            }
        };
        state.evaluating += usize::from(!jobs.is_empty());
        self.told(&state);
        self.call(&mut state);
        drop(state);
        for job in late {
            let answer = Err(self.late(job.queued.elapsed()));
            // A client that went away does not listen.
            let _ = job.reply.send(answer);
        }
        jobs
    }

    /// Waits until a batch is full or its oldest request has waited long enough.
    fn gather<'a>(
        &'a self,
        mut state: std::sync::MutexGuard<'a, State>,
        batching: Batching,
        joins: Joins,
        late: &mut Vec<Job>,
    ) -> (Vec<Job>, std::sync::MutexGuard<'a, State>) {
        loop {
            let now = Instant::now();
            late.extend(state.queue.take_late(now));
            let plan = plan(state.queue.iter(), batching, &self.preferred, joins, now);
            let wait = plan.until.and_then(|until| until.checked_duration_since(now)).filter(|wait| !wait.is_zero());
            let Some(wait) = wait else {
                let jobs = plan.keys.into_iter().filter_map(|key| state.queue.remove(key)).collect();
                return (jobs, state);
            };
            self.told(&state);
            let woken = self.arrived.wait_timeout(state, wait);
            state = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    fn answer(&self, jobs: Vec<Job>) -> Vec<Answer> {
        if jobs.len() > 1 {
            match self.answer_joined(jobs) {
                Ok(answers) => return answers,
                Err(jobs) => {
                    self.counters.count_unjoined();
                    return self.answer_each(jobs);
                }
            }
        }
        self.answer_each(jobs)
    }

    fn answer_each(&self, jobs: Vec<Job>) -> Vec<Answer> {
        let each = |job: Job| {
            let answer = self.evaluate_one(job.inputs, job.rows, job.bytes, job.queued.elapsed());
            (job.reply, answer)
        };
        jobs.into_iter().map(each).collect()
    }

    /// One evaluation for all; the requests are given back if it fails, for one of them may be the reason.
    fn answer_joined(&self, jobs: Vec<Job>) -> Result<Vec<Answer>, Vec<Job>> {
        let begun = Instant::now();
        let rows: Vec<usize> = jobs.iter().map(|job| job.rows).collect();
        let inputs: Vec<&[NamedTensor]> = jobs.iter().map(|job| job.inputs.as_slice()).collect();
        let Some(joined) = join(&self.signature, &inputs) else { return Err(jobs) };
        let input = begun.elapsed();
        let Ok(outputs) = self.predict(&joined) else { return Err(jobs) };
        let infer = begun.elapsed().saturating_sub(input);
        let Some(parts) = split(&outputs, &rows) else { return Err(jobs) };
        let output = begun.elapsed().saturating_sub(input + infer);
        self.costs.learn(jobs.iter().map(|job| job.bytes).sum(), infer);
        self.counters.count_execution(rows.iter().sum(), Timing { queue: Duration::ZERO, input, infer, output });
        let answer = |(job, outputs): (Job, Vec<NamedTensor>)| {
            let timing = Timing { queue: begun.saturating_duration_since(job.queued), input, infer, output };
            (job.reply, Ok(Evaluated { inputs: job.inputs, outputs, timing }))
        };
        Ok(jobs.into_iter().zip(parts).map(answer).collect())
    }
}
