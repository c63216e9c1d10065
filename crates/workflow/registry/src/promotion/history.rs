use ropewalk_catalog::{CatalogError, Connection, FromRow, Row, query};
use ropewalk_types::{Alias, ModelName, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Promotion, PromotionRequest};
use crate::model::{counted, damaged, parsed, stored};
use crate::{GateOutcome, RegistryError, Target};

/// One attempt to move an alias or to change a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The alias or the stage.
    pub target: Target,
    /// The attempts on this target of this model, counted from 1.
    pub sequence: u64,
    /// The version that was to move there; none where the alias was taken away.
    pub version: Option<u64>,
    /// The version that was there before.
    pub previous: Option<u64>,
    /// Whether it was done.
    pub moved: bool,
    /// What had to hold.
    pub gate: Option<String>,
    /// What the gates said.
    pub outcome: GateOutcome,
    /// Who asked.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

struct Entry<'a> {
    model: i64,
    name: &'a str,
    target: String,
    version: Option<u64>,
    promotion: &'a Promotion,
    gate: Option<String>,
    who: &'a str,
    why: &'a str,
    at: Timestamp,
}

pub(super) async fn write(
    connection: &mut Connection,
    model: i64,
    request: &PromotionRequest,
    promotion: &Promotion,
    gate: Option<String>,
) -> Result<(), RegistryError> {
    let entry = Entry {
        model,
        name: request.name.as_str(),
        target: request.target.to_string(),
        version: Some(request.version),
        promotion,
        gate,
        who: &request.who,
        why: &request.why,
        at: request.at,
    };
    insert(connection, entry).await
}

/// That an alias was taken away from `version`.
pub(super) async fn write_removal(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    alias: &Alias,
    version: u64,
    (who, why): (&str, &str),
    at: Timestamp,
) -> Result<(), RegistryError> {
    let promotion = Promotion { moved: true, previous: Some(version), outcome: GateOutcome::free() };
    let (name, target) = (name.as_str(), alias.to_string());
    insert(connection, Entry { model, name, target, version: None, promotion: &promotion, gate: None, who, why, at })
        .await
}

async fn insert(connection: &mut Connection, entry: Entry<'_>) -> Result<(), RegistryError> {
    let outcome = serde_json::to_string(&entry.promotion.outcome);
    let outcome = outcome.map_err(|error| damaged(entry.name, "outcome", &error))?;
    let number = |version: Option<u64>| version.map(|version| stored("the version", version)).transpose();
    query(
        "INSERT INTO alias_history (model, name, target, sequence, version, previous, moved, gate, outcome, who, why, at)
         VALUES ($1, $2, $3,
                 (SELECT COALESCE(MAX(sequence), 0) + 1 FROM alias_history WHERE model = $1 AND target = $3),
                 $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(entry.model)
    .bind(entry.name)
    .bind(entry.target)
    .bind(number(entry.version)?)
    .bind(number(entry.promotion.previous)?)
    .bind(i64::from(entry.promotion.moved))
    .bind(entry.gate)
    .bind(outcome)
    .bind(entry.who)
    .bind(entry.why)
    .bind(entry.at.millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// The version that was at the target last and is still there, besides one; read from the history.
pub(super) async fn last_other(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    target: &Target,
    besides: Option<u64>,
) -> Result<Option<u64>, RegistryError> {
    let sql = "SELECT h.version FROM alias_history h
               JOIN model_version v ON v.model = h.model AND v.version = h.version
               WHERE h.model = $1 AND h.target = $2 AND h.moved = 1 AND h.version <> $3
               ORDER BY h.sequence DESC LIMIT 1";
    let besides = besides.map_or(Ok(0), |version| stored("the version", version))?;
    let found: Option<i64> =
        query(sql).bind(model).bind(target.to_string()).bind(besides).fetch_optional(connection).await?;
    found.map(|version| counted(name.as_str(), "version", version)).transpose()
}

struct ChangeRow {
    target: String,
    numbers: [i64; 3],
    versions: [Option<i64>; 2],
    gate: Option<String>,
    outcome: String,
    who: String,
    why: String,
}

impl FromRow for ChangeRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self {
            target: row.get(0)?,
            numbers: [row.get(1)?, row.get(2)?, row.get(3)?],
            versions: [row.get(4)?, row.get(5)?],
            gate: row.get(6)?,
            outcome: row.get(7)?,
            who: row.get(8)?,
            why: row.get(9)?,
        })
    }
}

/// All attempts to move an alias of the model or to change a stage, newest first; also of a model that was deleted,
/// and empty for a name that no model had.
pub async fn history(connection: &mut Connection, name: &ModelName) -> Result<Vec<Change>, RegistryError> {
    let sql = "SELECT target, sequence, moved, at, version, previous, gate, outcome, who, why
               FROM alias_history WHERE name = $1 ORDER BY at DESC, model DESC, target, sequence DESC";
    let rows: Vec<ChangeRow> = query(sql).bind(name.as_str()).fetch_all(connection).await?;
    rows.into_iter().map(|row| change_from(name.as_str(), row)).collect()
}

fn change_from(name: &str, row: ChangeRow) -> Result<Change, RegistryError> {
    let [sequence, moved, at] = row.numbers;
    let [version, previous] = row.versions;
    let number = |version: Option<i64>| version.map(|version| counted(name, "version", version)).transpose();
    Ok(Change {
        target: parsed(name, "target", &row.target)?,
        sequence: counted(name, "sequence", sequence)?,
        version: number(version)?,
        previous: number(previous)?,
        moved: moved == 1,
        gate: row.gate,
        outcome: serde_json::from_str(&row.outcome).map_err(|error| damaged(name, "outcome", &error))?,
        who: row.who,
        why: row.why,
        at: Timestamp(at),
    })
}
