use std::time::Duration;

use ropewalk_config::ModelSettingsTable;
use ropewalk_serving::{Batching, ModelSettings};

use crate::InferenceServerError;

/// The settings of a model: what a table says, and else what `base` does.
///
/// # Errors
/// The table names no engine of ours.
pub fn model_settings(
    base: ModelSettings,
    table: Option<&ModelSettingsTable>,
) -> Result<ModelSettings, InferenceServerError> {
    let Some(table) = table else { return Ok(base) };
    let engine =
        table.engine.as_deref().map(str::parse).transpose().map_err(|error| InferenceServerError::Options {
            what: format!("{error}"),
            hint: "leave it out to take the first engine that can".to_owned(),
        })?;
    let batching =
        table.batching.map(|batching| Batching { max_rows: batching.max_rows, max_delay_us: batching.max_delay_us });
    Ok(ModelSettings {
        engine: engine.or(base.engine),
        batching: batching.or(base.batching),
        preferred_rows: base.preferred_rows,
        concurrency: table.concurrency.or(base.concurrency),
        queue: table.queue.unwrap_or(base.queue),
        timeout: table.timeout_ms.map(Duration::from_millis).or(base.timeout),
        priority_levels: table.priority_levels.unwrap_or(base.priority_levels),
        default_priority: base.default_priority,
        queues: base.queues,
        warm_up: table.warm_up.unwrap_or(base.warm_up),
        cpus: table.cpus.clone().unwrap_or(base.cpus),
        threads: table.threads.unwrap_or(base.threads),
        labels: base.labels,
    })
}

#[cfg(test)]
mod tests {
    use ropewalk_inference::EngineName;

    use super::*;

    #[test]
    fn a_table_counts_more_than_the_folder() {
        let base = ModelSettings { queue: 7, threads: 3, ..ModelSettings::default() };
        let table = ModelSettingsTable {
            engine: Some("onnxruntime".to_owned()),
            queue: Some(9),
            timeout_ms: Some(20),
            ..ModelSettingsTable::default()
        };
        let settings = model_settings(base.clone(), Some(&table)).expect("settings");
        assert_eq!((settings.engine, settings.queue, settings.threads), (Some(EngineName::OnnxRuntime), 9, 3));
        assert_eq!(settings.timeout, Some(Duration::from_millis(20)));
        assert_eq!(model_settings(base.clone(), None).expect("settings"), base);
    }
}
