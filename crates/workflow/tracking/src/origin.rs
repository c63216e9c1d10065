//! What the model registry asks of runs and logged models inside its own transaction.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_catalog::{Connection, query};
use ropewalk_types::{ExperimentId, RunId};

use crate::input::CONTEXT_TAG;
use crate::{ArtifactRoot, TrackingError, limits};

/// What people and MLflow's own evaluation write into a dataset's context if a run was measured on it.
const MEASURED: [&str; 9] =
    ["eval", "evaluate", "evaluation", "holdout", "test", "testing", "val", "valid", "validation"];

/// By what a run is judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFacts {
    /// The latest value of each metric; may be NaN.
    pub metrics: BTreeMap<String, f64>,
    /// The datasets that were its inputs, as `NAME@DIGEST`.
    pub datasets: BTreeSet<String>,
    /// Those of them whose context says that the run was measured on them: evaluation, test, validation.
    pub measured_on: BTreeSet<String>,
}

/// Where a logged model came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedModelOrigin {
    /// Where its files are, as clients are told.
    pub artifact_uri: String,
    /// The run that logged it.
    pub run: Option<String>,
}

/// By what a run is judged; none for a run that is not here.
pub async fn run_facts(connection: &mut Connection, run: RunId) -> Result<Option<RunFacts>, TrackingError> {
    let number: Option<i64> =
        query("SELECT number FROM run WHERE id = $1").bind(run.to_string()).fetch_optional(&mut *connection).await?;
    let Some(number) = number else { return Ok(None) };
    let sql = "SELECT key, value, not_a_number FROM metric_series WHERE run = $1";
    let metrics: Vec<(String, f64, i64)> = query(sql).bind(number).fetch_all(&mut *connection).await?;
    let sql = "SELECT d.name, d.digest, t.value FROM run_dataset rd JOIN dataset d ON d.id = rd.dataset
               LEFT JOIN run_dataset_tag t ON t.run = rd.run AND t.dataset = rd.dataset AND t.key = $2
               WHERE rd.run = $1";
    let datasets: Vec<(String, String, Option<String>)> =
        query(sql).bind(number).bind(CONTEXT_TAG).fetch_all(connection).await?;
    let value = |value: f64, not_a_number: i64| if not_a_number == 0 { value } else { f64::NAN };
    let mut facts = RunFacts {
        metrics: metrics.into_iter().map(|(key, figure, not)| (key, value(figure, not))).collect(),
        ..RunFacts::default()
    };
    for (name, digest, context) in datasets {
        let dataset = format!("{name}@{digest}");
        if context.is_some_and(|context| says_measured(&context)) {
            facts.measured_on.insert(dataset.clone());
        }
        facts.datasets.insert(dataset);
    }
    Ok(Some(facts))
}

/// A prefix of metrics such as `val_`, which MLflow's evaluation writes as the context, says so too.
fn says_measured(context: &str) -> bool {
    let word = context.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase();
    MEASURED.contains(&word.as_str())
}

/// Where a run's artifacts are, as clients are told; none for a run that is not here.
pub async fn run_artifact_uri(connection: &mut Connection, run: RunId) -> Result<Option<String>, TrackingError> {
    let sql = "SELECT e.id, e.artifact_location FROM run r JOIN experiment e ON e.id = r.experiment_id
               WHERE r.id = $1";
    let found: Option<(i64, Option<String>)> = query(sql).bind(run.to_string()).fetch_optional(connection).await?;
    Ok(found.map(|(experiment, location)| {
        ArtifactRoot::Run { experiment: ExperimentId(experiment), run }.uri(location.as_deref())
    }))
}

/// Where a logged model came from; none for one that is not here or was deleted.
pub async fn logged_model_origin(
    connection: &mut Connection,
    id: &str,
) -> Result<Option<LoggedModelOrigin>, TrackingError> {
    let sql = "SELECT artifact_uri, source_run FROM logged_model WHERE id = $1 AND deleted_at IS NULL";
    let found: Option<(String, Option<String>)> = query(sql).bind(id).fetch_optional(connection).await?;
    Ok(found.map(|(artifact_uri, run)| LoggedModelOrigin { artifact_uri, run: run.filter(|run| !run.is_empty()) }))
}

/// Refuses a key that cannot be a tag's: the registry's tags have the rule of a run's.
pub fn tag_key_check(key: &str) -> Result<(), TrackingError> {
    limits::key_check("tag key", key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tracking_with_run;
    use crate::tracking::reading;
    use crate::{DatasetInput, Tag};

    #[tokio::test]
    async fn what_a_run_was_measured_on_is_told_from_the_rest() {
        let (tracking, run) = tracking_with_run().await;
        let input = |name: &str, context: Option<&str>| DatasetInput {
            name: name.to_owned(),
            digest: "1".to_owned(),
            source_type: "local".to_owned(),
            source: "{}".to_owned(),
            tags: context.iter().map(|context| Tag::new(CONTEXT_TAG, *context)).collect(),
            ..DatasetInput::default()
        };
        let inputs =
            vec![input("a", Some("train")), input("b", Some("Test")), input("c", Some("val_")), input("d", None)];
        tracking.inputs_log(run, inputs, Vec::new()).await.expect("inputs");
        let facts: Result<Option<RunFacts>, TrackingError> =
            reading!(tracking, |connection| run_facts(connection, run));
        let facts = facts.expect("facts").expect("run");
        assert_eq!(facts.measured_on, BTreeSet::from(["b@1".to_owned(), "c@1".to_owned()]));
        assert_eq!(facts.datasets.len(), 4);
    }
}
