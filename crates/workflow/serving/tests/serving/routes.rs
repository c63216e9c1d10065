use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use ropewalk_serving::{
    AliasWatcher, CanaryState, Fault, HostedModel, InferenceRequest, ModelHost, ModelSettings, RequestContext, Route,
    RouteChange, ServingError, ShadowStatistics, WatchedUri, run_alias_watch,
};
use ropewalk_types::{ModelName, Uri};

use crate::world::{DOUBLES, PANICS, UNMEASURED, WAITS, World, model, name, request, until};

const NONSENSE: &[u8] = b"nonsense";

fn route(json: &str) -> Route {
    Route { model: name(), settings: serde_json::from_str(json).unwrap() }
}

fn with_id(id: &str) -> InferenceRequest {
    InferenceRequest { id: Some(id.to_owned()), ..request(&[1.0]) }
}

/// A host with versions that do what `kinds` say, from 1 on; version 1 is the default.
async fn versions(kinds: &[&'static [u8]]) -> World {
    let world = World::empty();
    let settings = ModelSettings { warm_up: 1, ..UNMEASURED };
    for (version, kind) in (1..).zip(kinds) {
        let settings = if *kind == DOUBLES { settings.clone() } else { UNMEASURED };
        world.host.load(HostedModel { settings, ..model(version, kind) }).await.unwrap();
    }
    world.host.default_set(&name(), Some(1)).unwrap();
    world
}

#[tokio::test]
async fn requests_go_by_header_then_by_share_and_a_version_that_is_asked_for_is_given() {
    let world = versions(&[DOUBLES, DOUBLES, DOUBLES]).await;
    let json = r#"{"rules": [{"header": "X-Group", "value": "beta", "to": 3}],
                   "split": [{"to": 1, "weight": 3}, {"to": 2, "weight": 1}]}"#;
    world.host.route_set(route(json)).unwrap();
    assert_eq!(*world.host.watched_labels(), ["x-group".to_owned()]);
    let mut counts = [0; 3];
    for number in 0..400 {
        let request = if number % 2 == 0 { with_id("") } else { with_id(&number.to_string()) };
        let version = world.host.infer("m", None, request).await.unwrap().version;
        counts[version as usize - 1] += 1;
    }
    assert!((60..140).contains(&counts[1]) && counts[2] == 0, "{counts:?}");
    let first = world.host.infer("m", Some(""), with_id("again")).await.unwrap().version;
    assert_eq!(world.host.infer("m", None, with_id("again")).await.unwrap().version, first);
    let mut beta = request(&[1.0]);
    beta.context.labels.push(("x-group".to_owned(), "beta".to_owned()));
    assert_eq!(world.host.infer("m", None, beta.clone()).await.unwrap().version, 3);
    assert_eq!(world.host.infer("m", Some("2"), beta).await.unwrap().version, 2);
    let routes = world.host.routes();
    let requests: Vec<_> = routes[0].targets.iter().map(|target| (target.version, target.requests)).collect();
    assert_eq!(requests.iter().map(|(_, requests)| requests).sum::<u64>(), 403);
    assert_eq!((requests[0], requests[1]), ((Some(1), 0), (Some(3), 1)));
    assert!(world.host.route_remove(&name()) && !world.host.route_remove(&name()));
    assert_eq!(world.host.infer("m", None, with_id("again")).await.unwrap().version, 1);
}

