use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DataFusionError, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::prelude::col;
use futures::future::BoxFuture;
use ropewalk_store::Store;
use ropewalk_types::Digest;

use crate::DataError;
use crate::sql::{Order, PartsTable, Translation, reading_session};

/// The rows of a dataset version, in their order.
///
/// `columns` picks and orders columns by their exact names; `filter` is a SQL condition over any of the table's
/// columns. Text is `Utf8`. The rows are held in memory: for tables that fit there.
pub fn read_table<'a>(
    store: &'a Store,
    tree: &'a Digest,
    columns: Option<&'a [&'a str]>,
    filter: Option<&'a str>,
) -> BoxFuture<'a, Result<Vec<RecordBatch>, DataError>> {
    Box::pin(async move {
        let table = PartsTable::open(store, tree, Order::Fixed).await?;
        let translation = Translation::UNLIMITED;
        let says = |error| translation.error(&error);
        let session = reading_session()?;
        session.register_table(TableReference::bare("table"), Arc::new(table)).map_err(says)?;
        let mut frame = session.table(TableReference::bare("table")).await.map_err(says)?;
        if let Some(filter) = filter {
            let condition = frame.parse_sql_expr(filter).map_err(says)?;
            frame = frame.filter(condition).map_err(says)?;
        }
        if let Some(columns) = columns {
            let exact = |name: &&str| col(Column::from_name(*name));
            frame = frame.select(columns.iter().map(exact).collect::<Vec<_>>()).map_err(says)?;
        }
        let batches = frame.collect().await.map_err(says)?;
        batches.iter().map(|batch| plain_batch(batch, &plain_schema(batch.schema_ref()))).collect()
    })
}

/// The schema in which results are kept: text is `Utf8` however the query made it, and any column may be null.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| Field::new(field.name(), plain_type(field.data_type()), true)).collect();
    Arc::new(Schema::new(fields))
}

/// The table with its columns as results have them, so that no text is encoded as a dictionary or laid out otherwise.
pub(crate) fn plain_columns(table: DataFrame) -> Result<DataFrame, DataFusionError> {
    let schema = plain_schema(table.schema().as_arrow());
    let columns = table.schema().fields().iter().zip(schema.fields());
    if columns.clone().all(|(field, plain)| field.data_type() == plain.data_type()) {
        return Ok(table);
    }
    let columns = columns.map(|(field, plain)| {
        let column = col(Column::from_name(field.name()));
        if field.data_type() == plain.data_type() {
            column
        } else {
            datafusion::logical_expr::cast(column, plain.data_type().clone()).alias(field.name())
        }
    });
    let columns: Vec<_> = columns.collect();
    table.select(columns)
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        other => other.clone(),
    }
}

/// The batch in `schema`, which is the [`plain_schema`] of its plan.
pub(crate) fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(array, field)| cast(array, field.data_type()));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    columns
        .collect::<Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options))
        .map_err(DataError::arrow("convert a result"))
}
