use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ropewalk_listening::stop_signal;
use ropewalk_tracking::{LiveChange, LiveCursor, LiveTopic, Tracking, TrackingError};
use serde_json::json;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Between two questions to the catalogue.
const PERIOD: Duration = Duration::from_millis(500);
/// How long a topic goes on without listeners, so that one that comes again finds what it missed.
const ABANDONED: Duration = Duration::from_mins(1);
/// How long the first question may take.
const BEGINNING: Duration = Duration::from_secs(10);
/// Events that are kept for those who come again.
const KEPT: usize = 1024;
/// Events that a listener may be behind.
const BEHIND: usize = 512;

/// One event, as all listeners hear it.
#[derive(Debug)]
pub(super) struct Said {
    /// `EPOCH-NUMBER`.
    pub(super) id: String,
    pub(super) name: &'static str,
    pub(super) data: String,
    number: u64,
}

/// An experiment or a run that somebody listens to.
pub(super) struct Topic {
    /// Numbers are this topic's own: another server, or the next life of this one, has another epoch.
    epoch: u128,
    sender: Sender<Arc<Said>>,
    kept: Mutex<Kept>,
    /// Whether the catalogue was asked for the first time: from then on nothing that is new is missed.
    begun: watch::Sender<bool>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Said>>,
    last: u64,
    listeners: usize,
    /// Nobody asks the catalogue for it any more.
    ended: bool,
}

/// What comes from now on, for one listener.
pub(super) struct Listening {
    pub(super) topic: Arc<Topic>,
    pub(super) news: Receiver<Arc<Said>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.topic.kept().listeners -= 1;
    }
}

impl Topic {
    pub(super) fn new(epoch: u128) -> Self {
        let (sender, _) = channel(BEHIND);
        Self { epoch, sender, kept: Mutex::default(), begun: watch::Sender::new(false) }
    }

    /// What comes from now on; none if the topic has ended.
    pub(super) fn listen(self: &Arc<Self>) -> Option<Listening> {
        let mut kept = self.kept();
        if kept.ended {
            return None;
        }
        kept.listeners += 1;
        Some(Listening { topic: Arc::clone(self), news: self.sender.subscribe() })
    }

    /// Whether nobody asks the catalogue for it any more.
    pub(super) fn has_ended(&self) -> bool {
        self.kept().ended
    }

    /// Ends it if nobody listens; whether that is so.
    pub(super) fn end_abandoned(&self) -> bool {
        let mut kept = self.kept();
        // Under the lock: nobody begins to listen to what has ended.
        kept.ended |= kept.listeners == 0;
        kept.ended
    }

    /// What came after the event of this id; none where that is not known any more.
    pub(super) fn since(&self, id: &str) -> Option<Vec<Arc<Said>>> {
        let (epoch, number) = id.split_once('-')?;
        let number: u64 = number.parse().ok()?;
        let kept = self.kept();
        let oldest = kept.events.front().map_or(kept.last + 1, |oldest| oldest.number);
        if u128::from_str_radix(epoch, 16).ok()? != self.epoch || number + 1 < oldest || number > kept.last {
            return None;
        }
        Some(kept.events.iter().filter(|said| said.number > number).cloned().collect())
    }

    /// How things stand: an event `reset`, after which what was known before is forgotten, then each thing as it is.
    pub(super) async fn state(&self, tracking: &Tracking, topic: LiveTopic) -> Result<Vec<Arc<Said>>, TrackingError> {
        // What comes between this and the first question would be told by neither.
        let _ = timeout(BEGINNING, self.begun.subscribe().wait_for(|begun| *begun)).await;
        let number = self.kept().last;
        let (_, changes) = tracking.live_changes(topic, LiveCursor::default()).await?;
        let reset = self.said(number, "reset", "{}".to_owned());
        let now = changes.iter().map(|change| self.said(number, name(change), data(change)));
        Ok(std::iter::once(reset).chain(now).map(Arc::new).collect())
    }

