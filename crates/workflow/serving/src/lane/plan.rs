//! Which requests of a lane are evaluated together, and when.

use std::time::{Duration, Instant};

use super::queue::{Job, Key};
use crate::Batching;
use crate::batch::Joins;

/// The requests of the next batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) keys: Vec<Key>,
    /// Until when it is worth to wait for more; none if they go at once.
    pub(super) until: Option<Instant>,
}

/// The first in the queue and those after it that can be joined with it. A request that would make it too long ends
/// the batch; one of another shape waits for the next. Where some sizes are preferred, the largest of them that the
/// requests come to goes at once and the rest waits, until the oldest has waited long enough.
pub(super) fn plan<'a>(
    mut queue: impl Iterator<Item = (Key, &'a Job)>,
    batching: Batching,
    preferred: &[usize],
    joins: Joins,
    now: Instant,
) -> Plan {
    let Some((key, first)) = queue.next() else {
        return Plan { keys: Vec::new(), until: None };
    };
    let mut plan = Plan { keys: vec![key], until: None };
    if !first.joinable {
        return plan;
    }
    let (mut rows, mut oldest, mut deadline) = (first.rows, first.queued, first.deadline);
    let mut best = preferred.contains(&rows).then_some(1);
    let mut full = rows >= batching.max_rows;
    for (key, job) in queue {
        if full {
            break;
        }
        if !job.joinable || !joins.fit(&first.inputs, &job.inputs) {
            continue;
        }
        if rows + job.rows > batching.max_rows {
            full = true;
            break;
        }
        rows += job.rows;
        oldest = oldest.min(job.queued);
        deadline = deadline.into_iter().chain(job.deadline).min();
        plan.keys.push(key);
        best = if preferred.contains(&rows) { Some(plan.keys.len()) } else { best };
        full = rows >= batching.max_rows;
    }
    let delay = Duration::from_micros(batching.max_delay_us);
    let until = oldest.checked_add(delay);
    let over = !delay.is_zero() && until.is_some_and(|until| until <= now);
    if let (Some(count), false) = (best, over) {
        plan.keys.truncate(count);
        return plan;
    }
    if full || preferred.last().is_some_and(|largest| rows >= *largest) {
        return plan;
    }
    // Who would be late at the end of the wait is not made to wait.
    plan.until = until.filter(|until| deadline.is_none_or(|deadline| deadline > *until));
    plan
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn waiting(rows: &[usize], queued: Instant) -> Vec<Job> {
        let job = |rows: &usize| {
            let reply = oneshot::channel().0;
            Job { inputs: Vec::new(), rows: *rows, bytes: 0, joinable: true, queued, deadline: None, reply }
        };
        rows.iter().map(job).collect()
    }

    /// How many of the requests go together, and whether they wait for more.
    fn planned(rows: &[usize], preferred: &[usize], waited_us: u64) -> (usize, bool) {
        let queued = Instant::now();
        let jobs = waiting(rows, queued);
        let queue = jobs.iter().enumerate().map(|(at, job)| ((0, at as u64), job));
        let batching = Batching { max_rows: 16, max_delay_us: 1000 };
        let now = queued + Duration::from_micros(waited_us);
        let plan = plan(queue, batching, preferred, Joins::Always, now);
        (plan.keys.len(), plan.until.is_some_and(|until| until > now))
    }

    #[test]
    fn a_batch_goes_when_it_is_full_and_else_waits() {
        assert_eq!(planned(&[3, 3], &[], 0), (2, true));
        assert_eq!(planned(&[8, 8, 1], &[], 0), (2, false));
        assert_eq!(planned(&[8, 9], &[], 0), (1, false));
    }

    #[test]
    fn a_preferred_size_goes_at_once_until_the_wait_is_over() {
        assert_eq!(planned(&[1, 2], &[4, 8], 0), (2, true), "no size is reached yet");
        assert_eq!(planned(&[1, 3], &[4, 8], 0), (2, false));
        assert_eq!(planned(&[4, 3], &[4, 8], 0), (1, false), "the rest waits for the next batch");
        assert_eq!(planned(&[4, 2, 2, 1], &[4, 8], 0), (3, false), "the largest counts");
        assert_eq!(planned(&[4, 3], &[4, 8], 1000), (2, false), "who has waited long enough goes");
        assert_eq!(planned(&[9], &[4, 8], 0), (1, false), "more than the largest waits for nothing");
    }
}
