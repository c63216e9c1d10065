use ropewalk_inference::{NamedTensor, Tensor};
use ropewalk_predictions::{LogSettings, PayloadSettings, PredictionLog, PredictionsError};
use ropewalk_serving::PredictionSink as _;
use serde_json::json;

use crate::world::{World, hasty, name};

#[tokio::test]
async fn what_is_redacted_is_nowhere_on_the_disk() {
    let world = World::new().await;
    let redact = ["carrier".to_owned(), "double".to_owned()].into();
    let log =
        world.log(LogSettings { payload: PayloadSettings { redact, ..PayloadSettings::default() }, ..hasty() }).await;
    let id = world.fill(&log, 1, 1)[0];
    log.flush().await.unwrap();
    for entry in std::fs::read_dir(&world.home.folder).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        assert!(!text.windows(2).any(|part| part == b"UA"));
    }
    let record = world.reader().prediction_get(id).await.unwrap();
    assert_eq!(json!(record.inputs), json!({"carrier": null, "x": [0.0]}));
    assert_eq!(json!(record.outputs), json!({"double": null}));
    log.close().await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_is_cut_away_as_a_whole_and_counted() {
    let world = World::new().await;
    let payload = PayloadSettings { limit: 4096, ..PayloadSettings::default() };
    let log = world.log(LogSettings { payload, ..hasty() }).await;
    let small = world.fill(&log, 1, 1)[0];
    let mut large = world.answered(1, 1.0);
    large.inputs.push(NamedTensor::new("z", Tensor::new(vec![2000], vec![0.5_f32; 2000]).unwrap()));
    let id = large.prediction;
    log.record(large);
    log.close().await.unwrap();
    let record = world.reader().prediction_get(id).await.unwrap();
    assert!(record.cut && record.inputs.is_empty() && record.outputs.is_empty());
    assert_eq!((record.rows, record.request.as_deref()), (1, Some("mine")));
    assert!(!world.reader().prediction_get(small).await.unwrap().cut);
    assert_eq!(log.report().cut, 1);
}

#[tokio::test]
async fn a_sample_is_logged_and_the_rest_is_counted() {
    let world = World::new().await;
    let payload = PayloadSettings { sample: 0.0, sample_of: [(name(), 0.5)].into(), ..PayloadSettings::default() };
    let log = world.log(LogSettings { payload, ..hasty() }).await;
    world.fill(&log, 1, 200);
    // A host asks first, and makes no record of what is not wanted.
    for _ in 0..200 {
        let answered = world.answered(1, 1.0);
        if log.wants(&answered.model, answered.version, answered.prediction) {
            log.record(answered);
        }
    }
    log.close().await.unwrap();
    let report = log.report();
    assert_eq!(report.passed + report.counts.logged, 400);
    assert!((100..300).contains(&report.passed), "{}", report.passed);
    assert_eq!(world.ids().await.len() as u64, report.counts.logged);
}

#[tokio::test]
async fn a_share_that_is_none_is_refused() {
    let world = World::new().await;
    let payload = PayloadSettings { sample: 2.0, ..PayloadSettings::default() };
    let settings = LogSettings { payload, ..hasty() };
    let error = PredictionLog::open(world.home.clone(), settings, world.ambient.clone()).await.unwrap_err();
    assert!(matches!(error, PredictionsError::Setting(_)), "{error}");
}
