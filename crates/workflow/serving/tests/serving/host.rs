use std::time::Duration;

use ropewalk_inference::{Tensor, TensorData};
use ropewalk_serving::{
    Fault, InferenceRequest, ModelSettings, NoPredictionLog, PredictionSink as _, Readiness, ServingError,
};
use ropewalk_types::ModelName;

use crate::world::{DOUBLES, PANICS, UNMEASURED, World, model, name, request};

#[tokio::test]
async fn answers_with_the_outputs_that_were_asked_for_in_that_order() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    let all = world.host.infer("m", None, request(&[1.5, 2.0])).await.unwrap();
    assert_eq!(all.id.as_deref(), Some("mine"));
    assert_eq!((all.model.as_str(), all.version), ("m", 1));
    assert_eq!(all.outputs.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), ["double", "both"]);
    assert_eq!(all.outputs[0].tensor.data, TensorData::Fp32(vec![3.0, 4.0]));

    let mut some = request(&[1.0]);
    some.outputs = vec!["both".to_owned()];
    let some = world.host.infer("m", Some("1"), some).await.unwrap();
    assert_eq!(some.outputs.len(), 1);
    assert_ne!(some.prediction, all.prediction);
}

#[tokio::test]
async fn the_callers_mistakes_are_told_apart_from_ours() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    let fault = async |name: &str, version: Option<&str>, request| {
        world.host.infer(name, version, request).await.unwrap_err().fault()
    };
    assert_eq!(fault("other", None, request(&[1.0])).await, Fault::NotFound);
    assert_eq!(fault("m", Some("2"), request(&[1.0])).await, Fault::NotFound);
    assert_eq!(fault("m", Some("../1"), request(&[1.0])).await, Fault::Request);
    assert_eq!(fault("m", None, request(&[0.0; 1001])).await, Fault::TooLarge);
    let mut unknown = request(&[1.0]);
    unknown.outputs = vec!["label".to_owned()];
    assert_eq!(fault("m", None, unknown).await, Fault::Request);
    let mut twice = request(&[1.0]);
    twice.outputs = vec!["both".to_owned(), "both".to_owned()];
    assert_eq!(fault("m", None, twice).await, Fault::Request);
    let mut lacking = request(&[1.0]);
    lacking.inputs.pop();
    assert_eq!(fault("m", None, lacking).await, Fault::Request);
    let statistics = &world.host.statistics().models[0];
    assert_eq!((statistics.answered, statistics.refused, statistics.failed), (0, 4, 0));
}

#[tokio::test]
async fn an_input_that_does_not_fit_is_named_with_what_was_expected_and_found() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    let says = async |change: &dyn Fn(&mut InferenceRequest)| {
        let mut request = request(&[1.0]);
        change(&mut request);
        world.host.infer("m", None, request).await.unwrap_err().to_string()
    };
    let tensor = |data: TensorData| Tensor::new(vec![1], data).unwrap();
    assert_eq!(
        says(&|request| request.inputs[1].tensor = tensor(TensorData::Int64(vec![1]))).await,
        "input `x`: expected FP32[-1], found INT64[1]"
    );
    assert_eq!(
        says(&|request| request.inputs[1].tensor.shape = vec![7]).await,
        "input `x`: expected FP32[-1], found FP32[7] with 1 elements"
    );
    assert_eq!(
        says(&|request| request.inputs[1].tensor.shape = vec![1, 1]).await,
        "input `x`: expected FP32[-1], found FP32[1, 1]"
    );
    assert_eq!(says(&|request| drop(request.inputs.pop())).await, "input `x`: expected FP32[-1], found no tensor");
    assert_eq!(
        says(&|request| request.inputs[1].name = "carrier".to_owned()).await,
        "input `carrier`: expected one tensor, found a second one"
    );
    assert_eq!(
        says(&|request| request.inputs[1].name = "y".to_owned()).await,
        "input `y`: expected one of `carrier`, `x`, found a name that is none of them"
    );
}

