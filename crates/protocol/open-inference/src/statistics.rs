//! The statistics extension: what each version of a model has done since it was loaded.

use ropewalk_serving::{BatchStatistics, Elapsed, ModelHost, ServingError};

use crate::proto::{InferBatchStatistics, InferStatistics, ModelStatistics, StatisticDuration};

/// The statistics of a model's version, of all of its versions, or of all models (an empty `name`).
///
/// # Errors
/// The model or the version is not loaded.
pub(crate) fn model_statistics(
    host: &ModelHost,
    name: &str,
    version: Option<&str>,
) -> Result<Vec<ModelStatistics>, ServingError> {
    let version = version.filter(|version| !version.is_empty());
    let only = match (name, version) {
        ("", _) => None,
        (name, version) => {
            let metadata = host.metadata(name, version)?;
            Some((metadata.name, version.map(|_| metadata.version)))
        }
    };
    let wanted = |model: &ropewalk_serving::ModelStatistics| match &only {
        None => true,
        Some((name, version)) => model.model == *name && version.is_none_or(|version| model.version == version),
    };
    Ok(host.statistics().models.iter().filter(|model| wanted(model)).map(translate).collect())
}

fn translate(model: &ropewalk_serving::ModelStatistics) -> ModelStatistics {
    let none = Some(StatisticDuration::default());
    let batch = |batch: &BatchStatistics| InferBatchStatistics {
        batch_size: batch.batch_size,
        compute_input: Some(duration(batch.compute_input)),
        compute_infer: Some(duration(batch.compute_infer)),
        compute_output: Some(duration(batch.compute_output)),
    };
    ModelStatistics {
        name: model.model.to_string(),
        version: model.version.to_string(),
        last_inference: model.last_inference_ms,
        inference_count: model.inference_count,
        execution_count: model.execution_count,
        inference_stats: Some(InferStatistics {
            success: Some(duration(model.success)),
            fail: Some(duration(model.fail)),
            queue: Some(duration(model.queue)),
            compute_input: Some(duration(model.compute_input)),
            compute_infer: Some(duration(model.compute_infer)),
            compute_output: Some(duration(model.compute_output)),
            cache_hit: none,
            cache_miss: none,
        }),
        batch_stats: model.batches.iter().map(batch).collect(),
        ..ModelStatistics::default()
    }
}

fn duration(elapsed: Elapsed) -> StatisticDuration {
    StatisticDuration { count: elapsed.count, ns: elapsed.ns }
}
