use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::common::{JoinType, TableReference};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::lit;

use super::report::CheckOutcome;
use super::rows::{free_name, numbered};
use super::run::{Desk, column, outcome};
use super::settings::{Check, ForeignKey};
use crate::DataError;
use crate::sql::PartsTable;
use crate::table::plain_columns;

/// Rows with a value in every column, for which the other table has no row.
pub(super) async fn check(check: &Check, key: &ForeignKey, desk: &Desk<'_>) -> Result<CheckOutcome, DataError> {
    let says = desk.says(check);
    let table = desk.table().await?;
    let schema = SchemaRef::clone(table.schema().inner());
    let other_name = key.dataset.as_str();
    let tree = match desk.subject.others.get(other_name) {
        Some(tree) => *tree,
        None if key.dataset == desk.subject.name => desk.subject.tree,
        None => return Err(DataError::UnknownDataset { name: other_name.to_owned(), similar: Vec::new() }),
    };
    let referenced = PartsTable::open(desk.store, &tree, desk.room.order).await?;
    let reference = TableReference::bare("referenced");
    desk.session.deregister_table(reference.clone()).map_err(&says)?;
    desk.session.register_table(reference.clone(), Arc::new(referenced)).map_err(&says)?;
    let other = desk.session.table(reference).await.and_then(plain_columns).map_err(&says)?;
    let other_schema = SchemaRef::clone(other.schema().inner());
    let names = key.columns.names();
    let references = key.references.as_ref().unwrap_or(&key.columns).names();
    let renamed = |number: usize| free_name(&format!("reference {number}"), &schema);
    let (mut keys, mut targets) = (Vec::new(), Vec::new());
    for (number, (name, target)) in names.iter().zip(references).enumerate() {
        keys.push(desk.column(check, &schema, name)?);
        let found = other_schema.field_with_name(target);
        let found = found.map_err(|_| desk.wrong(check, format!("`{other_name}` has no column `{target}`")))?;
        let own = schema.field_with_name(name).map_err(|error| desk.wrong(check, error.to_string()))?;
        if !comparable(own.data_type(), found.data_type()) {
            let (own, found) = (own.data_type(), found.data_type());
            let reason = format!("`{name}` is of type {own}, `{target}` of `{other_name}` is of type {found}");
            return Err(desk.wrong(check, reason));
        }
        targets.push(column(target).alias(renamed(number)));
    }
    let targets = other.select(targets).and_then(datafusion::dataframe::DataFrame::distinct).map_err(&says)?;
    let mut rows = table.select(numbered(&schema)).map_err(&says)?;
    for key in &keys {
        rows = rows.filter(key.clone().is_not_null()).map_err(&says)?;
    }
    let same = keys.iter().enumerate().map(|(number, key)| key.clone().eq(column(&renamed(number))));
    let orphans = rows.join_on(targets, JoinType::LeftAnti, same).map_err(&says)?;
    let counted = orphans.clone().aggregate(Vec::new(), vec![count(lit(1_i64)).alias("rows")]);
    let counted = counted.map_err(&says)?.into_unoptimized_plan();
    let mut offending = 0;
    if let Some(batch) = desk.run(check, &counted).await?.next().await? {
        let rows = batch.column(0).as_primitive_opt::<Int64Type>();
        offending = rows.and_then(|rows| rows.iter().next().flatten()).unwrap_or_default().cast_unsigned();
    }
    if offending == 0 {
        return Ok(outcome(check, 0, None));
    }
    let first = orphans.sort(vec![column(&free_name("row", &schema)).sort(true, true)]);
    let first = first.and_then(|rows| rows.limit(0, Some(desk.settings.sample_rows))).map_err(&says)?;
    let sample = desk.sample(check, &first.into_unoptimized_plan()).await?;
    Ok(outcome(check, offending, sample))
}

/// Whether values of two types can be equal without turning numbers into texts.
fn comparable(one: &DataType, other: &DataType) -> bool {
    one == other || (one.is_numeric() && other.is_numeric()) || (one.is_temporal() && other.is_temporal())
}
