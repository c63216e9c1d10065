use std::time::{Duration, Instant};

/// How often the sealer looks for journals of the dead and for what is old.
const ROUND: Duration = Duration::from_mins(15);
/// The longest pause while journals of this process cannot be sealed: they pile up until then.
const OUTAGE: Duration = Duration::from_secs(30);

/// How one go went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// All was done.
    Well,
    /// Something was passed over.
    Partly,
    /// Journals of this process could not be sealed, or what all of it needs failed.
    Stuck,
}

/// When all is looked after again: every round, and after trouble sooner, with pauses that grow.
#[derive(Debug)]
pub(super) struct Schedule {
    retry: Duration,
    pause: Duration,
    due: Instant,
}

impl Schedule {
    /// The first round is due at once.
    pub(super) fn new(retry: Duration, now: Instant) -> Self {
        Self { retry, pause: retry, due: now }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// How long until the next round.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// Takes in how a go went that ended `now`; `round` says whether all was looked after.
    pub(super) fn after(&mut self, went: Went, round: bool, now: Instant) {
        let most = if went == Went::Stuck { OUTAGE } else { ROUND };
        let pause = self.pause.min(most);
        match (went, round) {
            (Went::Well, true) => (self.pause, self.due) = (self.retry, now + ROUND),
            // What an earlier round passed over is tried again when it is due.
            (Went::Well, false) => {}
            (_, true) => (self.pause, self.due) = (pause.saturating_mul(2).min(most), now + pause),
            (_, false) => self.due = self.due.min(now + pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_millis(500);

    /// The pauses of rounds that all go the same way.
    fn pauses(went: Went, count: usize) -> Vec<Duration> {
        let now = Instant::now();
        let mut schedule = Schedule::new(RETRY, now);
        let round = |_| {
            schedule.after(went, true, now);
            schedule.left(now)
        };
        (0..count).map(round).collect()
    }

    #[test]
    fn pauses_double_up_to_an_ordinary_round() {
        let partly = pauses(Went::Partly, 14);
        assert_eq!(partly[..4], [1, 2, 4, 8].map(|times| RETRY * times));
        assert_eq!(partly[11..], [ROUND; 3]);
        assert_eq!(pauses(Went::Stuck, 9)[6..], [OUTAGE; 3]);
        assert_eq!(pauses(Went::Well, 3), [ROUND; 3]);
    }

    #[test]
    fn what_is_sealed_meanwhile_puts_no_round_off() {
        let start = Instant::now();
        let mut schedule = Schedule::new(RETRY, start);
        assert!(schedule.is_due(start));
        schedule.after(Went::Well, true, start);
        let later = start + ROUND / 3 * 2;
        schedule.after(Went::Well, false, later);
        assert!(!schedule.is_due(later) && schedule.is_due(start + ROUND));
        // What could not be sealed is tried again soon, and a round that went well begins anew.
        schedule.after(Went::Partly, false, later);
        assert_eq!(schedule.left(later), RETRY);
        schedule.after(Went::Partly, true, later);
        schedule.after(Went::Partly, true, later);
        assert_eq!(schedule.left(later), RETRY * 2);
        schedule.after(Went::Well, true, later);
        schedule.after(Went::Stuck, false, later);
        assert_eq!(schedule.left(later), RETRY);
    }
}
