use std::collections::BTreeMap;

use ropewalk_catalog::{Catalog, CatalogError, Connection, FromRow, Row, query};
use ropewalk_types::{Digest, RunId, StageName, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::{Artifact, PipelineError};

/// What a key once made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The key.
    pub key: Digest,
    /// The stage's name when it ran.
    pub stage: StageName,
    /// Its kind.
    pub kind: String,
    /// The run that made it.
    pub run: RunId,
    /// What it made, by output name.
    pub outputs: BTreeMap<String, Artifact>,
    /// Facts for people and programs.
    pub summary: Value,
    /// How long it took, in milliseconds.
    pub milliseconds: i64,
    /// When it ended.
    pub finished_at: Timestamp,
}

const COLUMNS: &str = "key, stage, kind, run, outputs, summary, milliseconds, finished_at";

/// The outcome of `key`, if it is known.
pub async fn outcome_get(catalog: &Catalog, key: &Digest) -> Result<Option<Outcome>, PipelineError> {
    let row: Option<OutcomeRow> = query(format!("SELECT {COLUMNS} FROM stage_outcome WHERE key = $1"))
        .bind(key.to_string())
        .read_optional(catalog)
        .await?;
    row.map(|row| row.0).transpose()
}

/// Every outcome, newest first.
pub async fn outcome_list(catalog: &Catalog, limit: u32) -> Result<Vec<Outcome>, PipelineError> {
    let sql = format!("SELECT {COLUMNS} FROM stage_outcome ORDER BY finished_at DESC, key LIMIT $1");
    let rows: Vec<OutcomeRow> = query(sql).bind(i64::from(limit)).read_all(catalog).await?;
    rows.into_iter().map(|row| row.0).collect()
}

/// The outcomes of the stage `name`, newest first.
pub async fn outcome_list_of(catalog: &Catalog, name: &StageName) -> Result<Vec<Outcome>, PipelineError> {
    let sql = format!("SELECT {COLUMNS} FROM stage_outcome WHERE stage = $1 ORDER BY finished_at DESC, key");
    let rows: Vec<OutcomeRow> = query(sql).bind(name.to_string()).read_all(catalog).await?;
    rows.into_iter().map(|row| row.0).collect()
}

/// Writes the outcome of a key in the caller's transaction; what was known of the key before is replaced.
pub(crate) async fn outcome_put(connection: &mut Connection, outcome: &Outcome) -> Result<(), PipelineError> {
    query(
        "INSERT INTO stage_outcome (key, stage, kind, run, outputs, summary, milliseconds, finished_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (key) DO UPDATE SET stage = excluded.stage, run = excluded.run, outputs = excluded.outputs,
             summary = excluded.summary, milliseconds = excluded.milliseconds, finished_at = excluded.finished_at",
    )
    .bind(outcome.key.to_string())
    .bind(outcome.stage.to_string())
    .bind(outcome.kind.clone())
    .bind(outcome.run.to_string())
    .bind(json(outcome, &outcome.outputs)?)
    .bind(json(outcome, &outcome.summary)?)
    .bind(outcome.milliseconds)
    .bind(outcome.finished_at.millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets the outcome of a key and which checkpoints it had, in the caller's transaction: a run executes it again.
///
/// False is given when nothing was known of the key. Lineage and the runs stay.
pub async fn outcome_forget(connection: &mut Connection, key: &Digest) -> Result<bool, PipelineError> {
    let mut known = false;
    for statement in ["DELETE FROM stage_pieces WHERE key = $1", "DELETE FROM stage_outcome WHERE key = $1"] {
        let done = query(statement).bind(key.to_string()).execute(&mut *connection).await;
        known = done? > 0;
    }
    Ok(known)
}

fn json(outcome: &Outcome, value: &impl Serialize) -> Result<String, PipelineError> {
    serde_json::to_string(value)
        .map_err(|error| PipelineError::Outcome { stage: outcome.stage.to_string(), reason: error.to_string() })
}

/// An outcome as it was read, damaged or not.
struct OutcomeRow(Result<Outcome, PipelineError>);

impl FromRow for OutcomeRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self(read(row)))
    }
}

fn read(row: &Row<'_>) -> Result<Outcome, PipelineError> {
    let text = |column: &str| row.named::<String>(column);
    let number = |column: &str| row.named::<i64>(column);
    let stage = text("stage")?;
    let wrong =
        |reason: &dyn std::fmt::Display| PipelineError::Outcome { stage: stage.clone(), reason: reason.to_string() };
    Ok(Outcome {
        key: text("key")?.parse().map_err(|e| wrong(&e))?,
        stage: stage.parse().map_err(|e| wrong(&e))?,
        kind: text("kind")?,
        run: text("run")?.parse().map_err(|e| wrong(&e))?,
        outputs: serde_json::from_str(&text("outputs")?).map_err(|e| wrong(&e))?,
        summary: serde_json::from_str(&text("summary")?).map_err(|e| wrong(&e))?,
        milliseconds: number("milliseconds")?,
        finished_at: Timestamp(number("finished_at")?),
    })
}
