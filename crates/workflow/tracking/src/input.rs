//! What runs read and made: dataset versions and logged models.

use std::collections::HashSet;

use ropewalk_catalog::{Connection, Row, Value, query, rows_insert};
use ropewalk_types::{ExperimentId, RunId};
use serde::Serialize;

use crate::experiment::count_up;
use crate::limits::{length_check, search_width_check};
use crate::run::read::{Page, of_numbers};
use crate::run::write as run;
use crate::tracking::{reading, transaction};
use crate::{Tag, Tracking, TrackingError, rows};

/// Longest name of a dataset.
pub(crate) const NAME_CHARACTERS: usize = 500;
/// Longest digest of a dataset.
pub(crate) const DIGEST_CHARACTERS: usize = 36;
/// Longest id of a logged model that a run may name.
const MODEL_CHARACTERS: usize = 36;
/// Longest description of where a dataset came from.
const SOURCE_CHARACTERS: usize = 65_535;
/// Longest schema of a dataset.
const SCHEMA_CHARACTERS: usize = 1_048_575;
/// Longest profile of a dataset.
const PROFILE_CHARACTERS: usize = 16_777_215;
/// Longest key of an input's tag.
const TAG_KEY_CHARACTERS: usize = 255;
/// Longest value of an input's tag.
const TAG_VALUE_CHARACTERS: usize = 500;
/// Most lines of one summary of datasets.
const SUMMARIES: i64 = 1_000;

/// The tag of an input that says what the dataset was for: training, evaluation.
pub(crate) const CONTEXT_TAG: &str = "mlflow.data.context";

/// `run_model.role` of a model that the run read.
pub(crate) const MODEL_INPUT: &str = "input";
/// `run_model.role` of a model that the run made.
const MODEL_OUTPUT: &str = "output";

/// A dataset version that a run read. Name and digest say which it is within the experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DatasetInput {
    /// Its name.
    pub name: String,
    /// Its digest, at most 36 characters.
    pub digest: String,
    /// The kind of `source`.
    pub source_type: String,
    /// Where it came from, as the client wrote it.
    pub source: String,
    /// Its columns, as the client wrote them.
    pub schema: Option<String>,
    /// Its figures, as the client wrote them.
    pub profile: Option<String>,
    /// Remarks on this use of it.
    pub tags: Vec<Tag>,
}

/// A logged model that a run made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelOutput {
    /// The model's id.
    pub model: String,
    /// Where in the run it was made.
    pub step: i64,
}

/// One line of a summary: a dataset version, and what it was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatasetSummary {
    /// The experiment whose runs read it.
    pub experiment: ExperimentId,
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// What it was for, if its runs said so.
    pub context: Option<String>,
}

impl DatasetInput {
    fn check(&self) -> Result<(), TrackingError> {
        length_check("name", &self.name, NAME_CHARACTERS)?;
        length_check("digest", &self.digest, DIGEST_CHARACTERS)?;
        length_check("source", &self.source, SOURCE_CHARACTERS)?;
        length_check("schema", self.schema.as_deref().unwrap_or_default(), SCHEMA_CHARACTERS)?;
        length_check("profile", self.profile.as_deref().unwrap_or_default(), PROFILE_CHARACTERS)?;
        for tag in &self.tags {
            length_check("key", &tag.key, TAG_KEY_CHARACTERS)?;
            length_check("value", &tag.value, TAG_VALUE_CHARACTERS)?;
        }
        Ok(())
    }
}

impl Tracking {
    /// Notes which dataset versions and logged models a run reads. One that is noted already stays as it is.
    pub async fn inputs_log(
        &self,
        run: RunId,
        datasets: Vec<DatasetInput>,
        models: Vec<String>,
    ) -> Result<(), TrackingError> {
        transaction!(self, |connection| inputs_log(connection, run, &datasets, &models))
    }

