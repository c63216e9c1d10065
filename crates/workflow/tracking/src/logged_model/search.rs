use ropewalk_catalog::{Connection, Dialect, Query};
use ropewalk_types::ExperimentId;

use super::read::{COLUMNS, Stored, with_data};
use super::{LOGGED_MODEL_PAGE_MOST, LoggedModel, LoggedModelError, LoggedModelStatus, shown};
use crate::TrackingError;
use crate::filter::{
    self, Comparison, Entity, EntityRule, FilterError, Key, Keys, Kind, Literal, Operator, Profile, Rule, SqlBuilder,
    operators, token,
};
use crate::limits::search_width_check;

const TEXT: Rule = Rule::new(Kind::Text, operators::TEXT_OR_LIST);
/// Of params and tags, whose values may stand without quotes if they are numbers.
const LOOSE: Rule = Rule::new(Kind::Either, operators::TEXT_OR_LIST);
const TIME: Rule = Rule::new(Kind::Integer, operators::NUMERIC);
const STATUS: Rule = Rule::new(Kind::Either, &[Operator::Equal, Operator::NotEqual, Operator::In, Operator::NotIn]);

/// What a filter of logged models may hold (`mlflow/utils/search_logged_model_utils.py`).
pub const LOGGED_MODELS: Profile = Profile {
    name: "logged model",
    entities: &[
        EntityRule {
            entity: Entity::Attribute,
            names: &["attributes"],
            keys: Keys::Known(&[
                Key::new("name", TEXT),
                Key::new("model_id", TEXT),
                Key::new("model_type", TEXT),
                Key::new("source_run_id", TEXT),
                Key::new("experiment_id", LOOSE),
                Key::new("artifact_location", TEXT),
                Key::new("status", STATUS),
                Key::new("status_message", TEXT),
                Key::new("lifecycle_stage", TEXT),
                Key::new("creation_timestamp_ms", TIME).alias(&["creation_timestamp", "creation_time"]),
                Key::new("last_updated_timestamp_ms", TIME).alias(&["last_updated_timestamp"]),
            ]),
        },
        EntityRule {
            entity: Entity::Metric,
            names: &["metrics"],
            keys: Keys::Any { rule: Rule::new(Kind::Number, operators::NUMERIC), order: false },
        },
        EntityRule { entity: Entity::Param, names: &["params"], keys: Keys::Any { rule: LOOSE, order: false } },
        EntityRule { entity: Entity::Tag, names: &["tags"], keys: Keys::Any { rule: LOOSE, order: false } },
    ],
};

/// A dataset, or with no digest all of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetChoice {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: Option<String>,
}

/// By what a search of logged models is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedModelOrder {
    /// An attribute, or `metrics.` and a key: the newest value counts, and models without one come last.
    pub field: String,
    /// The largest first.
    pub descending: bool,
    /// Of a metric, only what was measured on this dataset.
    pub dataset: Option<DatasetChoice>,
}

/// What is asked of a search for logged models. Deleted ones are never found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedModelSearch {
    /// The experiments in which they are looked for; without one nothing is found.
    pub experiments: Vec<ExperimentId>,
    /// Conditions, joined by AND; see [`LOGGED_MODELS`].
    pub filter: String,
    /// Only metrics that were measured on one of these count in the filter; if it has none, models are found that
    /// were measured on one of these.
    pub datasets: Vec<DatasetChoice>,
    /// The order; in the end, newest first.
    pub order: Vec<LoggedModelOrder>,
    /// Most models of one page, not more than [`LOGGED_MODEL_PAGE_MOST`](crate::LOGGED_MODEL_PAGE_MOST).
    pub limit: usize,
    /// Where the page before ended.
    pub page_token: Option<String>,
}

/// Some logged models.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedModelPage {
    /// The models.
    pub models: Vec<LoggedModel>,
    /// Asks for the next page, if there is more.
    pub next_page_token: Option<String>,
}

/// A search whose every part was understood.
#[derive(Debug)]
pub(super) struct Question {
    search: LoggedModelSearch,
    comparisons: Vec<Comparison>,
    order: Vec<OrderBy>,
    limit: usize,
    offset: u64,
    /// What page tokens are bound to.
    hash: u64,
}

#[derive(Debug)]
enum OrderBy {
    Column { sql: &'static str, descending: bool },
    Metric { key: String, descending: bool, dataset: Option<DatasetChoice> },
}

impl LoggedModelSearch {
    /// In some experiments, with nothing else asked.
    pub fn new(experiments: Vec<ExperimentId>) -> Self {
        Self {
            experiments,
            filter: String::new(),
            datasets: Vec::new(),
            order: Vec::new(),
            limit: super::LOGGED_MODEL_PAGE,
            page_token: None,
        }
    }

