use std::collections::{BTreeMap, HashMap};

use ropewalk_catalog::{CatalogError, Connection, FromRow, Row, query};
use ropewalk_types::{ExperimentId, RunId, Timestamp};

use super::{
    LOGGED_MODEL_PAGE_MOST, LoggedModel, LoggedModelError, LoggedModelId, LoggedModelMetric, LoggedModelStatus,
};
use crate::TrackingError;
use crate::filter::SqlBuilder;

/// What [`Stored`] is read from.
pub(super) const COLUMNS: &str = "number, id, experiment_id, name, model_type, source_run, artifact_uri, status, \
                                  status_message, created_at, updated_at, deleted_at";

/// Models whose params, tags and metrics are read by one statement.
const AT_ONCE: usize = 500;

/// A row of `logged_model`.
#[derive(Debug)]
pub(super) struct Stored {
    number: i64,
    id: String,
    experiment: i64,
    name: String,
    model_type: String,
    source_run: Option<String>,
    artifact_uri: String,
    status: String,
    status_message: String,
    created: i64,
    updated: i64,
    deleted: Option<i64>,
}

impl FromRow for Stored {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self {
            number: row.get(0)?,
            id: row.get(1)?,
            experiment: row.get(2)?,
            name: row.get(3)?,
            model_type: row.get(4)?,
            source_run: row.get(5)?,
            artifact_uri: row.get(6)?,
            status: row.get(7)?,
            status_message: row.get(8)?,
            created: row.get(9)?,
            updated: row.get(10)?,
            deleted: row.get(11)?,
        })
    }
}

/// model, key, value, whether it is no number, time, step, run, dataset's name and digest.
type MetricRow = (i64, String, f64, i64, i64, i64, String, String, String);

fn damaged(value: String, expected: &'static str) -> TrackingError {
    TrackingError::Damaged { table: "logged_model", value, expected }
}

fn run_of(text: String) -> Result<RunId, TrackingError> {
    text.parse().map_err(|_| damaged(text, "run id"))
}

impl Stored {
    /// The model, still without params, tags and metrics.
    fn model(self) -> Result<LoggedModel, TrackingError> {
        let Some(status) = LoggedModelStatus::of(&self.status) else {
            return Err(damaged(self.status, "status of a logged model"));
        };
        Ok(LoggedModel {
            id: self.id.parse().map_err(|_| damaged(self.id, "logged model's id"))?,
            experiment: ExperimentId(self.experiment),
            name: self.name,
            model_type: self.model_type,
            source_run: self.source_run.map(run_of).transpose()?,
            artifact_uri: self.artifact_uri,
            status,
            status_message: self.status_message,
            created: Timestamp(self.created),
            updated: Timestamp(self.updated),
            deleted: self.deleted.is_some(),
            params: BTreeMap::new(),
            tags: BTreeMap::new(),
            metrics: Vec::new(),
        })
    }
}

pub(super) async fn get(
    connection: &mut Connection,
    id: LoggedModelId,
    deleted_too: bool,
) -> Result<LoggedModel, TrackingError> {
    let select = format!("SELECT {COLUMNS} FROM logged_model WHERE id = $1");
    let stored: Option<Stored> = query(select).bind(id.to_string()).fetch_optional(connection).await?;
    let found: Vec<Stored> = stored.filter(|stored| deleted_too || stored.deleted.is_none()).into_iter().collect();
    with_data(connection, found).await?.pop().ok_or_else(|| LoggedModelError::Absent(id).into())
}

pub(super) async fn list(
    connection: &mut Connection,
    after: Option<LoggedModelId>,
    limit: usize,
) -> Result<Vec<LoggedModel>, TrackingError> {
    let select = format!(
        "SELECT {COLUMNS} FROM logged_model \
         WHERE number > COALESCE((SELECT a.number FROM logged_model a WHERE a.id = $1), 0) ORDER BY number LIMIT $2"
    );
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let found = query(select).bind(after).bind(limit.min(LOGGED_MODEL_PAGE_MOST) as i64).fetch_all(connection).await?;
    with_data(connection, found).await
}

/// The models of these rows with all that was logged to them, in the rows' order.
pub(super) async fn with_data(
    connection: &mut Connection,
    stored: Vec<Stored>,
) -> Result<Vec<LoggedModel>, TrackingError> {
    let numbers: Vec<i64> = stored.iter().map(|one| one.number).collect();
    let places: HashMap<i64, usize> = numbers.iter().enumerate().map(|(place, number)| (*number, place)).collect();
    let mut models = stored.into_iter().map(Stored::model).collect::<Result<Vec<LoggedModel>, TrackingError>>()?;
    for some in numbers.chunks(AT_ONCE) {
        for (number, key, value) in pairs(connection, "logged_model_param", some).await? {
            if let Some(model) = places.get(&number).and_then(|place| models.get_mut(*place)) {
                model.params.insert(key, value);
            }
        }
        for (number, key, value) in pairs(connection, "logged_model_tag", some).await? {
            if let Some(model) = places.get(&number).and_then(|place| models.get_mut(*place)) {
                model.tags.insert(key, value);
            }
        }
        for row in metrics(connection, some).await? {
            if let Some(model) = places.get(&row.0).and_then(|place| models.get_mut(*place)) {
                model.metrics.push(metric_of(row)?);
            }
        }
    }
    Ok(models)
}

async fn pairs(
    connection: &mut Connection,
    table: &str,
    models: &[i64],
) -> Result<Vec<(i64, String, String)>, TrackingError> {
    let mut sql = SqlBuilder::new(connection.dialect());
    sql.push("SELECT model, key, value FROM ").push(table).push(" WHERE model IN ").bind_list(models.iter().copied());
    Ok(sql.query().fetch_all(connection).await?)
}

async fn metrics(connection: &mut Connection, models: &[i64]) -> Result<Vec<MetricRow>, TrackingError> {
    let mut sql = SqlBuilder::new(connection.dialect());
    sql.push(
        "SELECT x.model, x.key, x.value, x.not_a_number, x.logged_at, x.step, r.id, x.dataset_name, x.dataset_digest \
         FROM logged_model_metric x JOIN run r ON r.number = x.run WHERE x.model IN ",
    );
    sql.bind_list(models.iter().copied());
    sql.push(" ORDER BY x.model, x.key, x.logged_at, x.step, x.run, x.dataset_name, x.dataset_digest, x.value");
    Ok(sql.query().fetch_all(connection).await?)
}

fn metric_of(row: MetricRow) -> Result<LoggedModelMetric, TrackingError> {
    let (_, key, value, not_a_number, at, step, run, name, digest) = row;
    Ok(LoggedModelMetric {
        key,
        value: if not_a_number == 0 { value } else { f64::NAN },
        step,
        at: Timestamp(at),
        run: run_of(run)?,
        dataset: (!name.is_empty() || !digest.is_empty()).then_some((name, digest)),
    })
}
