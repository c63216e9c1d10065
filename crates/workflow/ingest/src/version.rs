use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ropewalk_store::{Store, Tree, TreeEntry, files};
use ropewalk_types::Digest;

use crate::blocking::blocking;
use crate::publish::{PARTS, QUARANTINE, REPORT};
use crate::{IngestError, TableReport};

fn damaged(tree: &Digest, reason: impl Into<String>) -> IngestError {
    IngestError::Damaged { what: "dataset", digest: *tree, reason: reason.into() }
}

/// The parts of a dataset version in their order: digest and size.
pub async fn parts(store: &Store, tree: &Digest) -> Result<Vec<(Digest, u64)>, IngestError> {
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
pub async fn report(store: &Store, tree: &Digest) -> Result<TableReport, IngestError> {
    let (digest, _) = report_entry(store, tree).await?;
    TableReport::decode(&store.get_bytes(&digest).await?, tree)
}

/// Digest of the report, and its size as the tree says it.
async fn report_entry(store: &Store, tree: &Digest) -> Result<(Digest, u64), IngestError> {
    match store.tree_get(tree).await?.get(REPORT) {
        Some(TreeEntry::File { digest, size, .. }) => Ok((*digest, *size)),
        _ => Err(damaged(tree, format!("it has no `{REPORT}`"))),
    }
}

/// As [`report`], of a version that another machine made: one of more than `limit` bytes is not read.
pub(crate) async fn report_within(store: &Store, tree: &Digest, limit: u64) -> Result<TableReport, IngestError> {
    let (digest, said) = report_entry(store, tree).await?;
    // What the tree says and what is there are two statements of somebody else.
    let size = store.size(&digest).await?.max(said);
    if size > limit {
        return Err(damaged(tree, format!("its `{REPORT}` has {size} bytes, {limit} are accepted")));
    }
    TableReport::decode(&store.get_bytes(&digest).await?, tree)
}

/// What the sources of a version hold that is not in its table, a row each: `file`, `sheet`, `row` (from 1, as the
/// program that shows the file counts), `column`, `text`, `reason`. Empty if everything fits.
pub async fn quarantine(store: &Store, tree: &Digest) -> Result<Vec<RecordBatch>, IngestError> {
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
pub async fn table_schema(store: &Store, tree: &Digest) -> Result<SchemaRef, IngestError> {
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
