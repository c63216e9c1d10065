//! Search for traces: MLflow's filter and order (`SearchTraceUtils` in `mlflow/utils/search_utils.py`) as SQL.

use ropewalk_catalog::{Connection, Dialect};
use ropewalk_types::ExperimentId;

use super::read::{self, COLUMNS, TraceRow};
use super::{SOURCE_RUN, TRACE_NAME_TAG, TRACE_PAGE, TraceInfo};
use crate::TrackingError;
use crate::filter::{
    Comparison, Entity, EntityRule, Key, Keys, Kind, Literal, Operator, Order, Profile, Rule, SqlBuilder, operators,
    parse, parse_orders, token,
};
use crate::limits::search_width_check;

use Operator::{
    Equal, Greater, GreaterEqual, Ilike, In, IsNotNull, IsNull, Less, LessEqual, Like, NotEqual, NotIn, Rlike,
};

const TEXT: Rule = Rule::new(Kind::Text, &[Equal, NotEqual, Like, Ilike, Rlike, In, NotIn]);
const TEXT_OR_NULL: Rule = Rule::new(Kind::Text, &[Equal, NotEqual, Like, Ilike, Rlike, IsNull, IsNotNull]);
const NUMBER: Rule = Rule::new(Kind::Integer, operators::NUMERIC);
const WITHIN: Rule = Rule::new(Kind::Text, &[Like, Ilike]);
const SPAN_ATTRIBUTE: Rule = Rule::new(Kind::Text, &[Equal, NotEqual, Like, Ilike, In, NotIn]);
const ONLY_EQUAL: Rule = Rule::new(Kind::Text, &[Equal]);
const ASSESSMENT: Rule = Rule::new(
    Kind::TextOrNumber,
    &[Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, Like, Ilike, Rlike, IsNull, IsNotNull],
);

/// Before the key of a span's attribute.
const ATTRIBUTES: &str = "attributes.";

/// What may stand in a filter or an order of traces.
pub const TRACES: Profile = Profile {
    name: "trace",
    entities: &[
        EntityRule {
            entity: Entity::Attribute,
            names: &["attribute", "attributes", "trace"],
            keys: Keys::Known(&[
                Key::new("request_id", TEXT).ordered(),
                Key::new("timestamp_ms", NUMBER).alias(&["timestamp"]).ordered(),
                Key::new("execution_time_ms", NUMBER).alias(&["execution_time"]).ordered(),
                Key::new("end_time_ms", NUMBER).alias(&["end_time"]).ordered(),
                Key::new("status", TEXT).ordered(),
                Key::new("client_request_id", TEXT),
                Key::new("name", TEXT_OR_NULL).ordered(),
                Key::new("run_id", TEXT_OR_NULL).ordered(),
                Key::new("prompt", ONLY_EQUAL),
                Key::new("text", WITHIN),
                Key::new("experiment_id", Rule::ORDER_ONLY).ordered(),
            ]),
        },
        EntityRule {
            entity: Entity::Tag,
            names: &["tags", "tag"],
            keys: Keys::Any { rule: TEXT_OR_NULL, order: true },
        },
        EntityRule {
            entity: Entity::Metadata,
            names: &["metadata", "request_metadata"],
            keys: Keys::Any { rule: TEXT_OR_NULL, order: true },
        },
        EntityRule {
            entity: Entity::Span,
            names: &["span"],
            keys: Keys::KnownOrUnder {
                known: &[
                    Key::new("name", TEXT),
                    Key::new("type", TEXT),
                    Key::new("status", TEXT),
                    Key::new("content", WITHIN),
                ],
                prefix: ATTRIBUTES,
                rule: SPAN_ATTRIBUTE,
            },
        },
        EntityRule {
            entity: Entity::Feedback,
            names: &["feedback"],
            keys: Keys::Any { rule: ASSESSMENT, order: false },
        },
        EntityRule {
            entity: Entity::Expectation,
            names: &["expectation"],
            keys: Keys::Any { rule: ASSESSMENT, order: false },
        },
        EntityRule { entity: Entity::Issue, names: &["issue"], keys: Keys::Known(&[Key::new("id", ONLY_EQUAL)]) },
    ],
};

/// Which traces are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceSearch {
    /// The experiments whose traces are wanted; none finds none.
    pub experiments: Vec<ExperimentId>,
    /// The filter; an empty one lets all through.
    pub filter: String,
    /// The order, the weightiest first; the latest come first where it leaves open which.
    pub orders: Vec<String>,
    /// How many at most; [`TRACE_PAGE`] at most.
    pub limit: usize,
    /// Where the page before ended.
    pub page_token: Option<String>,
}

/// Some traces, without their spans.
#[derive(Clone, Debug, PartialEq)]
pub struct TracePage {
    /// The traces.
    pub traces: Vec<TraceInfo>,
    /// The token of the next page; `None` if this was the last.
    pub next: Option<String>,
}

