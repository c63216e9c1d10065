//! What is different between two versions of a table.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use futures::future::BoxFuture;
use ropewalk_ingest::{Column, Scratch, report, table_schema};
use ropewalk_store::Store;
use ropewalk_types::Digest;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::check::column;
use crate::sql::{Joins, Order, PartsTable, Room, session};

mod comparable;
mod keyed;
mod unkeyed;

/// How a comparison may run.
#[derive(Clone, Debug)]
pub struct DiffSettings {
    /// Bytes that joins, sorts and groups may hold before they spill to disk.
    pub memory_limit: usize,
    /// Rows of each kind that are listed at most.
    pub sample_rows: usize,
    /// How many cores may work on it.
    pub parallelism: NonZeroUsize,
    /// Directory for files of this run, removed when it ends.
    pub scratch: PathBuf,
}

impl DiffSettings {
    /// One gibibyte of memory, twenty rows, all cores.
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        let parallelism = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { memory_limit: 1 << 30, sample_rows: 20, parallelism, scratch: scratch.into() }
    }
}

/// A column that is in both versions with different types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetypedColumn {
    /// Its name.
    pub name: String,
    /// Its type before.
    pub before: String,
    /// Its type after.
    pub after: String,
}

/// A row that is in both versions with different values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedRow {
    /// The values of the key, in its order; none for a null.
    pub key: Vec<Option<String>>,
    /// The values that changed.
    pub cells: Vec<ChangedCell>,
}

/// One value that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedCell {
    /// Its column.
    pub column: String,
    /// The value before; none for a null.
    pub before: Option<String>,
    /// The value after.
    pub after: Option<String>,
}

/// What is different between two versions.
///
/// Rows are compared by the columns that both versions have: a new column does not make every row a changed one. Where a
/// column has another type, numbers are compared as numbers, a date with a time as its midnight, and other values as text.
/// Without a key a changed row is one removed and one added.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableDiff {
    /// Columns that only the second version has.
    pub columns_added: Vec<Column>,
    /// Columns that only the first version has.
    pub columns_removed: Vec<Column>,
    /// Columns of both with different types; of lists and structures, values of different types are not compared.
    pub columns_retyped: Vec<RetypedColumn>,
    /// Rows of the first version.
    pub rows_before: u64,
    /// Rows of the second version.
    pub rows_after: u64,
    /// Rows that only the second version has.
    pub rows_added: u64,
    /// Rows that only the first version has.
    pub rows_removed: u64,
    /// Rows of both, by the key, with different values.
    pub rows_changed: u64,
    /// How many rows changed in each column that changed, in the order of the columns.
    pub changed_columns: Vec<(String, u64)>,
    /// The first changed rows, by the key.
    pub changed: Vec<ChangedRow>,
    /// Some added rows, all their columns: the first by the key; without one, in the order of the table.
    #[serde(skip)]
    pub added: Option<RecordBatch>,
    /// Some removed rows.
    #[serde(skip)]
    pub removed: Option<RecordBatch>,
}

impl TableDiff {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        let columns = self.columns_added.len() + self.columns_removed.len() + self.columns_retyped.len();
        columns == 0 && self.rows_added + self.rows_removed + self.rows_changed == 0
    }

    /// Rows that are the same in both.
    pub fn rows_same(&self) -> u64 {
        self.rows_before.saturating_sub(self.rows_removed + self.rows_changed)
    }
}

/// Compares the dataset versions `before` and `after`, in bounded memory: joins, groups and sorts spill.
///
/// With a `key`, columns whose values together are in one row each, rows are paired by it and changes are told column by
/// column. Without one, rows are counted by a digest of 128 bits of all their values. Errors: [`DataError::Diff`] for a
/// key that is none, and for versions without a column in common.
pub fn table_diff<'a>(
    store: &'a Store,
    before: &'a Digest,
    after: &'a Digest,
    key: Option<&'a [String]>,
    settings: &'a DiffSettings,
) -> BoxFuture<'a, Result<TableDiff, DataError>> {
    Box::pin(async move {
        // As results have them: a text is the same text, whichever of Arrow's layouts a version has it in.
        let plain = crate::table::plain_schema;
        let (one, other) = (table_schema(store, before).await?, table_schema(store, after).await?);
        let schemas = (plain(&one), plain(&other));
        let mut diff = columns(&schemas.0, &schemas.1);
        diff.rows_before = report(store, before).await?.rows;
        diff.rows_after = report(store, after).await?.rows;
        if before == after {
            return Ok(diff);
        }
        let scratch = Scratch::new(&settings.scratch)?;
        let order = Order::Free(settings.parallelism);
        let room = Room { order, memory_limit: settings.memory_limit, scratch: scratch.path() };
        let pair = Pair { store, trees: (before, after), schemas, room, sample_rows: settings.sample_rows };
        match key {
            Some(key) => keyed::compare(&pair, key, &mut diff).await?,
            None => unkeyed::compare(&pair, &mut diff).await?,
        }
        Ok(diff)
    })
}

