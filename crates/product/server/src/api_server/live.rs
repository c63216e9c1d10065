//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) of what happens to runs.
//!
//! One task asks the catalogue for each experiment or run that somebody listens to, however many do, and none where nobody
//! does: docs/adr/017-live-events.md. What it finds goes to all listeners, and is kept for a while, so that one that comes again
//! with `Last-Event-ID` misses nothing.

mod topic;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::Stream;
use ropewalk_listening::{Present, stop_signal};
use ropewalk_mlflow::{MlflowError, overloaded};
use ropewalk_tracking::{LiveTopic, Tracking, TrackingError};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::measures::Measures;
use topic::{Listening, Said, Topic};

/// Where the events are.
pub(super) const PATH: &str = "/api/2.0/ropewalk/events";
/// Between two signs of life, so that proxies and listeners know a quiet stream from a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Runs and experiments that are asked for at once.
const MOST_TOPICS: usize = 512;
/// Events on their way to one listener.
const ON_THE_WAY: usize = 16;
/// After how many seconds a listener that finds no place should come again.
const RETRY_SECONDS: u32 = 5;
/// After how long a listener whose stream ended should come again.
const RECONNECT: Duration = Duration::from_secs(2);

/// What is listened to.
pub(super) struct Live {
    tracking: Tracking,
    topics: Mutex<HashMap<LiveTopic, Arc<Topic>>>,
    places: Arc<Semaphore>,
    measures: Arc<Measures>,
    stopped: watch::Receiver<bool>,
}

/// The parameters of the endpoint; one of the two.
#[derive(Debug, Deserialize)]
struct Wanted {
    experiment_id: Option<String>,
    run_id: Option<String>,
}

impl Live {
    pub(super) fn new(
        tracking: Tracking,
        listeners: usize,
        measures: Arc<Measures>,
        stopped: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(listeners.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { tracking, topics: Mutex::default(), places, measures, stopped })
    }

    /// Begins to listen, with a task that asks for what is new if there was none; nothing if others listen to
    /// [`MOST_TOPICS`].
    fn listen(&self, wanted: LiveTopic) -> Option<Listening> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|_, topic| !topic.has_ended());
        if topics.len() >= MOST_TOPICS && !topics.contains_key(&wanted) {
            // Who comes again to one that nobody listened to begins anew.
            let abandoned = topics.iter().find(|(_, topic)| topic.end_abandoned()).map(|(topic, _)| *topic)?;
            topics.remove(&abandoned);
        }
        loop {
            let topic = Arc::clone(topics.entry(wanted).or_insert_with(|| self.begin(wanted)));
            if let Some(listening) = topic.listen() {
                return Some(listening);
            }
            // It ended just now.
            topics.remove(&wanted);
        }
    }

    fn begin(&self, wanted: LiveTopic) -> Arc<Topic> {
        let topic = Arc::new(Topic::new(self.tracking.ambient().random()));
        tokio::spawn(Arc::clone(&topic).follow(self.tracking.clone(), wanted, self.stopped.clone()));
        topic
    }

    /// Nobody can listen to what is not there.
    async fn check(&self, wanted: LiveTopic) -> Result<(), TrackingError> {
        match wanted {
            LiveTopic::Run(run) => self.tracking.run_info(run).await.map(|_| ()),
            LiveTopic::Experiment(experiment) => self.tracking.experiment_get(experiment).await.map(|_| ()),
        }
    }
}

pub(super) fn router(live: Arc<Live>) -> Router {
    Router::new().route(PATH, get(listen)).with_state(live)
}

/// Which runs are wanted; else the parameter that is at fault, and why.
fn wanted(wanted: Wanted) -> Result<LiveTopic, (&'static str, String)> {
    let invalid = |parameter, reason: String| (parameter, reason);
    match (wanted.run_id, wanted.experiment_id) {
        (Some(run), None) => run.parse().map(LiveTopic::Run).map_err(|error| invalid("run_id", error.to_string())),
        (None, Some(id)) => {
            id.parse().map(LiveTopic::Experiment).map_err(|error| invalid("experiment_id", error.to_string()))
        }
        (None, None) => Err(invalid("run_id", "name a run or an experiment".to_owned())),
        (Some(_), Some(_)) => Err(invalid("run_id", "name a run or an experiment, not both".to_owned())),
    }
}

