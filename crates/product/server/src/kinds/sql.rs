use std::path::PathBuf;

use async_trait::async_trait;
use ropewalk_data::{DataError, TransformSettings, transform};
use ropewalk_store::{Store, files};
use ropewalk_types::{DatasetName, Diagnose, Digest, Zone};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use ropewalk_pipeline::{Executed, Failure, Project, StageContext, StageKind, StageSpec};

use super::ingest::MadeDataset;

/// Longest SQL text that is read, in bytes.
const LONGEST_TEXT: u64 = 1 << 20;

/// SQL over datasets makes a dataset.
#[derive(Debug)]
pub(crate) struct SqlKind {
    /// Bytes that a query may hold in memory before it spills.
    pub(crate) memory_limit: usize,
    /// Who is named in the audit trail.
    pub(crate) who: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct SqlSettings {
    path: PathBuf,
    out: DatasetName,
}

/// A file of SQL that is no text.
#[derive(Debug, thiserror::Error)]
#[error("the SQL in `{}` cannot be read: it is not UTF-8", .0.display())]
pub(crate) struct SqlTextError(PathBuf);

impl Diagnose for SqlTextError {
    fn code(&self) -> &'static str {
        "pipeline.sql"
    }

    fn hint(&self) -> Option<String> {
        Some("a stage's file holds one SELECT".to_owned())
    }
}

/// A query of a stage that failed. The memory that it may hold is not its author's to choose.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct QueryError(pub(super) DataError);

impl Diagnose for QueryError {
    fn code(&self) -> &'static str {
        self.0.code()
    }

    fn hint(&self) -> Option<String> {
        match &self.0 {
            DataError::Memory { .. } => Some(
                "select fewer columns before the join or sort, or make what it joins or sorts smaller in a stage before it"
                    .to_owned(),
            ),
            error => error.hint(),
        }
    }
}

#[async_trait]
impl StageKind for SqlKind {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn revision(&self) -> u32 {
        3
    }

    async fn fingerprint(&self, spec: &StageSpec, project: &Project, _: &Store) -> Result<Value, Failure> {
        let settings: SqlSettings = spec.settings()?;
        let text = files::read_bounded(&project.root.join(&settings.path), LONGEST_TEXT)?;
        Ok(json!({ "sql": Digest::of(&text) }))
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: SqlSettings = spec.settings()?;
        let text = files::read_bounded(&context.project.root.join(&settings.path), LONGEST_TEXT)?;
        let sql = String::from_utf8(text).map_err(|_| SqlTextError(settings.path.clone()))?;
        let inputs = context.inputs.iter().map(|(name, input)| (name.clone(), input.artifact.digest)).collect();
        let mut limits = TransformSettings::new(context.scratch.clone());
        limits.memory_limit = self.memory_limit;
        let made = transform(&sql, &inputs, &context.store, &limits).await.map_err(QueryError)?;
        let summary = json!({ "rows": made.rows, "columns": made.columns.len(), "bytes": made.bytes });
        let dataset = MadeDataset {
            name: settings.out,
            zone: Zone::Processed,
            digest: made.tree,
            rows: made.rows,
            columns: made.columns,
            bytes: made.bytes,
            quarantined: 0,
            who: self.who.clone(),
        };
        Ok(dataset.executed(context, summary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_told_what_it_can_do_about_memory() {
        for least in [None, Some(2_000_000)] {
            let error = QueryError(DataError::Memory { limit: 1_000_000, least, reason: "a sort".to_owned() });
            let hint = error.hint().unwrap();
            assert!(hint.contains("fewer columns") && !hint.contains("--memory"), "{hint}");
        }
        assert_eq!(QueryError(DataError::TooManyRows { limit: 1 }).hint().as_deref(), Some("add a LIMIT"));
    }
}
