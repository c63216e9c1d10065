//! The model configuration extension: how a model is served, in Triton's words.

use std::time::Duration;

use ropewalk_inference::EngineName;
use ropewalk_serving::{ModelMetadata, ModelSettings};
use ropewalk_types::{ElementType, TensorSpec};
use serde_json::{Value, json};

use crate::proto::model_config::SchedulingChoice;
use crate::proto::model_instance_group::Kind;
use crate::proto::model_version_policy::{PolicyChoice, Specific};
use crate::proto::{
    DataType, ModelConfig, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput, ModelQueuePolicy,
    ModelTensorReshape, ModelTransactionPolicy, ModelVersionPolicy,
};

/// Rows of a request where nothing bounds them but the server.
const ROWS: i32 = 1 << 20;

/// A model's platform as its metadata says it.
pub(crate) fn platform(metadata: &ModelMetadata) -> String {
    match metadata.engine {
        EngineName::Python => "mlflow_python".to_owned(),
        engine => format!("{engine}_onnx"),
    }
}

/// The configuration of a model, with its settings.
pub(crate) fn model_config(metadata: &ModelMetadata, settings: &ModelSettings) -> ModelConfig {
    let signature = &metadata.signature;
    let has_batch = has_batch(&signature.inputs, &signature.outputs);
    let batching = settings.batching;
    let rows = batching.map_or(ROWS, |batching| i32::try_from(batching.max_rows).unwrap_or(i32::MAX));
    let dynamic = batching.map(|batching| ModelDynamicBatching {
        max_queue_delay_microseconds: batching.max_delay_us,
        preserve_ordering: false,
        preferred_batch_size: settings.preferred_rows.iter().filter_map(|rows| i32::try_from(*rows).ok()).collect(),
        priority_levels: settings.priority_levels.into(),
        default_priority_level: settings.default_priority.into(),
        default_queue_policy: Some(queue_policy(settings.queue, settings.timeout)),
        priority_queue_policy: settings
            .queues
            .iter()
            .map(|(level, policy)| (u64::from(*level), queue_policy(policy.queue, policy.timeout)))
            .collect(),
    });
    let count = settings.concurrency.unwrap_or_else(|| settings.cpus.len().max(1));
    ModelConfig {
        name: metadata.name.to_string(),
        platform: platform(metadata),
        backend: metadata.engine.to_string(),
        version_policy: Some(ModelVersionPolicy {
            policy_choice: Some(PolicyChoice::Specific(Specific {
                versions: metadata.versions.iter().map(|version| i64::try_from(*version).unwrap_or(i64::MAX)).collect(),
            })),
        }),
        max_batch_size: if has_batch { rows } else { 0 },
        input: signature.inputs.iter().map(|spec| input(spec, has_batch)).collect(),
        output: signature.outputs.iter().map(|spec| output(spec, has_batch)).collect(),
        instance_group: vec![ModelInstanceGroup {
            name: metadata.name.to_string(),
            count: i32::try_from(count).unwrap_or(i32::MAX),
            kind: Kind::Cpu.into(),
        }],
        default_model_filename: "model.onnx".to_owned(),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
        scheduling_choice: dynamic.map(SchedulingChoice::DynamicBatching),
    }
}

fn queue_policy(queue: usize, timeout: Option<Duration>) -> ModelQueuePolicy {
    ModelQueuePolicy {
        default_timeout_microseconds: timeout.map_or(0, |timeout| timeout.as_micros() as u64),
        allow_timeout_override: true,
        max_queue_size: u32::try_from(queue).unwrap_or(u32::MAX),
    }
}

