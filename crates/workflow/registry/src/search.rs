use ropewalk_catalog::Connection;
use ropewalk_tracking::TrackingError;
use ropewalk_tracking::filter::{
    Comparison, Entity, EntityRule, Key, Keys, Kind, Literal, Operator, Order, Profile, Rule, SqlBuilder, operators,
    parse, parse_orders, token,
};

use crate::model::{PROMPT_TAG, says_prompt};
use crate::rows::{ModelRow, VersionRow, model_columns, models_from, version_columns, version_tables, versions_from};
use crate::{ModelVersion, RegisteredModel, RegistryError};

/// Most registered models in one page.
pub const MODEL_PAGE: usize = 1_000;
/// Most versions in one page.
pub const VERSION_PAGE: usize = 200_000;

/// What tags take.
const TAGS: EntityRule = EntityRule {
    entity: Entity::Tag,
    names: &["tag", "tags"],
    keys: Keys::Any { rule: Rule::new(Kind::Text, operators::TEXT), order: false },
};

/// What may stand in a filter of registered models (`SearchModelUtils` of `mlflow/utils/search_utils.py`).
pub const REGISTERED_MODELS: Profile = Profile {
    name: "registered model",
    entities: &[
        EntityRule {
            entity: Entity::Attribute,
            names: &["attribute"],
            keys: Keys::Known(&[
                Key::new("name", Rule::new(Kind::Text, operators::TEXT_OR_LIST)).ordered(),
                Key::new("last_updated_timestamp", Rule::ORDER_ONLY).ordered().alias(&["timestamp"]),
            ]),
        },
        TAGS,
    ],
};

/// What may stand in a filter of versions (`SearchModelVersionUtils`).
pub const MODEL_VERSIONS: Profile = Profile {
    name: "model version",
    entities: &[
        EntityRule {
            entity: Entity::Attribute,
            names: &["attribute"],
            keys: Keys::Known(&[
                Key::new("name", Rule::new(Kind::Text, operators::TEXT_OR_LIST)).ordered(),
                Key::new("version_number", Rule::new(Kind::Either, operators::NUMERIC)).ordered(),
                Key::new("run_id", Rule::new(Kind::Text, operators::TEXT_OR_LIST)),
                Key::new("source_path", Rule::new(Kind::Text, operators::TEXT)),
                Key::new("creation_timestamp", Rule::ORDER_ONLY).ordered(),
                Key::new("last_updated_timestamp", Rule::ORDER_ONLY).ordered(),
            ]),
        },
        TAGS,
    ],
};

/// What is searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// As MLflow writes filters; empty for all.
    pub filter: String,
    /// Such as `name DESC`; the rest of the order is by name and version.
    pub order_by: Vec<String>,
    /// Most results of a page.
    pub limit: usize,
    /// Where the page before ended.
    pub page_token: Option<String>,
}

/// Results, and where the next page begins if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In the order that was asked for.
    pub items: Vec<T>,
    /// For the search of the next page.
    pub next: Option<String>,
}

/// A search that was read.
struct Question {
    comparisons: Vec<Comparison>,
    orders: Vec<Order>,
    offset: u64,
    limit: u64,
    hash: u64,
}

impl Question {
    fn read(search: &Search, profile: &Profile, kind: &str) -> Result<Self, RegistryError> {
        let comparisons = parse(&search.filter, profile).map_err(TrackingError::from)?;
        let orders = parse_orders(&search.order_by, profile).map_err(TrackingError::from)?;
        let order = search.order_by.join("\n");
        let hash = token::query_hash(&[kind, &search.filter, &order]);
        let offset = match search.page_token.as_deref().filter(|token| !token.is_empty()) {
            Some(text) => token::decode_offset(text, hash).map_err(TrackingError::from)?,
            None => 0,
        };
        Ok(Self { comparisons, orders, offset, limit: search.limit as u64, hash })
    }

    /// Whether prompts are asked for; else they are hidden, whatever else is said of their tag.
    fn wants_prompts(&self) -> bool {
        let said = self.comparisons.iter().find(|comparison| about_prompts(comparison));
        said.is_some_and(|comparison| match (comparison.operator, comparison.value.text()) {
            (Operator::Equal, value) => says_prompt(value),
            (Operator::NotEqual, value) => value.is_some_and(|value| value.eq_ignore_ascii_case("false")),
            _ => false,
        })
    }

    /// Leaves prompts out, or leaves the comparison of their tag to be a comparison like others.
    fn prompts(&mut self, builder: &mut SqlBuilder, model: &str) {
        if self.wants_prompts() {
            return;
        }
        self.comparisons.retain(|comparison| !about_prompts(comparison));
        builder.push(" AND NOT EXISTS (SELECT 1 FROM registered_model_tag p WHERE p.model = ").push(model);
        builder.push(" AND p.key = ").bind(PROMPT_TAG).push(" AND LOWER(p.value) = 'true')");
    }

