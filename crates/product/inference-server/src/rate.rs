use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests a second, and how many may come at once (token bucket).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second, above 0.
    pub per_second: f64,
    /// Requests at once, at least 1.
    pub burst: f64,
}

impl Rate {
    /// This rate; without a burst, that of one second may come at once.
    pub fn new(per_second: f64, burst: Option<u32>) -> Self {
        Self { per_second, burst: burst.map_or(per_second, f64::from).max(1.0) }
    }
}

/// What is left of a rate.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, state: Mutex::new((rate.burst, Instant::now())) }
    }

    /// Takes one request; the error is how long until there is one.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.1).as_secs_f64();
        let left = (state.0 + passed * self.rate.per_second).min(self.rate.burst);
        let taken = left >= 1.0;
        *state = (if taken { left - 1.0 } else { left }, now.max(state.1));
        if taken { Ok(()) } else { Err(Duration::from_secs_f64(((1.0 - left) / self.rate.per_second).min(3600.0))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let bucket = Bucket::new(Rate::new(2.0, Some(3)));
        let begin = Instant::now();
        for _ in 0..3 {
            assert!(bucket.take(begin).is_ok());
        }
        let wait = bucket.take(begin).expect_err("the burst is over");
        assert!(wait <= Duration::from_millis(500) && wait > Duration::from_millis(300), "{wait:?}");
        assert!(bucket.take(begin + Duration::from_millis(400)).is_err());
        assert!(bucket.take(begin + Duration::from_millis(600)).is_ok());
        let later = begin + Duration::from_hours(1);
        assert_eq!((0..10).filter(|_| bucket.take(later).is_ok()).count(), 3, "no more than the burst is saved");
    }

    #[test]
    fn a_slow_rate_lets_one_through() {
        let bucket = Bucket::new(Rate::new(0.5, None));
        let begin = Instant::now();
        assert!(bucket.take(begin).is_ok());
        assert!(bucket.take(begin).expect_err("one in two seconds") > Duration::from_secs(1));
    }
}