/// Whether the first extent of every tensor is that of a batch. An input that is nothing but its batch cannot be said
/// with `dims`, so such a model is said to know none.
fn has_batch(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> bool {
    let open = |spec: &TensorSpec| spec.shape.first() == Some(&-1);
    inputs.iter().all(|spec| open(spec) && spec.shape.len() > 1) && outputs.iter().all(open)
}

fn dims(spec: &TensorSpec, has_batch: bool) -> Vec<i64> {
    spec.shape.iter().skip(usize::from(has_batch)).copied().collect()
}

fn input(spec: &TensorSpec, has_batch: bool) -> ModelInput {
    let (name, data_type) = (spec.name.clone(), data_type(spec.datatype).into());
    ModelInput { name, data_type, dims: dims(spec, has_batch) }
}

/// Triton has no tensor without dimensions: one value for a row is written as `[1]`, reshaped to `[]`.
fn output(spec: &TensorSpec, has_batch: bool) -> ModelOutput {
    let (name, data_type) = (spec.name.clone(), data_type(spec.datatype).into());
    let dims = dims(spec, has_batch);
    if dims.is_empty() {
        let reshape = Some(ModelTensorReshape { shape: Vec::new() });
        return ModelOutput { name, data_type, dims: vec![1], reshape };
    }
    ModelOutput { name, data_type, dims, reshape: None }
}

fn data_type(datatype: ElementType) -> DataType {
    match datatype {
        ElementType::Bool => DataType::TypeBool,
        ElementType::Uint8 => DataType::TypeUint8,
        ElementType::Uint16 => DataType::TypeUint16,
        ElementType::Uint32 => DataType::TypeUint32,
        ElementType::Uint64 => DataType::TypeUint64,
        ElementType::Int8 => DataType::TypeInt8,
        ElementType::Int16 => DataType::TypeInt16,
        ElementType::Int32 => DataType::TypeInt32,
        ElementType::Int64 => DataType::TypeInt64,
        ElementType::Fp16 => DataType::TypeFp16,
        ElementType::Bf16 => DataType::TypeBf16,
        ElementType::Fp32 => DataType::TypeFp32,
        ElementType::Fp64 => DataType::TypeFp64,
        ElementType::Bytes => DataType::TypeString,
    }
}

/// The same as REST writes it: Triton's JSON form of the message.
pub(crate) fn config_json(config: &ModelConfig) -> Value {
    let inputs = config.input.iter().map(|input| {
        json!({
            "name": input.name, "data_type": input.data_type().as_str_name(), "format": "FORMAT_NONE",
            "dims": input.dims, "is_shape_tensor": false, "allow_ragged_batch": false, "optional": false,
        })
    });
    let mut json = json!({
        "name": config.name,
        "platform": config.platform,
        "backend": config.backend,
        "version_policy": version_policy_json(config),
        "max_batch_size": config.max_batch_size,
        "input": inputs.collect::<Vec<_>>(),
        "output": config.output.iter().map(output_json).collect::<Vec<_>>(),
        "batch_input": [],
        "batch_output": [],
        "instance_group": config.instance_group.iter().map(|group| json!({
            "name": group.name, "kind": group.kind().as_str_name(), "count": group.count, "gpus": [],
            "secondary_devices": [], "profile": [], "passive": false, "host_policy": "",
        })).collect::<Vec<_>>(),
        "default_model_filename": config.default_model_filename,
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
        "model_transaction_policy": { "decoupled": false },
    });
    if let (Some(SchedulingChoice::DynamicBatching(batching)), Some(object)) =
        (&config.scheduling_choice, json.as_object_mut())
    {
        object.insert("dynamic_batching".to_owned(), dynamic_batching_json(batching));
    }
    json
}

fn version_policy_json(config: &ModelConfig) -> Value {
    match config.version_policy.as_ref().and_then(|policy| policy.policy_choice.as_ref()) {
        Some(PolicyChoice::Specific(specific)) => json!({ "specific": { "versions": specific.versions } }),
        Some(PolicyChoice::Latest(latest)) => json!({ "latest": { "num_versions": latest.num_versions } }),
        Some(PolicyChoice::All(_)) | None => json!({ "all": {} }),
    }
}

fn output_json(output: &ModelOutput) -> Value {
    let mut json = json!({
        "name": output.name, "data_type": output.data_type().as_str_name(), "dims": output.dims,
        "label_filename": "", "is_shape_tensor": false,
    });
    if let (Some(reshape), Some(object)) = (&output.reshape, json.as_object_mut()) {
        object.insert("reshape".to_owned(), json!({ "shape": reshape.shape }));
    }
    json
}

fn dynamic_batching_json(batching: &ModelDynamicBatching) -> Value {
    let levels = batching.priority_queue_policy.iter();
    let levels: serde_json::Map<_, _> =
        levels.map(|(level, policy)| (level.to_string(), queue_policy_json(policy))).collect();
    json!({
        "preferred_batch_size": batching.preferred_batch_size,
        "max_queue_delay_microseconds": batching.max_queue_delay_microseconds,
        "preserve_ordering": batching.preserve_ordering,
        "priority_levels": batching.priority_levels,
        "default_priority_level": batching.default_priority_level,
        "default_queue_policy": queue_policy_json(&batching.default_queue_policy.unwrap_or_default()),
        "priority_queue_policy": levels,
    })
}

fn queue_policy_json(policy: &ModelQueuePolicy) -> Value {
    json!({
        "timeout_action": "REJECT",
        "default_timeout_microseconds": policy.default_timeout_microseconds,
        "allow_timeout_override": policy.allow_timeout_override,
        "max_queue_size": policy.max_queue_size,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use ropewalk_inference::EngineName;
    use ropewalk_serving::{Batching, QueuePolicy};
    use ropewalk_types::{Digest, ModelName, Signature};

    use super::*;

    fn metadata(inputs: &[&[i64]], outputs: &[&[i64]]) -> ModelMetadata {
        let specs = |shapes: &[&[i64]]| -> Vec<TensorSpec> {
            let spec =
                |shape: &&[i64]| TensorSpec { name: "t".into(), datatype: ElementType::Fp32, shape: shape.to_vec() };
            shapes.iter().map(spec).collect()
        };
        let signature = Signature { inputs: specs(inputs), outputs: specs(outputs) };
        ModelMetadata {
            name: ModelName::new("m").unwrap(),
            version: 2,
            default_version: 2,
            versions: vec![1, 2],
            digest: Digest::of(b""),
            engine: EngineName::Embedded,
            signature: Arc::new(signature),
        }
    }

    #[test]
    fn the_batch_is_told_apart_from_the_dimensions() {
        let config = model_config(&metadata(&[&[-1, 4]], &[&[-1], &[-1, 3]]), &ModelSettings::default());
        assert!(config.max_batch_size > 0 && config.scheduling_choice.is_none());
        assert_eq!((config.input[0].dims.as_slice(), config.output[1].dims.as_slice()), (&[4][..], &[3][..]));
        assert_eq!((config.output[0].dims.as_slice(), config.output[0].reshape.is_some()), (&[1][..], true));
        for without in [metadata(&[&[-1]], &[&[-1]]), metadata(&[&[2, 4]], &[&[2, 3]])] {
            let config = model_config(&without, &ModelSettings::default());
            assert_eq!((config.max_batch_size, &config.input[0].dims), (0, &without.signature.inputs[0].shape));
        }
    }

    #[test]
    fn what_is_set_is_told() {
        let batching = Some(Batching { max_rows: 64, max_delay_us: 500 });
        let queues = BTreeMap::from([(1, QueuePolicy { queue: 7, timeout: Some(Duration::from_millis(2)) })]);
        let settings = ModelSettings {
            batching,
            concurrency: Some(3),
            preferred_rows: vec![4, 8],
            default_priority: 2,
            queues,
            ..ModelSettings::default()
        };
        let json = config_json(&model_config(&metadata(&[&[-1, 4]], &[&[-1, 3]]), &settings));
        assert_eq!((&json["max_batch_size"], &json["instance_group"][0]["count"]), (&json!(64), &json!(3)));
        assert_eq!(json["dynamic_batching"]["max_queue_delay_microseconds"], 500);
        let dynamic = &json["dynamic_batching"];
        assert_eq!((&dynamic["preferred_batch_size"], &dynamic["default_priority_level"]), (&json!([4, 8]), &json!(2)));
        let own = &dynamic["priority_queue_policy"]["1"];
        assert_eq!((&own["max_queue_size"], &own["default_timeout_microseconds"]), (&json!(7), &json!(2000)));
        assert_eq!((&json["input"][0]["data_type"], &json["input"][0]["dims"]), (&json!("TYPE_FP32"), &json!([4])));
        assert_eq!(json["version_policy"]["specific"]["versions"], json!([1, 2]));
    }
}
