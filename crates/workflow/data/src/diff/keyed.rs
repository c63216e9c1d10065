use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch, is_not_null, is_null};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr, lit};

use super::comparable::forms;
use super::{ChangedCell, ChangedRow, Pair, TableDiff};
use crate::DataError;
use crate::check::{column, joined};
use crate::sql::{Running, row_digest};

/// Pairs the rows of both versions by the key and looks at the pairs that differ.
pub(super) async fn compare(pair: &Pair<'_>, key: &[String], diff: &mut TableDiff) -> Result<(), DataError> {
    let common = pair.common();
    if key.is_empty() {
        return Err(DataError::Diff { reason: "the key names no column".to_owned() });
    }
    for name in key {
        if !common.contains(&name.as_str()) {
            let reason = format!("the key `{name}` is not a column of the same type in both");
            return Err(DataError::Diff { reason });
        }
    }
    is_key(pair, "before", key).await?;
    is_key(pair, "after", key).await?;
    let compared = pair.compared().into_iter();
    let values: Vec<&str> = compared.filter(|name| !key.iter().any(|key| key == name)).collect();
    let layout = Layout { key, values: &values, before: &pair.schemas.0, after: &pair.schemas.1 };
    let plan = layout.plan(pair).await?;
    let mut running = Running::start(&plan, pair.room).await?;
    let mut found = Found::new(values.len(), pair.sample_rows);
    while let Some(batch) = running.next().await? {
        found.take(&batch, &layout, diff)?;
    }
    let changed = values.iter().zip(&found.columns).filter(|(_, count)| **count > 0);
    diff.changed_columns = changed.map(|(name, count)| ((*name).to_owned(), *count)).collect();
    diff.added = joined(layout.after, &found.added)?;
    diff.removed = joined(layout.before, &found.removed)?;
    Ok(())
}

/// Refuses columns whose values are together in more than one row.
async fn is_key(pair: &Pair<'_>, table: &str, key: &[String]) -> Result<(), DataError> {
    let says = |error| pair.says(&error);
    let session = pair.session(pair.room).await?;
    let keys: Vec<Expr> =
        key.iter().enumerate().map(|(number, name)| column(name).alias(part("key", number))).collect();
    let groups: Vec<Expr> = (0..key.len()).map(|number| column(&part("key", number))).collect();
    let rows = pair.table(&session, table).await?.select(keys).map_err(says)?;
    let groups = rows.aggregate(groups, vec![count(lit(1_i64)).alias("times")]).map_err(says)?;
    let repeated = groups.filter(column("times").gt(lit(1_i64))).map_err(says)?;
    let rows = repeated.aggregate(Vec::new(), vec![sum(column("times")).alias("rows")]).map_err(says)?;
    let mut running = Running::start(&rows.into_unoptimized_plan(), pair.room).await?;
    let batch = running.next().await?;
    let rows = batch.as_ref().and_then(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
    match rows.and_then(|rows| rows.iter().next().flatten()) {
        None | Some(0) => Ok(()),
        Some(rows) => {
            let which = if table == "before" { "first" } else { "second" };
            let reason = format!("{rows} rows of the {which} version share their `{}` with another", key.join(", "));
            Err(DataError::Diff { reason })
        }
    }
}

fn part(side: &str, number: usize) -> String {
    format!("{side} {number}")
}

/// Where the columns of both versions stand in the pairs: keys, then all of the first, all of the second, which values
/// differ, and in which version the row is.
struct Layout<'a> {
    key: &'a [String],
    values: &'a [&'a str],
    before: &'a SchemaRef,
    after: &'a SchemaRef,
}