    /// Notes which logged models a run made.
    pub async fn outputs_log(&self, run: RunId, models: Vec<ModelOutput>) -> Result<(), TrackingError> {
        transaction!(self, |connection| outputs_log(connection, run, &models))
    }

    /// Which dataset versions the runs of experiments read, at most 1000 lines.
    pub async fn dataset_summaries(
        &self,
        experiments: Vec<ExperimentId>,
    ) -> Result<Vec<DatasetSummary>, TrackingError> {
        search_width_check(&experiments)?;
        reading!(self, |connection| summaries(connection, &experiments))
    }
}

/// Notes in the caller's transaction what a run reads; see [`Tracking::inputs_log`].
pub async fn inputs_log(
    connection: &mut Connection,
    run: RunId,
    datasets: &[DatasetInput],
    models: &[String],
) -> Result<(), TrackingError> {
    datasets.iter().try_for_each(DatasetInput::check)?;
    models.iter().try_for_each(|model| model_check(model))?;
    let held = run::lock(connection, run).await?;
    let mut seen = HashSet::new();
    for dataset in datasets {
        if seen.insert((dataset.name.as_str(), dataset.digest.as_str())) {
            dataset_log(connection, held, dataset).await?;
        }
    }
    let rows = models.iter().map(|model| model_row(held, MODEL_INPUT, model, 0)).collect();
    models_log(connection, rows).await
}

/// Notes in the caller's transaction which models a run made.
pub async fn outputs_log(connection: &mut Connection, run: RunId, models: &[ModelOutput]) -> Result<(), TrackingError> {
    models.iter().try_for_each(|one| model_check(&one.model))?;
    let held = run::lock(connection, run).await?;
    let rows = models.iter().map(|one| model_row(held, MODEL_OUTPUT, &one.model, one.step)).collect();
    models_log(connection, rows).await
}

/// It is a key of an index, in which PostgreSQL keeps no long text.
fn model_check(model: &str) -> Result<(), TrackingError> {
    length_check("model_id", model, MODEL_CHARACTERS)
}

fn model_row(held: run::Held, role: &str, model: &str, step: i64) -> [Value; 4] {
    [held.number.into(), role.into(), model.into(), step.into()]
}

async fn models_log(connection: &mut Connection, rows: Vec<[Value; 4]>) -> Result<(), TrackingError> {
    if !rows.is_empty() {
        let head = "INSERT INTO run_model (run, role, model, step)";
        rows_insert(connection, head, rows, "ON CONFLICT DO NOTHING").await?;
    }
    Ok(())
}

async fn dataset_log(
    connection: &mut Connection,
    held: run::Held,
    dataset: &DatasetInput,
) -> Result<(), TrackingError> {
    let id = dataset_ensure(connection, held.experiment, dataset).await?;
    let insert = "INSERT INTO run_dataset (run, dataset) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let new = query(insert).bind(held.number).bind(id).execute(connection).await?;
    if new == 0 || dataset.tags.is_empty() {
        return Ok(());
    }
    let row = |tag: &Tag| -> [Value; 4] {
        [held.number.into(), id.into(), tag.key.as_str().into(), tag.value.as_str().into()]
    };
    let rows: Vec<[Value; 4]> = dataset.tags.iter().map(row).collect();
    let head = "INSERT INTO run_dataset_tag (run, dataset, key, value)";
    rows_insert(connection, head, rows, "ON CONFLICT DO NOTHING").await?;
    Ok(())
}

