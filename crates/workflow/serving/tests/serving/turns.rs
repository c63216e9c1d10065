use std::collections::BTreeMap;
use std::time::Duration;

use ropewalk_serving::{Fault, InferenceRequest, ModelSettings, QueuePolicy, ServingError};

use crate::world::{DOUBLES, FOREIGN, UNMEASURED, WAITS, World, request, until};

fn one_place() -> ModelSettings {
    ModelSettings { concurrency: Some(1), ..UNMEASURED }
}

fn urgent(x: f32, priority: u32) -> InferenceRequest {
    let mut request = request(&[x]);
    request.context.priority = priority;
    request
}

fn within(x: f32, timeout: Duration) -> InferenceRequest {
    let mut request = request(&[x]);
    request.context.timeout = Some(timeout);
    request
}

#[tokio::test]
async fn what_is_cheap_is_evaluated_where_it_is_asked() {
    let here = std::thread::current().name().map(str::to_owned);
    let mut world = World::new(DOUBLES, ModelSettings { warm_up: 2, ..UNMEASURED }).await;
    // Two to warm up, and those that are timed.
    while world.was_asked() {}
    world.host.infer("m", None, request(&[1.0])).await.unwrap();
    assert_eq!(world.evaluation().await.thread, here);
    let statistics = world.statistics();
    assert_eq!((statistics.execution_count, statistics.queue.ns), (1, 0));
}

#[tokio::test]
async fn what_was_never_measured_is_evaluated_on_a_thread_until_it_is() {
    let here = std::thread::current().name().map(str::to_owned);
    let mut world = World::new(DOUBLES, UNMEASURED).await;
    world.host.infer("m", None, request(&[1.0])).await.unwrap();
    assert_eq!(world.evaluation().await.thread.as_deref(), Some("evaluate"));
    // The first was slow if the thread lost its CPU; the estimate follows.
    let mut thread = None;
    for _ in 0..1000 {
        world.host.infer("m", None, request(&[1.0])).await.unwrap();
        thread = world.evaluation().await.thread;
        if thread == here {
            break;
        }
    }
    assert_eq!(thread, here);
}

#[tokio::test]
async fn worker_processes_and_bound_threads_are_never_waited_for_here() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cpu = (0..1024).find(|cpu| allowed.is_set(*cpu)).unwrap();
    let bound = ModelSettings { cpus: vec![cpu], ..UNMEASURED };
    for (kind, settings, cpus) in [(FOREIGN, UNMEASURED, allowed.count()), (DOUBLES, bound, 1)] {
        let mut world = World::new(kind, settings).await;
        for _ in 0..5 {
            world.host.infer("m", None, request(&[1.0])).await.unwrap();
            let evaluation = world.evaluation().await;
            assert_eq!((evaluation.thread.as_deref(), evaluation.cpus), (Some("evaluate"), cpus));
        }
    }
}