pub(super) async fn page(connection: &mut Connection, search: &TraceSearch) -> Result<TracePage, TrackingError> {
    search_width_check(&search.experiments)?;
    let comparisons = parse(&search.filter, &TRACES)?;
    let orders = parse_orders(&search.orders, &TRACES)?;
    let limit = search.limit.clamp(1, TRACE_PAGE);
    let hash = query_hash(search);
    let offset = search.page_token.as_deref().map_or(Ok(0), |text| token::decode_offset(text, hash))?;
    if search.experiments.is_empty() {
        return Ok(TracePage { traces: Vec::new(), next: None });
    }
    let dialect = connection.dialect();
    let mut sql = SqlBuilder::new(dialect);
    sql.push(&format!("SELECT {COLUMNS} FROM trace t WHERE t.experiment_id IN "));
    sql.bind_list(search.experiments.iter().map(|id| id.0));
    for comparison in comparisons.iter().filter(|comparison| !is_of_span(comparison)) {
        condition(&mut sql, comparison);
    }
    span_condition(&mut sql, dialect, &comparisons);
    sql.push(" ORDER BY ");
    for order in &orders {
        order_by(&mut sql, order);
    }
    sql.push("t.requested_at DESC, t.id LIMIT ").bind(limit as i64 + 1);
    sql.push(" OFFSET ").bind(i64::try_from(offset).unwrap_or(i64::MAX));
    let mut rows: Vec<TraceRow> = sql.query().fetch_all(connection).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = more.then(|| token::encode_offset(hash, offset + limit as u64));
    Ok(TracePage { traces: read::infos(connection, rows).await?, next })
}

/// A token holds only for the query that it was given for.
fn query_hash(search: &TraceSearch) -> u64 {
    let experiments: Vec<String> = search.experiments.iter().map(ToString::to_string).collect();
    let mut parts = vec!["trace", search.filter.as_str()];
    parts.extend(search.orders.iter().map(String::as_str));
    parts.push("of");
    parts.extend(experiments.iter().map(String::as_str));
    token::query_hash(&parts)
}

/// Whether it is about spans: all such comparisons of a filter must hold of one and the same span.
fn is_of_span(comparison: &Comparison) -> bool {
    comparison.entity == Entity::Span || (comparison.entity == Entity::Attribute && comparison.key == "text")
}

fn condition(sql: &mut SqlBuilder, comparison: &Comparison) {
    sql.push(" AND ");
    match comparison.entity {
        Entity::Tag => pair(sql, "trace_tag", &comparison.key, comparison),
        Entity::Metadata => metadata(sql, &comparison.key, comparison),
        Entity::Feedback => assessment(sql, "feedback", comparison),
        Entity::Expectation => assessment(sql, "expectation", comparison),
        Entity::Issue => {
            sql.push("EXISTS (SELECT 1 FROM trace_assessment a WHERE a.trace = t.number AND a.kind = 'issue' AND ");
            sql.condition("a.name", comparison).push(")");
        }
        // The other kinds are not in the profile.
        Entity::Attribute | Entity::Span | Entity::Metric | Entity::Param | Entity::Dataset => {
            attribute(sql, comparison);
        }
    }
}

fn attribute(sql: &mut SqlBuilder, comparison: &Comparison) {
    match comparison.key.as_str() {
        "name" => pair(sql, "trace_tag", TRACE_NAME_TAG, comparison),
        "run_id" => metadata(sql, SOURCE_RUN, comparison),
        "prompt" => {
            sql.push("EXISTS (SELECT 1 FROM trace_prompt p WHERE p.trace = t.number AND ");
            sql.condition("p.prompt", comparison).push(")");
        }
        key => {
            sql.condition(column(key), comparison);
        }
    }
}

/// The column, or the expression, of an attribute of the profile.
fn column(key: &str) -> &'static str {
    match key {
        "timestamp_ms" => "t.requested_at",
        "execution_time_ms" => "t.duration",
        // As fractions, which do not overflow whatever a client said.
        "end_time_ms" => "(CAST(t.requested_at AS DOUBLE PRECISION) + COALESCE(t.duration, 0))",
        "status" => "t.state",
        "client_request_id" => "t.client_request_id",
        "experiment_id" => "t.experiment_id",
        _ => "t.id",
    }
}

fn pair(sql: &mut SqlBuilder, table: &str, key: &str, comparison: &Comparison) {
    sql.push(if comparison.operator == IsNull { "NOT EXISTS" } else { "EXISTS" });
    sql.push(&format!(" (SELECT 1 FROM {table} c WHERE c.trace = t.number AND c.key = ")).bind(key);
    if !matches!(comparison.operator, IsNull | IsNotNull) {
        sql.push(" AND ").condition("c.value", comparison);
    }
    sql.push(")");
}