#[tokio::test]
async fn a_target_that_is_not_loaded_is_refused_or_passed_over_and_counted() {
    let world = versions(&[DOUBLES, DOUBLES]).await;
    for json in [r#"{"split": [{"to": 9, "weight": 1}]}"#, r#"{"split": [{"to": "none", "weight": 1}]}"#] {
        let error = world.host.route_set(route(json)).unwrap_err();
        assert!(matches!(error, ServingError::InvalidRoute { .. }) && error.fault() == Fault::Request, "{error}");
    }
    world.host.route_set(route(r#"{"split": [{"to": 2, "weight": 1}]}"#)).unwrap();
    world.host.unload(&name(), Some(2));
    assert_eq!(world.host.infer("m", None, request(&[1.0])).await.unwrap().version, 1);
    let target = world.host.routes()[0].targets[1].clone();
    assert_eq!((target.version, target.requests, target.absent), (None, 1, 1));
}

#[tokio::test]
async fn a_canary_that_fails_is_taken_back() {
    let world = versions(&[DOUBLES, PANICS]).await;
    let json = r#"{"canary": {"to": 2, "stable": 1, "weight": 0.5, "min_requests": 10}}"#;
    world.host.route_set(route(json)).unwrap();
    let mut failed = 0;
    for number in 0..400 {
        failed += u64::from(world.host.infer("m", None, with_id(&number.to_string())).await.is_err());
    }
    assert_eq!(failed, 10);
    let routing = world.host.statistics().routing;
    let canary = routing.routes[0].canary.as_ref().unwrap();
    assert!(matches!(canary.state, CanaryState::RolledBack { .. }) && canary.share == 0.0, "{canary:?}");
    assert!(matches!(routing.events.last().unwrap().what, RouteChange::RolledBack { .. }));
    assert_eq!((routing.routes[0].roll_backs, routing.events.len()), (1, 2));
}

#[tokio::test]
async fn a_canary_for_which_nobody_waits_is_taken_back() {
    let world = versions(&[DOUBLES, DOUBLES, WAITS]).await;
    // The way of an id is the same for the split as for the canary.
    world.host.route_set(route(r#"{"split": [{"to": 2, "weight": 0.5}, {"to": 1, "weight": 0.5}]}"#)).unwrap();
    let (mut tried, mut others) = (Vec::new(), Vec::new());
    for number in 0..200 {
        let id = number.to_string();
        let version = world.host.infer("m", None, with_id(&id)).await.unwrap().version;
        if version == 2 { tried.push(id) } else { others.push(id) }
    }
    let json = r#"{"canary": {"to": 3, "stable": 1, "weight": 0.5, "min_requests": 10}}"#;
    world.host.route_set(route(json)).unwrap();
    for id in &others[..40] {
        assert_eq!(world.host.infer("m", None, with_id(id)).await.unwrap().version, 1);
    }
    for id in &tried[..16] {
        // Asked for once, and dropped.
        assert!(world.host.infer("m", None, with_id(id)).now_or_never().is_none());
    }
    let routes = world.host.routes();
    let canary = routes[0].canary.as_ref().unwrap();
    assert!(matches!(canary.state, CanaryState::RolledBack { .. }), "{canary:?}");
    assert_eq!((canary.canary.requests, canary.canary.abandoned, canary.stable.abandoned), (16, 16, 0));
    let target = routes[0].targets.iter().find(|target| target.version == Some(3)).unwrap();
    assert_eq!((target.requests, target.failed), (16, 16));
    world.controls.open(16);
}

#[tokio::test]
async fn what_is_not_read_for_the_version_it_entered_is_refused_and_what_is_not_let_in_counts_for_nobody() {
    let world = versions(&[DOUBLES, DOUBLES]).await;
    world.host.route_set(route(r#"{"canary": {"to": 2, "stable": 1, "weight": 1}}"#)).unwrap();
    let enter = || world.host.enter("m", None, Some("mine"), &RequestContext::default()).unwrap();
    let counts = || {
        let routes = world.host.routes();
        let canary = routes[0].canary.as_ref().unwrap().canary;
        (canary.requests, canary.refused, canary.abandoned)
    };
    assert_eq!((enter().target().version(), counts()), (2, (0, 0, 0)));
    world.host.count_unread(&enter());
    assert_eq!(counts(), (1, 1, 0));
    let (first, second) = (enter(), enter());
    let refused = world.host.statistics().models.iter().map(|model| model.refused).sum::<u64>();
    assert_eq!(refused, 0, "no version was asked");
    // What was read by its signature it answers, though it is unloaded meanwhile.
    world.host.unload(&name(), Some(2));
    assert_eq!(world.host.infer_entered(first, request(&[1.0])).await.unwrap().version, 2);
    assert_eq!(counts(), (2, 1, 0));
    world.host.drain(Duration::from_secs(30)).await;
    let error = world.host.infer_entered(second, request(&[1.0])).await.unwrap_err();
    assert!(matches!(error, ServingError::Draining), "{error}");
    assert_eq!(counts(), (2, 1, 0));
}

fn shadow(world: &World) -> ShadowStatistics {
    world.host.routes()[0].shadow.unwrap()
}

#[tokio::test]
async fn a_shadow_is_compared_and_its_failures_are_its_own() {
    let world = versions(&[DOUBLES, DOUBLES, PANICS]).await;
    world.host.route_set(route(r#"{"shadow": {"to": 2}}"#)).unwrap();
    for _ in 0..5 {
        assert_eq!(world.host.infer("m", None, request(&[1.0])).await.unwrap().version, 1);
    }
    until(|| shadow(&world).equal == 5).await;
    world.host.route_set(route(r#"{"shadow": {"to": 3}}"#)).unwrap();
    world.host.infer("m", None, request(&[1.0])).await.unwrap();
    until(|| shadow(&world).failed == 1).await;
    // Only what was given is logged.
    assert!(world.kept.0.lock().unwrap().iter().all(|answered| answered.version == 1));
    assert_eq!(world.kept.0.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn a_shadow_that_hangs_holds_nobody_up() {
    let world = versions(&[DOUBLES, WAITS]).await;
    world.host.route_set(route(r#"{"shadow": {"to": 2}}"#)).unwrap();
    for _ in 0..200 {
        world.host.infer("m", None, request(&[1.0])).await.unwrap();
    }
    // 64 wait, and perhaps one is being evaluated.
    assert!((135..=136).contains(&shadow(&world).dropped), "{:?}", shadow(&world));
    world.controls.open(65);
    until(|| shadow(&world).equal + shadow(&world).dropped == 200).await;
}

#[tokio::test]
async fn a_copy_waits_no_longer_for_the_shadow_than_a_request_would() {
    let mut world = versions(&[DOUBLES]).await;
    let settings = ModelSettings { timeout: Some(Duration::from_millis(2)), ..UNMEASURED };
    world.host.load(HostedModel { settings, ..model(2, WAITS) }).await.unwrap();
    world.host.route_set(route(r#"{"shadow": {"to": 2}}"#)).unwrap();
    let mut patient = request(&[7.0]);
    patient.context.timeout = Some(Duration::MAX);
    let host = Arc::clone(&world.host);
    let first = tokio::spawn(async move { host.infer("m", Some("2"), patient).await });
    while world.evaluation().await.x != [7.0] {}
    world.host.infer("m", None, request(&[1.0])).await.unwrap();
    until(|| shadow(&world).failed == 1).await;
    world.controls.open(1);
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_moves_under_load_and_no_request_fails() {
    let world = versions(&[DOUBLES]).await;
    let points = Arc::new(AtomicU64::new(1));
    let watching = watch(&world.host, &points);
    until(|| !world.host.statistics().routing.aliases.is_empty()).await;
    world.host.route_set(route(r#"{"split": [{"to": "champion", "weight": 1}]}"#)).unwrap();
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..8)
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
    for version in 2..12 {
        let seen = asked.load(Ordering::SeqCst);
        points.store(version, Ordering::SeqCst);
        // The new one answers, and the one before it is gone.
        until(|| world.host.model_list().iter().map(|known| known.version).eq([version])).await;
        until(|| asked.load(Ordering::SeqCst) > seen + 16).await;
    }
    // A version that cannot be loaded changes nothing, and one that can be helps.
    points.store(13, Ordering::SeqCst);
    let alias = || world.host.statistics().routing.aliases[0].clone();
    until(|| alias().failures >= 2).await;
    assert!(alias().version == 11 && alias().problem.unwrap().contains("not a test's model"));
    assert_eq!(world.host.infer("m", None, request(&[1.0])).await.unwrap().version, 11);
    points.store(14, Ordering::SeqCst);
    until(|| alias().version == 14).await;
    assert_eq!((alias().problem, alias().moves), (None, 11));
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(world.host.routes()[0].targets[1].absent, 0);
    watching.abort();
}

/// Follows `models:/m@champion`, which points at `points`; version 13 cannot be loaded.
fn watch(host: &Arc<ModelHost>, points: &Arc<AtomicU64>) -> tokio::task::JoinHandle<()> {
    let uri: Uri = "models:/m@champion".parse().unwrap();
    let watcher = AliasWatcher::new([WatchedUri { uri, version: 1 }], Duration::from_millis(5));
    let (host, points) = (Arc::clone(host), Arc::clone(points));
    tokio::spawn(async move {
        let resolve = |_: Uri| {
            let version = points.load(Ordering::SeqCst);
            async move { Ok(version) }
        };
        let load = |_: ModelName, version: u64| {
            let host = Arc::clone(&host);
            async move {
                let settings = ModelSettings { warm_up: 1, ..UNMEASURED };
                let kind = if version == 13 { NONSENSE } else { DOUBLES };
                let loaded = host.load(HostedModel { settings, ..model(version, kind) }).await;
                loaded.map(|_| ()).map_err(|error| error.to_string())
            }
        };
        run_alias_watch(&host, watcher, Vec::new(), resolve, load, Duration::from_millis(2)).await;
    })
}
