use std::path::PathBuf;

use async_trait::async_trait;
use ropewalk_data::{TransformSettings, transform};
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

#[async_trait]
impl StageKind for SqlKind {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn revision(&self) -> u32 {
        2
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
        let made = transform(&sql, &inputs, &context.store, &limits).await?;
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