/// A trace belongs to a run that made it and to one that it was linked to.
fn metadata(sql: &mut SqlBuilder, key: &str, comparison: &Comparison) {
    if key != SOURCE_RUN || comparison.operator != Equal {
        return pair(sql, "trace_metadata", key, comparison);
    }
    sql.push("(EXISTS (SELECT 1 FROM trace_run r WHERE r.trace_id = t.id AND ");
    sql.condition("r.run_id", comparison).push(") OR ");
    pair(sql, "trace_metadata", key, comparison);
    sql.push(")");
}

fn assessment(sql: &mut SqlBuilder, kind: &str, comparison: &Comparison) {
    sql.push(if comparison.operator == IsNull { "NOT EXISTS" } else { "EXISTS" });
    sql.push(" (SELECT 1 FROM trace_assessment a WHERE a.trace = t.number AND a.valid = 1 AND a.kind = ").bind(kind);
    sql.push(" AND a.name = ").bind(&comparison.key);
    match comparison.operator {
        IsNull | IsNotNull => {}
        Less | LessEqual | Greater | GreaterEqual => {
            sql.push(" AND ").condition("a.number", comparison);
        }
        Equal | NotEqual => {
            // A text is compared with what is a text and with the spelling of what is not: true, 5.0.
            let text = comparison.value.text().unwrap_or_default();
            sql.push(" AND a.value ").push(if comparison.operator == Equal { "IN " } else { "NOT IN " });
            sql.bind_list([text.to_owned(), quoted(text)]);
        }
        _ => {
            sql.push(" AND ").condition("a.value", comparison);
        }
    }
    sql.push(")");
}

/// As a JSON text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn span_condition(sql: &mut SqlBuilder, dialect: Dialect, comparisons: &[Comparison]) {
    let mut of_span = comparisons.iter().filter(|comparison| is_of_span(comparison)).peekable();
    if of_span.peek().is_none() {
        return;
    }
    sql.push(" AND EXISTS (SELECT 1 FROM trace_span s WHERE s.trace = t.number");
    for comparison in of_span {
        sql.push(" AND ");
        match comparison.key.as_str() {
            "name" => sql.condition("s.name", comparison),
            "type" => sql.condition("s.kind", comparison),
            "status" => sql.condition("s.status", comparison),
            "content" | "text" => sql.condition("s.content", comparison),
            key => span_attribute(sql, dialect, key.strip_prefix(ATTRIBUTES).unwrap_or(key), comparison),
        };
    }
    sql.push(")");
}

/// An attribute lies in the content as `"key": "the JSON of its value, as a JSON text"`.
fn span_attribute<'s>(
    sql: &'s mut SqlBuilder,
    dialect: Dialect,
    key: &str,
    comparison: &Comparison,
) -> &'s mut SqlBuilder {
    let key = quoted(key);
    if let (Like | Ilike, Some(pattern)) = (comparison.operator, comparison.value.text()) {
        let pattern = Literal::Text(format!("%{key}{pattern}%"));
        return sql.compare("s.content", comparison.operator, &pattern);
    }
    let position = match dialect {
        Dialect::Sqlite => "instr",
        Dialect::Postgres => "strpos",
    };
    let holds = |sql: &mut SqlBuilder, part: String| {
        sql.push(position).push("(s.content, ").bind(part).push(") > 0");
    };
    let negated = matches!(comparison.operator, NotEqual | NotIn);
    sql.push("(");
    if negated {
        holds(sql, format!("{key}: "));
        sql.push(" AND NOT (");
    }
    for (place, value) in comparison.value.list().iter().enumerate() {
        if place > 0 {
            sql.push(" OR ");
        }
        // The value may be a text, or the spelling of something else.
        holds(sql, format!("{key}: {}", quoted(&quoted(value))));
        sql.push(" OR ");
        holds(sql, format!("{key}: {}", quoted(value)));
    }
    sql.push(if negated { "))" } else { ")" })
}

fn order_by(sql: &mut SqlBuilder, order: &Order) {
    let of_pair = |sql: &mut SqlBuilder, table: &str, key: &str| {
        sql.push(&format!("(SELECT c.value FROM {table} c WHERE c.trace = t.number AND c.key = ")).bind(key).push(")");
    };
    match (order.entity, order.key.as_str()) {
        (Entity::Tag, key) => of_pair(sql, "trace_tag", key),
        (Entity::Metadata, key) => of_pair(sql, "trace_metadata", key),
        (_, "name") => of_pair(sql, "trace_tag", TRACE_NAME_TAG),
        (_, "run_id") => of_pair(sql, "trace_metadata", SOURCE_RUN),
        (_, key) => {
            sql.push(column(key));
        }
    }
    // What has no value comes last either way.
    sql.push(if order.descending { " DESC NULLS LAST, " } else { " NULLS LAST, " });
}
