use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use arrow::array::RecordBatch;

use crate::{BatchError, Rounded, Scored, Scorer};

/// Follows the work, and can end it.
pub trait Progress: Sync {
    /// So many more rows are scored.
    fn rows(&self, rows: u64) -> ControlFlow<()>;
}

/// What goes to a worker: rows, and the number of their first one.
type Asked = Result<(RecordBatch, u64), BatchError>;
type Answer = Result<Scored, BatchError>;

/// Scores batches on `workers` threads and hands them to `sink` in their order; gives the number of rows and what was rounded.
///
/// Each worker has one batch in its hands and one before it, so no more than four for each worker are in memory.
///
/// # Errors
/// The first of what a batch, a score or the sink says; [`BatchError::Stopped`] if `progress` says so. What comes after it is
/// not scored.
pub fn score<E: From<BatchError>>(
    batches: impl Iterator<Item = Result<RecordBatch, BatchError>> + Send,
    scorer: &Scorer,
    workers: usize,
    progress: &dyn Progress,
    mut sink: impl FnMut(&RecordBatch) -> Result<(), E>,
) -> Result<(u64, Rounded), E> {
    thread::scope(|scope| {
        let (mut asking, mut answering, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..workers.max(1) {
            let (ask, asked) = sync_channel::<Asked>(1);
            let (answer, answers) = sync_channel::<Answer>(1);
            threads.push(scope.spawn(move || work(&asked, &answer, scorer)));
            asking.push(ask);
            answering.push(answers);
        }
        threads.push(scope.spawn(move || deal(batches, &asking)));
        let collected = collect(&answering, progress, &mut sink);
        // Whoever still has something to hand over sees that nobody takes it.
        drop(answering);
        // A thread that broke looks like the end of the table until here.
        let broken = threads.into_iter().filter_map(|thread| thread.join().err()).count();
        if broken > 0 { Err(BatchError::Broken.into()) } else { collected }
    })
}

/// The batches in turn to the workers, until one of them is gone.
fn deal(batches: impl Iterator<Item = Result<RecordBatch, BatchError>>, workers: &[SyncSender<Asked>]) {
    let mut row = 1;
    for (batch, worker) in batches.zip(workers.iter().cycle()) {
        let asked = batch.map(|batch| {
            let first = row;
            row += batch.num_rows() as u64;
            (batch, first)
        });
        let is_last = asked.is_err();
        if worker.send(asked).is_err() || is_last {
            return;
        }
    }
}

fn work(asked: &Receiver<Asked>, answer: &SyncSender<Answer>, scorer: &Scorer) {
    while let Ok(asked) = asked.recv() {
        let answered = asked.and_then(|(batch, first)| scorer.score(&batch, first));
        if answer.send(answered).is_err() {
            return;
        }
    }
}

/// The answers in the turn in which they were asked for: the first worker without one is where the table ends.
fn collect<E: From<BatchError>>(
    workers: &[Receiver<Answer>],
    progress: &dyn Progress,
    sink: &mut impl FnMut(&RecordBatch) -> Result<(), E>,
) -> Result<(u64, Rounded), E> {
    let (mut rows, mut all) = (0, Rounded::new());
    for worker in workers.iter().cycle() {
        let Ok(answer) = worker.recv() else { break };
        let Scored { batch, rounded } = answer?;
        for (column, count) in rounded {
            *all.entry(column).or_default() += count;
        }
        rows += batch.num_rows() as u64;
        sink(&batch)?;
        if progress.rows(batch.num_rows() as u64).is_break() {
            return Err(BatchError::Stopped.into());
        }
    }
    Ok((rows, all))
}

#[cfg(test)]
mod tests;