impl Layout<'_> {
    async fn plan(&self, pair: &Pair<'_>) -> Result<LogicalPlan, DataError> {
        let says = |error| pair.says(&error);
        let session = pair.session(pair.room).await?;
        let side = |side: &str, schema: &SchemaRef| -> Vec<Expr> {
            let all = schema.fields().iter().enumerate();
            let mut columns: Vec<Expr> =
                all.map(|(number, field)| column(field.name()).alias(part(side, number))).collect();
            columns.push(lit(true).alias(format!("in {side}")));
            columns
        };
        let before = pair.table(&session, "before").await?.select(side("before", self.before)).map_err(says)?;
        let after = pair.table(&session, "after").await?.select(side("after", self.after)).map_err(says)?;
        let keys = |side: &str, schema: &SchemaRef| -> Vec<Column> {
            self.key.iter().map(|name| Column::from_name(named(side, schema, name))).collect()
        };
        let (before_keys, after_keys) = (keys("before", self.before), keys("after", self.after));
        let both = LogicalPlanBuilder::from(before.into_unoptimized_plan()).join_detailed(
            after.into_unoptimized_plan(),
            JoinType::Full,
            (before_keys.clone(), after_keys.clone()),
            None,
            NullEquality::NullEqualsNull,
        );
        let mut shown: Vec<Expr> = Vec::new();
        for (number, (one, other)) in before_keys.into_iter().zip(after_keys).enumerate() {
            shown.push(coalesce(vec![Expr::Column(one), Expr::Column(other)]).alias(part("key", number)));
        }
        shown.extend((0..self.before.fields().len()).map(|number| column(&part("before", number))));
        shown.extend((0..self.after.fields().len()).map(|number| column(&part("after", number))));
        let differs: Vec<Expr> = self.values.iter().map(|name| self.differs(name)).collect();
        shown
            .extend(differs.iter().enumerate().map(|(number, differs)| differs.clone().alias(part("differs", number))));
        shown.extend([column("in before"), column("in after")]);
        let alone = column("in before").is_null().or(column("in after").is_null());
        let any = differs.into_iter().fold(alone, Expr::or);
        let sorts: Vec<SortExpr> =
            (0..self.key.len()).map(|number| column(&part("key", number)).sort(true, true)).collect();
        let plan = both.and_then(|both| both.filter(any)).and_then(|rows| rows.project(shown));
        plan.and_then(|rows| rows.sort(sorts)).and_then(LogicalPlanBuilder::build).map_err(says)
    }

    /// By digests where no comparison of such values is at hand.
    fn differs(&self, name: &str) -> Expr {
        let (before, after) = (named("before", self.before, name), named("after", self.after, name));
        let (before, after) = (column(&before), column(&after));
        let types = self.before.field_with_name(name).ok().zip(self.after.field_with_name(name).ok());
        let Some((one, other)) = types.map(|(one, other)| (one.data_type(), other.data_type())) else {
            return lit(false);
        };
        if other.is_nested() {
            return row_digest(vec![before]).not_eq(row_digest(vec![after]));
        }
        let pairs = forms(&before, one, other).into_iter().zip(forms(&after, other, one));
        let differ = |(before, after)| {
            datafusion::logical_expr::binary_expr(before, datafusion::logical_expr::Operator::IsDistinctFrom, after)
        };
        pairs.map(differ).reduce(Expr::or).unwrap_or_else(|| lit(false))
    }

    fn index(&self, side: Side) -> usize {
        let (before, after) = (self.before.fields().len(), self.after.fields().len());
        match side {
            Side::Before => self.key.len(),
            Side::After => self.key.len() + before,
            Side::Differs => self.key.len() + before + after,
            Side::InBefore => self.key.len() + before + after + self.values.len(),
        }
    }

    /// The rows of one version out of the pairs, as they are in it.
    fn rows(&self, batch: &RecordBatch, side: Side, schema: &SchemaRef) -> Result<RecordBatch, DataError> {
        let start = self.index(side);
        let columns = batch.columns().get(start..start + schema.fields().len()).unwrap_or_default().to_vec();
        let plain = Arc::new(Schema::new(schema.fields().clone()));
        RecordBatch::try_new(plain, columns).map_err(DataError::arrow("take a sample"))
    }
}

