use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ropewalk_serving::{
    AnswerObserver, Batching, Fault, HostedModel, InferenceResponse, ModelSettings, ModelState, Readiness,
    ServingError, Target,
};
use ropewalk_types::Signature;

use crate::world::{DOUBLES, FOREIGN, LOADS_SLOWLY, SPOILS, UNMEASURED, WAITS, World, model, name, request, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_replaced_under_load_without_a_failed_request() {
    for settings in [
        ModelSettings { warm_up: 1, ..UNMEASURED },
        ModelSettings { batching: Some(Batching { max_rows: 4, max_delay_us: 50 }), ..UNMEASURED },
    ] {
        let world = World::new(DOUBLES, settings.clone()).await;
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (host, stop, asked) = (Arc::clone(&world.host), Arc::clone(&stop), Arc::clone(&asked));
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        host.infer("m", None, request(&[1.0])).await.unwrap();
                        asked.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for round in 0..20_u64 {
            let seen = asked.load(Ordering::SeqCst);
            let version = 1 + round % 3;
            world.host.load(HostedModel { settings: settings.clone(), ..model(version, DOUBLES) }).await.unwrap();
            world.host.default_set(&name(), Some(version)).unwrap();
            for old in (1..=3).filter(|old| *old != version) {
                world.host.unload(&name(), Some(old));
            }
            until(|| asked.load(Ordering::SeqCst) > seen + 8).await;
        }
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
        // Those that were replaced are gone.
        until(|| world.controls.alive.load(Ordering::SeqCst) == 1).await;
    }
}

#[tokio::test]
async fn a_request_under_way_ends_on_the_version_that_was_replaced() {
    let mut world = World::new(WAITS, ModelSettings { concurrency: Some(1), ..UNMEASURED }).await;
    let running = world.ask(request(&[1.0]));
    world.evaluation().await;
    let waiting = world.ask_and_wait(request(&[2.0]), 1).await;
    // Measured, so that it needs no thread: the only one is taken.
    let settings = ModelSettings { warm_up: 1, ..UNMEASURED };
    world.host.load(HostedModel { settings, ..model(1, DOUBLES) }).await.unwrap();
    world.host.infer("m", None, request(&[3.0])).await.unwrap();
    assert_eq!(world.controls.alive.load(Ordering::SeqCst), 2);
    world.controls.open(2);
    assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
    until(|| world.controls.alive.load(Ordering::SeqCst) == 1).await;
    // The version counts on.
    assert_eq!(world.statistics().answered, 3);
}

#[tokio::test]
async fn unloading_waits_for_what_is_under_way() {
    let mut world = World::new(WAITS, UNMEASURED).await;
    let running = world.ask(request(&[1.0]));
    world.evaluation().await;
    let host = Arc::clone(&world.host);
    let unloading = tokio::spawn(async move { host.unload_drained(&name(), None, Duration::from_mins(1)).await });
    until(|| world.host.model_list().is_empty()).await;
    assert!(!unloading.is_finished());
    assert!(matches!(world.host.infer("m", None, request(&[1.0])).await, Err(ServingError::UnknownModel { .. })));
    world.controls.open(1);
    assert_eq!(unloading.await.unwrap(), Some(0));
    assert!(running.await.unwrap().is_ok());
    assert_eq!(world.host.unload_drained(&name(), None, Duration::ZERO).await, None);
    let state = &world.host.state_list()[0];
    assert_eq!((state.state, state.reason.as_str()), (ModelState::Unavailable, "unloaded"));
}

#[tokio::test]
async fn who_drains_waits_for_those_inside_but_not_for_ever() {
    let mut world = World::new(WAITS, UNMEASURED).await;
    let running = world.ask(request(&[1.0]));
    world.evaluation().await;
    assert_eq!(world.host.drain(Duration::from_millis(1)).await, 1);
    let error = world.host.infer("m", None, request(&[1.0])).await.unwrap_err();
    assert!(matches!(error, ServingError::Draining), "{error}");
    assert_eq!((error.fault(), error.retry_after()), (Fault::Unavailable, Some(Duration::from_secs(1))));
    assert!(!world.host.readiness().is_ready());
    assert!(!world.host.ready("m", None).unwrap().is_ready());
    let host = Arc::clone(&world.host);
    let draining = tokio::spawn(async move { host.drain(Duration::from_mins(1)).await });
    world.controls.open(1);
    assert_eq!(draining.await.unwrap(), 0);
    assert!(running.await.unwrap().is_ok());
    assert_eq!(world.host.statistics().refused, 1);
}

#[tokio::test]
async fn a_version_is_not_ready_before_it_is_loaded_and_warm() {
    let world = World::empty();
    let host = Arc::clone(&world.host);
    let loading = tokio::spawn(async move { host.load(model(7, LOADS_SLOWLY)).await });
    until(|| !world.host.state_list().is_empty()).await;
    assert_eq!(world.host.state_list()[0].state, ModelState::Loading);
    for version in [None, Some("7")] {
        let error = world.host.infer("m", version, request(&[1.0])).await.unwrap_err();
        assert!(matches!(error, ServingError::NotReady { .. }), "{error}");
        assert!(!world.host.ready("m", version).unwrap().is_ready());
    }
    let reason = "model `m` is being loaded".to_owned();
    assert_eq!(world.host.readiness(), Readiness::NotReady { reason });
    world.controls.open(1);
    loading.await.unwrap().unwrap();
    assert_eq!(world.host.state_list()[0].state, ModelState::Ready);
    assert!(world.host.readiness().is_ready() && world.host.ready("m", Some("7")).unwrap().is_ready());
}

#[tokio::test]
async fn a_load_that_is_given_up_is_not_loading_for_ever() {
    let world = World::empty();
    let host = Arc::clone(&world.host);
    let loading = tokio::spawn(async move { host.load(model(1, LOADS_SLOWLY)).await });
    until(|| !world.host.state_list().is_empty()).await;
    loading.abort();
    assert!(loading.await.unwrap_err().is_cancelled());
    world.controls.open(1);
    let state = &world.host.state_list()[0];
    assert_eq!((state.state, state.reason.as_str()), (ModelState::Unavailable, "its load was given up"));
}

#[tokio::test]
async fn why_a_version_could_not_be_loaded_is_remembered() {
    let world = World::empty();
    world.host.load(model(2, b"nonsense")).await.unwrap_err();
    let state = world.host.state_list().remove(0);
    assert_eq!((state.version, state.state), (2, ModelState::Unavailable));
    assert!(state.reason.contains("not a test's model"), "{}", state.reason);
    let error = world.host.infer("m", None, request(&[1.0])).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Unavailable);
    assert!(error.to_string().contains("not a test's model"), "{error}");
    world.host.load(model(1, DOUBLES)).await.unwrap();
    assert!(world.host.infer("m", None, request(&[1.0])).await.is_ok());
    assert!(matches!(world.host.infer("m", Some("2"), request(&[1.0])).await, Err(ServingError::NotReady { .. })));
    assert!(world.host.readiness().is_ready());
    // What is loaded stays where a later load fails, and says so.
    world.host.load(model(1, b"nonsense")).await.unwrap_err();
    let states = world.host.state_list();
    assert_eq!((states.len(), states[0].state), (2, ModelState::Ready));
    assert!(states[0].reason.contains("not a test's model"), "{}", states[0].reason);
}