async fn dataset_ensure(
    connection: &mut Connection,
    experiment: ExperimentId,
    dataset: &DatasetInput,
) -> Result<i64, TrackingError> {
    let select = "SELECT id FROM dataset WHERE experiment_id = $1 AND name = $2 AND digest = $3";
    let select = query(select).bind(experiment.0).bind(dataset.name.as_str()).bind(dataset.digest.as_str());
    let known: Option<i64> = select.fetch_optional(connection).await?;
    if let Some(id) = known {
        return Ok(id);
    }
    let id = count_up(connection, "dataset", 1).await?;
    let insert = "INSERT INTO dataset (id, experiment_id, name, digest, source_type, source, schema, profile) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    query(insert)
        .bind(id)
        .bind(experiment.0)
        .bind(dataset.name.as_str())
        .bind(dataset.digest.as_str())
        .bind(dataset.source_type.as_str())
        .bind(dataset.source.as_str())
        .bind(dataset.schema.as_deref())
        .bind(dataset.profile.as_deref())
        .execute(connection)
        .await?;
    Ok(id)
}

/// Fills in the dataset versions of the runs with these numbers.
pub(crate) async fn of_runs(connection: &mut Connection, piece: &[i64], page: &mut Page) -> Result<(), TrackingError> {
    let select = "SELECT run_dataset.run, run_dataset.dataset, dataset.name, dataset.digest, dataset.source_type, \
                  dataset.source, dataset.schema, dataset.profile, run_dataset_tag.key, run_dataset_tag.value \
                  FROM run_dataset JOIN dataset ON dataset.id = run_dataset.dataset \
                  LEFT JOIN run_dataset_tag ON run_dataset_tag.run = run_dataset.run \
                  AND run_dataset_tag.dataset = run_dataset.dataset WHERE run_dataset.run IN ";
    let mut last: Option<(i64, i64)> = None;
    let found = of_numbers(select, piece, " ORDER BY run_dataset.run, run_dataset.dataset, run_dataset_tag.key");
    found
        .for_each(connection, |row: &Row<'_>| {
            let (number, dataset): (i64, i64) = (row.get(0)?, row.get(1)?);
            let Some(run) = page.run(number) else { return Ok(()) };
            if last != Some((number, dataset)) {
                last = Some((number, dataset));
                run.datasets.push(DatasetInput {
                    name: row.get(2)?,
                    digest: row.get(3)?,
                    source_type: row.get(4)?,
                    source: row.get(5)?,
                    schema: row.get(6)?,
                    profile: row.get(7)?,
                    tags: Vec::new(),
                });
            }
            let tag: (Option<String>, Option<String>) = (row.get(8)?, row.get(9)?);
            if let ((Some(key), Some(value)), Some(dataset)) = (tag, run.datasets.last_mut()) {
                dataset.tags.push(Tag { key, value });
            }
            Ok(())
        })
        .await?;
    Ok(())
}

async fn summaries(
    connection: &mut Connection,
    experiments: &[ExperimentId],
) -> Result<Vec<DatasetSummary>, TrackingError> {
    if experiments.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = String::from(
        "SELECT DISTINCT dataset.experiment_id, dataset.name, dataset.digest, run_dataset_tag.value FROM dataset \
         JOIN run_dataset ON run_dataset.dataset = dataset.id \
         LEFT JOIN run_dataset_tag ON run_dataset_tag.run = run_dataset.run \
         AND run_dataset_tag.dataset = run_dataset.dataset AND run_dataset_tag.key = $1 \
         WHERE dataset.experiment_id IN (",
    );
    rows::list(&mut select, 3, experiments.len());
    select.push_str(") ORDER BY 1, 2, 3, 4 LIMIT $2");
    let mut found = query(select).bind(CONTEXT_TAG).bind(SUMMARIES);
    for experiment in experiments {
        found = found.bind(experiment.0);
    }
    let found: Vec<(i64, String, String, Option<String>)> = found.fetch_all(connection).await?;
    let summary = |(experiment, name, digest, context)| DatasetSummary {
        experiment: ExperimentId(experiment),
        name,
        digest,
        context,
    };
    Ok(found.into_iter().map(summary).collect())
}

#[cfg(test)]
mod tests {
    use ropewalk_types::Timestamp;

    use super::*;
    use crate::testing::tracking_with_run;
    use crate::{DEFAULT_EXPERIMENT, NewRun};

