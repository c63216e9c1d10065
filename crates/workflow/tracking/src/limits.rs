//! What is taken: the limits of MLflow 3.17 (`mlflow/utils/validation.py`), counted in Unicode characters.

use ropewalk_types::ExperimentId;

use crate::{Batch, TrackingError};

/// Longest key of a param, metric or tag.
pub const KEY_CHARACTERS: usize = 250;
/// A param's value is cut here.
pub const PARAM_CHARACTERS: usize = 6_000;
/// A run tag's value is cut here.
pub const TAG_CHARACTERS: usize = 8_000;
/// Longest value of an experiment's tag; a longer one is refused.
pub const EXPERIMENT_TAG_CHARACTERS: usize = 20_000;
/// Longest name of an experiment.
pub const EXPERIMENT_NAME_CHARACTERS: usize = 500;
/// Most metrics in one batch.
pub const BATCH_METRICS: usize = 1_000;
/// Most params in one batch.
pub const BATCH_PARAMS: usize = 100;
/// Most tags in one batch.
pub const BATCH_TAGS: usize = 100;
/// Most metrics, params and tags together in one batch.
pub const BATCH_TOTAL: usize = 1_000;
/// Most points in one page of a metric's history.
pub const HISTORY_PAGE: usize = 25_000;
/// Most points of one run in a sample of a metric's history.
pub const SAMPLE_POINTS: usize = 2_500;
/// Most runs whose histories are asked for at once.
pub const SAMPLE_RUNS: usize = 100;
/// Most runs in one page.
pub const RUN_PAGE: usize = 50_000;
/// Most experiments that are searched at once: each is bound twice, and SQLite binds 32,766 values.
pub const SEARCH_EXPERIMENTS: usize = 10_000;
/// Longest path of an artifact, in bytes.
pub const ARTIFACT_PATH_BYTES: usize = 1_024;

/// Longest part of a refused name that an error repeats.
const SHOWN_CHARACTERS: usize = 80;

/// Refuses a key that could be taken for another one when it is used as a file's path.
pub(crate) fn key_check(kind: &'static str, key: &str) -> Result<(), TrackingError> {
    let refuse = |rule: &str| Err(name_error(kind, key, rule));
    length_check(kind, key, KEY_CHARACTERS)?;
    if !key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/')) {
        return refuse("use letters, digits, `_`, `-`, `.`, ` `, `:` and `/`");
    }
    if key.starts_with("..") || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refuse("it must be a plain relative path, without `.`, `..` or empty parts");
    }
    Ok(())
}

pub(crate) fn experiment_name_check(name: &str) -> Result<(), TrackingError> {
    let kind = "experiment name";
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(name_error(kind, name, "it must not be empty nor hold control characters"));
    }
    if name.chars().count() > EXPERIMENT_NAME_CHARACTERS {
        return Err(name_error(kind, name, &format!("at most {EXPERIMENT_NAME_CHARACTERS} characters are allowed")));
    }
    Ok(())
}

pub(crate) fn experiment_tag_check(key: &str, value: &str) -> Result<(), TrackingError> {
    key_check("tag key", key)?;
    length_check("value", value, EXPERIMENT_TAG_CHARACTERS)
}

/// Longest artifact location of an experiment.
const ARTIFACT_LOCATION_CHARACTERS: usize = 2_048;

/// Refuses a place that names runs, cannot be joined with a path, or climbs out of itself.
pub(crate) fn artifact_location_check(location: &str) -> Result<(), TrackingError> {
    length_check("artifact_location", location, ARTIFACT_LOCATION_CHARACTERS)?;
    let refuse = |rule: &str| Err(name_error("artifact location", location, rule));
    if location.starts_with("runs:") {
        return refuse("artifacts cannot be kept under a runs:/ URI");
    }
    if location.contains(['#', ';', '?']) || location.chars().any(char::is_control) {
        return refuse("it must not have a query, fragment or params");
    }
    let plain = location.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    if plain.contains("%25") || plain.split(['/', '\\']).any(|part| part == "..") {
        return refuse("it must not have the part `..`");
    }
    Ok(())
}

/// Refuses a text that is longer than `limit` characters.
pub(crate) fn length_check(what: &'static str, text: &str, limit: usize) -> Result<(), TrackingError> {
    // Bytes are never fewer than characters, and counted already.
    if text.len() > limit && text.chars().count() > limit {
        return Err(TrackingError::TooLong { what, limit });
    }
    Ok(())
}

/// Refuses to search more experiments than one statement takes.
pub(crate) fn search_width_check(experiments: &[ExperimentId]) -> Result<(), TrackingError> {
    let (kind, count, limit) = ("experiments", experiments.len(), SEARCH_EXPERIMENTS);
    if count > limit { Err(TrackingError::SearchTooWide { kind, count, limit }) } else { Ok(()) }
}

pub(crate) fn name_error(kind: &'static str, name: &str, rule: &str) -> TrackingError {
    let name = name.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_debug).collect();
    TrackingError::Name { kind, name, rule: rule.to_owned() }
}

/// The first `limit` characters of `value`, and whether any were left out.
pub(crate) fn cut(value: &str, limit: usize) -> (&str, bool) {
    if value.len() <= limit {
        return (value, false);
    }
    match value.char_indices().nth(limit) {
        Some((end, _)) => (value.get(..end).unwrap_or(value), true),
        None => (value, false),
    }
}

pub(crate) fn batch_check(batch: &Batch) -> Result<(), TrackingError> {
    let (metrics, params, tags) = (batch.metrics.len(), batch.params.len(), batch.tags.len());
    let counts = [
        ("metrics", metrics, BATCH_METRICS),
        ("params", params, BATCH_PARAMS),
        ("tags", tags, BATCH_TAGS),
        ("metrics, params, and tags", metrics + params + tags, BATCH_TOTAL),
    ];
    match counts.into_iter().find(|(_, count, limit)| count > limit) {
        Some((kind, count, limit)) => Err(TrackingError::BatchTooLarge { kind, count, limit }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_relative_paths() {
        for good in ["auc", "val/auc", "a b", "é:1", "a.b-c_d", "a..b", ".x"] {
            assert!(key_check("metric", good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "../x", "/abs", "a//b", "a/", "a/./b", "a/../b", "..x", "a\\b", "a\nb", "a%2fb", "a\u{0}"]
        {
            assert!(key_check("metric", bad).is_err(), "{bad:?}");
        }
        assert!(key_check("metric", &"é".repeat(250)).is_ok());
        assert!(key_check("metric", &"x".repeat(251)).is_err());
    }

    #[test]
    fn values_are_cut_between_characters() {
        assert_eq!(cut("äöü", 2), ("äö", true));
        assert_eq!(cut("äöü", 3), ("äöü", false));
        assert_eq!(cut("", 0), ("", false));
    }

    #[test]
    fn a_refused_name_is_shown_short_and_without_control_characters() {
        let error = key_check("param", &format!("\u{1b}[31m{}", "x".repeat(200))).expect_err("refused").to_string();
        assert!(error.len() < 250 && !error.contains('\u{1b}'), "{error}");
    }
}
