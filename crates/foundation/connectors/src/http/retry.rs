use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use ropewalk_types::{Ambient, Timestamp};

use crate::{ConnectionOptions, ConnectorError};

/// Pauses that a server asks for are not longer, all since something moved together.
const LONGEST: Duration = Duration::from_mins(5);

/// Longer pauses are worth a word.
const UNNOTICED: Duration = Duration::from_secs(2);

/// Without a word from the server, pauses grow up to here.
const LONGEST_OF_OURS: Duration = Duration::from_secs(30);

/// Why a request gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may work the next time.
    Again {
        /// What happened.
        reason: String,
        /// What the server said about when.
        after: Option<After>,
        /// Which URL, redacted.
        url: String,
    },
    /// It will not work.
    Final(ConnectorError),
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        Self::Final(error)
    }
}

/// The header `Retry-After` (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Pause(Duration),
    Moment(Timestamp),
}

pub(super) fn after_header(headers: &HeaderMap) -> Option<After> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(After::Pause(Duration::from_secs(seconds))),
        Err(_) => Some(After::Moment(Timestamp(DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis()))),
    }
}

/// How often something failed since it last moved, and how long to wait now.
pub(crate) struct Pauses<'a> {
    attempts: u32,
    first: Duration,
    ambient: &'a dyn Ambient,
    options: &'a ConnectionOptions,
    failed: u32,
    /// How long a server made us wait since something moved.
    waited: Duration,
}

impl<'a> Pauses<'a> {
    /// Gives up after `attempts` failures in a row; pauses begin at about `first` and double. Whoever hears of `options`
    /// is told of those that a server asks for.
    pub(crate) fn new(
        attempts: u32,
        first: Duration,
        ambient: &'a dyn Ambient,
        options: &'a ConnectionOptions,
    ) -> Self {
        Self { attempts, first, ambient, options, failed: 0, waited: Duration::ZERO }
    }

    /// Something moved: the count begins again.
    pub(crate) fn progress(&mut self) {
        (self.failed, self.waited) = (0, Duration::ZERO);
    }

    /// Waits until it is time to try again, or says why there is no use.
    pub(crate) async fn wait(&mut self, failure: Failure) -> Result<(), ConnectorError> {
        tokio::time::sleep(self.pause(failure)?).await;
        Ok(())
    }

    fn pause(&mut self, failure: Failure) -> Result<Duration, ConnectorError> {
        let (reason, after, url) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Again { reason, after, url } => (reason, after, url),
        };
        self.failed += 1;
        if self.failed >= self.attempts {
            return Err(ConnectorError::Transfer { url, attempts: self.failed, reason });
        }
        let Some(asked) = after.map(|after| self.asked(after)) else { return Ok(self.ours()) };
        self.waited = self.waited.saturating_add(asked);
        if self.waited > LONGEST {
            let (until, seconds) = (self.until(asked), asked.as_secs());
            return Err(ConnectorError::RetryLater { url, until, seconds, reason });
        }
        if asked > UNNOTICED {
            self.options.tell(&format!("`{url}` asks to wait until {}: {reason}", self.until(asked)));
        }
        Ok(asked)
    }

    /// The pause that a server asks for.
    fn asked(&self, after: After) -> Duration {
        match after {
            After::Pause(pause) => pause,
            After::Moment(moment) => {
                let millis = moment.millis().saturating_sub(self.ambient.now().millis());
                Duration::from_millis(u64::try_from(millis).unwrap_or_default())
            }
        }
    }

    /// When a pause ends.
    fn until(&self, pause: Duration) -> String {
        let millis = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        let moment = DateTime::from_timestamp_millis(self.ambient.now().millis().saturating_add(millis));
        moment.map_or_else(
            || "a day that no calendar has".to_owned(),
            |moment| moment.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
    }

    /// A pause of our own.
    fn ours(&self) -> Duration {
        let doubled = self.first.saturating_mul(1 << (self.failed - 1).min(16)).min(LONGEST_OF_OURS);
        // Between half and all of it, so that many who failed at once do not come back at once.
        let share = (self.ambient.random() % 1000) as u32;
        doubled / 2 + doubled * share / 2000
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use ropewalk_types::ManualAmbient;

    use super::*;

    fn failure() -> Failure {
        Failure::Again { reason: "torn".to_owned(), after: None, url: "http://x/".to_owned() }
    }

    #[test]
    fn servers_say_when_to_come_back() {
        let after = |text: &str| after_header(&[(RETRY_AFTER, text.parse().unwrap())].into_iter().collect());
        assert_eq!(after("7"), Some(After::Pause(Duration::from_secs(7))));
        let moment = Some(After::Moment(Timestamp(1_445_412_480_000)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), moment);
        assert_eq!(after("soon"), None);
        let ambient = ManualAmbient::starting_at(Timestamp(1_445_412_470_000));
        let options = ConnectionOptions::default();
        let pauses = Pauses { failed: 1, ..Pauses::new(3, Duration::from_secs(1), &ambient, &options) };
        assert_eq!(moment.map(|moment| pauses.asked(moment)), Some(Duration::from_secs(10)));
    }

    #[test]
    fn who_waits_is_told_and_nobody_waits_for_long() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let options =
            ConnectionOptions::default().heard_by(move |text: &str| hears.lock().unwrap().push(text.to_owned()));
        let ambient = ManualAmbient::starting_at(Timestamp(1_445_412_470_000));
        let mut pauses = Pauses::new(9, Duration::from_secs(1), &ambient, &options);
        let asks = |seconds| {
            let after = Some(After::Pause(Duration::from_secs(seconds)));
            Failure::Again { reason: "it answered 429".to_owned(), after, url: "http://x/".to_owned() }
        };
        pauses.pause(asks(1)).unwrap();
        assert_eq!(pauses.pause(asks(200)).unwrap(), Duration::from_secs(200));
        let told = "`http://x/` asks to wait until 2015-10-21 07:31:10 UTC: it answered 429";
        assert_eq!(*heard.lock().unwrap(), [told]);
        for seconds in [100, 3600, u64::MAX] {
            let error = pauses.pause(asks(seconds)).unwrap_err();
            assert!(matches!(error, ConnectorError::RetryLater { .. }), "{error}");
            assert!(error.to_string().contains(&format!("Retry-After: {seconds} s")), "{error}");
        }
        pauses.progress();
        pauses.pause(asks(100)).unwrap();
    }

    #[test]
    fn pauses_grow() {
        let ambient = ManualAmbient::default();
        let options = ConnectionOptions::default();
        let pause = |failed| Pauses { failed, ..Pauses::new(9, Duration::from_secs(1), &ambient, &options) }.ours();
        for (failed, full) in [(1, 1), (2, 2), (4, 8), (20, 30)] {
            let (pause, full) = (pause(failed), Duration::from_secs(full));
            assert!(pause >= full / 2 && pause <= full, "{failed}: {pause:?}");
        }
    }

    #[tokio::test]
    async fn attempts_are_counted_since_the_last_progress() {
        let ambient = ManualAmbient::default();
        let options = ConnectionOptions::default();
        let mut pauses = Pauses::new(3, Duration::from_micros(1), &ambient, &options);
        pauses.wait(failure()).await.unwrap();
        pauses.wait(failure()).await.unwrap();
        assert!(matches!(pauses.wait(failure()).await, Err(ConnectorError::Transfer { attempts: 3, .. })));
        pauses.progress();
        pauses.wait(failure()).await.unwrap();
    }
}
