use super::*;

const PAUSE: Duration = Duration::from_secs(10);

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn model() -> ModelName {
    ModelName::new("m").unwrap()
}

fn watcher(uris: &[(&str, u64)]) -> AliasWatcher {
    AliasWatcher::new(uris.iter().map(|(text, version)| WatchedUri { uri: uri(text), version: *version }), PAUSE)
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn found(aliases: &[(&str, u64)]) -> BTreeMap<Uri, Result<u64, String>> {
    aliases.iter().map(|(text, version)| (uri(text), Ok(*version))).collect()
}

fn load(version: u64) -> WatchAction {
    WatchAction::Load { model: model(), version }
}

fn switch(alias: &str, version: u64, is_default: bool) -> WatchAction {
    WatchAction::Switch { model: model(), alias: Alias::new(alias).unwrap(), version, is_default }
}

fn unload(version: u64) -> WatchAction {
    WatchAction::Unload { model: model(), version }
}

#[test]
fn an_alias_that_moves_loads_switches_and_unloads() {
    let mut watcher = watcher(&[("models:/m@a", 1)]);
    assert_eq!(watcher.polled(at(0), &found(&[("models:/m@a", 1)])), []);
    assert_eq!(watcher.polled(at(1), &found(&[("models:/m@a", 2)])), [load(2)]);
    assert_eq!(watcher.loaded(at(2), &model(), 2, Ok(())), [switch("a", 2, true), unload(1)]);
    watcher.unloaded(&model(), 1);
    assert_eq!(watcher.polled(at(3), &found(&[("models:/m@a", 2)])), []);
    let watched = &watcher.watched()[0];
    assert_eq!((watched.version, watched.wanted, watched.moves), (2, Some(2), 1));
}

#[test]
fn what_cannot_be_loaded_is_tried_again_after_longer_and_longer_pauses() {
    let mut watcher = watcher(&[("models:/m@a", 1)]);
    let moved = found(&[("models:/m@a", 2)]);
    let (mut now, mut tried) = (0, Vec::new());
    while tried.len() < 8 {
        if watcher.polled(at(now), &moved) == [load(2)] {
            assert_eq!(watcher.loaded(at(now), &model(), 2, Err("damaged".to_owned())), []);
            tried.push(now);
        }
        now += 1;
    }
    let pauses: Vec<u64> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    let watched = &watcher.watched()[0];
    assert_eq!((watched.version, watched.problem.as_deref(), watched.failures), (1, Some("damaged"), 8));
    // One that moves on need not wait, and one that moves back has no problem any more.
    assert_eq!(watcher.polled(at(now), &found(&[("models:/m@a", 3)])), [load(3)]);
    assert_eq!(watcher.polled(at(now), &found(&[("models:/m@a", 1)])), []);
    assert_eq!(watcher.watched()[0].problem, None);
}

#[test]
fn a_registry_that_cannot_be_asked_changes_nothing() {
    let mut watcher = watcher(&[("models:/m@a", 1)]);
    let down = BTreeMap::from([(uri("models:/m@a"), Err("it is down".to_owned()))]);
    assert_eq!(watcher.polled(at(0), &down), []);
    assert!(watcher.watched()[0].problem.as_ref().unwrap().contains("it is down"));
    assert_eq!(watcher.polled(at(1), &found(&[("models:/m@a", 1)])), []);
    assert_eq!(watcher.watched()[0].problem, None);
}

#[test]
fn a_version_at_which_something_points_stays() {
    let mut watcher = watcher(&[("models:/m@a", 1), ("models:/m@b", 2), ("models:/m/3", 3)]);
    // What is loaded for another alias, or by number, needs no load.
    let actions = watcher.polled(at(0), &found(&[("models:/m@a", 2), ("models:/m@b", 3)]));
    assert_eq!(actions, [switch("a", 2, true), switch("b", 3, false), unload(1)]);
    // Until it is unloaded, it is asked for again.
    assert_eq!(
        watcher.polled(at(1), &found(&[("models:/m@a", 3), ("models:/m@b", 3)])),
        [switch("a", 3, true), unload(1), unload(2)]
    );
    watcher.unloaded(&model(), 1);
    watcher.unloaded(&model(), 2);
    assert_eq!(watcher.polled(at(2), &found(&[("models:/m@a", 4), ("models:/m@b", 4)])), [load(4)]);
    // Version 3 is asked for by its number.
    assert_eq!(watcher.loaded(at(2), &model(), 4, Ok(())), [switch("a", 4, true), switch("b", 4, false)]);
}

#[test]
fn a_version_that_was_lost_is_loaded_anew() {
    let mut watcher = watcher(&[("models:/m@a", 1)]);
    watcher.polled(at(0), &found(&[("models:/m@a", 2)]));
    watcher.loaded(at(0), &model(), 2, Ok(()));
    watcher.lost(&model(), 2, "it is not loaded");
    assert_eq!(watcher.watched()[0].version, 1);
    assert_eq!(watcher.polled(at(1), &found(&[("models:/m@a", 2)])), [load(2)]);
}
