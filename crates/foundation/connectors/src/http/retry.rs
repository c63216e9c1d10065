use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use ropewalk_types::{Ambient, Timestamp};

use crate::ConnectorError;

/// No pause is longer, whatever the server asks for.
const LONGEST: Duration = Duration::from_mins(5);

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
    failed: u32,
}

impl<'a> Pauses<'a> {
    /// Gives up after `attempts` failures in a row; pauses begin at about `first` and double.
    pub(crate) fn new(attempts: u32, first: Duration, ambient: &'a dyn Ambient) -> Self {
        Self { attempts, first, ambient, failed: 0 }
    }

    /// Something moved: the count begins again.
    pub(crate) fn progress(&mut self) {
        self.failed = 0;
    }

    /// Waits until it is time to try again, or says why there is no use.
    pub(crate) async fn wait(&mut self, failure: Failure) -> Result<(), ConnectorError> {
        let (reason, after, url) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Again { reason, after, url } => (reason, after, url),
        };
        self.failed += 1;
        if self.failed >= self.attempts {
            return Err(ConnectorError::Transfer { url, attempts: self.failed, reason });
        }
        tokio::time::sleep(self.pause(after)).await;
        Ok(())
    }

    fn pause(&self, after: Option<After>) -> Duration {
        let asked = match after {
            Some(After::Pause(pause)) => Some(pause),
            Some(After::Moment(moment)) => {
                let millis = moment.millis().saturating_sub(self.ambient.now().millis());
                Some(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
            }
            None => None,
        };
        if let Some(asked) = asked {
            return asked.min(LONGEST);
        }
        let doubled = self.first.saturating_mul(1 << (self.failed - 1).min(16)).min(LONGEST_OF_OURS);
        // Between half and all of it, so that many who failed at once do not come back at once.
        let share = (self.ambient.random() % 1000) as u32;
        doubled / 2 + doubled * share / 2000
    }
}

#[cfg(test)]
mod tests {
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
        let pauses = Pauses { failed: 1, ..Pauses::new(3, Duration::from_secs(1), &ambient) };
        assert_eq!(pauses.pause(moment), Duration::from_secs(10));
        assert_eq!(pauses.pause(Some(After::Pause(Duration::MAX))), LONGEST);
    }

    #[test]
    fn pauses_grow() {
        let ambient = ManualAmbient::default();
        let pause = |failed| Pauses { failed, ..Pauses::new(9, Duration::from_secs(1), &ambient) }.pause(None);
        for (failed, full) in [(1, 1), (2, 2), (4, 8), (20, 30)] {
            let (pause, full) = (pause(failed), Duration::from_secs(full));
            assert!(pause >= full / 2 && pause <= full, "{failed}: {pause:?}");
        }
    }

    #[tokio::test]
    async fn attempts_are_counted_since_the_last_progress() {
        let ambient = ManualAmbient::default();
        let mut pauses = Pauses::new(3, Duration::from_micros(1), &ambient);
        pauses.wait(failure()).await.unwrap();
        pauses.wait(failure()).await.unwrap();
        assert!(matches!(pauses.wait(failure()).await, Err(ConnectorError::Transfer { attempts: 3, .. })));
        pauses.progress();
        pauses.wait(failure()).await.unwrap();
    }
}
