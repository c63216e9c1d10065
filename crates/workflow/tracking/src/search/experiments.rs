use ropewalk_catalog::Connection;
use ropewalk_types::ExperimentId;

use super::{EXPERIMENTS, ExperimentSearch, ExperimentSearchPage};
use crate::TrackingError;
use crate::experiment::by_ids;
use crate::filter::token::{decode_offset, encode_offset, query_hash};
use crate::filter::{Comparison, Entity, FilterError, Operator, Order, SqlBuilder, parse, parse_orders};
use crate::limits::RUN_PAGE;
use crate::run::Lifecycle;

/// A search of experiments that was read and checked.
#[derive(Debug)]
pub(super) struct Question {
    conditions: Vec<Condition>,
    orders: Vec<Order>,
    lifecycle: Lifecycle,
    limit: usize,
    offset: u64,
    hash: u64,
}

#[derive(Debug)]
enum Condition {
    /// On the id, which is a number that is written as a text.
    Id(Operator, Vec<i64>),
    Other(Comparison),
}

impl Question {
    pub(super) fn read(search: &ExperimentSearch) -> Result<Self, TrackingError> {
        let comparisons = parse(&search.filter, &EXPERIMENTS)?;
        let conditions = comparisons.into_iter().map(|comparison| condition(comparison, &search.filter));
        let conditions = conditions.collect::<Result<Vec<Condition>, FilterError>>()?;
        let orders = parse_orders(&search.order, &EXPERIMENTS)?;
        let scope = format!("experiments {:?}", search.lifecycle);
        let mut parts = vec![scope.as_str(), search.filter.trim()];
        parts.extend(search.order.iter().map(|clause| clause.trim()));
        let hash = query_hash(&parts);
        let offset = match search.page.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => decode_offset(token, hash)?,
            None => 0,
        };
        let limit = search.limit.clamp(1, RUN_PAGE);
        Ok(Self { conditions, orders, lifecycle: search.lifecycle, limit, offset, hash })
    }

    fn statement(&self, dialect: ropewalk_catalog::Dialect) -> SqlBuilder {
        let mut builder = SqlBuilder::new(dialect);
        builder.push("SELECT e.id FROM experiment e WHERE ").push(match self.lifecycle {
            Lifecycle::Active => "e.deleted_at IS NULL",
            Lifecycle::Deleted => "e.deleted_at IS NOT NULL",
            Lifecycle::Any => "1 = 1",
        });
        for condition in &self.conditions {
            builder.push(" AND ");
            append(&mut builder, condition);
        }
        builder.push(" ORDER BY ");
        for order in &self.orders {
            builder.push(column(&order.key)).push(if order.descending { " DESC, " } else { ", " });
        }
        // What MLflow does: by id upwards if nothing is said, and downwards if something else is.
        builder.push(if self.orders.is_empty() { "e.created_at DESC, e.id" } else { "e.id DESC" });
        builder.push(" LIMIT ").bind(self.limit as i64 + 1).push(" OFFSET ").bind(self.offset as i64);
        builder
    }
}

/// The page that a question asks for.
pub(super) async fn page(
    connection: &mut Connection,
    question: &Question,
) -> Result<ExperimentSearchPage, TrackingError> {
    let statement = question.statement(connection.dialect());
    let mut ids: Vec<i64> = statement.query().fetch_all(connection).await?;
    let more = ids.len() > question.limit;
    ids.truncate(question.limit);
    let next = more.then(|| encode_offset(question.hash, question.offset + question.limit as u64));
    let ids: Vec<ExperimentId> = ids.into_iter().map(ExperimentId).collect();
    Ok(ExperimentSearchPage { experiments: by_ids(connection, &ids).await?, next })
}

fn column(attribute: &str) -> &'static str {
    match attribute {
        "name" => "e.name",
        "experiment_id" => "e.id",
        "creation_time" => "e.created_at",
        _ => "e.updated_at",
    }
}

fn condition(comparison: Comparison, filter: &str) -> Result<Condition, FilterError> {
    if comparison.entity != Entity::Attribute || comparison.key != "experiment_id" {
        return Ok(Condition::Other(comparison));
    }
    let mut ids = Vec::new();
    for text in comparison.value.list() {
        let id = text.parse::<i64>().map_err(|_| {
            let problem = format!("`{}` is not the id of an experiment, which is a number", text.escape_debug());
            FilterError::at(filter, comparison.span.clone(), problem)
        })?;
        ids.push(id);
    }
    Ok(Condition::Id(comparison.operator, ids))
}

