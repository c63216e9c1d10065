use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, lit, when};
use ropewalk_types::Timestamp;

use super::report::CheckOutcome;
use super::run::{Desk, column, joined, outcome};
use super::settings::{Check, CheckRule, Freshness, RowCount};
use crate::DataError;

mod condition;

const HOUR: f64 = 3_600_000.0;

/// The outcomes of the rules about single rows, the row count and freshness; none for the others.
pub(super) async fn check(
    checks: &[Check],
    now: Timestamp,
    desk: &Desk<'_>,
) -> Result<Vec<Option<CheckOutcome>>, DataError> {
    let table = desk.table().await?;
    let schema = SchemaRef::clone(table.schema().inner());
    let mut offends = Vec::with_capacity(checks.len());
    let mut figures = vec![count(lit(1_i64)).alias("rows")];
    for (number, check) in checks.iter().enumerate() {
        let condition = condition::offends(check, &schema, desk)?;
        let figure = match (&condition, &check.rule) {
            (Some(condition), _) => {
                let ones = when(condition.clone(), lit(1_i64)).end().map_err(desk.says(check))?;
                Some(count(ones))
            }
            (None, CheckRule::Freshness(freshness)) => {
                condition::temporal(check, &schema, &freshness.column, desk)?;
                Some(max(desk.column(check, &schema, &freshness.column)?))
            }
            _ => None,
        };
        figures.extend(figure.map(|figure| figure.alias(figure_name(number))));
        offends.push(condition);
    }
    let Some(first) = checks.first() else { return Ok(Vec::new()) };
    let plan = table.aggregate(Vec::new(), figures).map_err(desk.says(first))?.into_unoptimized_plan();
    let figures = desk.run(first, &plan).await?.next().await?;
    let Some(figures) = figures else {
        return Err(DataError::Execution("a count gave no row".to_owned()));
    };
    let rows = figure(&figures, "rows");
    let counts: Vec<u64> = (0..checks.len()).map(|number| figure(&figures, &figure_name(number))).collect();
    let mut samples = samples(checks, &offends, &counts, &schema, desk).await?;
    let outcomes = checks.iter().zip(offends).enumerate().map(|(number, (check, offends))| {
        let offending = counts.get(number).copied().unwrap_or_default();
        match (&check.rule, offends) {
            (_, Some(_)) => Ok(Some(outcome(check, offending, samples.get_mut(number).and_then(Option::take)))),
            (CheckRule::RowCount(count), None) => Ok(Some(row_count(check, count, rows))),
            (CheckRule::Freshness(freshness), None) => {
                let newest = figures.column_by_name(&figure_name(number));
                fresh(check, freshness, newest, now).map(Some)
            }
            _ => Ok(None),
        }
    });
    outcomes.collect()
}

fn figure_name(number: usize) -> String {
    format!("figure {number}")
}

/// A count in the only row; 0 for a figure that is no count.
fn figure(figures: &RecordBatch, name: &str) -> u64 {
    let array = figures.column_by_name(name).and_then(|array| array.as_primitive_opt::<Int64Type>());
    array.filter(|array| !array.is_empty()).map_or(0, |array| array.value(0).cast_unsigned())
}

/// A name that no column of the table has.
pub(super) fn free_name(wanted: &str, schema: &SchemaRef) -> String {
    let mut name = wanted.to_owned();
    while schema.field_with_name(&name).is_ok() {
        name.push('_');
    }
    name
}

/// The columns of the table after the number of the row, counted from 1.
pub(crate) fn numbered(schema: &SchemaRef) -> Vec<Expr> {
    let number = row_number().alias(free_name("row", schema));
    std::iter::once(number).chain(schema.fields().iter().map(|field| column(field.name()))).collect()
}

