//! Which statements read a query's rows: in parts, and only the new ones.

use std::num::NonZeroUsize;

use arrow::datatypes::{DataType, TimeUnit};

use crate::ConnectorError;

use super::bound::{place, written};
use super::dialect::{Comparable, Dialect};

/// A statement, the values of its parameters and what it reads, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<String>,
    pub(super) description: String,
}

/// A query as it was given, and how it must be wrapped.
#[derive(Clone, Copy)]
pub(super) struct Wrapped<'q> {
    pub(super) dialect: Dialect,
    pub(super) query: &'q str,
    /// The columns to take, written out.
    pub(super) columns: &'q str,
}

/// A column that rows are chosen by.
#[derive(Clone, Copy)]
pub(super) struct Axis<'q> {
    pub(super) name: &'q str,
    pub(super) kind: Comparable,
}

/// A condition under construction; parameters are numbered as they come.
pub(super) struct Condition {
    dialect: Dialect,
    terms: Vec<String>,
    parameters: Vec<String>,
}

impl Condition {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, terms: Vec::new(), parameters: Vec::new() }
    }

    /// Adds `column operator value`.
    pub(super) fn compare(&mut self, axis: Axis<'_>, operator: &str, value: &str) {
        let term = self.comparison(axis, operator, value);
        self.terms.push(term);
    }

    /// Adds `column < value`, or no value.
    fn below_or_null(&mut self, axis: Axis<'_>, value: &str) {
        let below = self.comparison(axis, "<", value);
        self.terms.push(format!("({below} OR {} IS NULL)", self.dialect.quoted(axis.name)));
    }

    /// Lets no row through.
    pub(super) fn nothing(&mut self) {
        self.terms.push("1 = 0".to_owned());
    }

    fn comparison(&mut self, axis: Axis<'_>, operator: &str, value: &str) -> String {
        let value = self.dialect.sent(axis.kind, value);
        self.parameters.push(value.to_owned());
        let parameter = self.dialect.parameter(self.parameters.len(), axis.kind, value);
        format!("{} {operator} {parameter}", self.dialect.quoted(axis.name))
    }
}

impl Wrapped<'_> {
    /// The rows that meet `condition`; `what` are the columns.
    pub(super) fn select(&self, what: &str, condition: Condition, description: String) -> Statement {
        // On lines of its own, so that a comment at the query's end ends there.
        let mut sql = format!("SELECT {what} FROM (\n{}\n) AS ropewalk", self.query);
        if !condition.terms.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&condition.terms.join(" AND "));
        }
        Statement { sql, parameters: condition.parameters, description }
    }

    /// Least and greatest value of `axis` among the rows that meet `condition`.
    pub(super) fn extremes(&self, axis: Axis<'_>, condition: Condition) -> Statement {
        let name = self.dialect.quoted(axis.name);
        self.select(&format!("MIN({name}), MAX({name})"), condition, String::new())
    }

    /// One row if any has the value `value` of `axis`, by the comparisons that choose the rows to read.
    pub(super) fn equal(&self, axis: Axis<'_>, value: &str) -> Statement {
        let mut condition = Condition::new(self.dialect);
        condition.compare(axis, ">=", value);
        condition.compare(axis, "<=", value);
        let mut statement = self.select("1", condition, String::new());
        statement.sql.push_str(" LIMIT 1");
        statement
    }

    /// How many rows have no value of `axis`.
    pub(super) fn nulls(&self, axis: Axis<'_>) -> Statement {
        let mut condition = Condition::new(self.dialect);
        condition.terms.push(format!("{} IS NULL", self.dialect.quoted(axis.name)));
        self.select("COUNT(*)", condition, String::new())
    }

    /// One statement for each range between `cuts`: below the first or without a value, half-open ones, the rest.
    pub(super) fn parts(&self, axis: Axis<'_>, cuts: &[String], shared: impl Fn() -> Condition) -> Vec<Statement> {
        let Some(first) = cuts.first() else {
            return vec![self.select(self.columns, shared(), "all rows".to_owned())];
        };
        let mut statements = Vec::with_capacity(cuts.len() + 1);
        let mut condition = shared();
        condition.below_or_null(axis, first);
        statements.push(self.select(self.columns, condition, format!("{} < {first}, or without a value", axis.name)));
        for (index, from) in cuts.iter().enumerate() {
            let mut condition = shared();
            condition.compare(axis, ">=", from);
            let description = match cuts.get(index + 1) {
                Some(to) => {
                    condition.compare(axis, "<", to);
                    format!("{from} <= {} < {to}", axis.name)
                }
                None => format!("{} >= {from}", axis.name),
            };
            statements.push(self.select(self.columns, condition, description));
        }
        statements
    }
}

/// How values of this type compare with a bound; none for types without an order that databases agree on.
pub(super) fn comparable(data_type: &DataType, is_decimal: bool) -> Option<Comparable> {
    Some(match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Comparable::Integer,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Comparable::Unsigned,
        DataType::Decimal128(..) | DataType::Decimal256(..) => Comparable::Decimal,
        DataType::Utf8 | DataType::Float64 if is_decimal => Comparable::Decimal,
        DataType::Float32 | DataType::Float64 => Comparable::Float,
        DataType::Date32 => Comparable::Date,
        DataType::Timestamp(TimeUnit::Microsecond, None) => Comparable::Timestamp,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Comparable::TimestampUtc,
        DataType::Utf8 => Comparable::Text,
        _ => return None,
    })
}

