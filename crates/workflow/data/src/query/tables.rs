use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use ropewalk_catalog::Catalog;
use ropewalk_types::{DatasetName, Digest};

use super::FileAccess;
use crate::sql::{TableFormat, TableMention, referenced_tables};
use crate::{DataError, DatasetVersion, version_resolve};

/// Where the rows of a table come from.
#[derive(Clone, Debug)]
pub enum TableSource {
    /// A dataset version, by the digest of its tree.
    Version(Digest),
    /// Rows in memory.
    Batches {
        /// Their columns.
        schema: SchemaRef,
        /// The rows.
        batches: Vec<RecordBatch>,
    },
    /// Files that are read when the query asks for their rows, such as the logs of runs and predictions.
    ///
    /// The caller answers for the paths. Without a file and without a schema there is no table.
    Files {
        /// What all of them are.
        format: TableFormat,
        /// The files, in the order of their rows.
        paths: Vec<PathBuf>,
        /// Their columns; told from the files if absent.
        schema: Option<SchemaRef>,
    },
}

/// The tables that a SELECT may name.
#[derive(Clone, Debug, Default)]
pub struct QueryTables {
    tables: BTreeMap<String, TableSource>,
    files: Option<FileAccess>,
}

impl QueryTables {
    /// Allows `FROM 'PATH'`.
    #[must_use]
    pub fn with_files(mut self, access: FileAccess) -> Self {
        self.files = Some(access);
        self
    }

    /// Adds a table, or replaces the one of this name. `NAME@VERSION` is a name of its own.
    pub fn insert(&mut self, name: impl Into<String>, source: TableSource) {
        self.tables.insert(name.into(), source);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&TableSource> {
        self.tables.get(name)
    }

    pub(crate) fn file_access(&self) -> Option<&FileAccess> {
        self.files.as_ref()
    }

    /// Adds the dataset versions that `sql` names and that are not among the tables yet; gives them, for the audit trail.
    ///
    /// A name without a version is the latest; see [`version_resolve`] for the others. A name that no dataset can have
    /// is left to the planner, which tells its place in the text.
    pub fn resolve<'a>(
        &'a mut self,
        sql: &'a str,
        catalog: &'a Catalog,
    ) -> BoxFuture<'a, Result<Vec<DatasetVersion>, DataError>> {
        Box::pin(async move {
            let mut resolved = Vec::new();
            for mention in referenced_tables(sql)? {
                let identifier = mention.identifier();
                let TableMention::Table { name, version } = mention else { continue };
                if self.tables.contains_key(&identifier) {
                    continue;
                }
                let Ok(name) = DatasetName::new(name) else { continue };
                let found = version_resolve(catalog, &name, version.as_deref().unwrap_or("latest")).await?;
                self.insert(identifier, TableSource::Version(found.digest));
                resolved.push(found);
            }
            Ok(resolved)
        })
    }
}