    /// ` LIMIT … OFFSET …`: one more than a page, to know whether there is another.
    fn page(&self, builder: &mut SqlBuilder) -> Result<(), RegistryError> {
        let number = |value: u64| {
            i64::try_from(value).map_err(|_| RegistryError::TooLarge { what: "the place in the search", value })
        };
        builder.push(" LIMIT ").bind(number(self.limit + 1)?).push(" OFFSET ").bind(number(self.offset)?);
        Ok(())
    }

    fn next<T>(&self, rows: &mut Vec<T>) -> Option<String> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if rows.len() <= limit {
            return None;
        }
        rows.truncate(limit);
        Some(token::encode_offset(self.hash, self.offset + self.limit))
    }
}

fn about_prompts(comparison: &Comparison) -> bool {
    comparison.entity == Entity::Tag && comparison.key == PROMPT_TAG
}

fn order_by(builder: &mut SqlBuilder, orders: &[Order], column: impl Fn(&str) -> &'static str, rest: &[&str]) {
    builder.push(" ORDER BY ");
    for order in orders {
        builder.push(column(&order.key)).push(if order.descending { " DESC, " } else { ", " });
    }
    builder.push(&rest.join(", "));
}

/// A page of the registered models that are asked for, by name where nothing else is said; prompts only on demand.
pub async fn model_search(
    connection: &mut Connection,
    search: &Search,
) -> Result<Page<RegisteredModel>, RegistryError> {
    let mut question = Question::read(search, &REGISTERED_MODELS, "registered models")?;
    let mut builder = SqlBuilder::new(connection.dialect());
    builder.push(concat!("SELECT ", model_columns!(), " FROM registered_model m WHERE 1 = 1"));
    question.prompts(&mut builder, "m.id");
    for comparison in &question.comparisons {
        builder.push(" AND ");
        if comparison.entity == Entity::Tag {
            builder.push("EXISTS (SELECT 1 FROM registered_model_tag t WHERE t.model = m.id AND t.key = ");
            builder.bind(comparison.key.as_str()).push(" AND ").condition("t.value", comparison).push(")");
        } else {
            builder.condition("m.name", comparison);
        }
    }
    let column = |key: &str| if key == "name" { "m.name" } else { "m.updated_at" };
    order_by(&mut builder, &question.orders, column, &["m.name"]);
    question.page(&mut builder)?;
    let mut rows: Vec<ModelRow> = builder.query().fetch_all(&mut *connection).await?;
    let next = question.next(&mut rows);
    Ok(Page { items: models_from(connection, rows).await?, next })
}

/// A page of the versions that are asked for, those that changed last first where nothing else is said; without their
/// aliases, those of prompts only on demand.
pub async fn version_search(connection: &mut Connection, search: &Search) -> Result<Page<ModelVersion>, RegistryError> {
    let mut question = Question::read(search, &MODEL_VERSIONS, "model versions")?;
    let mut builder = SqlBuilder::new(connection.dialect());
    builder.push(concat!("SELECT ", version_columns!(), version_tables!(), "WHERE 1 = 1"));
    question.prompts(&mut builder, "v.model");
    for comparison in &question.comparisons {
        builder.push(" AND ");
        if comparison.entity == Entity::Tag {
            builder.push("EXISTS (SELECT 1 FROM model_version_tag t WHERE t.model = v.model AND t.version = v.version");
            builder.push(" AND t.key = ").bind(comparison.key.as_str()).push(" AND ");
            builder.condition("t.value", comparison).push(")");
        } else {
            whole_number(comparison)?;
            builder.condition(version_column(&comparison.key), comparison);
        }
    }
    let rest: &[&str] = match question.orders.as_slice() {
        [] => &["v.updated_at DESC", "m.name", "v.version DESC"],
        _ => &["m.name", "v.version DESC"],
    };
    order_by(&mut builder, &question.orders, version_column, rest);
    question.page(&mut builder)?;
    let mut rows: Vec<VersionRow> = builder.query().fetch_all(&mut *connection).await?;
    let next = question.next(&mut rows);
    Ok(Page { items: versions_from(connection, rows, None).await?, next })
}

/// A version's number is compared with whole numbers only.
fn whole_number(comparison: &Comparison) -> Result<(), RegistryError> {
    if comparison.key == "version_number" && !matches!(comparison.value, Literal::Integer(_)) {
        let reason = "version_number is compared with a whole number".to_owned();
        return Err(RegistryError::Invalid { parameter: "filter", reason });
    }
    Ok(())
}

fn version_column(key: &str) -> &'static str {
    match key {
        "name" => "m.name",
        "version_number" => "v.version",
        "run_id" => "COALESCE(v.run, '')",
        "source_path" => "v.source",
        "creation_timestamp" => "v.created_at",
        _ => "v.updated_at",
    }
}

#[cfg(test)]
mod tests;
