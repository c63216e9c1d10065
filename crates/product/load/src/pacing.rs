use std::time::Instant;

/// Waits for moments, on a runtime that looks after connections meanwhile: to the millisecond that the runtime counts in.
#[derive(Default)]
pub(crate) struct Pacer {
    #[cfg(target_os = "linux")]
    timer: Option<precise::Timer>,
}

impl Pacer {
    /// A pacer of the runtime that it is made in: on Linux exact to some microseconds, at the price of a file descriptor.
    pub(crate) fn precise() -> Self {
        Self {
            // Where there is none left, waits are as exact as the runtime's; how late requests were sent is told in any case.
            #[cfg(target_os = "linux")]
            timer: precise::Timer::new().ok(),
        }
    }

    /// Waits until `due`.
    pub(crate) async fn until(&self, due: Instant) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer
            && timer.until(due).await.is_ok()
        {
            return;
        }
        tokio::time::sleep_until(due.into()).await;
    }
}

#[cfg(target_os = "linux")]
mod precise {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
    use rustix::time::{timerfd_create, timerfd_settime};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// One of the kernel's timers, told of as a connection is: `timerfd_create(2)`.
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        #[expect(deprecated, reason = "its successor is unsafe for the sake of types that lie about their descriptor")]
        pub(super) fn new() -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
        }

        pub(super) async fn until(&self, due: Instant) -> io::Result<()> {
            loop {
                let left = due.saturating_duration_since(Instant::now());
                // A timer of no time at all would be switched off.
                if left.is_zero() {
                    return Ok(());
                }
                let never = Timespec { tv_sec: 0, tv_nsec: 0 };
                let value = Timespec::try_from(left).map_err(io::Error::other)?;
                timerfd_settime(
                    self.0.get_ref(),
                    TimerfdTimerFlags::empty(),
                    &Itimerspec { it_interval: never, it_value: value },
                )?;
                self.0.readable().await?.clear_ready();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_before_it_is_due() {
        let pacer = Pacer::precise();
        for micros in [0, 5, 300, 4500, 20] {
            let due = Instant::now() + Duration::from_micros(micros);
            pacer.until(due).await;
            assert!(Instant::now() >= due);
        }
        // What was due before is sent at once.
        let begun = Instant::now();
        pacer.until(begun.checked_sub(Duration::from_secs(5)).unwrap()).await;
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn many_wait_at_once() {
        let begun = Instant::now();
        let waits = (1..=50_u64).map(|number| async move {
            let due = begun + Duration::from_micros(number * 400);
            Pacer::precise().until(due).await;
            assert!(Instant::now() >= due);
            tokio::task::yield_now().await;
        });
        let mut all = tokio::task::JoinSet::new();
        waits.for_each(|wait| drop(all.spawn(wait)));
        all.join_all().await;
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }
}
