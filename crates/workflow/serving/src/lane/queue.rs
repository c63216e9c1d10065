use std::collections::BTreeMap;
use std::time::Instant;

use ropewalk_inference::NamedTensor;
use tokio::sync::oneshot;

use super::Evaluated;
use crate::ServingError;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) inputs: Vec<NamedTensor>,
    pub(super) rows: usize,
    pub(super) bytes: u64,
    /// Whether it can be part of a batch.
    pub(super) joinable: bool,
    pub(super) queued: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) reply: oneshot::Sender<Result<Evaluated, ServingError>>,
}

/// Place in the queue: the more urgent level first, and within it who came first.
pub(super) type Key = (u32, u64);

/// The requests that wait, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: BTreeMap<Key, Job>,
    next: u64,
}

impl Queue {
    pub(super) fn push(&mut self, level: u32, job: Job) -> Key {
        let key = (level, self.next);
        self.next += 1;
        self.jobs.insert(key, job);
        key
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Requests of one level.
    pub(super) fn len_of(&self, level: u32) -> usize {
        self.jobs.range((level, 0)..=(level, u64::MAX)).count()
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Job> {
        self.jobs.remove(&key)
    }

    /// The next one whose deadline has not passed; those that it passes over are put into `late`.
    pub(super) fn pop(&mut self, now: Instant, late: &mut Vec<Job>) -> Option<Job> {
        while let Some((_, job)) = self.jobs.pop_first() {
            if job.deadline.is_none_or(|deadline| now <= deadline) {
                return Some(job);
            }
            late.push(job);
        }
        None
    }

    /// Takes out those whose deadline has passed.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<Job> {
        self.jobs
            .extract_if(.., |_, job| job.deadline.is_some_and(|deadline| deadline < now))
            .map(|(_, job)| job)
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Job)> {
        self.jobs.iter().map(|(key, job)| (*key, job))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn job(rows: usize, deadline: Option<Instant>) -> Job {
        let (inputs, queued) = (Vec::new(), Instant::now());
        Job { inputs, rows, bytes: 0, joinable: true, queued, deadline, reply: oneshot::channel().0 }
    }

    #[test]
    fn the_urgent_come_first_and_equals_in_the_order_of_their_arrival() {
        let mut queue = Queue::default();
        for (level, rows) in [(2, 20), (1, 10), (2, 21), (1, 11), (0, 1)] {
            queue.push(level, job(rows, None));
        }
        let order: Vec<_> =
            std::iter::from_fn(|| queue.pop(Instant::now(), &mut Vec::new())).map(|job| job.rows).collect();
        assert_eq!(order, [1, 10, 11, 20, 21]);
    }

    #[test]
    fn who_is_late_is_passed_over() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.push(0, job(1, Some(now)));
        queue.push(0, job(2, Some(now + Duration::from_secs(2))));
        queue.push(0, job(3, Some(now)));
        let mut late = Vec::new();
        let after = now + Duration::from_secs(1);
        assert_eq!(queue.pop(after, &mut late).unwrap().rows, 2);
        assert_eq!(late.len(), 1);
        assert_eq!(queue.take_late(after)[0].rows, 3);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_leaves_is_not_found_again() {
        let mut queue = Queue::default();
        let key = queue.push(1, job(1, None));
        assert!(queue.remove(key).is_some());
        assert!(queue.remove(key).is_none());
    }
}
