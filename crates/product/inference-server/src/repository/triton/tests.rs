use std::time::Duration;

use ropewalk_serving::{Batching, QueuePolicy};

use super::*;

fn read(text: &str, model: &str) -> Result<TritonConfig, String> {
    TritonConfig::read(Path::new("config.pbtxt"), text, model).map_err(|error| error.to_string())
}

/// The forms in which Triton's documentation and examples write configurations.
#[test]
fn configurations_as_they_are_written_for_triton() {
    let densenet = r#"
name: "densenet_onnx"
platform: "onnxruntime_onnx"
max_batch_size : 0
input [
  {
    name: "data_0"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 224, 224 ]
    reshape { shape: [ 1, 3, 224, 224 ] }
  }
]
output [
  {
    name: "fc6_1"
    data_type: TYPE_FP32
    dims: [ 1000 ]
    reshape { shape: [ 1, 1000, 1, 1 ] }
    label_filename: "densenet_labels.txt"
  }
]
"#;
    let config = read(densenet, "densenet_onnx").expect("densenet");
    assert_eq!(config.inputs, [ConfiguredTensor { name: "data_0".to_owned(), datatype: Some(ElementType::Fp32) }]);
    assert_eq!((config.outputs.len(), config.settings.batching), (1, None));
    let without: Vec<&str> = config.without_effect.iter().map(String::as_str).collect();
    assert_eq!(config.label_files["fc6_1"], "densenet_labels.txt");
    assert_eq!(without, ["tensor.format", "tensor.reshape"]);

    let batched = r#"
backend: "onnxruntime"
max_batch_size: 64
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5000 max_queue_size: 32 }
  priority_queue_policy { key: 1 value { timeout_action: REJECT allow_timeout_override: true max_queue_size: 4 } }
  priority_queue_policy { key: 3 value { default_timeout_microseconds: 70 } }
}
instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]
version_policy: { specific: { versions: [ 1, 3 ] } }
model_warmup [ { name: "w" batch_size: 1 count: 5 inputs { key: "x" value { data_type: TYPE_STRING dims: 1 } } } ]
parameters { key: "intra_op_thread_count" value: { string_value: "4" } }
parameters { key: "execution_mode" value: { string_value: "1" } }
input { name: "x" data_type: TYPE_STRING dims: -1 }
"#;
    let config = read(batched, "anything").expect("batched");
    let settings = &config.settings;
    assert_eq!(settings.batching, Some(Batching { max_rows: 64, max_delay_us: 100 }));
    assert_eq!((settings.priority_levels, settings.queue, settings.concurrency), (3, 32, Some(3)));
    assert_eq!((settings.timeout, settings.warm_up, settings.threads), (Some(Duration::from_millis(5)), 5, 4));
    assert_eq!((settings.preferred_rows.as_slice(), settings.default_priority), (&[4, 8][..], 2));
    let own = |level| settings.queues.get(&level).map(|policy: &QueuePolicy| (policy.queue, policy.timeout));
    assert_eq!((own(1), own(2), own(3)), (Some((4, None)), None, Some((1024, Some(Duration::from_micros(70))))));
    assert!(!config.without_effect.iter().any(|said| said.starts_with("priority_queue_policy")));
    assert_eq!(config.policy, VersionPolicy::Specific(BTreeSet::from([1, 3])));
    assert_eq!(config.inputs[0].datatype, Some(ElementType::Bytes));
    for said in
        ["instance_group.kind: KIND_GPU", "parameters.execution_mode", "default_queue_policy.timeout_action: DELAY"]
    {
        assert!(config.without_effect.contains(said), "{said} is not in {:?}", config.without_effect);
    }
}

#[test]
fn policies_choose_versions() {
    let there = BTreeSet::from([1, 2, 10]);
    let chosen = |text: &str| read(text, "m").expect(text).policy.choose(&there).into_iter().collect::<Vec<_>>();
    assert_eq!(chosen(""), [10]);
    assert_eq!(chosen("version_policy { latest { num_versions: 2 } }"), [2, 10]);
    assert_eq!(chosen("version_policy: { all { } }"), [1, 2, 10]);
    assert_eq!(chosen("version_policy: { specific { versions: 1 versions: 7 } }"), [1]);
}

#[test]
fn what_does_not_fit_is_said() {
    for (text, says) in [
        ("name: \"other\"", "its folder `m`"),
        ("\nplatform: \"tensorrt_plan\"", "line 2"),
        ("backend: \"python\"", "only ONNX"),
        ("max_batch_size: \"x\"", "a name is expected"),
        ("max_batch_size: -1", "whole number"),
        ("default_model_filename: \"../m.onnx\"", "name of a file"),
        ("version_policy { newest { } }", "latest, all or specific"),
        ("input { data_type: TYPE_FP32 }", "with a name"),
        ("input { name: \"x\" data_type: FP32 }", "TYPE_FP32"),
        ("dynamic_batching: 3", "a message"),
        ("input [", "line 1"),
        ("max_batch_size: 4\ndynamic_batching { preferred_batch_size: [ 2, 8 ] }", "8 is no size from 1 to"),
        (
            "dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
            "priority 3 is none of 1 to priority_levels, which is 2",
        ),
        (
            "dynamic_batching { priority_queue_policy { key: 1 value { } } }",
            "priority 1 is none of 1 to priority_levels, which is 0",
        ),
    ] {
        let error = read(text, "m").expect_err(text);
        assert!(error.contains(says), "{text}: {error}");
    }
    let config = read("dynamic_batching { }", "m").expect("no batches");
    assert!(config.settings.batching.is_none() && config.without_effect.len() == 1);
}
