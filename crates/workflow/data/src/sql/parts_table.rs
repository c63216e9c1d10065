use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use object_store::path::Path as StorePath;
use ropewalk_ingest::{parts, report, table_schema};
use ropewalk_store::Store;
use ropewalk_types::Digest;

use super::session::Order;
use crate::DataError;

/// A dataset version as a table: its parts, in their order, as local Parquet files.
///
/// DataFusion's own listing table sorts files by path, and ours are named by digest: months would come in any order.
#[derive(Debug)]
pub(crate) struct PartsTable {
    schema: SchemaRef,
    files: Vec<PartitionedFile>,
    rows: u64,
    order: Order,
}

impl PartsTable {
    /// Lays the parts of `tree` out in the store's cache.
    pub(crate) async fn open(store: &Store, tree: &Digest, order: Order) -> Result<Self, DataError> {
        let schema = table_schema(store, tree).await?;
        let rows = report(store, tree).await?.rows;
        let mut files = Vec::new();
        for (digest, size) in parts(store, tree).await? {
            files.push(partitioned_file(&store.cached_file(&digest).await?, size)?);
        }
        Ok(Self { schema, files, rows, order })
    }
}

/// A local file as DataFusion knows it.
pub(crate) fn partitioned_file(path: &Path, size: u64) -> Result<PartitionedFile, DataError> {
    let location = std::path::absolute(path)
        .map_err(|error| error.to_string())
        .and_then(|path| StorePath::from_absolute_path(path).map_err(|error| error.to_string()))
        .map_err(|reason| DataError::Encoding { action: "name a file", reason })?;
    // Made from the parts, since a path goes through `PartitionedFile::new` as a text that it would decode.
    let mut file = PartitionedFile::new("part", size);
    file.object_meta.location = location;
    Ok(file)
}

#[async_trait]
impl TableProvider for PartsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Exact(self.rows as usize);
        Some(statistics)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        // Filters stay above the scan; DataFusion's physical optimizer pushes them into it.
        let options = state.default_table_options().parquet;
        let source = ParquetSource::new(Arc::clone(&self.schema)).with_table_parquet_options(options);
        let groups = match self.order {
            Order::Fixed => vec![FileGroup::new(self.files.clone())],
            Order::Free(_) => FileGroup::new(self.files.clone()).split_files(state.config().target_partitions()),
        };
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_preserve_order(self.order == Order::Fixed)
            .with_statistics(self.statistics().unwrap_or_else(|| Statistics::new_unknown(&self.schema)))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