fn append(builder: &mut SqlBuilder, condition: &Condition) {
    match condition {
        Condition::Id(operator, ids) => {
            let within = matches!(operator, Operator::Equal | Operator::In);
            builder.push(if within { "e.id IN " } else { "e.id NOT IN " }).bind_list(ids.iter().copied());
        }
        Condition::Other(comparison) if comparison.entity == Entity::Tag => {
            if comparison.operator == Operator::IsNull {
                builder.push("NOT ");
            }
            builder.push("EXISTS (SELECT 1 FROM experiment_tag f WHERE f.experiment_id = e.id AND f.key = ");
            builder.bind(&comparison.key);
            if !matches!(comparison.operator, Operator::IsNull | Operator::IsNotNull) {
                builder.push(" AND ").condition("f.value", comparison);
            }
            builder.push(")");
        }
        Condition::Other(comparison) => {
            builder.condition(column(&comparison.key), comparison);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tracking;
    use crate::{Tag, Tracking};

    async fn names(tracking: &Tracking, search: ExperimentSearch) -> Vec<String> {
        let page = tracking.experiment_search(search).await.expect("page");
        page.experiments.into_iter().map(|experiment| experiment.name).collect()
    }

    /// Experiments `ant` (1), `Bee` (2), `cow` (3), the last two with tags, beside `Default` (0).
    async fn world() -> Tracking {
        let tracking = tracking().await;
        for (name, tag) in [("ant", None), ("Bee", Some("x")), ("cow", Some("Xy"))] {
            let id = tracking.experiment_ensure(name).await.expect(name).id;
            if let Some(value) = tag {
                tracking.experiment_tag_set(id, Tag::new("a b", value)).await.expect("tag");
            }
        }
        tracking
    }

    #[tokio::test]
    async fn filters_hold_together() {
        let tracking = world().await;
        for (filter, expected) in [
            ("", &["Default", "ant", "Bee", "cow"][..]),
            ("name = 'ant'", &["ant"]),
            ("name LIKE 'b%'", &[]),
            ("attribute.name ILIKE 'b%'", &["Bee"]),
            ("name IN ('cow', 'ant')", &["ant", "cow"]),
            ("tags.`a b` = 'x'", &["Bee"]),
            ("tag.\"a b\" != 'x'", &["cow"]),
            ("tags.`a b` ILIKE 'x%' and name != 'Bee'", &["cow"]),
            ("tags.`a b` IS NULL", &["Default", "ant"]),
            ("tags.`a b` IS NOT NULL", &["Bee", "cow"]),
            ("experiment_id = '2'", &["Bee"]),
            ("experiment_id NOT IN ('2', '0')", &["ant", "cow"]),
            ("creation_time < 0", &[]),
            ("last_update_time >= 0", &["Default", "ant", "Bee", "cow"]),
        ] {
            let order = vec!["experiment_id".to_owned()];
            let search = ExperimentSearch { filter: filter.to_owned(), order, ..ExperimentSearch::default() };
            assert_eq!(names(&tracking, search).await, expected, "{filter}");
        }
        for (filter, position) in [("experiment_id = 'x'", 1), ("experiment_id > '1'", 15), ("tags.a > '1'", 8)] {
            let search = ExperimentSearch { filter: filter.to_owned(), ..ExperimentSearch::default() };
            let error = tracking.experiment_search(search).await.expect_err(filter);
            assert!(matches!(&error, TrackingError::Filter(error) if error.position() == position), "{error}");
        }
    }

    #[tokio::test]
    async fn pages_meet_in_any_order() {
        let tracking = world().await;
        for (order, expected) in [
            (&["name"][..], ["Bee", "Default", "ant", "cow"]),
            (&["name DESC"], ["cow", "ant", "Default", "Bee"]),
            (&["experiment_id DESC"], ["cow", "Bee", "ant", "Default"]),
        ] {
            let order: Vec<String> = order.iter().map(|clause| (*clause).to_owned()).collect();
            let mut search = ExperimentSearch { order, limit: 3, ..ExperimentSearch::default() };
            let first = tracking.experiment_search(search.clone()).await.expect("first");
            search.page.clone_from(&first.next);
            let last = tracking.experiment_search(search.clone()).await.expect("last");
            let all: Vec<String> =
                first.experiments.into_iter().chain(last.experiments).map(|experiment| experiment.name).collect();
            assert_eq!((all.as_slice(), last.next), (&expected.map(str::to_owned)[..], None));
            search.filter = "name != 'x'".to_owned();
            assert!(matches!(tracking.experiment_search(search).await, Err(TrackingError::PageToken(_))));
        }
    }
}
