use std::sync::Arc;

use ropewalk_inference::{Tensor, TensorData};
use ropewalk_serving::{Fault, InferenceRequest, LogSettings, Readiness, ServingError};
use ropewalk_types::ModelName;

use crate::world::{DOUBLES, PANICS, WAITS, World, model, name, request};

#[tokio::test]
async fn answers_with_the_outputs_that_were_asked_for_in_that_order() {
    let world = World::new(DOUBLES, LogSettings::default()).await;
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
    let world = World::new(DOUBLES, LogSettings::default()).await;
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
    let world = World::new(DOUBLES, LogSettings::default()).await;
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
    let world = World::new(DOUBLES, LogSettings::default()).await;
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
    let world = World::new(DOUBLES, LogSettings::default()).await;
    assert!(world.host.readiness().is_ready());
    assert!(!world.host.unload(&ModelName::new("other").unwrap(), None));
    assert!(world.host.unload(&name(), None));
    assert_eq!(world.host.readiness(), Readiness::NotReady { reason: "no model is loaded".to_owned() });
    assert!(matches!(world.host.ready("m", None), Err(ServingError::UnknownModel { .. })));
}

#[tokio::test]
async fn bytes_that_are_no_model_are_refused_and_what_was_loaded_stays() {
    let world = World::new(DOUBLES, LogSettings::default()).await;
    let error = world.host.load(model(1, b"nonsense")).await.unwrap_err();
    assert!(error.to_string().contains("cannot load version 1 of model `m`"), "{error}");
    assert!(world.host.infer("m", None, request(&[1.0])).await.is_ok());
}

#[tokio::test]
async fn a_panic_in_the_engine_fails_one_request_only() {
    let world = World::new(PANICS, LogSettings::default()).await;
    for _ in 0..3 {
        let error = world.host.infer("m", None, request(&[1.0])).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Server);
    }
    assert_eq!(world.host.statistics().models[0].failed, 3);
}

#[tokio::test]
async fn too_many_requests_are_refused_and_the_others_are_answered() {
    let mut world = World::new(WAITS, LogSettings::default()).await;
    let ask = || {
        let host = Arc::clone(&world.host);
        tokio::spawn(async move { host.infer("m", None, request(&[1.0])).await })
    };
    let running = ask();
    let gate = world.gate.take().unwrap().wait_for_entry().await;
    let waiting = ask();
    // The second takes the one waiting place as soon as it runs; until then a third can still take it.
    let mut more = Vec::new();
    let refused = loop {
        let third = ask();
        tokio::task::yield_now().await;
        if third.is_finished() {
            break third.await.unwrap().unwrap_err();
        }
        more.push(third);
    };
    assert!(matches!(refused, ServingError::Overloaded { waiting: 2 }));
    assert_eq!(refused.fault(), Fault::Unavailable);
    for _ in 0..=more.len() + 1 {
        gate.open();
    }
    let mut answered = 0;
    for request in [running, waiting].into_iter().chain(more) {
        answered += u64::from(request.await.unwrap().is_ok());
    }
    assert_eq!(answered, 2);
    assert_eq!(world.host.statistics().models[0].answered, 2);
}