/// At most `count - 1` values that cut from `lower` to `upper` into ranges of one width, ascending.
pub(super) fn cuts(
    axis: Axis<'_>,
    dialect: Dialect,
    lower: &str,
    upper: &str,
    count: NonZeroUsize,
) -> Result<Vec<String>, ConnectorError> {
    let wrong = |reason: String| ConnectorError::Column { column: axis.name.to_owned(), reason };
    let unreadable = |text: &str| wrong(format!("`{text}` is no bound for its type"));
    if matches!(axis.kind, Comparable::Decimal | Comparable::Float) {
        let parse =
            |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(|| unreadable(text));
        return Ok(float_cuts(parse(lower)?, parse(upper)?, count.get()));
    }
    if axis.kind == Comparable::Text {
        return Err(wrong("rows are cut by numbers, dates and timestamps, and this is text".to_owned()));
    }
    let place = |text: &str| place(text, axis.kind).ok_or_else(|| unreadable(text));
    Ok(whole_cuts(place(lower)?, place(upper)?, count.get())
        .into_iter()
        .map(|value| written(value, axis.kind, dialect))
        .collect())
}

fn whole_cuts(lower: i128, upper: i128, count: usize) -> Vec<i128> {
    let count = i128::try_from(count).unwrap_or(i128::MAX);
    let width = upper.saturating_sub(lower);
    let mut cuts: Vec<_> = (1..count)
        .map(|index| lower + (width / count) * index + (width % count) * index / count)
        .take_while(|cut| *cut <= upper)
        .filter(|cut| *cut > lower)
        .collect();
    cuts.dedup();
    cuts
}

fn float_cuts(lower: f64, upper: f64, count: usize) -> Vec<String> {
    let cuts = (1..count).map(|index| lower + (upper - lower) * (index as f64 / count as f64));
    let mut cuts: Vec<_> = cuts.filter(|cut| *cut > lower && *cut <= upper).map(|cut| cut.to_string()).collect();
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    fn axis(kind: Comparable) -> Axis<'static> {
        Axis { name: "at", kind }
    }

    #[test]
    fn ranges_are_half_open_and_nulls_are_in_the_first() {
        let wrapped = Wrapped { dialect: Dialect::Postgres, query: "SELECT 1 -- x", columns: "\"a\"" };
        let cuts = cuts(axis(Comparable::Integer), Dialect::Postgres, "0", "90", count(3)).unwrap();
        assert_eq!(cuts, ["30", "60"]);
        let parts = wrapped.parts(axis(Comparable::Integer), &cuts, || {
            let mut condition = Condition::new(Dialect::Postgres);
            condition.compare(axis(Comparable::Integer), ">", "5");
            condition
        });
        let conditions: Vec<_> = parts.iter().map(|part| part.sql.split_once("WHERE ").unwrap().1).collect();
        assert_eq!(
            conditions,
            [
                "\"at\" > $1::text::bigint AND (\"at\" < $2::text::bigint OR \"at\" IS NULL)",
                "\"at\" > $1::text::bigint AND \"at\" >= $2::text::bigint AND \"at\" < $3::text::bigint",
                "\"at\" > $1::text::bigint AND \"at\" >= $2::text::bigint",
            ]
        );
        assert_eq!(parts[1].parameters, ["5", "30", "60"]);
        assert!(parts[0].sql.contains("-- x\n) AS ropewalk"));
    }

    #[test]
    fn dates_and_timestamps_are_cut_by_the_calendar() {
        let cut = |kind, dialect, lower, upper| cuts(axis(kind), dialect, lower, upper, count(2));
        assert_eq!(cut(Comparable::Date, Dialect::Postgres, "2024-02-28", "2024-03-01").unwrap(), ["2024-02-29"]);
        for (dialect, text) in
            [(Dialect::Postgres, "2024-01-01 12:00:00.000000+00"), (Dialect::Mysql, "2024-01-01 12:00:00.000000")]
        {
            let cuts = cut(Comparable::TimestampUtc, dialect, "2024-01-01", "2024-01-02 00:00:00+00").unwrap();
            assert_eq!(cuts, [text], "{dialect:?}");
        }
        assert!(cut(Comparable::Date, Dialect::Postgres, "today", "2024-03-01").is_err());
        assert!(cut(Comparable::Text, Dialect::Postgres, "a", "b").is_err());
    }

    #[test]
    fn a_moment_in_utc_has_a_zone_for_postgresql_only() {
        let statement = |dialect| {
            let wrapped = Wrapped { dialect, query: "SELECT 1", columns: "at" };
            wrapped.equal(axis(Comparable::TimestampUtc), "2024-01-01 00:00:00.000000+00")
        };
        let mysql = statement(Dialect::Mysql);
        assert_eq!(mysql.parameters, ["2024-01-01 00:00:00.000000"; 2]);
        let condition = "`at` >= CAST(? AS DATETIME(6)) AND `at` <= CAST(? AS DATETIME(6)) LIMIT 1";
        assert!(mysql.sql.ends_with(condition), "{}", mysql.sql);
        assert_eq!(statement(Dialect::Postgres).parameters, ["2024-01-01 00:00:00.000000+00"; 2]);
    }

    #[test]
    fn no_more_cuts_than_values() {
        let cut = |kind, lower, upper| cuts(axis(kind), Dialect::Mysql, lower, upper, count(8)).unwrap();
        assert!(cut(Comparable::Integer, "5", "5").is_empty());
        assert_eq!(cut(Comparable::Unsigned, "0", "2"), ["1"]);
        assert!(cut(Comparable::Float, "1", "0").is_empty());
    }

    proptest! {
        #[test]
        fn cuts_ascend_between_the_bounds(lower in any::<i64>(), upper in any::<i64>(), number in 1_usize..40) {
            let cuts = whole_cuts(lower.into(), upper.into(), number);
            prop_assert!(cuts.len() < number);
            prop_assert!(cuts.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(cuts.iter().all(|cut| *cut > lower.into() && *cut <= upper.into()));
        }
    }
}
