use ropewalk_catalog::Dialect;

use super::condition;
use super::question::{MISSING, NOT_A_NUMBER, NUMBER, Place, Question};
use crate::filter::{Comparison, Entity, Operator, Order, SqlBuilder};
use crate::run::Lifecycle;

/// What a statement reads first; all else is looked up for each of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// The runs of the experiments.
    Runs,
    /// The series of the metric that orders, by value: one class of runs at a time, and no sort.
    Class(i64),
    /// The rows that pass the condition with this position.
    Condition(usize),
    /// The indexes of several conditions, as sets; see [`sift`](super::sift).
    Sets,
}

/// The statement that finds the places of at most `limit` runs after `offset` ones.
///
/// Its columns are those of [`Place`].
pub(super) fn places(question: &Question, dialect: Dialect, driver: Driver, limit: u64, offset: u64) -> SqlBuilder {
    let mut builder = SqlBuilder::new(dialect);
    let statement = &mut builder;
    let class = if let Driver::Class(class) = driver { Some(class) } else { None };
    let key = Key::of(question, class);
    statement.push("SELECT r.number, ").push(key.class).push(", ").push(key.value).push(", r.started_at, r.id FROM ");
    let run = match driver {
        Driver::Class(NUMBER | NOT_A_NUMBER) => {
            statement.push("metric_series m CROSS JOIN run r");
            "m.run"
        }
        Driver::Condition(position) => {
            let entity = question.conditions.get(position).map_or(Entity::Metric, |comparison| comparison.entity);
            statement.push(condition::table(entity)).push(" d CROSS JOIN run r");
            "d.run"
        }
        Driver::Runs | Driver::Sets | Driver::Class(_) => {
            statement.push("run r");
            "r.number"
        }
    };
    joins(statement, question, class.is_some());
    statement.push(" WHERE ");
    driven(statement, question, driver);
    scope(statement, question);
    for (position, comparison) in question.conditions.iter().enumerate() {
        if driver != Driver::Condition(position) {
            statement.push(" AND ");
            condition::append(statement, comparison, run);
        }
    }
    if let Some(after) = question.after() {
        key.after(statement, after, class);
    }
    ordered(statement, question, &key, class);
    statement.push(" LIMIT ").bind(limit as i64).push(" OFFSET ").bind(offset as i64);
    builder
}

/// The expressions of a place.
struct Key {
    class: &'static str,
    value: &'static str,
    descending: bool,
}

impl Key {
    fn of(question: &Question, class: Option<i64>) -> Self {
        let metric = question.metric_first();
        let (class, value) = match (class, metric) {
            (Some(NUMBER), _) => ("CAST(0 AS BIGINT)", "m.value"),
            (Some(NOT_A_NUMBER), _) => ("CAST(1 AS BIGINT)", "CAST(0 AS DOUBLE PRECISION)"),
            (Some(_), _) => ("CAST(2 AS BIGINT)", "CAST(0 AS DOUBLE PRECISION)"),
            (None, Some(_)) => ("COALESCE(o0.not_a_number, 2)", "COALESCE(o0.value, 0.0)"),
            (None, None) => ("CAST(0 AS BIGINT)", "CAST(0 AS DOUBLE PRECISION)"),
        };
        Self { class, value, descending: metric.is_some_and(|order| order.descending) }
    }

    /// Appends that a run comes after a place.
    fn after(&self, builder: &mut SqlBuilder, place: &Place, class: Option<i64>) {
        let beyond = if self.descending { " < " } else { " > " };
        builder.push(" AND ");
        match class {
            // Another class than the one in which the page before ended: all of it comes after.
            Some(class) if class != place.class => {
                builder.push("1 = 1");
            }
            Some(NUMBER) => {
                // Not with OR alone: the index is entered at the first condition.
                let up_to = if self.descending { " <= " } else { " >= " };
                builder.push(self.value).push(up_to).bind(place.value).push(" AND (");
                builder.push(self.value).push(beyond).bind(place.value).push(" OR ");
                Self::after_start(builder, place);
                builder.push(")");
            }
            None if self.class.starts_with("COALESCE") => {
                builder.push("(").push(self.class).push(" > ").bind(place.class);
                builder.push(" OR (").push(self.class).push(" = ").bind(place.class).push(" AND (");
                builder.push(self.value).push(beyond).bind(place.value);
                builder.push(" OR (").push(self.value).push(" = ").bind(place.value).push(" AND ");
                Self::after_start(builder, place);
                builder.push("))))");
            }
            _ => {
                builder.push("r.started_at <= ").bind(place.start).push(" AND ");
                Self::after_start(builder, place);
            }
        }
    }

    fn after_start(builder: &mut SqlBuilder, place: &Place) {
        builder.push("(r.started_at < ").bind(place.start).push(" OR (r.started_at = ").bind(place.start);
        builder.push(" AND r.id > ").bind(&place.id).push("))");
    }
}

