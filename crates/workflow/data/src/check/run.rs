use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::LogicalPlan;
use futures::future::BoxFuture;
use ropewalk_ingest::Scratch;
use ropewalk_store::Store;
use ropewalk_types::{DatasetName, Digest, Timestamp};

use super::report::{CheckOutcome, CheckReport};
use super::settings::{Check, CheckRule};
use super::{foreign_key, rows, sql, unique};
use crate::DataError;
use crate::sql::{Joins, Order, PartsTable, Room, Running, TableMention, referenced_tables, session};
use crate::table::plain_columns;

/// The name of the table under check inside the plans.
pub(super) const TABLE: &str = "checked";

/// How checks may run.
#[derive(Clone, Debug)]
pub struct CheckSettings {
    /// Bytes that joins and groups may hold before they spill to disk.
    pub memory_limit: usize,
    /// Offending rows that are listed for a check at most.
    pub sample_rows: usize,
    /// Directory for files of this run, removed when it ends.
    pub scratch: PathBuf,
}

impl CheckSettings {
    /// One gibibyte of memory, twenty rows.
    pub fn new(scratch: impl Into<PathBuf>) -> Self {
        Self { memory_limit: 1 << 30, sample_rows: 20, scratch: scratch.into() }
    }
}

/// The version under check, and those that its checks name.
#[derive(Clone, Debug)]
pub struct CheckSubject {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub tree: Digest,
    /// The versions of other datasets, by the names in [`check_tables`].
    pub others: BTreeMap<String, Digest>,
}

/// The other datasets that the checks of `name` read, with a version where SQL names one (`planes@v2`).
///
/// Errors: [`DataError::Check`] for SQL that cannot be read, and for a file in it: checks read datasets only.
pub fn check_tables(name: &DatasetName, checks: &[Check]) -> Result<BTreeSet<String>, DataError> {
    let mut tables = BTreeSet::new();
    for check in checks {
        let wrong = |reason: String| wrong(check, name, reason);
        match &check.rule {
            CheckRule::ForeignKey(key) => {
                tables.insert(key.dataset.to_string());
            }
            CheckRule::Sql(sql) => {
                for mention in referenced_tables(sql).map_err(|error| wrong(error.to_string()))? {
                    if let TableMention::File { path } = &mention {
                        return Err(wrong(format!("it may not read the file `{path}`")));
                    }
                    tables.insert(mention.identifier());
                }
            }
            _ => {}
        }
    }
    tables.remove(name.as_str());
    Ok(tables)
}

/// Makes the checks of a dataset version; the same version and `now` give the same report.
///
/// One pass over the checked columns answers all rules about single rows, the row count and freshness; `unique`,
/// `foreign_key` and `sql` take one each; a broken check takes one more, that ends when its sample is full. Memory is
/// bounded, groups and joins spill. Errors: [`DataError::Check`] for a check that cannot be made on this table.
pub fn check<'a>(
    checks: &'a [Check],
    subject: &'a CheckSubject,
    now: Timestamp,
    store: &'a Store,
    settings: &'a CheckSettings,
) -> BoxFuture<'a, Result<CheckReport, DataError>> {
    Box::pin(async move {
        let scratch = Scratch::new(&settings.scratch)?;
        let room = Room { order: Order::Fixed, memory_limit: settings.memory_limit, scratch: scratch.path() };
        let session = session(room.order, room.memory_limit, room.scratch, Joins::Hash)?;
        let table = PartsTable::open(store, &subject.tree, room.order).await?;
        let registered = session.register_table(TableReference::bare(TABLE), Arc::new(table));
        registered.map_err(|error| room.translation().error(&error))?;
        let desk = Desk { session, room, store, subject, settings };
        let mut outcomes: Vec<Option<CheckOutcome>> = rows::check(checks, now, &desk).await?;
        for (check, outcome) in checks.iter().zip(&mut outcomes) {
            match &check.rule {
                CheckRule::Unique(columns) => *outcome = Some(unique::check(check, columns, &desk).await?),
                CheckRule::ForeignKey(key) => *outcome = Some(foreign_key::check(check, key, &desk).await?),
                CheckRule::Sql(text) => *outcome = Some(sql::check(check, text, &desk).await?),
                _ => {}
            }
        }
        Ok(CheckReport { outcomes: outcomes.into_iter().flatten().collect() })
    })
}