    /// Asks the catalogue for what is new, until nobody has listened for a while.
    pub(super) async fn follow(self: Arc<Self>, tracking: Tracking, topic: LiveTopic, stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.ask(&tracking, topic) => {}
            () = stop_signal(stopped) => {}
        }
        self.kept().ended = true;
    }

    async fn ask(&self, tracking: &Tracking, topic: LiveTopic) {
        let mut cursor = LiveCursor::default();
        let mut heard = Instant::now();
        loop {
            // The catalogue is asked again after an error; who listens hears the heartbeat meanwhile.
            if let Ok((next, changes)) = tracking.live_changes(topic, cursor.clone()).await {
                // What was there before the first question is no news: each listener reads it for itself.
                if *self.begun.borrow() {
                    for change in &changes {
                        self.say(name(change), data(change));
                    }
                }
                cursor = next;
                self.begun.send_replace(true);
            }
            sleep(PERIOD).await;
            if self.kept().listeners > 0 {
                heard = Instant::now();
            } else if (self.has_ended() || heard.elapsed() > ABANDONED) && self.end_abandoned() {
                return;
            }
        }
    }

    fn say(&self, name: &'static str, data: String) {
        let mut kept = self.kept();
        kept.last += 1;
        let said = Arc::new(self.said(kept.last, name, data));
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::clone(&said));
        // Under the lock, so that all hear them in their order. Without listeners there is nobody to tell.
        let _ = self.sender.send(said);
    }

    fn said(&self, number: u64, name: &'static str, data: String) -> Said {
        Said { id: format!("{:x}-{number}", self.epoch), name, data, number }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(change: &LiveChange) -> &'static str {
    match change {
        LiveChange::Run(_) => "run",
        LiveChange::Metric { .. } => "metric",
    }
}

fn data(change: &LiveChange) -> String {
    let value = match change {
        LiveChange::Run(run) => json!({
            "run_id": run.id.to_string(),
            "experiment_id": run.experiment.to_string(),
            "run_name": run.name,
            "status": run.status.to_string(),
            "start_time": run.start.millis(),
            "end_time": run.end.map(ropewalk_types::Timestamp::millis),
            "lifecycle_stage": if run.deleted { "deleted" } else { "active" },
        }),
        LiveChange::Metric { run, point } => json!({
            "run_id": run.to_string(),
            "key": point.key,
            "value": number(point.value),
            "step": point.step,
            "timestamp": point.at.millis(),
        }),
    };
    value.to_string()
}

/// JSON has no NaN and no infinities: they are texts, as in ProtoJSON.
fn number(value: f64) -> serde_json::Value {
    if value.is_finite() {
        return json!(value);
    }
    let text = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    json!(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_again_hears_what_was_missed_or_begins_anew() {
        let topic = Topic::new(0xabc);
        let numbers = |id: &str| topic.since(id).map(|said| said.iter().map(|said| said.number).collect::<Vec<_>>());
        assert_eq!(numbers("abc-0"), Some(Vec::new()), "nothing was said yet");
        assert_eq!(numbers("abc-1"), None);
        for _ in 0..3 {
            topic.say("run", "{}".to_owned());
        }
        assert_eq!(numbers("abc-1"), Some(vec![2, 3]));
        assert_eq!(numbers("abc-3"), Some(Vec::new()));
        for strange in ["abd-1", "abc-4", "abc", "abc-x", "", "-1"] {
            assert_eq!(numbers(strange), None, "{strange}");
        }
        for _ in 0..KEPT {
            topic.say("run", "{}".to_owned());
        }
        assert_eq!(numbers("abc-2"), None, "3 is the first that is gone");
        assert_eq!(numbers("abc-3").map(|numbers| numbers.len()), Some(KEPT));
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_that_it_missed_something() {
        use tokio::sync::broadcast::error::RecvError;
        let topic = Arc::new(Topic::new(1));
        let mut listening = topic.listen().expect("it has not ended");
        for _ in 0..BEHIND + 5 {
            topic.say("run", "{}".to_owned());
        }
        assert!(matches!(listening.news.recv().await, Err(RecvError::Lagged(missed)) if missed >= 5));
        assert!(listening.news.recv().await.is_ok());
    }

    #[test]
    fn numbers_that_json_lacks_are_texts() {
        assert_eq!(number(0.5), json!(0.5));
        assert_eq!(number(f64::NAN), json!("NaN"));
        assert_eq!(number(f64::NEG_INFINITY), json!("-Infinity"));
    }

    #[test]
    fn nobody_listens_to_what_has_ended() {
        let topic = Arc::new(Topic::new(1));
        let listening = topic.listen().expect("it has not ended");
        assert_eq!(topic.kept().listeners, 1);
        drop(listening);
        assert_eq!(topic.kept().listeners, 0);
        let listening = topic.listen().expect("it has not ended");
        assert!(!topic.end_abandoned() && !topic.has_ended());
        drop(listening);
        assert!(topic.end_abandoned() && topic.listen().is_none() && topic.has_ended());
    }
}
