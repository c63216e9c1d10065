use std::collections::{BTreeMap, HashMap};

use ropewalk_catalog::{Connection, Value, query, rows_insert};
use ropewalk_types::{RunId, Timestamp};

use super::{
    LoggedModel, LoggedModelError, LoggedModelId, LoggedModelMetric, LoggedModelStatus, NewLoggedModel, params_check,
    read, shown, tags_check,
};
use crate::experiment::count_up;
use crate::input::{DIGEST_CHARACTERS, NAME_CHARACTERS};
use crate::limits::{length_check, name_error};
use crate::{ArtifactRoot, Metric, Param, Tag, TrackingError};

/// Most bytes of the texts by which a point of a metric is found: PostgreSQL's indexes take 2,704 in all.
const POINT_BYTES: usize = 2_500;

pub(super) async fn create(
    connection: &mut Connection,
    id: LoggedModelId,
    drawn_name: String,
    new: NewLoggedModel,
    at: Timestamp,
) -> Result<LoggedModel, TrackingError> {
    new.check()?;
    let select = "SELECT artifact_location, deleted_at FROM experiment WHERE id = $1";
    let experiment: Option<(Option<String>, Option<i64>)> =
        query(select).bind(new.experiment.0).fetch_optional(connection).await?;
    let (location, deleted) = experiment.ok_or(TrackingError::ExperimentAbsent(new.experiment))?;
    if deleted.is_some() {
        return Err(TrackingError::ExperimentDeleted(new.experiment));
    }
    let root = ArtifactRoot::Model { experiment: new.experiment, model: id.to_string() };
    let model = LoggedModel {
        id,
        experiment: new.experiment,
        name: new.name.unwrap_or(drawn_name),
        model_type: new.model_type,
        source_run: new.source_run,
        artifact_uri: root.uri(location.as_deref()),
        status: LoggedModelStatus::Pending,
        status_message: String::new(),
        created: at,
        updated: at,
        deleted: false,
        params: new.params.into_iter().map(|param| (param.key, param.value)).collect(),
        tags: new.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
        metrics: Vec::new(),
    };
    logged_model_put(connection, &model).await?;
    Ok(model)
}

/// Writes a logged model as it is, ids and times included, in the caller's transaction: for an import.
///
/// If it is there already, its status, name, deletion and tags become those given; params that stand are not changed,
/// points of metrics are added. The runs of its metrics must be there. The same model again changes nothing.
pub async fn logged_model_put(connection: &mut Connection, model: &LoggedModel) -> Result<(), TrackingError> {
    let number = match find(connection, model.id).await? {
        Some(number) => number,
        None => count_up(connection, "logged_model", 1).await?,
    };
    let upsert = "INSERT INTO logged_model (number, id, experiment_id, name, model_type, source_run, artifact_uri, \
                  status, status_message, created_at, updated_at, deleted_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                  ON CONFLICT (id) DO UPDATE SET name = excluded.name, status = excluded.status, \
                  status_message = excluded.status_message, updated_at = excluded.updated_at, \
                  deleted_at = excluded.deleted_at";
    query(upsert)
        .bind(number)
        .bind(model.id.to_string())
        .bind(model.experiment.0)
        .bind(model.name.as_str())
        .bind(model.model_type.as_str())
        .bind(model.source_run.map(|run| run.to_string()))
        .bind(model.artifact_uri.as_str())
        .bind(model.status.as_str())
        .bind(model.status_message.as_str())
        .bind(model.created.0)
        .bind(model.updated.0)
        .bind(model.deleted.then_some(model.updated.0))
        .execute(connection)
        .await?;
    let params = model.params.iter().map(|(key, value)| pair(number, key, value)).collect();
    params_insert(connection, params).await?;
    let tags: Vec<Tag> = model.tags.iter().map(|(key, value)| Tag::new(key.as_str(), value.as_str())).collect();
    tags_upsert(connection, number, &tags).await?;
    measured_insert(connection, number, &model.metrics).await
}

async fn find(connection: &mut Connection, id: LoggedModelId) -> Result<Option<i64>, TrackingError> {
    let select = "SELECT number FROM logged_model WHERE id = $1";
    Ok(query(select).bind(id.to_string()).fetch_optional(connection).await?)
}

