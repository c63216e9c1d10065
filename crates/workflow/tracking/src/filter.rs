//! MLflow's filter and `order_by` language, for everything that is searched: one parser, one [`Profile`] per kind of
//! thing, one builder of SQL for both dialects.
//!
//! A filter is a conjunction: `metrics."a b" > 0.5 and params.x LIKE '%y' and attributes.status = 'FINISHED'`. What
//! MLflow 3.17 takes (`mlflow/utils/search_utils.py`) means the same here. More is taken where it is clear: `IN` for
//! every text, unquoted keys with parts that are numbers. `OR` and parentheses are refused as there.

mod builder;
mod error;
mod parser;
mod profile;
mod scanner;
#[cfg(test)]
mod tests;
pub mod token;

use std::ops::Range;

pub use builder::SqlBuilder;
pub use error::FilterError;
pub use parser::{parse, parse_order, parse_orders};
pub use profile::{EntityRule, Key, Keys, Kind, Profile, Rule, operators};

/// What a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entity {
    /// What the thing itself has: its name, its times.
    Attribute,
    /// The latest value of a metric.
    Metric,
    /// A param.
    Param,
    /// A tag.
    Tag,
    /// A dataset that went in.
    Dataset,
    /// A trace's metadata.
    Metadata,
    /// A span of a trace.
    Span,
    /// A feedback on a trace.
    Feedback,
    /// An expectation of a trace.
    Expectation,
    /// An issue of a trace.
    Issue,
}

/// How a key is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `LIKE`: `%` and `_` stand for any text and any character; the case counts.
    Like,
    /// `ILIKE`: the case of ASCII letters does not count.
    Ilike,
    /// `RLIKE`: a regular expression.
    Rlike,
    /// `IN`
    In,
    /// `NOT IN`
    NotIn,
    /// `IS NULL`
    IsNull,
    /// `IS NOT NULL`
    IsNotNull,
}

impl Operator {
    /// Its spelling.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Like => "LIKE",
            Self::Ilike => "ILIKE",
            Self::Rlike => "RLIKE",
            Self::In => "IN",
            Self::NotIn => "NOT IN",
            Self::IsNull => "IS NULL",
            Self::IsNotNull => "IS NOT NULL",
        }
    }
}

/// What a key is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// What stands between the quotes, as it stands: MLflow knows no escapes in it.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A number; never NaN.
    Number(f64),
    /// Some texts, at least one.
    List(Vec<String>),
    /// Nothing: of `IS NULL` and `IS NOT NULL`.
    Absent,
}

impl Literal {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(*integer as f64),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The texts of a list; a text is a list of one.
    pub fn list(&self) -> &[String] {
        match self {
            Self::List(texts) => texts,
            Self::Text(text) => std::slice::from_ref(text),
            _ => &[],
        }
    }
}

/// One comparison of a filter; a filter is their conjunction.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What the key belongs to.
    pub entity: Entity,
    /// The key, without quotes; aliases of the profile are translated.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: Literal,
    /// Where it stands in the filter, in bytes.
    pub span: Range<usize>,
}

/// One clause of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What the key belongs to.
    pub entity: Entity,
    /// The key, without quotes; aliases of the profile are translated.
    pub key: String,
    /// Whether the greatest comes first.
    pub descending: bool,
}
