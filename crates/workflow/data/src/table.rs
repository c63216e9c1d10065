use futures::future::BoxFuture;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::prelude::col;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ropewalk_store::{Store, Tree, TreeEntry, files};
use ropewalk_types::Digest;

use crate::blocking::blocking;
use crate::publish::{PARTS, QUARANTINE, REPORT};
use crate::sql::{Order, PartsTable, Translation, reading_session};
use crate::{DataError, TableReport};

fn damaged(tree: &Digest, reason: impl Into<String>) -> DataError {
    DataError::Damaged { what: "dataset", digest: *tree, reason: reason.into() }
}

/// The parts of a dataset version in their order: digest and size.
pub(crate) async fn parts(store: &Store, tree: &Digest) -> Result<Vec<(Digest, u64)>, DataError> {
    let root = store.tree_get(tree).await?;
    let Some(TreeEntry::Directory { digest }) = root.get(PARTS) else {
        return Err(damaged(tree, format!("it has no directory `{PARTS}`")));
    };
    let data: Tree = store.tree_get(digest).await?;
    let parts = data.iter().map(|(name, entry)| match entry {
        TreeEntry::File { digest, size, .. } => Ok((*digest, *size)),
        TreeEntry::Directory { .. } => Err(damaged(tree, format!("`{PARTS}/{name}` is a directory"))),
    });
    let parts: Vec<_> = parts.collect::<Result<_, _>>()?;
    if parts.is_empty() { Err(damaged(tree, "it has no part")) } else { Ok(parts) }
}

/// The report of a dataset version.
pub async fn report(store: &Store, tree: &Digest) -> Result<TableReport, DataError> {
    let root = store.tree_get(tree).await?;
    let Some(TreeEntry::File { digest, .. }) = root.get(REPORT) else {
        return Err(damaged(tree, format!("it has no `{REPORT}`")));
    };
    TableReport::decode(&store.get_bytes(digest).await?, tree)
}

/// What the sources of a version hold that is not in its table, a row each: `file`, `sheet`, `row` (from 1, as the
/// program that shows the file counts), `column`, `text`, `reason`. Empty if everything fits.
pub async fn quarantine(store: &Store, tree: &Digest) -> Result<Vec<RecordBatch>, DataError> {
    let root = store.tree_get(tree).await?;
    let Some(TreeEntry::File { digest, .. }) = root.get(QUARANTINE) else { return Ok(Vec::new()) };
    let (path, tree) = (store.cached_file(digest).await?, *tree);
    blocking(move || {
        let reader = ParquetRecordBatchReaderBuilder::try_new(files::open(&path)?);
        let reader = reader.and_then(ParquetRecordBatchReaderBuilder::build);
        let batches = reader.map_err(|error| damaged(&tree, error.to_string()))?;
        batches.collect::<Result<_, _>>().map_err(|error| damaged(&tree, error.to_string()))
    })
    .await
}

/// The Arrow schema of a dataset version.
pub async fn table_schema(store: &Store, tree: &Digest) -> Result<SchemaRef, DataError> {
    let parts = parts(store, tree).await?;
    let (digest, _) = parts.first().ok_or_else(|| damaged(tree, "it has no part"))?;
    let (path, tree) = (store.cached_file(digest).await?, *tree);
    blocking(move || {
        let reader = ParquetRecordBatchReaderBuilder::try_new(files::open(&path)?);
        let schema = Arc::clone(reader.map_err(|error| damaged(&tree, error.to_string()))?.schema());
        Ok(Arc::new(Schema::new(schema.fields().clone())))
    })
    .await
}

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
        let translation = Translation { memory_limit: usize::MAX };
        let says = |error| translation.error(&error);
        let session = reading_session()?;
        session.register_table(TableReference::bare("table"), Arc::new(table)).map_err(says)?;
        let mut frame = session.table(TableReference::bare("table")).await.map_err(says)?;
        if let Some(filter) = filter {
            let condition = frame.parse_sql_expr(filter).map_err(says)?;
            frame = frame.filter(condition).map_err(says)?;
        }
        if let Some(columns) = columns {
            let exact = |name: &&str| col(datafusion::common::Column::from_name(*name));
            frame = frame.select(columns.iter().map(exact).collect::<Vec<_>>()).map_err(says)?;
        }
        let batches = frame.collect().await.map_err(says)?;
        batches.iter().map(plain_batch).collect()
    })
}

/// The schema in which results are kept: text is `Utf8` however the query made it, and any column may be null.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| Field::new(field.name(), plain_type(field.data_type()), true)).collect();
    Arc::new(Schema::new(fields))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        other => other.clone(),
    }
}

/// The batch in its [`plain_schema`].
pub(crate) fn plain_batch(batch: &RecordBatch) -> Result<RecordBatch, DataError> {
    let schema = plain_schema(batch.schema_ref());
    let columns = batch.columns().iter().zip(schema.fields()).map(|(array, field)| cast(array, field.data_type()));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    columns
        .collect::<Result<Vec<_>, _>>()
        .and_then(|columns| RecordBatch::try_new_with_options(schema, columns, &options))
        .map_err(DataError::arrow("convert a result"))
}
