use ropewalk_store::{RefName, RefValue, StoreError};
use ropewalk_types::Diagnose as _;

use crate::{Harness, on_every_backend};

on_every_backend!(
    refs_hold_what_was_set,
    the_wrong_generation_is_a_conflict,
    exactly_one_wins_each_generation,
    refs_are_listed_by_prefix,
    refs_are_deleted,
    what_a_ref_held_before_can_be_read,
);

fn name(text: &str) -> RefName {
    RefName::new(text).unwrap()
}

async fn refs_hold_what_was_set(harness: Harness) {
    let (store, other) = (harness.open().await, harness.open().await);
    let main = name("heads/main");
    assert_eq!(store.ref_get(&main).await.unwrap(), None);
    let mut expected = None;
    for round in 1..=10 {
        let bytes = bytes::Bytes::from(format!("value {round}"));
        let generation = store.ref_set(&main, expected, bytes.clone()).await.unwrap();
        assert_eq!(generation, round);
        assert_eq!(other.ref_get(&main).await.unwrap(), Some(RefValue { bytes, generation }));
        expected = Some(generation);
    }
    // A name below another name, and one beside it that begins with the same letters.
    store.ref_set(&name("heads/main/below"), None, "b".into()).await.unwrap();
    store.ref_set(&name("heads/main2"), None, "c".into()).await.unwrap();
    assert_eq!(store.ref_get(&main).await.unwrap().unwrap().bytes, "value 10");
    store.ref_set(&main, Some(10), "".into()).await.unwrap();
    assert_eq!(store.ref_get(&main).await.unwrap().unwrap().bytes, "");
    let error = store.ref_set(&main, Some(11), vec![0; (1 << 20) + 1].into()).await.unwrap_err();
    assert_eq!(error.code(), "store.too_large");
}

async fn the_wrong_generation_is_a_conflict(harness: Harness) {
    let store = harness.open().await;
    let main = name("main");
    assert!(matches!(
        store.ref_set(&main, Some(1), "x".into()).await,
        Err(StoreError::Conflict { expected: Some(1), found: None, .. })
    ));
    store.ref_set(&main, None, "x".into()).await.unwrap();
    store.ref_set(&main, Some(1), "y".into()).await.unwrap();
    for wrong in [None, Some(0), Some(1), Some(3)] {
        let error = store.ref_set(&main, wrong, "z".into()).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { found: Some(2), .. }), "{error}");
    }
    assert_eq!(store.ref_get(&main).await.unwrap().unwrap().bytes, "y");
}

/// Every task counts one up, again and again until it succeeds; with two winners a count would be lost.
async fn exactly_one_wins_each_generation(harness: Harness) {
    const TASKS: u64 = 5;
    const COUNTS: u64 = 10;
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let store = harness.open().await;
        tasks.push(tokio::spawn(async move {
            let mut conflicts = 0;
            for _ in 0..COUNTS {
                conflicts += count_up(&store).await;
            }
            conflicts
        }));
    }
    let mut conflicts = 0;
    for task in tasks {
        conflicts += task.await.unwrap();
    }
    let value = harness.open().await.ref_get(&name("count")).await.unwrap().unwrap();
    assert_eq!(value.generation, TASKS * COUNTS);
    assert_eq!(value.bytes, (TASKS * COUNTS).to_string());
    assert!(conflicts > 0, "the tasks never met");
}

