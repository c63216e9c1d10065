mod logs;

pub(crate) use logs::PREDICTIONS;

use std::collections::BTreeSet;
use std::io::Write;

use arrow::array::RecordBatch;
use ropewalk_data::{
    Answer, AnswerFormat, AuditAction, DatasetVersion, Description, DiffSettings, FileAccess, QueryLimits, QueryResult,
    QueryTables, TableDiff, TableMention, describe, describe_query, query_stream, referenced_tables, table_diff,
    version_list, write_answer,
};
use ropewalk_ingest::{Scratch, TableReport, quarantine, report};
use ropewalk_lineage::{LineageError, Relation, Step, upstream};
use ropewalk_store::TreeEntry;
use ropewalk_types::{DatasetName, Digest, Uri};
use ropewalk_versions::{Dataset, Problem};
use serde_json::{Value, json};

use crate::{OpenProject, ServerError};

impl OpenProject {
    pub(crate) fn query_limits(&self) -> QueryLimits {
        QueryLimits::new(self.state().join("scratch"))
    }

    /// Every version of every dataset, newest first in each.
    pub async fn datasets(&self) -> Result<Vec<DatasetVersion>, ServerError> {
        Ok(version_list(&self.catalog, None).await?)
    }

    /// Every tracked file and folder of the project, as its `.dataset` file has it, with what is wrong with one beside the
    /// others.
    pub async fn tracked(&self) -> Result<Vec<Result<Dataset, Problem>>, ServerError> {
        Ok(self.workspace().datasets().await?)
    }

    /// What a version of a dataset holds, and the rows of its sources that it does not hold, with the reason.
    ///
    /// `version` is `latest`, a digest or the beginning of one. The second value is none where every row fits.
    pub async fn dataset_report(
        &self,
        name: &DatasetName,
        version: &str,
    ) -> Result<(DatasetVersion, TableReport, Option<QueryResult>), ServerError> {
        let version = self.version_to_read(name, version, json!({ "what": "report" })).await?;
        let report = report(&self.store, &version.digest).await?;
        let batches = quarantine(&self.store, &version.digest).await?;
        let aside = batches.first().map(RecordBatch::schema).map(|schema| QueryResult { schema, batches });
        Ok((version, report, aside))
    }

    /// What the stage that made a version of a table read: files, places and datasets. Nothing where its lineage is longer
    /// than what is walked.
    pub async fn dataset_sources(&self, version: &DatasetVersion) -> Result<Vec<Uri>, ServerError> {
        let uri = Uri::Data { name: version.name.clone(), version: version.digest.to_string() };
        let steps = match upstream(&self.catalog, &uri).await {
            Err(LineageError::TooDeep { .. }) => return Ok(Vec::new()),
            steps => steps?,
        };
        let makers: BTreeSet<&Uri> =
            steps.iter().filter(|step| step.link.child == uri).map(|step| &step.link.parent).collect();
        let read = |step: &&Step| step.link.relation == Relation::Read && makers.contains(&step.link.child);
        let sources: BTreeSet<Uri> = steps.iter().filter(read).map(|step| step.link.parent.clone()).collect();
        Ok(sources.into_iter().collect())
    }

    /// Answers a question in SQL and writes the answer.
    ///
    /// Tables are datasets (`NAME`, in its latest version, or `NAME@VERSION`), files of the project (`'PATH'`), and
    /// `runs`, `run_params`, `run_metrics` and `predictions`, where no dataset has such a name.
    pub async fn sql(&self, question: &Question, output: Box<dyn Write + Send>) -> Result<Answer, ServerError> {
        let mut limits = self.query_limits();
        limits.memory_limit = question.memory_limit;
        let scratch = Scratch::new(&limits.scratch)?;
        let access = FileAccess::inside(&self.root);
        let mut tables = QueryTables::default().with_files(access.clone());
        let wanted = self.logs_named(&question.sql).await?;
        if wanted.contains(&PREDICTIONS) {
            let details = json!({ "log": PREDICTIONS, "sql": question.sql });
            self.audit_predictions(AuditAction::Query, details).await?;
        }
        let files = self.logs_add(&mut tables, &wanted, &scratch).await?;
        for version in self.tables_resolve(&mut tables, &question.sql).await? {
            self.content_here(&version).await?;
            self.audit_version(AuditAction::Query, &version, json!({ "sql": question.sql })).await?;
        }
        self.audit_files(AuditAction::Query, &question.sql, &access, &json!({ "sql": question.sql })).await?;
        let stream = query_stream(&question.sql, &tables, &self.store, &limits).await?;
        let answer = write_answer(stream, question.format, question.rows, output).await?;
        drop(files);
        Ok(answer)
    }

    /// Answers a question over the latest versions of datasets, and holds the answer in memory.
    pub async fn ask(&self, sql: &str) -> Result<QueryResult, ServerError> {
        let mut tables = QueryTables::default();
        for version in self.tables_resolve(&mut tables, sql).await? {
            self.content_here(&version).await?;
            self.audit_version(AuditAction::Query, &version, json!({ "sql": sql })).await?;
        }
        let limits = self.query_limits();
        let rows = limits.rows;
        Ok(query_stream(sql, &tables, &self.store, &limits).await?.collect(rows).await?)
    }

    async fn tables_resolve(&self, tables: &mut QueryTables, sql: &str) -> Result<Vec<DatasetVersion>, ServerError> {
        match tables.resolve(sql, &self.catalog).await {
            Ok(versions) => Ok(versions),
            Err(error) => Err(self.not_a_table(error).await),
        }
    }