    fn dataset(name: &str, digest: &str, context: &str) -> DatasetInput {
        DatasetInput {
            name: name.to_owned(),
            digest: digest.to_owned(),
            source_type: "local".to_owned(),
            source: "{}".to_owned(),
            schema: Some("{\"a\": 1}".to_owned()),
            profile: None,
            tags: vec![Tag::new("extra", "1"), Tag::new(CONTEXT_TAG, context)],
        }
    }

    #[tokio::test]
    async fn what_a_run_read_and_made_comes_back_once() {
        let (tracking, run) = tracking_with_run().await;
        let first = dataset("flights", "d1", "train");
        let again = DatasetInput { source: "other".to_owned(), ..dataset("flights", "d1", "test") };
        let plain = DatasetInput { tags: Vec::new(), ..dataset("weather", "d2", "") };
        let all = vec![first.clone(), again.clone(), plain.clone()];
        tracking.inputs_log(run, all, vec!["m-1".to_owned()]).await.expect("inputs");
        tracking.inputs_log(run, vec![again], vec!["m-1".to_owned()]).await.expect("once more");
        let made = [ModelOutput { model: "m-2".to_owned(), step: 3 }, ModelOutput { model: "m-2".to_owned(), step: 5 }];
        tracking.outputs_log(run, made.to_vec()).await.expect("outputs");
        tracking.outputs_log(run, made.to_vec()).await.expect("once more");
        let stored = tracking.run_get(run).await.expect("run");
        assert_eq!((stored.datasets, stored.models_read), (vec![first, plain], vec!["m-1".to_owned()]));
        assert_eq!(stored.models_made, made);
    }

    #[tokio::test]
    async fn runs_share_a_dataset_and_a_summary_names_it_once_for_each_use() {
        let (tracking, run) = tracking_with_run().await;
        let other = tracking.run_create(NewRun::new(DEFAULT_EXPERIMENT, Timestamp(2))).await.expect("run").info.id;
        tracking.inputs_log(run, vec![dataset("flights", "d1", "train")], Vec::new()).await.expect("inputs");
        tracking.inputs_log(other, vec![dataset("flights", "d1", "test")], Vec::new()).await.expect("inputs");
        let found = tracking.dataset_summaries(vec![DEFAULT_EXPERIMENT, ExperimentId(7)]).await.expect("summaries");
        let contexts: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.context.as_deref())).collect();
        assert_eq!(contexts, [("flights", Some("test")), ("flights", Some("train"))]);
        assert!(tracking.dataset_summaries(Vec::new()).await.expect("none").is_empty());
    }

    #[tokio::test]
    async fn too_long_fields_and_deleted_runs_are_refused() {
        let (tracking, run) = tracking_with_run().await;
        for bad in
            [dataset(&"x".repeat(501), "d", ""), dataset("n", &"x".repeat(37), ""), dataset("n", "d", &"x".repeat(501))]
        {
            let refused = tracking.inputs_log(run, vec![dataset("good", "d", ""), bad], Vec::new()).await;
            assert!(matches!(refused, Err(TrackingError::TooLong { .. })));
        }
        let long = "m".repeat(37);
        let refused = tracking.inputs_log(run, Vec::new(), vec![long.clone()]).await;
        assert!(matches!(refused, Err(TrackingError::TooLong { what: "model_id", .. })));
        let refused = tracking.outputs_log(run, vec![ModelOutput { model: long, step: 0 }]).await;
        assert!(matches!(refused, Err(TrackingError::TooLong { what: "model_id", .. })));
        assert!(tracking.run_get(run).await.expect("run").datasets.is_empty());
        tracking.run_delete(run).await.expect("delete");
        let refused = tracking.outputs_log(run, Vec::new()).await;
        assert!(matches!(refused, Err(TrackingError::RunDeleted(_))));
    }
}
