use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ropewalk_data::{Check, CheckOutcome, CheckReport, CheckSettings, CheckSubject, QueryResult, Severity, check};
use ropewalk_pipeline::{
    Artifact, ArtifactKind, Executed, Failure, Outcome, Project, StageContext, StageKind, StageSpec,
};
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
/// Facts of the summary: until when it stands, in milliseconds, and the warnings in one line each.
const STANDS_UNTIL: &str = "stands_until";
const WARNED: &str = "warned";

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
        2
    }

    async fn fingerprint(&self, _: &StageSpec, _: &Project, _: &Store) -> Result<Value, Failure> {
        Ok(Value::Null)
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
        let warned: Vec<String> = report.broken(Severity::Warning).map(heading).collect();
        let mut summary = json!({ "checks": report.outcomes.len(), "warnings": warned.len(), WARNED: warned });
        if let Some(until) = report.stands_until() {
            summary[STANDS_UNTIL] = json!(until.millis());
        }
        Ok(Executed { outputs, summary, sources: Vec::new(), records: Vec::new() })
    }

    /// Freshness is a matter of time: rows that were new enough are looked at again when they may be too old.
    fn still_holds(&self, outcome: &Outcome) -> bool {
        let until = outcome.summary.get(STANDS_UNTIL).and_then(Value::as_i64);
        until.is_none_or(|until| self.ambient.now().millis() <= until)
    }

    fn said_again(&self, outcome: &Outcome) -> Vec<String> {
        let warned = outcome.summary.get(WARNED).and_then(Value::as_array);
        warned.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// The datasets that checks name, as this run has them.
fn others(context: &StageContext) -> BTreeMap<String, Digest> {
    let others = context.inputs.iter().filter(|(name, _)| *name != SUBJECT);
    others.map(|(name, input)| (name.clone(), input.artifact.digest)).collect()
}

/// A broken check in one line.
fn heading(outcome: &CheckOutcome) -> String {
    let severity = if outcome.severity == Severity::Warning { "warning" } else { "broken" };
    format!("{severity}: {}: {}", outcome.check, outcome.message)
}

/// The broken checks, each with its first offending rows.
pub(crate) fn described(report: &CheckReport) -> Result<String, ropewalk_data::DataError> {
    let mut text = String::new();
    for outcome in report.outcomes.iter().filter(|outcome| !outcome.passed) {
        let _ = write!(text, "\n{}", heading(outcome));
        if let Some(sample) = &outcome.sample {
            let rows = QueryResult { schema: sample.schema(), batches: vec![sample.clone()] };
            let _ = write!(text, "\n{}", rows.format_table()?);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use ropewalk_types::{ManualAmbient, RunId, Timestamp};

    use super::*;

    fn outcome(summary: Value) -> Outcome {
        Outcome {
            key: Digest::of(b"key"),
            stage: "check-f".parse().expect("name"),
            kind: "check".to_owned(),
            run: "0".repeat(32).parse::<RunId>().expect("id"),
            outputs: BTreeMap::new(),
            summary,
            milliseconds: 0,
            finished_at: Timestamp(0),
        }
    }

    #[test]
    fn an_outcome_holds_until_its_rows_are_too_old() {
        // Its time moves one millisecond a reading.
        let kind = CheckKind { ambient: Arc::new(ManualAmbient::starting_at(Timestamp(1000))), memory_limit: 0 };
        let fresh = outcome(json!({ STANDS_UNTIL: 1000 }));
        assert_eq!((kind.still_holds(&fresh), kind.still_holds(&fresh)), (true, false));
        assert!(kind.still_holds(&outcome(json!({ "checks": 1 }))), "no rule about the age of rows");
    }
}
