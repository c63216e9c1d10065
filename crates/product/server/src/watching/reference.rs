use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use bytes::Bytes;
use ropewalk_data::{AuditAction, read_table};
use ropewalk_inference::{ClassicalEngine, Model, NamedTensor, Tensor, TensorData};
use ropewalk_monitoring::Profile;
use ropewalk_registry::ModelVersion;
use ropewalk_types::{Digest, ElementType, TensorSpec, Uri};
use serde_json::json;

use super::SCORE;
use crate::{OpenProject, ServerError};

/// What a version was trained on, and what it answers to that.
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) profile: Profile,
}

impl OpenProject {
    /// The profile of the rows that the version learnt from: the training part of the dataset that it was made of.
    pub(super) async fn reference(&self, version: &ModelVersion, score: &str) -> Result<Reference, ServerError> {
        let unknown = || ServerError::Unknown {
            what: format!("the dataset that {} was trained on is not known here", version.uri()),
            hint: "train it by a stage of this project".to_owned(),
        };
        let Some(dataset @ Uri::Data { name, version: digest }) = &version.dataset else { return Err(unknown()) };
        let tree: Digest = digest.parse().map_err(|_| unknown())?;
        let run = self.tracking.run_get(version.run_id()?).await?;
        let part = run.params.get("split").map(|split| format!("\"{}\" = 'train'", split.replace('"', "\"\"")));
        let content = version.content()?;
        let columns: Vec<&str> = content.signature.inputs.iter().map(|input| input.name.as_str()).collect();
        self.audit(AuditAction::Read, dataset, json!({ "what": "monitor", "model": version.uri() })).await?;
        let batches = read_table(&self.store, &tree, Some(&columns), part.as_deref()).await?;
        let onnx = self.store.get_bytes(&content.digest).await?;
        let score = score.to_owned();
        let profiled = tokio::task::spawn_blocking(move || profile(&onnx, &batches, &score)).await;
        let profile = profiled.map_err(|error| ServerError::Serve(error.to_string()))??;
        let name = format!("data:{name}@{}, the rows it learnt from", tree.short());
        Ok(Reference { name, profile })
    }
}

fn profile(onnx: &[u8], batches: &[RecordBatch], score: &str) -> Result<Profile, ServerError> {
    let model = ClassicalEngine.load(onnx)?;
    let mut profile = Profile::new();
    for batch in batches {
        let scores = scored(model.as_ref(), batch, score)?;
        let schema = batch.schema();
        let columns = schema.fields().iter().map(|field| field.name().clone()).zip(batch.columns().to_vec());
        let columns = columns.chain([(SCORE.to_owned(), scores)]);
        profile.update(&RecordBatch::try_from_iter(columns).map_err(|error| unreadable(&error))?)?;
    }
    Ok(profile)
}

/// What the model answers to a batch: the last element of each row of the output `score`.
fn scored(model: &dyn Model, batch: &RecordBatch, score: &str) -> Result<ArrayRef, ServerError> {
    let inputs = model.signature().inputs.iter().map(|input| tensor(batch, input)).collect::<Result<Vec<_>, _>>()?;
    let outputs = model.predict(&inputs)?;
    let output = outputs.iter().find(|output| output.name == score).ok_or_else(|| ServerError::Unknown {
        what: format!("the model has no output `{score}`"),
        hint: "name one of its outputs as `score` in [monitor]".to_owned(),
    })?;
    let TensorData::Fp32(values) = &output.tensor.data else {
        return Err(ServerError::Serve(format!("the output `{score}` is not FP32")));
    };
    let width = values.len() / batch.num_rows().max(1);
    let last = values.chunks(width.max(1)).filter_map(|row| row.last()).map(|value| f64::from(*value));
    Ok(Arc::new(last.collect::<Float64Array>()))
}

fn tensor(batch: &RecordBatch, input: &TensorSpec) -> Result<NamedTensor, ServerError> {
    let column = batch.column_by_name(&input.name).ok_or_else(|| ServerError::Unknown {
        what: format!("the training data has no column `{}`", input.name),
        hint: "the model and its dataset do not fit together".to_owned(),
    })?;
    let data = if input.datatype == ElementType::Bytes {
        let column = cast(column, &DataType::Utf8).map_err(|error| unreadable(&error))?;
        let texts = column.as_string::<i32>().iter();
        TensorData::Bytes(texts.map(|text| Bytes::copy_from_slice(text.unwrap_or_default().as_bytes())).collect())
    } else {
        let column = cast(column, &DataType::Float32).map_err(|error| unreadable(&error))?;
        TensorData::Fp32(column.as_primitive::<Float32Type>().iter().map(|value| value.unwrap_or(f32::NAN)).collect())
    };
    let tensor = Tensor::new(vec![batch.num_rows(), 1], data)?;
    Ok(NamedTensor { name: input.name.clone(), tensor })
}

fn unreadable(error: &arrow::error::ArrowError) -> ServerError {
    ServerError::Serve(format!("the training data cannot be read: {error}"))
}