/// What every kind of check works with.
pub(super) struct Desk<'a> {
    pub(super) session: SessionContext,
    pub(super) room: Room<'a>,
    pub(super) store: &'a Store,
    pub(super) subject: &'a CheckSubject,
    pub(super) settings: &'a CheckSettings,
}

impl Desk<'_> {
    /// The table under check, with plain columns.
    pub(super) async fn table(&self) -> Result<DataFrame, DataError> {
        let table = self.session.table(TableReference::bare(TABLE)).await.and_then(plain_columns);
        table.map_err(|error| self.room.translation().error(&error))
    }

    /// A column of the table under check by its exact name.
    pub(super) fn column(&self, check: &Check, schema: &SchemaRef, name: &str) -> Result<Expr, DataError> {
        if schema.field_with_name(name).is_ok() {
            return Ok(column(name));
        }
        let similar = crate::similar::similar(name, schema.fields().iter().map(|field| field.name().as_str()));
        let known = similar.first().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Err(self.wrong(check, format!("there is no column `{name}`{known}")))
    }

    pub(super) fn wrong(&self, check: &Check, reason: impl Into<String>) -> DataError {
        wrong(check, &self.subject.name, reason.into())
    }

    /// Starts a plan; mistakes in it are the check's.
    pub(super) async fn run(&self, check: &Check, plan: &LogicalPlan) -> Result<Running, DataError> {
        Running::start(plan, self.room).await.map_err(|error| self.mine(check, error))
    }

    /// An error of a plan that was made for `check`.
    pub(super) fn mine(&self, check: &Check, error: DataError) -> DataError {
        match error {
            DataError::Sql { message, .. } | DataError::Execution(message) | DataError::Overflow(message) => {
                self.wrong(check, message)
            }
            other => other,
        }
    }

    /// An error of DataFusion while a plan for `check` was made.
    pub(super) fn says(&self, check: &Check) -> impl Fn(datafusion::error::DataFusionError) -> DataError {
        move |error| self.mine(check, self.room.translation().error(&error))
    }

    /// The first rows of a plan, at most as many as are listed.
    pub(super) async fn sample(&self, check: &Check, plan: &LogicalPlan) -> Result<Option<RecordBatch>, DataError> {
        let mut running = self.run(check, plan).await?;
        let (mut kept, mut room) = (Vec::new(), self.settings.sample_rows);
        while room > 0
            && let Some(batch) = running.next().await?
        {
            let part = batch.slice(0, batch.num_rows().min(room));
            room -= part.num_rows();
            kept.push(part);
        }
        joined(running.schema(), &kept)
    }
}

/// The outcome of a rule about rows.
pub(super) fn outcome(check: &Check, offending: u64, sample: Option<RecordBatch>) -> CheckOutcome {
    let message = match offending {
        0 => "holds for every row".to_owned(),
        1 => "1 row breaks it".to_owned(),
        rows => format!("{rows} rows break it"),
    };
    let (title, severity) = (check.title(), check.severity);
    CheckOutcome { check: title, severity, passed: offending == 0, offending, message, until: None, sample }
}

fn wrong(check: &Check, dataset: &DatasetName, reason: String) -> DataError {
    DataError::Check { check: check.title(), dataset: dataset.to_string(), reason }
}

/// A column by its exact name, also one with dots or capitals.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(datafusion::common::Column::from_name(name))
}

/// Batches as one; none where there is no row.
pub(crate) fn joined(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Option<RecordBatch>, DataError> {
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    concat_batches(schema, batches).map(Some).map_err(DataError::arrow("join a sample"))
}