#[tokio::test]
async fn a_model_that_is_not_what_was_said_replaces_nothing() {
    let world = World::empty();
    world.host.load(model(1, DOUBLES)).await.unwrap();
    let check = |signature: &Signature| Err(format!("{} inputs are too many", signature.inputs.len()));
    let error = world.host.load_checked(model(1, DOUBLES), check).await.unwrap_err();
    assert!(error.to_string().contains("2 inputs are too many"), "{error}");
    assert!(world.host.infer("m", Some("1"), request(&[1.0])).await.is_ok(), "the one before answers");
    assert!(world.host.state_list()[0].reason.contains("too many"));
    world.host.load_checked(model(1, DOUBLES), |_| Ok(())).await.unwrap();
    assert_eq!(world.host.state_list()[0].reason, "");
}

#[tokio::test]
async fn a_model_whose_workers_are_down_is_not_ready() {
    let world = World::new(FOREIGN, UNMEASURED).await;
    assert!(world.host.readiness().is_ready());
    world.controls.down.store(true, Ordering::SeqCst);
    let reason = "no worker is up".to_owned();
    assert_eq!(world.host.ready("m", None).unwrap(), Readiness::NotReady { reason });
    assert!(!world.host.readiness().is_ready());
    let state = &world.host.state_list()[0];
    assert_eq!((state.state, state.reason.as_str()), (ModelState::Unavailable, "no worker is up"));
}

#[tokio::test]
async fn what_has_no_effect_is_noted() {
    let world = World::new(SPOILS, UNMEASURED).await;
    assert!(world.host.state_list()[0].notes.is_empty());
    let panics = HostedModel { settings: ModelSettings { warm_up: 1, ..UNMEASURED }, ..model(1, b"panics") };
    world.host.load(panics).await.unwrap();
    let notes = &world.host.state_list()[0].notes;
    assert!(notes[0].contains("the warm-up with zeros failed"), "{notes:?}");
}

#[derive(Debug, Default)]
struct Watching(Mutex<Vec<(u64, Result<usize, Fault>)>>);

impl AnswerObserver for Watching {
    fn answered(&self, target: &Target, result: Result<&InferenceResponse, &ServingError>, latency: Duration) {
        assert!(!latency.is_zero() && target.model() == &name());
        let result = result.map(|response| response.outputs.len()).map_err(ServingError::fault);
        self.0.lock().unwrap().push((target.version(), result));
    }
}

#[tokio::test]
async fn an_observer_sees_answers_and_errors() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    let watching = Arc::new(Watching::default());
    assert!(world.host.observer_set(Arc::clone(&watching) as Arc<dyn AnswerObserver>));
    assert!(!world.host.observer_set(Arc::new(Watching::default())));
    world.host.infer("m", None, request(&[1.0])).await.unwrap();
    world.host.infer("m", None, request(&[1.0; 1001])).await.unwrap_err();
    assert_eq!(*watching.0.lock().unwrap(), [(1, Ok(2)), (1, Err(Fault::TooLarge))]);
}