    pub(super) fn parse(self) -> Result<Question, TrackingError> {
        search_width_check(&self.experiments)?;
        if self.datasets.iter().any(|dataset| dataset.name.is_empty()) {
            return Err(LoggedModelError::DatasetUnnamed.into());
        }
        let comparisons = filter::parse(&self.filter, &LOGGED_MODELS)?;
        let comparisons = comparisons.into_iter().map(|one| understood(&self.filter, one));
        let comparisons = comparisons.collect::<Result<Vec<Comparison>, FilterError>>()?;
        let order = self.order.iter().map(OrderBy::parse).collect::<Result<Vec<OrderBy>, LoggedModelError>>()?;
        let hash = self.hash();
        let offset = match self.page_token.as_deref().filter(|token| !token.is_empty()) {
            Some(text) => token::decode_offset(text, hash)?,
            None => 0,
        };
        let limit = self.limit.clamp(1, LOGGED_MODEL_PAGE_MOST);
        Ok(Question { search: self, comparisons, order, limit, offset, hash })
    }

    /// A number for all that must stay the same from page to page.
    fn hash(&self) -> u64 {
        let experiments: Vec<String> = self.experiments.iter().map(ExperimentId::to_string).collect();
        let (datasets, order) = (format!("{:?}", self.datasets), format!("{:?}", self.order));
        token::query_hash(&["logged models", &experiments.join(","), &self.filter, &datasets, &order])
    }
}

impl OrderBy {
    fn parse(order: &LoggedModelOrder) -> Result<Self, LoggedModelError> {
        let refuse = |reason| Err(LoggedModelError::Order { field: shown(&order.field), reason });
        let descending = order.descending;
        if let Some((entity, key)) = order.field.split_once('.') {
            if entity != "metrics" {
                return refuse("only attributes, without `attributes.`, and `metrics.` can be ordered by");
            }
            let dataset = order.dataset.clone();
            return Ok(Self::Metric { key: unquoted(key).to_owned(), descending, dataset });
        }
        match column_of_order(&order.field) {
            Some(sql) => Ok(Self::Column { sql, descending }),
            None => refuse("it is no attribute of a logged model"),
        }
    }
}

fn unquoted(key: &str) -> &str {
    let inner = |quote: char| key.strip_prefix(quote)?.strip_suffix(quote);
    inner('`').or_else(|| inner('"')).unwrap_or(key)
}

/// The column of the found rows, `s`, that an attribute is.
fn column_of_order(field: &str) -> Option<&'static str> {
    Some(match field {
        "name" => "s.name",
        "model_id" => "s.id",
        "model_type" => "s.model_type",
        "source_run_id" => "COALESCE(s.source_run, '')",
        "experiment_id" => "s.experiment_id",
        "artifact_location" => "s.artifact_uri",
        "status" => "CASE s.status WHEN 'PENDING' THEN 1 WHEN 'READY' THEN 2 ELSE 3 END",
        "status_message" => "s.status_message",
        "creation_time" | "creation_timestamp" | "creation_timestamp_ms" => "s.created_at",
        "last_updated_timestamp" | "last_updated_timestamp_ms" => "s.updated_at",
        _ => return None,
    })
}

/// The column of `logged_model m` that an attribute of [`LOGGED_MODELS`] is.
fn column_of_filter(key: &str) -> &'static str {
    match key {
        "model_id" => "m.id",
        "model_type" => "m.model_type",
        "source_run_id" => "COALESCE(m.source_run, '')",
        "experiment_id" => "CAST(m.experiment_id AS TEXT)",
        "artifact_location" => "m.artifact_uri",
        "status" => "m.status",
        "status_message" => "m.status_message",
        // Deleted ones are never found.
        "lifecycle_stage" => "CAST('active' AS TEXT)",
        "creation_timestamp_ms" => "m.created_at",
        "last_updated_timestamp_ms" => "m.updated_at",
        _ => "m.name",
    }
}

/// The comparison with its value in the kind of its column.
fn understood(text: &str, mut comparison: Comparison) -> Result<Comparison, FilterError> {
    let time = attribute(&comparison) && comparison.key.ends_with("_timestamp_ms");
    if time || comparison.entity == Entity::Metric {
        return Ok(comparison);
    }
    if matches!(comparison.value, Literal::Integer(_) | Literal::Number(_)) {
        let written = text.get(comparison.span.clone()).map_or("", as_written);
        comparison.value = Literal::Text(written.to_owned());
    }
    if comparison.key == "status" && attribute(&comparison) {
        let status = |value: &String| match LoggedModelStatus::of(value) {
            Some(status) => Ok(status.as_str().to_owned()),
            None => Err(LoggedModelError::Status(shown(value)).to_string()),
        };
        let values = comparison.value.list().iter().map(status).collect::<Result<Vec<String>, String>>();
        let mut values = values.map_err(|problem| FilterError::at(text, comparison.span.clone(), problem))?;
        comparison.value = match comparison.value {
            Literal::List(_) => Literal::List(values),
            _ => Literal::Text(values.pop().unwrap_or_default()),
        };
    }
    Ok(comparison)
}

fn attribute(comparison: &Comparison) -> bool {
    comparison.entity == Entity::Attribute
}