/// The first offending rows of every broken check, in one pass that ends when all have enough.
async fn samples(
    checks: &[Check],
    offends: &[Option<Expr>],
    counts: &[u64],
    schema: &SchemaRef,
    desk: &Desk<'_>,
) -> Result<Vec<Option<RecordBatch>>, DataError> {
    let broken: Vec<(usize, &Check, &Expr)> = checks
        .iter()
        .zip(offends)
        .enumerate()
        .filter(|(number, _)| counts.get(*number).is_some_and(|count| *count > 0))
        .filter_map(|(number, (check, offends))| offends.as_ref().map(|offends| (number, check, offends)))
        .collect();
    let mut samples = vec![None; checks.len()];
    let Some((_, first, _)) = broken.first() else { return Ok(samples) };
    let says = desk.says(first);
    let flag = |number: usize| free_name(&format!("offends {number}"), schema);
    let shown = schema.fields().len() + 1;
    let mut columns = numbered(schema);
    columns.extend(broken.iter().map(|(number, _, offends)| (*offends).clone().alias(flag(*number))));
    let any = broken.iter().map(|(number, ..)| column(&flag(*number))).reduce(Expr::or);
    let mut table = desk.table().await?.select(columns).map_err(&says)?;
    if let Some(any) = any {
        table = table.filter(any).map_err(&says)?;
    }
    let mut running = desk.run(first, &table.into_unoptimized_plan()).await?;
    let limit = desk.settings.sample_rows;
    let mut kept: Vec<(Vec<RecordBatch>, usize)> = vec![(Vec::new(), 0); broken.len()];
    while kept.iter().zip(&broken).any(|((_, rows), (number, ..))| *rows < limit.min(counts[*number] as usize))
        && let Some(batch) = running.next().await?
    {
        let plain = batch.project(&(0..shown).collect::<Vec<_>>()).map_err(DataError::arrow("take a sample"))?;
        for (position, (batches, rows)) in kept.iter_mut().enumerate() {
            let flags = batch.column(shown + position).as_boolean();
            let rest = filter_record_batch(&plain, flags).map_err(DataError::arrow("take a sample"))?;
            let part = rest.slice(0, rest.num_rows().min(limit - *rows));
            *rows += part.num_rows();
            batches.push(part);
        }
    }
    for ((number, ..), (batches, _)) in broken.iter().zip(&kept) {
        if let (Some(slot), Some(first)) = (samples.get_mut(*number), batches.first()) {
            *slot = joined(&first.schema(), batches)?;
        }
    }
    Ok(samples)
}

fn whole(check: &Check, passed: bool, message: String) -> CheckOutcome {
    let (title, severity) = (check.title(), check.severity);
    CheckOutcome { check: title, severity, passed, offending: 0, message, until: None, sample: None }
}

fn row_count(check: &Check, count: &RowCount, rows: u64) -> CheckOutcome {
    let (few, many) = (count.min.filter(|min| rows < *min), count.max.filter(|max| rows > *max));
    let message = match (few, many) {
        (Some(min), _) => format!("the table has {rows} rows, at least {min} are wanted"),
        (None, Some(max)) => format!("the table has {rows} rows, at most {max} are wanted"),
        (None, None) => format!("the table has {rows} rows"),
    };
    whole(check, few.is_none() && many.is_none(), message)
}

fn fresh(
    check: &Check,
    freshness: &Freshness,
    newest: Option<&ArrayRef>,
    now: Timestamp,
) -> Result<CheckOutcome, DataError> {
    let zoned = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    let says = || DataError::arrow("read the newest time");
    let newest = newest.map(|array| cast(array, &zoned).and_then(|array| cast(&array, &DataType::Int64)));
    let newest = newest.transpose().map_err(says())?;
    let newest = newest.filter(|array| array.len() == 1 && array.is_valid(0));
    let Some(newest) = newest.map(|array| array.as_primitive::<Int64Type>().value(0)) else {
        return Ok(whole(check, false, format!("`{}` holds no time", freshness.column)));
    };
    let age = (now.millis() - newest) as f64 / HOUR;
    let (passed, within) = (age <= freshness.within_hours, freshness.within_hours);
    let message = format!("the newest `{}` is {age:.1} hours old, {within} are accepted", freshness.column);
    let until = Timestamp(newest.saturating_add((within * HOUR) as i64));
    Ok(CheckOutcome { until: Some(until), ..whole(check, passed, message) })
}