/// The number of a logged model, deleted or not, as MLflow writes to both.
pub(super) async fn number(connection: &mut Connection, id: LoggedModelId) -> Result<i64, TrackingError> {
    find(connection, id).await?.ok_or_else(|| LoggedModelError::Absent(id).into())
}

fn pair(model: i64, key: &str, value: &str) -> [Value; 3] {
    [model.into(), key.into(), value.into()]
}

async fn params_insert(connection: &mut Connection, rows: Vec<[Value; 3]>) -> Result<(), TrackingError> {
    let head = "INSERT INTO logged_model_param (model, key, value)";
    rows_insert(connection, head, rows, "ON CONFLICT DO NOTHING").await?;
    Ok(())
}

pub(super) async fn params_log(
    connection: &mut Connection,
    id: LoggedModelId,
    params: &[Param],
) -> Result<(), TrackingError> {
    params_check(params)?;
    let model = number(connection, id).await?;
    let select = "SELECT key, value FROM logged_model_param WHERE model = $1";
    let stored: Vec<(String, String)> = query(select).bind(model).fetch_all(connection).await?;
    let stored: HashMap<String, String> = stored.into_iter().collect();
    for param in params {
        if let Some(old) = stored.get(&param.key).filter(|old| **old != param.value) {
            let values = Box::new((shown(old), shown(&param.value)));
            return Err(LoggedModelError::ParamChanged { model: id, key: param.key.clone(), values }.into());
        }
    }
    params_insert(connection, params.iter().map(|param| pair(model, &param.key, &param.value)).collect()).await
}

pub(super) async fn tags_set(
    connection: &mut Connection,
    id: LoggedModelId,
    tags: &[Tag],
) -> Result<(), TrackingError> {
    tags_check(tags)?;
    let model = number(connection, id).await?;
    tags_upsert(connection, model, tags).await
}

pub(super) async fn tags_upsert(connection: &mut Connection, model: i64, tags: &[Tag]) -> Result<(), TrackingError> {
    let last: BTreeMap<&str, &str> = tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str())).collect();
    let rows: Vec<[Value; 3]> = last.into_iter().map(|(key, value)| pair(model, key, value)).collect();
    let head = "INSERT INTO logged_model_tag (model, key, value)";
    rows_insert(connection, head, rows, "ON CONFLICT (model, key) DO UPDATE SET value = excluded.value").await?;
    Ok(())
}

pub(super) async fn tag_delete(connection: &mut Connection, id: LoggedModelId, key: &str) -> Result<(), TrackingError> {
    let model = number(connection, id).await?;
    let delete = "DELETE FROM logged_model_tag WHERE model = $1 AND key = $2";
    match query(delete).bind(model).bind(key).execute(connection).await? {
        0 => Err(LoggedModelError::TagAbsent { model: id, key: shown(key) }.into()),
        _ => Ok(()),
    }
}

pub(super) async fn finalize(
    connection: &mut Connection,
    id: LoggedModelId,
    status: LoggedModelStatus,
    at: Timestamp,
) -> Result<LoggedModel, TrackingError> {
    let update = "UPDATE logged_model SET status = $2, updated_at = $3 WHERE id = $1";
    query(update).bind(id.to_string()).bind(status.as_str()).bind(at.0).execute(connection).await?;
    read::get(connection, id, true).await
}

pub(super) async fn delete(connection: &mut Connection, id: LoggedModelId, at: Timestamp) -> Result<(), TrackingError> {
    let update = "UPDATE logged_model SET deleted_at = $2, updated_at = $2 WHERE id = $1";
    match query(update).bind(id.to_string()).bind(at.0).execute(connection).await? {
        0 => Err(LoggedModelError::Absent(id).into()),
        _ => Ok(()),
    }
}