#[tokio::test]
async fn the_highest_version_is_the_default_unless_one_is_set() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    for version in [10, 9] {
        world.host.load(model(version, DOUBLES)).await.unwrap();
    }
    let answering = async || world.host.infer("m", Some(""), request(&[1.0])).await.unwrap().version;
    assert_eq!(answering().await, 10);
    world.host.default_set(&name(), Some(9)).unwrap();
    assert_eq!(answering().await, 9);
    let metadata = world.host.metadata("m", None).unwrap();
    assert_eq!((metadata.version, metadata.versions), (9, vec![1, 9, 10]));
    assert!(matches!(world.host.default_set(&name(), Some(8)), Err(ServingError::UnknownVersion { .. })));
    // With its version gone, a default that was set is gone too.
    assert!(world.host.unload(&name(), Some(9)));
    assert_eq!(answering().await, 10);
    assert_eq!(world.host.model_list().len(), 2);
}

#[tokio::test]
async fn a_host_without_models_is_not_ready() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    assert!(world.host.readiness().is_ready());
    assert!(!world.host.unload(&ModelName::new("other").unwrap(), None));
    assert!(world.host.unload(&name(), None));
    assert_eq!(world.host.readiness(), Readiness::NotReady { reason: "no model is loaded".to_owned() });
    assert!(matches!(world.host.ready("m", None), Err(ServingError::UnknownModel { .. })));
}

#[tokio::test]
async fn bytes_that_are_no_model_are_refused_and_what_was_loaded_stays() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    let error = world.host.load(model(1, b"nonsense")).await.unwrap_err();
    assert!(error.to_string().contains("cannot load version 1 of model `m`"), "{error}");
    assert!(world.host.infer("m", None, request(&[1.0])).await.is_ok());
}

#[tokio::test]
async fn a_panic_in_the_engine_fails_one_request_only() {
    let world = World::new(PANICS, UNMEASURED).await;
    for _ in 0..3 {
        let error = world.host.infer("m", None, request(&[1.0])).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Server);
    }
    let statistics = world.statistics();
    assert_eq!((statistics.failed, statistics.failures.backend), (3, 3));
}

#[tokio::test]
async fn every_answer_leaves_a_record_with_all_outputs() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    let mut asked = request(&[1.5, 2.0]);
    asked.outputs = vec!["double".to_owned()];
    let answer = world.host.infer("m", None, asked.clone()).await.unwrap();
    world.host.infer("m", None, request(&[0.0; 1001])).await.unwrap_err();
    let kept = world.kept.0.lock().unwrap();
    assert_eq!(kept.len(), 1);
    let record = &kept[0];
    assert_eq!((record.prediction, record.request.as_deref()), (answer.prediction, Some("mine")));
    assert_eq!((&record.model, record.version, record.rows), (&name(), 1, 2));
    assert_eq!((&record.inputs, record.outputs.len()), (&asked.inputs, 2));
    assert!(!NoPredictionLog.wants(&name(), 1, answer.prediction));
}

#[tokio::test]
async fn a_host_that_is_full_refuses_at_once() {
    let world = World::new(DOUBLES, UNMEASURED).await;
    let mut large = request(&[1.0]);
    large.inputs[0].tensor.data = TensorData::Bytes(vec![vec![0; 2 << 20].into()]);
    let error = world.host.infer("m", None, large).await.unwrap_err();
    assert_eq!((error.fault(), error.retry_after()), (Fault::TooLarge, None));
    assert_eq!(world.host.statistics().request_bytes, 0);
}

#[tokio::test]
async fn protocols_add_the_time_that_they_take() {
    let world = World::new(DOUBLES, ModelSettings { warm_up: 1, ..UNMEASURED }).await;
    world.host.infer("m", None, request(&[1.0])).await.unwrap();
    let before = world.statistics();
    world.host.count_codec(&name(), 1, Duration::from_millis(30), Duration::from_millis(12));
    let after = world.statistics();
    assert_eq!((after.compute_input.ns, after.compute_output.ns), (30_000_000, 12_000_000));
    assert_eq!(after.success.ns - before.success.ns, 42_000_000);
    assert_eq!(after.latency, before.latency, "the histogram's sum is that of its buckets");
}
