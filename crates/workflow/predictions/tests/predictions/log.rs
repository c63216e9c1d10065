use ropewalk_predictions::{LogSettings, LogState, PredictionFilter, PredictionsError, segment_list};
use ropewalk_serving::{PredictionSink as _, SinkCounts};
use ropewalk_types::{PredictionId, Timestamp};
use serde_json::json;

use crate::world::{World, hasty, name};

#[tokio::test]
async fn an_answer_is_read_back_whole_from_a_journal_and_from_a_segment() {
    let world = World::new().await;
    let log = world.log(LogSettings::default()).await;
    let answered = world.answered(3, 0.1);
    let id = answered.prediction;
    log.record(answered);
    log.flush().await.unwrap();
    assert!(segment_list(&world.home.catalog).await.unwrap().is_empty());
    for place in ["journal", "segment"] {
        let record = world.reader().prediction_get(id).await.unwrap();
        assert_eq!((record.prediction, record.at), (id, Timestamp(id.millis())), "{place}");
        assert_eq!((record.model, record.version, record.rows, record.latency_us), (name(), 3, 1, 12));
        assert_eq!((record.request.as_deref(), record.client.as_deref()), (Some("mine"), Some("key")));
        assert_eq!(json!(record.inputs), json!({"carrier": ["UA"], "x": [0.1]}));
        assert_eq!(json!(record.outputs), json!({"double": [0.2]}));
        assert!(!record.cut);
        log.close().await.unwrap();
    }
    let listed = segment_list(&world.home.catalog).await.unwrap();
    assert_eq!((listed.len(), listed[0].first, listed[0].last), (1, id, id));
    assert_eq!(listed[0].models, Some(vec![("m".to_owned(), 3)]));
    assert_eq!(log.state(), LogState::Closed);
    // Nothing is left of the journal, its lock and the scratch space.
    assert!(std::fs::read_dir(&world.home.folder).unwrap().next().is_none());
    log.close().await.unwrap();
    log.record(world.answered(1, 1.0));
    assert_eq!(log.counts(), SinkCounts { logged: 1, lost: 1, ..SinkCounts::default() });
    let unknown: PredictionId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let error = world.reader().prediction_get(unknown).await.unwrap_err();
    assert!(matches!(error, PredictionsError::UnknownPrediction(id) if id == unknown), "{error}");
}

#[tokio::test]
async fn pages_are_in_the_order_of_time_over_journals_and_segments() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let log = world.log(hasty()).await;
        ids.extend(world.fill(&log, 1, 10));
        log.close().await.unwrap();
    }
    // Two that live at the same time, one version each.
    let (log, other) = (world.log(hasty()).await, world.log(hasty()).await);
    for _ in 0..10 {
        ids.extend(world.fill(&log, 1, 1));
        ids.extend(world.fill(&other, 2, 1));
    }
    log.flush().await.unwrap();
    other.close().await.unwrap();
    assert_eq!(segment_list(&world.home.catalog).await.unwrap().len(), 4);
    for limit in [1, 7, 1000] {
        let all = world.all(&PredictionFilter::default(), limit).await;
        assert_eq!(all.iter().map(|record| record.prediction).collect::<Vec<_>>(), ids, "{limit}");
    }
    let count = async |model, from: Option<usize>, to: Option<usize>| {
        let moment = |place: usize| Timestamp(ids[place].millis());
        let filter = PredictionFilter { model, from: from.map(moment), to: to.map(moment) };
        world.all(&filter, 3).await.len()
    };
    assert_eq!(count(Some((name(), Some(1))), None, None).await, 40);
    assert_eq!(count(Some((name(), Some(2))), None, None).await, 10);
    assert_eq!(count(Some((name(), Some(3))), None, None).await, 0);
    assert_eq!(count(Some(("other".parse().unwrap(), None)), None, None).await, 0);
    assert_eq!(count(Some((name(), None)), Some(5), Some(25)).await, 20);
    assert_eq!(count(Some((name(), Some(2))), Some(30), Some(40)).await, 5);
    assert_eq!(count(None, Some(45), None).await, 5);
    log.close().await.unwrap();
    assert_eq!(world.ids().await, ids);
}

#[tokio::test]
async fn a_journal_that_is_full_is_sealed_while_others_are_written() {
    let world = World::new().await;
    let log = world.log(LogSettings { journal_records: 100, ..hasty() }).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.extend(world.fill(&log, 1, 50));
        log.flush().await.unwrap();
        assert_eq!(world.ids().await, ids, "at every moment");
    }
    log.close().await.unwrap();
    assert_eq!(world.ids().await, ids);
    let report = log.report();
    assert_eq!((report.sealed.records, report.unsealed, report.sealing_problem), (1000, (0, 0), None));
    assert!(report.sealed.journals >= 5, "{}", report.sealed.journals);
    assert_eq!(world.count("prediction_journal").await, 0);
}

#[tokio::test]
async fn what_a_dead_process_left_is_sealed_by_the_next() {
    let world = World::new().await;
    let log = world.log(hasty()).await;
    let ids = world.fill(&log, 1, 20);
    log.flush().await.unwrap();
    // The journal as it would lie there, of a writer that no one has locked; its last record is torn.
    let mut entries = std::fs::read_dir(&world.home.folder).unwrap().map(|entry| entry.unwrap().path());
    let journal = entries.find(|path| path.extension().is_some_and(|end| end == "journal")).unwrap();
    let bytes = std::fs::read(&journal).unwrap();
    log.close().await.unwrap();
    let next = World::new().await;
    std::fs::create_dir_all(&next.home.folder).unwrap();
    std::fs::write(next.home.folder.join(journal.file_name().unwrap()), &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(next.ids().await, ids[..19], "a reader needs no server");
    let log = next.log(hasty()).await;
    crate::world::until("sealed", || log.report().sealed.records == 19).await;
    assert_eq!(log.report().sealed.torn, 1);
    assert_eq!(next.ids().await, ids[..19]);
    log.close().await.unwrap();
    assert!(std::fs::read_dir(&next.home.folder).unwrap().next().is_none());
}

#[tokio::test]
async fn a_log_closes_well_beside_a_dead_ones_journal_that_cannot_be_read() {
    let world = World::new().await;
    std::fs::create_dir_all(&world.home.folder).unwrap();
    let other = world.home.folder.join(format!("{:032x}.000000001.journal", 1));
    std::fs::write(&other, b"RWPJ\x02\0\0\0").unwrap();
    let log = world.log(hasty()).await;
    let ids = world.fill(&log, 1, 5);
    crate::world::until("it is told", || log.report().sealing_problem.is_some()).await;
    log.close().await.unwrap();
    let report = log.report();
    assert!(report.sealing_problem.unwrap().contains("another version"));
    assert_eq!((report.sealed.records, report.unsealed), (5, (0, 0)));
    std::fs::remove_file(&other).unwrap();
    assert_eq!(world.ids().await, ids);
}

#[tokio::test]
async fn a_log_that_is_dropped_writes_what_it_has() {
    let world = World::new().await;
    let log = world.log(hasty()).await;
    let ids = world.fill(&log, 1, 100);
    drop(log);
    let waited = async {
        while world.ids().await != ids {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), waited).await.unwrap();
}
