use std::thread;
use std::time::{Duration, Instant};

/// What the runtime's timer may be wrong by: it counts milliseconds.
const COARSE: Duration = Duration::from_millis(3);
/// The end of a wait is not slept, since a thread wakes up some microseconds after its time.
const SPIN: Duration = Duration::from_micros(10);

/// Waits until `due` to some microseconds, on a thread that does nothing else meanwhile.
pub(crate) async fn until(due: Instant) {
    let left = |due: Instant| due.saturating_duration_since(Instant::now());
    // Connections are looked after as long as there is time.
    if let Some(early) = due.checked_sub(COARSE)
        && !left(early).is_zero()
    {
        tokio::time::sleep_until(early.into()).await;
    }
    let sleep = left(due).saturating_sub(SPIN);
    if !sleep.is_zero() {
        thread::sleep(sleep);
    }
    while !left(due).is_zero() {
        std::hint::spin_loop();
    }
}

/// Lets the calling thread's sleeps end when they should, where the kernel else puts them together to save power (50 us).
#[cfg(target_os = "linux")]
pub(crate) fn be_precise() {
    // Where it is refused, sleeps are as exact as they were; how late requests were sent is told in any case.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Elsewhere sleeps are as exact as they are.
#[cfg(not(target_os = "linux"))]
pub(crate) fn be_precise() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_before_it_is_due() {
        for micros in [0, 5, 300, 4500] {
            let due = Instant::now() + Duration::from_micros(micros);
            until(due).await;
            assert!(Instant::now() >= due);
        }
        // What was due before is sent at once.
        let begun = Instant::now();
        until(begun.checked_sub(Duration::from_secs(5)).unwrap()).await;
        assert!(begun.elapsed() < Duration::from_secs(4));
    }
}