fn columns(before: &SchemaRef, after: &SchemaRef) -> TableDiff {
    let mut diff = TableDiff::default();
    for field in before.fields() {
        match after.field_with_name(field.name()) {
            Err(_) => diff.columns_removed.push(Column::of(field)),
            Ok(other) if other.data_type() != field.data_type() => {
                let (before, after) = (Column::of(field), Column::of(other));
                let retyped = RetypedColumn { name: before.name, before: before.data_type, after: after.data_type };
                diff.columns_retyped.push(retyped);
            }
            Ok(_) => {}
        }
    }
    let added = after.fields().iter().filter(|field| before.field_with_name(field.name()).is_err());
    diff.columns_added.extend(added.map(|field| Column::of(field)));
    diff
}

/// Two versions that are compared.
struct Pair<'a> {
    store: &'a Store,
    trees: (&'a Digest, &'a Digest),
    schemas: (SchemaRef, SchemaRef),
    room: Room<'a>,
    sample_rows: usize,
}

impl Pair<'_> {
    /// The names of the columns that both have with the same type, in the order of the second version.
    fn common(&self) -> Vec<&str> {
        let (before, after) = (&self.schemas.0, &self.schemas.1);
        let same = after.fields().iter().filter(|field| {
            before.field_with_name(field.name()).is_ok_and(|other| other.data_type() == field.data_type())
        });
        same.map(|field| field.name().as_str()).collect()
    }

    /// The names of the columns that both have with values that can be compared, in the order of the second version.
    fn compared(&self) -> Vec<&str> {
        let (before, after) = (&self.schemas.0, &self.schemas.1);
        let comparable = after.fields().iter().filter(|field| {
            let other = before.field_with_name(field.name());
            other.is_ok_and(|other| comparable::can_be(other.data_type(), field.data_type()))
        });
        comparable.map(|field| field.name().as_str()).collect()
    }

    /// The values of these columns of the table `before` or `after`, alike in both if they are the same.
    fn values(&self, table: &str, names: &[&str]) -> Vec<Expr> {
        let (before, after) = (&self.schemas.0, &self.schemas.1);
        let (own, other) = if table == "before" { (before, after) } else { (after, before) };
        let forms = |name: &&str| {
            let types = own.field_with_name(name).ok().zip(other.field_with_name(name).ok());
            types.map_or_else(Vec::new, |(own, other)| {
                comparable::forms(&column(name), own.data_type(), other.data_type())
            })
        };
        names.iter().flat_map(forms).collect()
    }

    /// A session with the tables `before` and `after`.
    async fn session(&self, room: Room<'_>) -> Result<SessionContext, DataError> {
        let session = session(room.order, room.memory_limit, room.scratch, Joins::Hash)?;
        for (name, tree) in [("before", self.trees.0), ("after", self.trees.1)] {
            let table = PartsTable::open(self.store, tree, room.order).await?;
            session.register_table(TableReference::bare(name), Arc::new(table)).map_err(|error| self.says(&error))?;
        }
        Ok(session)
    }

    async fn table(&self, session: &SessionContext, name: &str) -> Result<DataFrame, DataError> {
        let table = session.table(TableReference::bare(name)).await.and_then(crate::table::plain_columns);
        table.map_err(|error| self.says(&error))
    }

    fn says(&self, error: &datafusion::error::DataFusionError) -> DataError {
        self.room.translation().error(error)
    }
}

#[cfg(test)]
mod tests;
