use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ropewalk_data::{Check, CheckReport, CheckRule, CheckSettings, CheckSubject, QueryResult, Severity, check};
use ropewalk_pipeline::{Artifact, ArtifactKind, Executed, Failure, Project, StageContext, StageKind, StageSpec};
use ropewalk_store::Store;
use ropewalk_types::{Ambient, DatasetName, Diagnose, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::sql::QueryError;
use crate::ServerError;

/// The input that is checked; the others are datasets that checks name.
pub(crate) const SUBJECT: &str = "subject";
/// The name of the report among the outputs and the artifacts of the run.
const REPORT: &str = "checks.json";
const HOUR: i64 = 3_600_000;

/// What must hold of a dataset is looked at before anything reads it.
#[derive(Debug)]
pub(crate) struct CheckKind {
    pub(crate) ambient: Arc<dyn Ambient>,
    /// Bytes that a check may hold in memory before it spills.
    pub(crate) memory_limit: usize,
}

/// The checks of one dataset.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeclaredChecks {
    pub(crate) dataset: DatasetName,
    pub(crate) checks: Vec<Check>,
}

/// The checks that a table of the project file declares; `place` is that table.
pub(crate) fn declared(place: &str, tables: &[Map<String, Value>]) -> Result<Vec<Check>, ServerError> {
    let read = |(number, table): (usize, &Map<String, Value>)| {
        serde_json::from_value(Value::Object(table.clone())).map_err(|error| ServerError::Unknown {
            what: format!("check {} of [{place}] is wrong: {error}", number + 1),
            hint: "see docs/reference/checks.md".to_owned(),
        })
    };
    tables.iter().enumerate().map(read).collect()
}

/// Checks that do not hold.
#[derive(Debug, thiserror::Error)]
struct ChecksBroken {
    dataset: DatasetName,
    text: String,
}

impl fmt::Display for ChecksBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dataset `{}` is not as it was declared{}", self.dataset, self.text)
    }
}

impl Diagnose for ChecksBroken {
    fn code(&self) -> &'static str {
        "data.check"
    }

    fn hint(&self) -> Option<String> {
        let dataset = &self.dataset;
        Some(format!("mend the source, or the checks of `{dataset}`; `ropewalk data check {dataset}` shows them all"))
    }
}

#[async_trait]
impl StageKind for CheckKind {
    fn name(&self) -> &'static str {
        "check"
    }

    fn revision(&self) -> u32 {
        1
    }

    async fn fingerprint(&self, spec: &StageSpec, _: &Project, _: &Store) -> Result<Value, Failure> {
        let settings: DeclaredChecks = spec.settings()?;
        // Freshness is a matter of time: the same rows are looked at again every hour.
        let timely = settings.checks.iter().any(|check| matches!(check.rule, CheckRule::Freshness(_)));
        Ok(json!({ "hour": timely.then(|| self.ambient.now().millis() / HOUR) }))
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let DeclaredChecks { dataset, checks } = spec.settings()?;
        let subject = CheckSubject {
            name: dataset.clone(),
            tree: context.input(SUBJECT)?.artifact.digest,
            others: others(context),
        };
        let mut settings = CheckSettings::new(PathBuf::from(&context.scratch));
        settings.memory_limit = self.memory_limit;
        let report = check(&checks, &subject, context.ambient.now(), &context.store, &settings).await;
        let report = report.map_err(QueryError)?;
        let told = described(&report)?;
        if !report.passed() {
            return Err(ChecksBroken { dataset, text: told }.into());
        }
        for line in told.lines().filter(|line| !line.is_empty()) {
            context.reporter.said(line);
        }
        let bytes = ropewalk_types::canonical_json(&json!(report)).into_bytes();
        let size = bytes.len() as u64;
        let blob = context.store.put_bytes(bytes.into()).await?;
        let kind = ArtifactKind::File { path: REPORT.to_owned() };
        let outputs = BTreeMap::from([("report".to_owned(), Artifact { kind, digest: blob.digest, size })]);
        let warnings = report.broken(Severity::Warning).count();
        let summary = json!({ "checks": report.outcomes.len(), "warnings": warnings });
        Ok(Executed { outputs, summary, sources: Vec::new(), records: Vec::new() })
    }
}

/// The datasets that checks name, as this run has them.
fn others(context: &StageContext) -> BTreeMap<String, Digest> {
    let others = context.inputs.iter().filter(|(name, _)| *name != SUBJECT);
    others.map(|(name, input)| (name.clone(), input.artifact.digest)).collect()
}

/// The broken checks, each with its first offending rows.
pub(crate) fn described(report: &CheckReport) -> Result<String, ropewalk_data::DataError> {
    let mut text = String::new();
    for outcome in report.outcomes.iter().filter(|outcome| !outcome.passed) {
        let severity = if outcome.severity == Severity::Warning { "warning" } else { "broken" };
        let _ = write!(text, "\n{severity}: {}: {}", outcome.check, outcome.message);
        if let Some(sample) = &outcome.sample {
            let rows = QueryResult { schema: sample.schema(), batches: vec![sample.clone()] };
            let _ = write!(text, "\n{}", rows.format_table()?);
        }
    }
    Ok(text)
}
