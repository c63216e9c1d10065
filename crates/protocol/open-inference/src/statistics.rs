//! The statistics extension: what each version of a model has done since it was loaded.

use ropewalk_serving::{ModelHost, ServingError};

use crate::proto::{InferStatistics, ModelStatistics, StatisticDuration};

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
    let failed = model.refused + model.unavailable + model.failed;
    let none = Some(StatisticDuration::default());
    ModelStatistics {
        name: model.model.to_string(),
        version: model.version.to_string(),
        inference_count: model.rows,
        execution_count: model.answered,
        inference_stats: Some(InferStatistics {
            success: duration(model.answered, model.latency.sum_us),
            fail: duration(failed, 0),
            queue: none,
            compute_input: none,
            compute_infer: none,
            compute_output: none,
            cache_hit: none,
            cache_miss: none,
        }),
        ..ModelStatistics::default()
    }
}

fn duration(count: u64, micros: u64) -> Option<StatisticDuration> {
    Some(StatisticDuration { count, ns: micros.saturating_mul(1000) })
}
