use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::functions::expr_fn::{isnan, regexp_like};
use datafusion::logical_expr::{Expr, in_list, lit, not};

use super::super::run::{Desk, column};
use super::super::settings::{Between, Check, CheckRule, CheckValue, Matches, OneOf};
use crate::DataError;

/// The condition under which a row breaks a check; none for a rule that is not about single rows.
pub(super) fn offends(check: &Check, schema: &SchemaRef, desk: &Desk<'_>) -> Result<Option<Expr>, DataError> {
    match &check.rule {
        CheckRule::NotNull(columns) => {
            let mut conditions = Vec::new();
            for name in columns.names() {
                conditions.push(desk.column(check, schema, name)?.is_null());
            }
            Ok(conditions.into_iter().reduce(Expr::or))
        }
        CheckRule::Between(between) => outside(check, between, schema, desk).map(Some),
        CheckRule::In(one_of) => other(check, one_of, schema, desk).map(Some),
        CheckRule::Matches(matches) => differs(check, matches, schema, desk).map(Some),
        _ => Ok(None),
    }
}

/// Refuses a column that holds no times or dates.
pub(super) fn temporal(check: &Check, schema: &SchemaRef, name: &str, desk: &Desk<'_>) -> Result<(), DataError> {
    match data_type(check, schema, name, desk)? {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Ok(()),
        other => Err(desk.wrong(check, format!("`{name}` is of type {other}, not a time or a date"))),
    }
}

fn data_type<'a>(check: &Check, schema: &'a SchemaRef, name: &str, desk: &Desk<'_>) -> Result<&'a DataType, DataError> {
    desk.column(check, schema, name)?;
    match schema.field_with_name(name) {
        Ok(field) => Ok(field.data_type()),
        Err(error) => Err(desk.wrong(check, error.to_string())),
    }
}

fn outside(check: &Check, between: &Between, schema: &SchemaRef, desk: &Desk<'_>) -> Result<Expr, DataError> {
    let data_type = data_type(check, schema, &between.column, desk)?;
    let value =
        |value: &CheckValue| literal(value, data_type, &between.column).map_err(|error| desk.wrong(check, error));
    let column = || column(&between.column);
    let mut conditions = Vec::new();
    if let Some(min) = &between.min {
        conditions.push(column().lt(value(min)?));
    }
    if let Some(max) = &between.max {
        conditions.push(column().gt(value(max)?));
    }
    if data_type.is_floating() {
        // Comparisons order NaN above all numbers, so it would pass a rule without a maximum.
        conditions.push(isnan(column()));
    }
    conditions.into_iter().reduce(Expr::or).ok_or_else(|| desk.wrong(check, "it has neither `min` nor `max`"))
}

fn other(check: &Check, one_of: &OneOf, schema: &SchemaRef, desk: &Desk<'_>) -> Result<Expr, DataError> {
    let data_type = data_type(check, schema, &one_of.column, desk)?;
    let values = one_of.values.iter().map(|value| literal(value, data_type, &one_of.column));
    let values: Result<Vec<_>, String> = values.collect();
    Ok(in_list(column(&one_of.column), values.map_err(|error| desk.wrong(check, error))?, true))
}

fn differs(check: &Check, matches: &Matches, schema: &SchemaRef, desk: &Desk<'_>) -> Result<Expr, DataError> {
    match data_type(check, schema, &matches.column, desk)? {
        DataType::Utf8 => Ok(not(regexp_like(column(&matches.column), lit(matches.pattern.as_str()), None))),
        other => Err(desk.wrong(check, format!("`{}` is of type {other}, not a text", matches.column))),
    }
}

/// A value of the project file as one of a column's type. Numbers stay what they are: SQL compares whole ones and others
/// rightly, while a bound of 0.5 for whole numbers would be cut to 0.
fn literal(value: &CheckValue, data_type: &DataType, column: &str) -> Result<Expr, String> {
    match value {
        CheckValue::Boolean(truth) if *data_type == DataType::Boolean => Ok(lit(*truth)),
        CheckValue::Integer(number) if data_type.is_numeric() => Ok(lit(*number)),
        CheckValue::Float(number) if data_type.is_numeric() => Ok(lit(*number)),
        CheckValue::Text(text) if *data_type == DataType::Utf8 => Ok(lit(text.as_str())),
        CheckValue::Text(text) if data_type.is_temporal() => ScalarValue::try_from_string(text.clone(), data_type)
            .map(|value| Expr::Literal(value, None))
            .map_err(|_| format!("`{text}` is not a {data_type}, which `{column}` holds")),
        other => Err(format!("`{column}` is of type {data_type}, the value is {}", other.describe())),
    }
}

impl CheckValue {
    fn describe(&self) -> String {
        match self {
            Self::Boolean(truth) => format!("the truth value {truth}"),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text \"{text}\""),
        }
    }
}
