use std::time::Duration;

use ropewalk_predictions::{LogSettings, PredictionFilter, prune, segment_digests, segment_list};
use ropewalk_serving::PredictionSink as _;
use ropewalk_types::{Ambient as _, Timestamp};

use crate::world::{World, hasty, name};

#[tokio::test]
async fn many_restarts_do_not_make_many_segments() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..70 {
        let log = world.log(hasty()).await;
        ids.extend(world.fill(&log, 1, 20));
        log.close().await.unwrap();
    }
    let listed = segment_list(&world.home.catalog).await.unwrap();
    assert!(listed.len() < 16, "{}", listed.len());
    assert_eq!(listed.iter().map(|segment| segment.rows).sum::<u64>(), 1400);
    assert_eq!(world.ids().await, ids);
    for digest in segment_digests(&world.home.catalog).await.unwrap() {
        assert!(world.home.store.contains(&digest).await.unwrap());
    }
}

#[tokio::test]
async fn what_is_old_is_let_go_to_the_record() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let log = world.log(hasty()).await;
        ids.extend(world.fill(&log, 1, 10));
        log.close().await.unwrap();
    }
    let before = Timestamp(ids[15].millis());
    let pruned = prune(&world.home, before, &*world.ambient).await.unwrap();
    assert_eq!((pruned.segments, pruned.records), (2, 15));
    assert_eq!(world.ids().await, ids[15..]);
    assert_eq!(segment_list(&world.home.catalog).await.unwrap().len(), 2);
    assert_eq!(prune(&world.home, before, &*world.ambient).await.unwrap().records, 0);
    assert!(std::fs::read_dir(&world.home.folder).unwrap().next().is_none());

    // A log that is to keep them for no time at all does the same when it is opened.
    let log = world.log(LogSettings { keep: Some(Duration::ZERO), ..hasty() }).await;
    crate::world::until("let go", || log.report().sealing_problem.is_none()).await;
    log.close().await.unwrap();
    assert!(world.ambient.now().millis() > ids[29].millis());
    assert_eq!(world.ids().await, []);
}

#[tokio::test]
async fn row_groups_are_skipped_and_records_found_in_large_segments() {
    let world = World::new().await;
    let log = world.log(LogSettings { waiting: 1 << 20, ..LogSettings::default() }).await;
    let mut ids = Vec::new();
    for version in [1, 2, 1] {
        ids.extend(world.fill(&log, version, 17_000));
    }
    log.close().await.unwrap();
    assert_eq!(log.counts().lost, 0);
    let listed = segment_list(&world.home.catalog).await.unwrap();
    assert_eq!((listed.len(), listed[0].rows), (1, 51_000));
    for place in [0, 16_383, 16_384, 33_333, 50_999] {
        assert_eq!(world.reader().prediction_get(ids[place]).await.unwrap().prediction, ids[place]);
    }
    let filter = PredictionFilter { model: Some((name(), Some(2))), ..PredictionFilter::default() };
    let mut scan = world.reader().scan(&filter, None).await.unwrap();
    let mut found = 0;
    loop {
        let page = scan.page(1000).await.unwrap();
        assert!(page.records.iter().all(|record| record.version == 2));
        found += page.records.len();
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(found, 17_000);
}