async fn count_up(store: &ropewalk_store::Store) -> u64 {
    let main = name("count");
    let mut conflicts = 0;
    loop {
        let value = store.ref_get(&main).await.unwrap();
        let count: u64 = value.as_ref().map_or(0, |value| std::str::from_utf8(&value.bytes).unwrap().parse().unwrap());
        let expected = value.map(|value| value.generation);
        tokio::task::yield_now().await;
        match store.ref_set(&main, expected, (count + 1).to_string().into()).await {
            Ok(_) => return conflicts,
            Err(StoreError::Conflict { .. }) => conflicts += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn refs_are_listed_by_prefix(harness: Harness) {
    let store = harness.open().await;
    for text in ["stages/a1", "stages/a2", "stages/b", "heads/main", "top"] {
        store.ref_set(&name(text), None, "x".into()).await.unwrap();
    }
    store.ref_set(&name("top"), Some(1), "y".into()).await.unwrap();
    for (prefix, expected) in [
        ("", &["heads/main", "stages/a1", "stages/a2", "stages/b", "top"][..]),
        ("stages/", &["stages/a1", "stages/a2", "stages/b"]),
        ("stages/a", &["stages/a1", "stages/a2"]),
        ("sta", &["stages/a1", "stages/a2", "stages/b"]),
        ("nothing/here", &[]),
    ] {
        let found = store.ref_list(prefix).await.unwrap();
        assert_eq!(found.iter().map(RefName::as_str).collect::<Vec<_>>(), expected, "{prefix}");
    }
    assert!(store.ref_list("../x/").await.is_err());
}

async fn refs_are_deleted(harness: Harness) {
    let (store, other) = (harness.open().await, harness.open().await);
    let main = name("heads/main");
    assert!(matches!(store.ref_delete(&main, 1).await, Err(StoreError::Conflict { found: None, .. })));
    store.ref_set(&main, None, "x".into()).await.unwrap();
    store.ref_set(&name("heads/other"), None, "x".into()).await.unwrap();
    assert!(matches!(store.ref_delete(&main, 2).await, Err(StoreError::Conflict { found: Some(1), .. })));
    store.ref_delete(&main, 1).await.unwrap();
    assert_eq!(other.ref_get(&main).await.unwrap(), None);
    assert_eq!(other.ref_list("heads/").await.unwrap(), [name("heads/other")]);
    // Whoever saw it before, or guesses, is told.
    for stale in [Some(1), Some(2), Some(3)] {
        let error = other.ref_set(&main, stale, "y".into()).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { found: None, .. }), "{error}");
    }
    assert!(store.ref_delete(&main, 2).await.is_err());
    assert_eq!(other.ref_set(&main, None, "again".into()).await.unwrap(), 3);
    assert_eq!(store.ref_get(&main).await.unwrap(), Some(RefValue { bytes: "again".into(), generation: 3 }));
    assert_eq!(store.ref_list("").await.unwrap().len(), 2);
}

/// Old generations go once they have been out of date for long; a folder does not grow with every change.
#[tokio::test]
async fn old_generations_are_removed() {
    let harness = Harness::on_disk();
    let store = harness.open().await;
    let main = name("main");
    let mut expected = None;
    for _ in 0..20 {
        expected = Some(store.ref_set(&main, expected, "x".into()).await.unwrap());
    }
    let generations = harness.objects("refs/main");
    assert_eq!(generations.len(), 20);
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    for generation in generations {
        std::fs::File::options().write(true).open(&generation.path).unwrap().set_modified(hour_ago).unwrap();
    }
    store.ref_set(&main, expected, "y".into()).await.unwrap();
    assert!(harness.objects("refs/main").len() <= 6, "{:?}", harness.objects("refs/main"));
    assert_eq!(store.ref_get(&main).await.unwrap().unwrap().generation, 21);

    // A writer that saw generation 3 an hour ago creates the 4 that has been removed: that changes nothing for others.
    let path = harness.directory.path().join("store/refs/main/@00000000000000000004");
    ropewalk_store::files::write_atomic(&path, b"late").unwrap();
    assert_eq!(store.ref_get(&main).await.unwrap().unwrap().bytes, "y");
}

async fn what_a_ref_held_before_can_be_read(harness: Harness) {
    let (store, main) = (harness.open().await, name("main"));
    assert_eq!(store.ref_history(&main).await.unwrap(), None);
    store.ref_set(&main, None, "one".into()).await.unwrap();
    store.ref_delete(&main, 1).await.unwrap();
    let deleted = store.ref_history(&main).await.unwrap().unwrap();
    assert_eq!((deleted.generation, deleted.values.len()), (2, 0));
    store.ref_set(&main, None, "two".into()).await.unwrap();
    store.ref_set(&main, Some(3), "three".into()).await.unwrap();
    let history = harness.open().await.ref_history(&main).await.unwrap().unwrap();
    assert_eq!(history.generation, 4);
    let values: Vec<_> = history.values.iter().map(|value| (value.generation, &value.bytes[..])).collect();
    assert_eq!(values, [(4, &b"three"[..]), (3, &b"two"[..])], "and nothing from before it was deleted");
}

#[tokio::test]
async fn what_lies_among_refs_and_is_none_is_told_and_put_aside() {
    let harness = Harness::on_disk();
    let (store, main) = (harness.open().await, name("main"));
    store.ref_set(&main, None, "one".into()).await.unwrap();
    for stray in ["notes.txt", "@7"] {
        let path = harness.directory.path().join("store/refs/main").join(stray);
        ropewalk_store::files::write_atomic(&path, b"what is this").unwrap();
    }
    assert_eq!(store.ref_get(&main).await.unwrap().unwrap().bytes, "one");
    let mut strays = store.ref_strays().await.unwrap();
    strays.sort();
    assert_eq!(strays, ["refs/main/@7", "refs/main/notes.txt"]);
    for stray in &strays {
        let aside = store.stray_put_aside(stray).await.unwrap().unwrap();
        assert_eq!(aside, format!("damaged/{stray}"));
        assert!(harness.directory.path().join("store").join(aside).exists());
    }
    assert!(store.ref_strays().await.unwrap().is_empty());
    assert_eq!(store.ref_list("").await.unwrap(), [main]);
}