    /// The logs that `sql` names and no dataset is called.
    async fn logs_named(&self, sql: &str) -> Result<Vec<&'static str>, ServerError> {
        let mentions = referenced_tables(sql)?;
        let names: Vec<&str> = mentions
            .iter()
            .filter_map(|mention| match mention {
                TableMention::Table { name, version: None } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let mut wanted: Vec<&'static str> = logs::NAMES.into_iter().filter(|name| names.contains(name)).collect();
        if !wanted.is_empty() {
            let datasets = self.datasets().await?;
            wanted.retain(|name| !datasets.iter().any(|version| version.name.as_str() == *name));
        }
        Ok(wanted)
    }

    /// A file of a version of a table, such as `report.json` or `data/part-0000.parquet`: its digest and size.
    pub async fn dataset_file(
        &self,
        name: &DatasetName,
        version: &str,
        path: &str,
    ) -> Result<(Digest, u64), ServerError> {
        let version = self.table_version(name, version).await?;
        self.content_here(&version).await?;
        match self.store.tree_find(&version.digest, path).await? {
            Some(TreeEntry::File { digest, size, .. }) => {
                self.audit_version(AuditAction::Read, &version, json!({ "file": path })).await?;
                Ok((digest, size))
            }
            _ => Err(ServerError::Unknown {
                what: format!("version {} of `{name}` has no file `{path}`", version.digest.short()),
                hint: "its files are report.json, data/part-0000.parquet and so on, and quarantine.parquet".to_owned(),
            }),
        }
    }

    /// A version whose rows somebody is about to see, which the audit trail knows before they do.
    pub(crate) async fn version_to_read(
        &self,
        name: &DatasetName,
        version: &str,
        details: Value,
    ) -> Result<DatasetVersion, ServerError> {
        let version = self.table_version(name, version).await?;
        self.content_here(&version).await?;
        self.audit_version(AuditAction::Read, &version, details).await?;
        Ok(version)
    }

    /// Writes into the audit trail that files are about to be read which `sql` names by their paths and which are tracked.
    async fn audit_files(
        &self,
        action: AuditAction,
        sql: &str,
        access: &FileAccess,
        details: &Value,
    ) -> Result<(), ServerError> {
        let mut files = Vec::new();
        for mention in referenced_tables(sql)? {
            // Of files that cannot be read nothing is; whoever would read them says why.
            if let TableMention::File { path } = mention
                && let Ok(found) = access.files(&path).await
            {
                files.extend(found);
            }
        }
        if files.is_empty() {
            return Ok(());
        }
        let at = self.ambient.now();
        self.holders().audit_files(action, files, at, details).await.map_err(ServerError::Part)
    }

    async fn audit_version(
        &self,
        action: AuditAction,
        version: &DatasetVersion,
        details: Value,
    ) -> Result<(), ServerError> {
        let object = Uri::Data { name: version.name.clone(), version: version.digest.to_string() };
        self.audit(action, &object, details).await
    }

    /// The version of a table that was the latest before the one that is.
    ///
    /// # Errors
    /// There is none: the table has one version, or the others were removed.
    pub async fn table_before(&self, name: &DatasetName) -> Result<Digest, ServerError> {
        let latest = self.table_version(name, "latest").await?.digest;
        let versions = version_list(&self.catalog, Some(name)).await?;
        let before = versions.into_iter().map(|version| version.digest).find(|digest| *digest != latest);
        before.ok_or_else(|| ServerError::Unknown {
            what: format!("`{name}` has one version, and none before it to compare with"),
            hint: format!("`ropewalk data diff {name} OTHER` compares it with another table"),
        })
    }

    /// What is different between two versions of tables; `key` are columns that identify a row.
    pub async fn table_diff(
        &self,
        before: (&DatasetName, &str),
        after: (&DatasetName, &str),
        key: &[String],
    ) -> Result<TableDiff, ServerError> {
        let what = json!({ "what": "diff" });
        let before = self.version_to_read(before.0, before.1, what.clone()).await?.digest;
        let after = self.version_to_read(after.0, after.1, what).await?.digest;
        let settings = DiffSettings::new(self.state().join("scratch"));
        let key = Some(key).filter(|key| !key.is_empty());
        Ok(table_diff(&self.store, &before, &after, key, &settings).await?)
    }

    /// What files of the project look like, column by column; `pattern` is what a query may have in quotes.
    pub async fn describe_files(&self, pattern: &str) -> Result<Description, ServerError> {
        let access = FileAccess::inside(&self.root);
        let tables = QueryTables::default().with_files(access.clone());
        let sql = format!("SELECT * FROM '{}'", pattern.replace('\'', "''"));
        self.audit_files(AuditAction::Read, &sql, &access, &json!({ "what": "describe" })).await?;
        Ok(describe_query(&sql, &tables, &self.store, &self.query_limits()).await?)
    }

    /// What a version of a table looks like, column by column.
    pub async fn describe(&self, name: &DatasetName, version: &str) -> Result<Description, ServerError> {
        let version = self.version_to_read(name, version, json!({ "what": "describe" })).await?;
        Ok(describe(&version.digest, &self.store, &self.query_limits()).await?)
    }
}

/// A question in SQL.
#[derive(Clone, Debug)]
pub struct Question {
    /// One SELECT.
    pub sql: String,
    /// How the answer is written.
    pub format: AnswerFormat,
    /// Rows at most, of a table for people.
    pub rows: usize,
    /// Bytes that joins, sorts and groups may hold before they spill to disk.
    pub memory_limit: usize,
}