/// The value at the end of a comparison, which was read as a number, as it was written: `'007'` is not `7`.
fn as_written(comparison: &str) -> &str {
    if let Some(quote @ ('\'' | '"')) = comparison.chars().next_back() {
        return comparison.trim_end_matches(quote).rsplit(quote).next().unwrap_or_default();
    }
    let number = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_');
    let start = comparison.rfind(|c: char| !number(c)).map_or(0, |end| end + 1);
    comparison.get(start..).unwrap_or_default()
}

pub(super) async fn run(connection: &mut Connection, question: &Question) -> Result<LoggedModelPage, TrackingError> {
    if question.search.experiments.is_empty() {
        return Ok(LoggedModelPage { models: Vec::new(), next_page_token: None });
    }
    let statement = question.statement(connection.dialect());
    let mut found: Vec<Stored> = statement.fetch_all(connection).await?;
    let more = found.len() > question.limit;
    found.truncate(question.limit);
    let next = question.offset + question.limit as u64;
    let next_page_token = more.then(|| token::encode_offset(question.hash, next));
    Ok(LoggedModelPage { models: with_data(connection, found).await?, next_page_token })
}

impl Question {
    fn statement(&self, dialect: Dialect) -> Query {
        let mut sql = SqlBuilder::new(dialect);
        sql.push("SELECT ").push(COLUMNS).push(" FROM (SELECT ").push(COLUMNS);
        for (place, order) in self.order.iter().enumerate() {
            if let OrderBy::Metric { key, dataset, .. } = order {
                newest(&mut sql, key, dataset.as_ref());
                sql.push(&format!(" AS o{place}"));
            }
        }
        sql.push(" FROM logged_model m WHERE m.deleted_at IS NULL AND m.experiment_id IN ");
        sql.bind_list(self.search.experiments.iter().map(|experiment| experiment.0));
        for comparison in &self.comparisons {
            self.condition(&mut sql, comparison);
        }
        let by_metric = self.comparisons.iter().any(|comparison| comparison.entity == Entity::Metric);
        if !by_metric && !self.search.datasets.is_empty() {
            sql.push(" AND EXISTS (SELECT 1 FROM logged_model_metric x WHERE x.model = m.number");
            self.on_datasets(&mut sql);
            sql.push(")");
        }
        sql.push(") s ORDER BY ");
        for (place, order) in self.order.iter().enumerate() {
            sql.push(&order_by(place, order));
        }
        sql.push("s.created_at DESC, s.id LIMIT ").bind((self.limit + 1) as i64);
        sql.push(" OFFSET ").bind(i64::try_from(self.offset).unwrap_or(i64::MAX));
        sql.query()
    }

    fn condition(&self, sql: &mut SqlBuilder, comparison: &Comparison) {
        let table = match comparison.entity {
            Entity::Metric => "logged_model_metric",
            Entity::Param => "logged_model_param",
            Entity::Tag => "logged_model_tag",
            _ => {
                sql.push(" AND ").condition(column_of_filter(&comparison.key), comparison);
                return;
            }
        };
        sql.push(" AND EXISTS (SELECT 1 FROM ").push(table).push(" x WHERE x.model = m.number AND x.key = ");
        sql.bind(&comparison.key).push(" AND ").condition("x.value", comparison);
        if comparison.entity == Entity::Metric {
            sql.push(" AND x.not_a_number = 0");
            self.on_datasets(sql);
        }
        sql.push(")");
    }

    /// ` AND (…)`: the metric `x` was measured on one of the datasets, if any are given.
    fn on_datasets(&self, sql: &mut SqlBuilder) {
        for (place, dataset) in self.search.datasets.iter().enumerate() {
            sql.push(if place == 0 { " AND (" } else { " OR " });
            on_dataset(sql, dataset);
        }
        if !self.search.datasets.is_empty() {
            sql.push(")");
        }
    }
}

fn on_dataset(sql: &mut SqlBuilder, dataset: &DatasetChoice) {
    sql.push("(x.dataset_name = ").bind(dataset.name.as_str());
    if let Some(digest) = &dataset.digest {
        sql.push(" AND x.dataset_digest = ").bind(digest.as_str());
    }
    sql.push(")");
}

/// `, (SELECT …)`: the newest value of a metric of the model `m`; none if there is none, or it is no number.
fn newest(sql: &mut SqlBuilder, key: &str, dataset: Option<&DatasetChoice>) {
    sql.push(
        ", (SELECT CASE WHEN x.not_a_number = 0 THEN x.value END FROM logged_model_metric x \
         WHERE x.model = m.number AND x.key = ",
    );
    sql.bind(key);
    if let Some(dataset) = dataset {
        sql.push(" AND ");
        on_dataset(sql, dataset);
    }
    sql.push(" ORDER BY x.logged_at DESC, x.step DESC, x.run DESC LIMIT 1)");
}

fn order_by(place: usize, order: &OrderBy) -> String {
    let direction = |descending: bool| if descending { "DESC" } else { "ASC" };
    match order {
        OrderBy::Column { sql, descending } => format!("{sql} {}, ", direction(*descending)),
        OrderBy::Metric { descending, .. } => format!("s.o{place} {} NULLS LAST, ", direction(*descending)),
    }
}