#[tokio::test]
async fn the_urgent_come_first_and_equals_in_the_order_of_their_arrival() {
    let mut world = World::new(WAITS, ModelSettings { priority_levels: 3, ..one_place() }).await;
    let mut asking = vec![world.ask(request(&[0.0]))];
    world.evaluation().await;
    // 0 is the default, which is 3; so is what is past the last.
    let arrivals = [(30.0, 0), (20.0, 2), (31.0, 9), (10.0, 1), (32.0, 3), (11.0, 1), (21.0, 2)];
    for (at, (x, priority)) in arrivals.into_iter().enumerate() {
        asking.push(world.ask_and_wait(urgent(x, priority), at as u64 + 1).await);
    }
    world.controls.open(arrivals.len() + 1);
    for x in [10.0, 11.0, 20.0, 21.0, 30.0, 31.0, 32.0] {
        assert_eq!(world.evaluation().await.x, [x]);
    }
    for asking in asking {
        assert!(asking.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn who_names_no_priority_has_the_models_default() {
    let settings = ModelSettings { priority_levels: 3, default_priority: 2, ..one_place() };
    let mut world = World::new(WAITS, settings).await;
    let mut asking = vec![world.ask(request(&[0.0]))];
    world.evaluation().await;
    for (at, (x, priority)) in [(30.0, 3), (20.0, 0), (10.0, 1), (21.0, 2)].into_iter().enumerate() {
        asking.push(world.ask_and_wait(urgent(x, priority), at as u64 + 1).await);
    }
    world.controls.open(5);
    for x in [10.0, 20.0, 21.0, 30.0] {
        assert_eq!(world.evaluation().await.x, [x]);
    }
    for asking in asking {
        assert!(asking.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_priority_may_have_a_queue_and_a_timeout_of_its_own() {
    let own = QueuePolicy { queue: 1, timeout: Some(Duration::from_millis(2)) };
    let queues = BTreeMap::from([(2, own)]);
    let settings = ModelSettings { priority_levels: 2, queue: 2, queues, ..one_place() };
    let mut world = World::new(WAITS, settings).await;
    let first = world.ask(request(&[0.0]));
    world.evaluation().await;
    // Level 1 shares the model's queue of two, level 2 has room for one.
    let mut urgent_ones = Vec::new();
    for at in 1..=2 {
        urgent_ones.push(world.ask_and_wait(urgent(1.0, 1), at).await);
    }
    let mut patient = urgent(2.0, 2);
    patient.context.timeout = Some(Duration::from_hours(1));
    let patient = world.ask_and_wait(patient, 3).await;
    for priority in [1, 2] {
        let error = world.ask(urgent(3.0, priority)).await.unwrap().unwrap_err();
        assert!(matches!(error, ServingError::Overloaded { .. }), "{error}");
    }
    patient.abort();
    assert!(patient.await.unwrap_err().is_cancelled());
    let error = world.ask(urgent(4.0, 2)).await.unwrap().unwrap_err();
    assert!(matches!(error, ServingError::DeadlineExceeded { .. }), "{error}");
    world.controls.open(3);
    for asking in urgent_ones.into_iter().chain([first]) {
        assert!(asking.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn who_waits_too_long_is_told_so_and_never_evaluated() {
    let defaults = ModelSettings { timeout: Some(Duration::from_millis(2)), ..one_place() };
    let mut world = World::new(WAITS, defaults).await;
    let first = world.ask(within(1.0, Duration::MAX));
    world.evaluation().await;
    for late in [within(2.0, Duration::from_millis(1)), request(&[3.0])] {
        let error = world.ask(late).await.unwrap().unwrap_err();
        assert!(matches!(error, ServingError::DeadlineExceeded { .. }), "{error}");
        assert_eq!((error.fault(), error.retry_after()), (Fault::Late, None));
    }
    let patient = world.ask_and_wait(within(4.0, Duration::from_hours(1)), 1).await;
    world.controls.open(2);
    assert_eq!(world.evaluation().await.x, [4.0]);
    // The deadline is for the wait, not for the evaluation: the first had long been begun.
    assert!(first.await.unwrap().is_ok() && patient.await.unwrap().is_ok());
    let statistics = world.statistics();
    assert_eq!((statistics.failures.rejected, statistics.unavailable, statistics.execution_count), (2, 2, 2));
}

#[tokio::test]
async fn a_deadline_shortens_the_wait_and_never_lengthens_it() {
    let (short, long) = (Duration::from_millis(2), Duration::from_hours(1));
    let mut world = World::new(WAITS, ModelSettings { timeout: Some(short), ..one_place() }).await;
    let first = world.ask(within(1.0, Duration::MAX));
    world.evaluation().await;
    let with = |timeout: Option<Duration>, deadline: Duration| {
        let mut request = request(&[2.0]);
        (request.context.timeout, request.context.deadline) = (timeout, Some(deadline));
        request
    };
    for late in [with(None, long), with(Some(short), long), with(Some(long), short)] {
        let error = world.ask(late).await.unwrap().unwrap_err();
        assert!(matches!(error, ServingError::DeadlineExceeded { .. }), "{error}");
    }
    // A request's own timeout may be longer than the model's, as long as its deadline is.
    let patient = world.ask_and_wait(with(Some(long), long), 1).await;
    world.controls.open(2);
    assert!(first.await.unwrap().is_ok() && patient.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_again() {
    let mut world = World::new(WAITS, ModelSettings { queue: 1, ..one_place() }).await;
    let running = world.ask(request(&[1.0]));
    world.evaluation().await;
    let waiting = world.ask_and_wait(request(&[2.0]), 1).await;
    let error = world.ask(request(&[3.0])).await.unwrap().unwrap_err();
    assert!(matches!(error, ServingError::Overloaded { waiting: 1, .. }), "{error}");
    assert_eq!((error.fault(), error.retry_after()), (Fault::Overloaded, Some(Duration::from_secs(1))));
    world.controls.open(2);
    assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
    // Who has got an answer finds the place free.
    world.controls.open(20);
    for _ in 0..20 {
        world.ask(request(&[4.0])).await.unwrap().unwrap();
    }
    assert_eq!(world.statistics().failures.rejected, 1);
}

#[tokio::test]
async fn who_goes_away_leaves_the_queue() {
    let mut world = World::new(WAITS, ModelSettings { queue: 1, ..one_place() }).await;
    let running = world.ask(request(&[1.0]));
    world.evaluation().await;
    let gone = world.ask_and_wait(request(&[2.0]), 1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert_eq!(world.statistics().pending, 0);
    let waiting = world.ask_and_wait(request(&[3.0]), 1).await;
    world.controls.open(2);
    assert_eq!(world.evaluation().await.x, [3.0]);
    assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
    assert_eq!(world.statistics().failures.canceled, 1);
}

#[tokio::test]
async fn who_goes_away_during_the_evaluation_does_not_keep_the_place() {
    let mut world = World::new(WAITS, one_place()).await;
    let gone = world.ask(request(&[1.0]));
    world.evaluation().await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    world.controls.open(2);
    world.ask(request(&[2.0])).await.unwrap().unwrap();
    let statistics = world.statistics();
    assert_eq!((statistics.execution_count, statistics.answered, statistics.failures.canceled), (2, 1, 1));
    assert_eq!(world.host.statistics().requests, 0);
}

#[tokio::test]
async fn as_many_are_evaluated_at_once_as_the_model_has_places() {
    let mut world = World::new(WAITS, ModelSettings { concurrency: Some(3), ..UNMEASURED }).await;
    let asking: Vec<_> = (0..5).map(|x| world.ask(request(&[x as f32]))).collect();
    for _ in 0..3 {
        world.evaluation().await;
    }
    until(|| world.statistics().pending == 2).await;
    assert!(!world.was_asked());
    world.controls.open(5);
    for asking in asking {
        assert!(asking.await.unwrap().is_ok());
    }
}
