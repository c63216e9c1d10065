use arrow::array::AsArray as _;
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::common::JoinType;
use datafusion::dataframe::DataFrame;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, SortExpr, lit};

use super::report::CheckOutcome;
use super::rows::{free_name, numbered};
use super::run::{Desk, column, outcome};
use super::settings::{Check, Columns};
use crate::DataError;

/// Groups the rows by the columns; a group of more than one row offends.
pub(super) async fn check(check: &Check, columns: &Columns, desk: &Desk<'_>) -> Result<CheckOutcome, DataError> {
    let table = desk.table().await?;
    let schema = SchemaRef::clone(table.schema().inner());
    let mut keys = Vec::new();
    for name in columns.names() {
        keys.push(desk.column(check, &schema, name)?);
    }
    let says = desk.says(check);
    let repeated = repeated(table, &keys, &schema, check, desk)?;
    let times = column(&free_name("times", &schema));
    let figures = vec![sum(times).alias("rows"), count(lit(1_i64)).alias("groups")];
    let figures = repeated.clone().aggregate(Vec::new(), figures).map_err(&says)?.into_unoptimized_plan();
    let mut offending = 0;
    if let Some(batch) = desk.run(check, &figures).await?.next().await? {
        let rows = batch.column(0).as_primitive_opt::<Int64Type>();
        offending = rows.and_then(|rows| rows.iter().next().flatten()).unwrap_or_default().cast_unsigned();
    }
    if offending == 0 {
        return Ok(outcome(check, 0, None));
    }
    // The first groups by their values, their rows together in the order of the table.
    let sorts: Vec<SortExpr> = keys.iter().map(|key| key.clone().sort(true, true)).collect();
    let first = repeated.sort(sorts.clone()).and_then(|groups| groups.limit(0, Some(desk.settings.sample_rows)));
    let other = |number: usize| free_name(&format!("key {number}"), &schema);
    let renamed = keys.iter().enumerate().map(|(number, key)| key.clone().alias(other(number)));
    let first = first.and_then(|groups| groups.select(renamed.collect::<Vec<_>>())).map_err(&says)?;
    let same = keys.iter().enumerate().map(|(number, key)| key.clone().eq(column(&other(number))));
    let rows = desk.table().await?.select(numbered(&schema)).map_err(&says)?;
    let rows = rows.join_on(first, JoinType::LeftSemi, same).map_err(&says)?;
    let mut sorts = sorts;
    sorts.push(column(&free_name("row", &schema)).sort(true, true));
    let rows = rows.sort(sorts).and_then(|rows| rows.limit(0, Some(desk.settings.sample_rows)));
    let sample = desk.sample(check, &rows.map_err(&says)?.into_unoptimized_plan()).await?;
    Ok(outcome(check, offending, sample))
}

/// The groups of more than one row: their keys, and how many rows in `times`.
fn repeated(
    table: DataFrame,
    keys: &[Expr],
    schema: &SchemaRef,
    check: &Check,
    desk: &Desk<'_>,
) -> Result<DataFrame, DataError> {
    let says = desk.says(check);
    let times = free_name("times", schema);
    let mut table = table;
    for key in keys {
        table = table.filter(key.clone().is_not_null()).map_err(&says)?;
    }
    let groups = table.aggregate(keys.to_vec(), vec![count(lit(1_i64)).alias(&times)]);
    groups.and_then(|groups| groups.filter(column(&times).gt(lit(1_i64)))).map_err(says)
}