/// Appends the tables that hold what is ordered by, but for the one that is walked.
fn joins(builder: &mut SqlBuilder, question: &Question, walked: bool) {
    for (position, order) in question.orders.iter().enumerate() {
        if order.entity == Entity::Attribute || (walked && position == 0) {
            continue;
        }
        let alias = format!("o{position}");
        builder.push(" LEFT JOIN ").push(condition::table(order.entity)).push(" ").push(&alias);
        builder.push(" ON ").push(&alias).push(".run = r.number AND ");
        builder.push(&alias).push(".key = ").bind(&order.key);
    }
}

/// Appends what ties the driver to its run.
fn driven(builder: &mut SqlBuilder, question: &Question, driver: Driver) {
    match (driver, question.metric_first()) {
        (Driver::Class(MISSING), Some(order)) => {
            builder.push("NOT EXISTS (SELECT 1 FROM metric_series m WHERE m.run = r.number AND m.key = ");
            builder.bind(&order.key).push(") AND ");
        }
        (Driver::Class(class), Some(order)) => {
            condition::within(builder, "m.experiment_id", &question.experiments);
            builder.push(" AND m.key = ").bind(&order.key).push(" AND m.not_a_number = ").bind(class);
            builder.push(" AND r.number = m.run AND ");
        }
        (Driver::Condition(position), _) => {
            if let Some(comparison) = question.conditions.get(position) {
                condition::append_by_index(builder, comparison, &question.experiments);
                builder.push(" AND r.number = d.run AND ");
            }
        }
        _ => {}
    }
}

/// Whether the filter names its runs: then they are looked up by their ids.
pub(super) fn names_runs(comparison: &Comparison) -> bool {
    comparison.entity == Entity::Attribute
        && comparison.key == "run_id"
        && matches!(comparison.operator, Operator::Equal | Operator::In)
}

/// Appends the experiments and the lifecycle.
pub(super) fn scope(builder: &mut SqlBuilder, question: &Question) {
    if question.conditions.iter().any(names_runs) {
        // The sign keeps SQLite from entering at the experiment instead of at the ids.
        builder.push("+");
    }
    condition::within(builder, "r.experiment_id", &question.experiments);
    builder.push(match question.lifecycle {
        Lifecycle::Active => " AND r.deleted_at IS NULL",
        Lifecycle::Deleted => " AND r.deleted_at IS NOT NULL",
        Lifecycle::Any => "",
    });
}

fn ordered(builder: &mut SqlBuilder, question: &Question, key: &Key, class: Option<i64>) {
    builder.push(" ORDER BY ");
    let rest = match class {
        Some(class) => {
            if class == NUMBER {
                builder.push(key.value).push(if key.descending { " DESC, " } else { ", " });
            }
            1
        }
        None => 0,
    };
    for (position, order) in question.orders.iter().enumerate().skip(rest) {
        term(builder, position, order);
        builder.push(if order.descending { " DESC, " } else { ", " });
    }
    builder.push("r.started_at DESC, r.id");
}

/// Appends what brings the runs that have no such value to the end, and the value.
fn term(builder: &mut SqlBuilder, position: usize, order: &Order) {
    if order.entity == Entity::Attribute {
        let (column, optional) = condition::column(&order.key);
        if optional {
            builder.push("CASE WHEN ").push(column).push(" IS NULL THEN 1 ELSE 0 END, ");
        }
        builder.push(column);
        return;
    }
    let alias = format!("o{position}");
    if order.entity == Entity::Metric {
        builder.push("COALESCE(").push(&alias).push(".not_a_number, 2), COALESCE(").push(&alias).push(".value, 0.0)");
    } else {
        builder.push("CASE WHEN ").push(&alias).push(".run IS NULL THEN 1 ELSE 0 END, ").push(&alias).push(".value");
    }
}

/// The statement that counts, up to `most`, the rows of a condition's index.
pub(super) fn count(question: &Question, dialect: Dialect, comparison: &Comparison, most: i64) -> SqlBuilder {
    let mut builder = SqlBuilder::new(dialect);
    builder.push("SELECT COUNT(*) FROM (SELECT 1 FROM ").push(condition::table(comparison.entity)).push(" d WHERE ");
    condition::append_by_index(&mut builder, comparison, &question.experiments);
    builder.push(" LIMIT ").bind(most).push(") c");
    builder
}

/// The statement that counts, up to `most`, the runs of the experiments.
pub(super) fn count_runs(question: &Question, dialect: Dialect, most: i64) -> SqlBuilder {
    let mut builder = SqlBuilder::new(dialect);
    builder.push("SELECT COUNT(*) FROM (SELECT 1 FROM run WHERE ");
    condition::within(&mut builder, "experiment_id", &question.experiments);
    builder.push(" LIMIT ").bind(most).push(") c");
    builder
}
