use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use async_trait::async_trait;
use ropewalk_data::{TransformSettings, transform};
use ropewalk_store::{Store, files};
use ropewalk_types::{DatasetName, Diagnose, Digest, Zone};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlparser::ast::visit_relations;
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use ropewalk_pipeline::{Executed, Failure, Project, StageContext, StageKind, StageSpec};

use super::ingest::MadeDataset;

/// Longest SQL text that is read, in bytes.
const LONGEST_TEXT: u64 = 1 << 20;

/// SQL over datasets makes a dataset.
#[derive(Debug)]
pub(crate) struct SqlKind {
    /// Bytes that a query may hold in memory before it spills.
    pub(crate) memory_limit: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct SqlSettings {
    path: PathBuf,
    out: DatasetName,
}

/// SQL whose tables cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("the SQL cannot be read: {0}")]
pub(crate) struct SqlTextError(String);

impl Diagnose for SqlTextError {
    fn code(&self) -> &'static str {
        "pipeline.sql"
    }

    fn hint(&self) -> Option<String> {
        Some("a stage's file holds one SELECT".to_owned())
    }
}

/// The names of the tables that a text of SQL reads, common table expressions among them.
pub(crate) fn referenced_tables(sql: &str) -> Result<BTreeSet<String>, SqlTextError> {
    let statements = Parser::parse_sql(&GenericDialect {}, sql).map_err(|error| SqlTextError(error.to_string()))?;
    let mut tables = BTreeSet::new();
    let _: ControlFlow<()> = visit_relations(&statements, |name| {
        tables.insert(name.to_string().trim_matches('"').to_owned());
        ControlFlow::Continue(())
    });
    Ok(tables)
}

#[async_trait]
impl StageKind for SqlKind {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn revision(&self) -> u32 {
        1
    }

    async fn fingerprint(&self, spec: &StageSpec, project: &Project, _: &Store) -> Result<Value, Failure> {
        let settings: SqlSettings = spec.settings()?;
        let text = files::read_bounded(&project.root.join(&settings.path), LONGEST_TEXT)?;
        Ok(json!({ "sql": Digest::of(&text) }))
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let settings: SqlSettings = spec.settings()?;
        let text = files::read_bounded(&context.project.root.join(&settings.path), LONGEST_TEXT)?;
        let sql = String::from_utf8(text).map_err(|_| SqlTextError("it is not UTF-8".to_owned()))?;
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
        };
        Ok(dataset.executed(context, summary))
    }
}

#[cfg(test)]
mod tests {
    use super::referenced_tables;

    #[test]
    fn tables_are_found_wherever_they_stand() {
        let sql = "WITH late AS (SELECT * FROM flights) SELECT (SELECT max(t) FROM \"Weather\") FROM late JOIN planes USING (tailnum)";
        let tables: Vec<String> = referenced_tables(sql).expect("sql").into_iter().collect();
        assert_eq!(tables, ["Weather", "flights", "late", "planes"]);
        assert!(referenced_tables("SELEC 1").is_err());
    }
}