async fn listen(
    State(live): State<Arc<Live>>,
    parameters: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, MlflowError> {
    let Query(parameters) = parameters.map_err(|error| MlflowError::Message(error.body_text()))?;
    let wanted = wanted(parameters).map_err(|(parameter, reason)| MlflowError::Invalid { parameter, reason })?;
    live.check(wanted).await?;
    let Ok(place) = Arc::clone(&live.places).try_acquire_owned() else {
        return Ok(overloaded(RETRY_SECONDS, "too many clients listen"));
    };
    // Before the state is read, so that nothing falls between the two; what comes twice says the same twice.
    let Some(listening) = live.listen(wanted) else {
        return Ok(overloaded(RETRY_SECONDS, "too many runs and experiments are listened to"));
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let first = match last.and_then(|last| listening.topic.since(last)) {
        Some(missed) => missed,
        None => listening.topic.state(&live.tracking, wanted).await?,
    };
    let (sender, receiver) = mpsc::channel(ON_THE_WAY);
    let listener = Listener { listening, sender, live: Arc::clone(&live), _place: place };
    tokio::spawn(listener.attend(first));
    let alive = KeepAlive::new().interval(HEARTBEAT).text("still here");
    Ok(Sse::new(events(receiver)).keep_alive(alive).into_response())
}

fn events(receiver: mpsc::Receiver<Event>) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    futures::stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok(event), receiver))
    })
}

/// One client that listens.
struct Listener {
    listening: Listening,
    sender: mpsc::Sender<Event>,
    live: Arc<Live>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// Until the client is gone or the server stops.
    async fn attend(mut self, first: Vec<Arc<Said>>) {
        let measures = Arc::clone(&self.live.measures);
        let _present = Present::new(&measures.listeners);
        let stopped = self.live.stopped.clone();
        tokio::select! {
            () = self.tell(first) => {}
            () = stop_signal(stopped) => {}
        }
    }

    async fn tell(&mut self, first: Vec<Arc<Said>>) {
        if self.sender.send(Event::default().retry(RECONNECT).comment("listening")).await.is_err() {
            return;
        }
        for said in first {
            if self.sender.send(event(&said)).await.is_err() {
                return;
            }
        }
        loop {
            let next = tokio::select! {
                next = self.listening.news.recv() => next,
                () = self.sender.closed() => return,
            };
            let event = match next {
                Ok(said) => event(&said),
                // It read too slowly: it is told, and reads what it needs by the API.
                Err(RecvError::Lagged(missed)) => {
                    Event::default().event("lagged").data(format!("{{\"missed\":{missed}}}"))
                }
                Err(RecvError::Closed) => return,
            };
            if self.sender.send(event).await.is_err() {
                return;
            }
        }
    }
}

fn event(said: &Said) -> Event {
    Event::default().id(said.id.clone()).event(said.name).data(said.data.clone())
}

#[cfg(test)]
mod tests {
    use ropewalk_catalog::Catalog;
    use ropewalk_store::Store;
    use ropewalk_types::ManualAmbient;

    use super::*;
    use crate::project::MIGRATIONS;

    #[tokio::test]
    async fn topics_are_bounded_and_abandoned_ones_make_room() {
        let catalog = Catalog::in_memory(&MIGRATIONS).await.expect("catalogue");
        let store = Store::open("memory:").await.expect("store");
        let tracking = Tracking::new(catalog, store, Arc::new(ManualAmbient::default()));
        let (_stop, stopped) = watch::channel(false);
        let live = Live::new(tracking, 1, Arc::default(), stopped);
        let topic = |number: usize| LiveTopic::Run(format!("{number:032x}").parse().expect("id"));
        let mut heard: Vec<Listening> =
            (0..MOST_TOPICS).map(|number| live.listen(topic(number)).expect("room")).collect();
        assert!(live.listen(topic(MOST_TOPICS)).is_none());
        assert!(live.listen(topic(0)).is_some(), "it is asked for already");
        heard.truncate(MOST_TOPICS - 1);
        let late = live.listen(topic(MOST_TOPICS));
        assert!(late.is_some() && live.listen(topic(MOST_TOPICS + 1)).is_none());
    }

    #[test]
    fn one_run_or_one_experiment() {
        let of = |run: Option<&str>, experiment: Option<&str>| {
            wanted(Wanted { run_id: run.map(str::to_owned), experiment_id: experiment.map(str::to_owned) })
        };
        let id = "0123456789abcdef0123456789abcdef";
        assert!(matches!(of(Some(id), None), Ok(LiveTopic::Run(run)) if run.to_string() == id));
        assert!(matches!(of(None, Some("7")), Ok(LiveTopic::Experiment(_))));
        for (run, experiment) in [(None, None), (Some(id), Some("7")), (Some("../x"), None), (None, Some("x"))] {
            assert!(of(run, experiment).is_err(), "{run:?} {experiment:?}");
        }
    }
}