fn named(side: &str, schema: &SchemaRef, name: &str) -> String {
    part(side, schema.index_of(name).unwrap_or_default())
}

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
    Differs,
    InBefore,
}

/// What was found so far.
struct Found {
    columns: Vec<u64>,
    added: Vec<RecordBatch>,
    removed: Vec<RecordBatch>,
    limit: usize,
}

impl Found {
    fn new(values: usize, limit: usize) -> Self {
        Self { columns: vec![0; values], added: Vec::new(), removed: Vec::new(), limit }
    }

    fn take(&mut self, batch: &RecordBatch, layout: &Layout<'_>, diff: &mut TableDiff) -> Result<(), DataError> {
        let says = || DataError::arrow("compare rows");
        let place = layout.index(Side::InBefore);
        let (in_before, in_after) = (batch.column(place), batch.column(place + 1));
        let (added, removed) = (is_null(in_before).map_err(says())?, is_null(in_after).map_err(says())?);
        let both = and(&is_not_null(in_before).map_err(says())?, &is_not_null(in_after).map_err(says())?);
        let both = both.map_err(says())?;
        diff.rows_added += added.true_count() as u64;
        diff.rows_removed += removed.true_count() as u64;
        diff.rows_changed += both.true_count() as u64;
        sampled(&mut self.added, self.limit, batch, &added, |rows| layout.rows(rows, Side::After, layout.after))?;
        sampled(&mut self.removed, self.limit, batch, &removed, |rows| layout.rows(rows, Side::Before, layout.before))?;
        let start = layout.index(Side::Differs);
        for (number, count) in self.columns.iter_mut().enumerate() {
            let differs = and(batch.column(start + number).as_boolean(), &both).map_err(says())?;
            *count += differs.true_count() as u64;
        }
        if diff.changed.len() < self.limit && both.true_count() > 0 {
            let changed = filter_record_batch(batch, &both).map_err(says())?;
            let rows = changed.num_rows().min(self.limit - diff.changed.len());
            diff.changed.extend(changes(&changed.slice(0, rows), layout)?);
        }
        Ok(())
    }
}

fn sampled(
    kept: &mut Vec<RecordBatch>,
    limit: usize,
    batch: &RecordBatch,
    chosen: &BooleanArray,
    of: impl Fn(&RecordBatch) -> Result<RecordBatch, DataError>,
) -> Result<(), DataError> {
    let room = limit - kept.iter().map(RecordBatch::num_rows).sum::<usize>();
    if room > 0 && chosen.true_count() > 0 {
        let rows = filter_record_batch(batch, chosen).map_err(DataError::arrow("take a sample"))?;
        kept.push(of(&rows.slice(0, rows.num_rows().min(room)))?);
    }
    Ok(())
}

fn changes(batch: &RecordBatch, layout: &Layout<'_>) -> Result<Vec<ChangedRow>, DataError> {
    let (before, after, differs) = (layout.index(Side::Before), layout.index(Side::After), layout.index(Side::Differs));
    let mut rows = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let key = (0..layout.key.len()).map(|number| text(batch.column(number), row)).collect::<Result<_, _>>()?;
        let mut cells = Vec::new();
        for (number, name) in layout.values.iter().enumerate() {
            if !batch.column(differs + number).as_boolean().value(row) {
                continue;
            }
            let place = |start: usize, schema: &SchemaRef| start + schema.index_of(name).unwrap_or_default();
            cells.push(ChangedCell {
                column: (*name).to_owned(),
                before: text(batch.column(place(before, layout.before)), row)?,
                after: text(batch.column(place(after, layout.after)), row)?,
            });
        }
        rows.push(ChangedRow { key, cells });
    }
    Ok(rows)
}

fn text(array: &ArrayRef, row: usize) -> Result<Option<String>, DataError> {
    if array.is_null(row) {
        return Ok(None);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(DataError::arrow("show a value"))?;
    Ok(Some(formatter.value(row).to_string()))
}