/// Keeps, of the metrics that a run logs, those that are about a logged model, beside the run's own history.
///
/// A point that is there already is stored once. A logged model that does not exist is an error.
pub(crate) async fn metrics_write(
    connection: &mut Connection,
    run: RunId,
    metrics: &[Metric],
) -> Result<(), TrackingError> {
    let mut run_number: Option<i64> = None;
    let mut models: HashMap<&str, i64> = HashMap::new();
    let mut rows: Vec<[Value; 9]> = Vec::new();
    for metric in metrics {
        let Some(subject) = metric.subject.as_deref() else { continue };
        let Some(model) = subject.model.as_deref() else { continue };
        let of_run = match run_number {
            Some(number) => number,
            None => number_of_run(connection, run).await?,
        };
        run_number = Some(of_run);
        let of_model = match models.get(model) {
            Some(number) => *number,
            None => measured_model(connection, &metric.key, model).await?,
        };
        models.insert(model, of_model);
        let dataset = subject.dataset.as_ref().map(|(name, digest)| (name.as_str(), digest.as_str()));
        let point = Point { key: &metric.key, value: metric.value, step: metric.step, at: metric.at, dataset };
        rows.push(point.row(of_model, of_run)?);
    }
    points_insert(connection, rows).await
}

async fn measured_model(connection: &mut Connection, key: &str, model: &str) -> Result<i64, TrackingError> {
    let absent = || LoggedModelError::MetricModelAbsent { key: shown(key), model: shown(model) };
    let id: LoggedModelId = model.parse().map_err(|_| absent())?;
    find(connection, id).await?.ok_or_else(|| absent().into())
}

async fn number_of_run(connection: &mut Connection, run: RunId) -> Result<i64, TrackingError> {
    let select = "SELECT number FROM run WHERE id = $1";
    let number: Option<i64> = query(select).bind(run.to_string()).fetch_optional(connection).await?;
    number.ok_or(TrackingError::RunAbsent(run))
}

async fn measured_insert(
    connection: &mut Connection,
    model: i64,
    metrics: &[LoggedModelMetric],
) -> Result<(), TrackingError> {
    let mut runs: HashMap<RunId, i64> = HashMap::new();
    let mut rows: Vec<[Value; 9]> = Vec::new();
    for metric in metrics {
        let of_run = match runs.get(&metric.run) {
            Some(number) => *number,
            None => number_of_run(connection, metric.run).await?,
        };
        runs.insert(metric.run, of_run);
        let dataset = metric.dataset.as_ref().map(|(name, digest)| (name.as_str(), digest.as_str()));
        let point = Point { key: &metric.key, value: metric.value, step: metric.step, at: metric.at, dataset };
        rows.push(point.row(model, of_run)?);
    }
    points_insert(connection, rows).await
}

/// One point of a metric on its way into the catalogue.
struct Point<'a> {
    key: &'a str,
    value: f64,
    step: i64,
    at: Timestamp,
    dataset: Option<(&'a str, &'a str)>,
}

impl Point<'_> {
    /// In the order of the columns of `points_insert`.
    fn row(&self, model: i64, run: i64) -> Result<[Value; 9], TrackingError> {
        let not_a_number = self.value.is_nan();
        // As in the history of runs: no infinity, and one zero of the two.
        let value = if not_a_number { 0.0 } else { self.value.clamp(f64::MIN, f64::MAX) + 0.0 };
        let (name, digest) = self.dataset.unwrap_or_default();
        length_check("dataset_name", name, NAME_CHARACTERS)?;
        length_check("dataset_digest", digest, DIGEST_CHARACTERS)?;
        if self.key.len() + name.len() + digest.len() > POINT_BYTES {
            let rule = format!("with its dataset's name and digest it may have {POINT_BYTES} bytes in UTF-8");
            return Err(name_error("metric key", self.key, &rule));
        }
        Ok([
            model.into(),
            self.key.into(),
            self.at.0.into(),
            self.step.into(),
            run.into(),
            name.into(),
            digest.into(),
            value.into(),
            not_a_number.into(),
        ])
    }
}

async fn points_insert(connection: &mut Connection, rows: Vec<[Value; 9]>) -> Result<(), TrackingError> {
    if rows.is_empty() {
        return Ok(());
    }
    let head = "INSERT INTO logged_model_metric \
                (model, key, logged_at, step, run, dataset_name, dataset_digest, value, not_a_number)";
    rows_insert(connection, head, rows, "ON CONFLICT DO NOTHING").await?;
    Ok(())
}
