use std::time::Duration;

use ropewalk_serving::{LogSettings, LogState, PredictionFilter, ServingError};
use ropewalk_types::{PredictionId, Timestamp};
use serde_json::json;

use crate::world::{DOUBLES, World, name, request};

const HASTY: LogSettings = LogSettings {
    batch: 4,
    linger: Duration::from_millis(1),
    waiting: 2,
    waiting_bytes: 4096,
    retry: Duration::from_millis(5),
};

#[tokio::test]
async fn an_answer_is_read_back_whole() {
    let world = World::new(DOUBLES, LogSettings::default()).await;
    let mut asked = request(&[0.1, f32::NAN]);
    asked.outputs = vec!["double".to_owned()];
    let answer = world.host.infer("m", None, asked).await.unwrap();
    world.host.log().flush().await.unwrap();
    let record = world.host.log().prediction_get(answer.prediction).await.unwrap();
    assert_eq!(record.prediction, answer.prediction);
    assert_eq!(record.request.as_deref(), Some("mine"));
    assert_eq!((record.model, record.version, record.rows), (name(), 1, 2));
    assert_eq!(record.at, Timestamp(answer.prediction.millis()));
    assert_eq!(json!(record.inputs), json!({"carrier": ["UA", "UA"], "x": [0.1, null]}));
    // All outputs are logged, also the one that was not asked for.
    assert_eq!(json!(record.outputs), json!({"double": [0.2, null], "both": [[0.1, 0.2], [null, null]]}));
}

#[tokio::test]
async fn more_answers_than_may_wait_are_all_logged() {
    let world = World::new(DOUBLES, HASTY).await;
    for step in 0..200_u16 {
        world.host.infer("m", None, request(&[f32::from(step)])).await.unwrap();
    }
    world.host.log().close().await.unwrap();
    let statistics = world.host.statistics();
    assert_eq!((statistics.logged, statistics.logging), (200, 0));
    let error = world.host.infer("m", None, request(&[1.0])).await.unwrap_err();
    assert!(matches!(error, ServingError::LogClosed), "{error}");
    assert!(!world.host.readiness().is_ready());
    // Closing twice is no error.
    world.host.log().close().await.unwrap();
}

#[tokio::test]
async fn pages_are_in_the_order_of_time_and_lose_nothing() {
    let world = World::new(DOUBLES, LogSettings::default()).await;
    let mut answered = Vec::new();
    for step in 0..25_u16 {
        answered.push(world.host.infer("m", None, request(&[f32::from(step)])).await.unwrap().prediction);
    }
    let log = world.host.log();
    log.flush().await.unwrap();
    let filter = PredictionFilter { model: Some((name(), Some(1))), ..PredictionFilter::default() };
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = log.prediction_list(&filter, after, 10).await.unwrap();
        assert!(page.records.len() <= 10);
        listed.extend(page.records.iter().map(|record| record.prediction));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, answered);

    let count = async |filter: &PredictionFilter| log.prediction_list(filter, None, 1000).await.unwrap().records.len();
    assert_eq!(count(&PredictionFilter::default()).await, 25);
    let other = PredictionFilter { model: Some((name(), Some(2))), ..PredictionFilter::default() };
    assert_eq!(count(&other).await, 0);
    let part = PredictionFilter {
        from: Some(Timestamp(answered[5].millis())),
        to: Some(Timestamp(answered[8].millis())),
        model: Some((name(), None)),
    };
    assert_eq!(count(&part).await, 3);
}

#[tokio::test]
async fn while_the_log_is_broken_nothing_is_answered_and_nothing_is_lost() {
    let world = World::new(DOUBLES, HASTY).await;
    let log = world.host.log();
    world.statement("ALTER TABLE prediction RENAME TO elsewhere").await;
    let kept = world.host.infer("m", None, request(&[1.0])).await.unwrap().prediction;
    let error = log.flush().await.unwrap_err();
    assert!(matches!(&error, ServingError::LogBroken { problem } if problem.contains("prediction")), "{error}");
    assert!(matches!(log.state(), LogState::Broken { .. }));
    assert!(!world.host.readiness().is_ready());
    let error = world.host.infer("m", None, request(&[1.0])).await.unwrap_err();
    assert!(matches!(error, ServingError::LogBroken { .. }), "{error}");

    world.statement("ALTER TABLE elsewhere RENAME TO prediction").await;
    while log.flush().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(world.host.readiness().is_ready());
    assert_eq!(log.prediction_get(kept).await.unwrap().prediction, kept);
    assert!(world.host.infer("m", None, request(&[1.0])).await.is_ok());
}

#[tokio::test]
async fn a_log_that_cannot_be_written_says_at_its_end_what_is_lost() {
    let world = World::new(DOUBLES, HASTY).await;
    world.host.infer("m", None, request(&[1.0])).await.unwrap();
    world.host.log().flush().await.unwrap();
    world.statement("DROP TABLE prediction").await;
    world.host.infer("m", None, request(&[1.0])).await.unwrap();
    let error = world.host.log().close().await.unwrap_err();
    assert!(matches!(error, ServingError::LogLost { records: 1, .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_there_and_what_was_changed_from_outside_is_said() {
    let world = World::new(DOUBLES, LogSettings::default()).await;
    let log = world.host.log();
    let unknown: PredictionId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    assert!(matches!(log.prediction_get(unknown).await, Err(ServingError::UnknownPrediction(id)) if id == unknown));
    let known = world.host.infer("m", None, request(&[1.0])).await.unwrap().prediction;
    log.flush().await.unwrap();
    world.statement("UPDATE prediction SET inputs = '[]'").await;
    let error = log.prediction_get(known).await.unwrap_err();
    assert!(error.to_string().contains("`inputs`"), "{error}");
}
