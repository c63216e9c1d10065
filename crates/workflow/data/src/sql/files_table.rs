use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use ropewalk_ingest::{ScannedFile, blocking};
use ropewalk_store::files;
use serde::{Deserialize, Serialize};

use super::parts_table::partitioned_file;
use super::session::Order;
use crate::DataError;

/// What is in files that say themselves which columns they have, and of which only what is asked for is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, file or stream.
    Arrow,
}

impl TableFormat {
    fn file_format(self, session: &SessionContext) -> Arc<dyn FileFormat> {
        match self {
            Self::Parquet => {
                let options = session.state().default_table_options().parquet;
                Arc::new(ParquetFormat::default().with_options(options))
            }
            Self::Arrow => Arc::new(ArrowFormat),
        }
    }
}

/// Files on disk as one table, in the order in which they are given; read when a query asks.
#[derive(Debug)]
pub(crate) struct FilesTable {
    format: Arc<dyn FileFormat>,
    schema: SchemaRef,
    files: Vec<PartitionedFile>,
    order: Order,
}

impl FilesTable {
    /// The table of `named`; without any, an empty one of `schema`.
    ///
    /// Without a `schema` it is what the files have in common: the columns of all of them.
    pub(crate) async fn open(
        session: &SessionContext,
        format: TableFormat,
        named: &[ScannedFile],
        schema: Option<SchemaRef>,
        order: Order,
    ) -> Result<Self, DataError> {
        let paths: Vec<_> = named.iter().map(|file| file.path.clone()).collect();
        let files = blocking(move || {
            let sized = paths.iter().map(|path| partitioned_file(path, files::size(path)?));
            sized.collect::<Result<Vec<_>, DataError>>()
        });
        let files = files.await?;
        let format = format.file_format(session);
        let schema = match schema {
            Some(schema) => schema,
            None => inferred(session, format.as_ref(), &files, named).await?,
        };
        Ok(Self { format, schema, files, order })
    }
}

async fn inferred(
    session: &SessionContext,
    format: &dyn FileFormat,
    files: &[PartitionedFile],
    named: &[ScannedFile],
) -> Result<SchemaRef, DataError> {
    let says = |error: DataFusionError| super::Translation::UNLIMITED.error(&error);
    let store = session.runtime_env().object_store(ObjectStoreUrl::local_filesystem()).map_err(says)?;
    let objects: Vec<_> = files.iter().map(|file| file.object_meta.clone()).collect();
    let error = match format.infer_schema(&session.state(), &store, &objects).await {
        // The metadata of one file says nothing about the table.
        Ok(schema) => return Ok(Arc::new(Schema::new(schema.fields().clone()))),
        Err(error) => says(error),
    };
    // Which file it was is not in the error.
    let mut before = Schema::empty();
    for (object, ScannedFile { name, .. }) in objects.into_iter().zip(named) {
        let wrong = |reason: String| DataError::File { path: name.clone(), reason };
        let schema = match format.infer_schema(&session.state(), &store, &[object]).await {
            Ok(schema) => Schema::new(schema.fields().clone()),
            Err(error) => return Err(wrong(says(error).to_string())),
        };
        before = Schema::try_merge([before, schema]).map_err(|error| {
            wrong(format!("its columns do not go together with those of the files before it ({error})"))
        })?;
    }
    Err(error)
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let source = self.format.file_source(TableSchema::from(Arc::clone(&self.schema)));
        let groups = match self.order {
            Order::Fixed => vec![FileGroup::new(self.files.clone())],
            Order::Free(_) => FileGroup::new(self.files.clone()).split_files(state.config().target_partitions()),
        };
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(groups)
            .with_preserve_order(self.order == Order::Fixed)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        self.format.create_physical_plan(state, config).await
    }
}
