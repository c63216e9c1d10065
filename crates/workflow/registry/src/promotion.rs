use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use ropewalk_types::{Alias, ModelName, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::model::{counted, damaged, parsed, stored};
use crate::version::{alias_get, version_get};
use crate::{Gate, GateOutcome, Metrics, ModelVersion, RegistryError};

/// Where the metrics of a registered version are read: the product gives the tracking of its run.
#[async_trait]
pub trait MetricSource: Send + Sync + Debug {
    /// The final value of each metric of the version's run. `connection` is inside the promotion's transaction;
    /// the error is a sentence for the person who promotes.
    async fn metrics(&self, connection: &mut AnyConnection, version: &ModelVersion) -> Result<Metrics, String>;
}

/// The wish to point an alias at a version.
#[derive(Clone, Debug)]
pub struct PromotionRequest {
    /// The registered model.
    pub name: ModelName,
    /// The version that the alias shall point at.
    pub version: u64,
    /// The alias.
    pub alias: Alias,
    /// What must hold; none for a move that a person decided.
    pub gate: Option<Gate>,
    /// The metrics of the version.
    pub candidate: Metrics,
    /// Who asks: a person, a stage.
    pub who: String,
    /// Why, in words.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// What became of a [`PromotionRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Whether the alias was moved by this request; false also when it already pointed at the version.
    pub moved: bool,
    /// The version that the alias pointed at before.
    pub previous: Option<u64>,
    /// What the gate said; without a gate it holds and lists nothing.
    pub outcome: GateOutcome,
}

/// Moves an alias to a version if the gate holds, in the caller's transaction.
///
/// The gate compares with the versions that its aliases point at now. Both a move and a refusal are kept in the
/// history. If the alias already points at the version, nothing moves and a gate that holds leaves no record; such a
/// gate compares with the predecessor that the version replaced, not with itself.
///
/// Errors: an unknown model or version, metrics that cannot be read, [`RegistryError::Conflict`]. A gate that does
/// not hold is no error.
pub async fn promote(
    connection: &mut AnyConnection,
    request: &PromotionRequest,
    metrics: &dyn MetricSource,
) -> Result<Promotion, RegistryError> {
    version_get(connection, &request.name, request.version).await?;
    let current = alias_get(connection, &request.name, &request.alias).await?.map(|version| version.version);
    let outcome = match &request.gate {
        Some(gate) => {
            let incumbents = incumbents(connection, request, gate, current, metrics).await?;
            gate.evaluate(&request.candidate, &incumbents)
        }
        None => GateOutcome { held: true, conditions: Vec::new() },
    };
    let there = current == Some(request.version);
    let promotion = Promotion { moved: outcome.held && !there, previous: current, outcome };
    if promotion.moved {
        alias_move(connection, request, current).await?;
    }
    if promotion.moved || !promotion.outcome.held {
        history_write(connection, request, &promotion).await?;
    }
    Ok(promotion)
}

/// The metrics of each version that an alias of the gate points at.
async fn incumbents(
    connection: &mut AnyConnection,
    request: &PromotionRequest,
    gate: &Gate,
    current: Option<u64>,
    metrics: &dyn MetricSource,
) -> Result<BTreeMap<Alias, Metrics>, RegistryError> {
    let mut incumbents = BTreeMap::new();
    for alias in gate.aliases() {
        let incumbent = if alias == request.alias && current == Some(request.version) {
            predecessor(connection, request).await?
        } else {
            alias_get(connection, &request.name, &alias).await?
        };
        if let Some(version) = incumbent {
            let read = metrics.metrics(connection, &version).await;
            let read = read.map_err(|reason| RegistryError::Metrics { version: version.uri(), reason })?;
            incumbents.insert(alias, read);
        }
    }
    Ok(incumbents)
}

/// The version that stood under the alias before the request's version did.
async fn predecessor(
    connection: &mut AnyConnection,
    request: &PromotionRequest,
) -> Result<Option<ModelVersion>, RegistryError> {
    let sql = "SELECT previous FROM alias_history WHERE model = $1 AND alias = $2 AND version = $3 AND moved = 1
               ORDER BY sequence DESC LIMIT 1";
    let previous: Option<Option<i64>> = sqlx::query_scalar(sql)
        .bind(request.name.as_str())
        .bind(request.alias.as_str())
        .bind(stored("the version", request.version)?)
        .fetch_optional(&mut *connection)
        .await?;
    match previous.flatten() {
        Some(version) => {
            let version = counted(request.name.as_str(), "previous", version)?;
            version_get(connection, &request.name, version).await.map(Some)
        }
        None => Ok(None),
    }
}

/// Compare and swap: where writers are not serialised, the one that looked at a stale incumbent loses.
async fn alias_move(
    connection: &mut AnyConnection,
    request: &PromotionRequest,
    current: Option<u64>,
) -> Result<(), RegistryError> {
    let insert = "INSERT INTO model_alias (model, alias, version) VALUES ($1, $2, $3)
                  ON CONFLICT (model, alias) DO NOTHING";
    let update = "UPDATE model_alias SET version = $3 WHERE model = $1 AND alias = $2 AND version = $4";
    let statement = sqlx::query(if current.is_some() { update } else { insert })
        .bind(request.name.as_str())
        .bind(request.alias.as_str())
        .bind(stored("the version", request.version)?);
    let statement = match current {
        Some(current) => statement.bind(stored("the version", current)?),
        None => statement,
    };
    if statement.execute(connection).await?.rows_affected() == 1 {
        Ok(())
    } else {
        Err(RegistryError::Conflict { name: request.name.clone(), alias: request.alias.clone() })
    }
}

async fn history_write(
    connection: &mut AnyConnection,
    request: &PromotionRequest,
    promotion: &Promotion,
) -> Result<(), RegistryError> {
    let model = request.name.as_str();
    let outcome = serde_json::to_string(&promotion.outcome).map_err(|error| damaged(model, "outcome", &error))?;
    sqlx::query(
        "INSERT INTO alias_history (model, alias, sequence, version, previous, moved, gate, outcome, who, why, at)
         VALUES ($1, $2,
                 (SELECT COALESCE(MAX(sequence), 0) + 1 FROM alias_history WHERE model = $1 AND alias = $2),
                 $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(model)
    .bind(request.alias.as_str())
    .bind(stored("the version", request.version)?)
    .bind(promotion.previous.map(|previous| stored("the version", previous)).transpose()?)
    .bind(i64::from(promotion.moved))
    .bind(request.gate.as_ref().map(Gate::text))
    .bind(outcome)
    .bind(request.who.as_str())
    .bind(request.why.as_str())
    .bind(request.at.millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// One attempt to move an alias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AliasChange {
    /// The alias.
    pub alias: Alias,
    /// The attempts on this alias of this model, counted from 1.
    pub sequence: u64,
    /// The version that was to be pointed at.
    pub version: u64,
    /// The version that was pointed at before.
    pub previous: Option<u64>,
    /// Whether the alias moved.
    pub moved: bool,
    /// The gate's text.
    pub gate: Option<String>,
    /// What the gate said.
    pub outcome: GateOutcome,
    /// Who asked.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// All attempts to move an alias of the model, newest first; empty for a model that is not there.
pub async fn alias_history(
    connection: &mut AnyConnection,
    name: &ModelName,
) -> Result<Vec<AliasChange>, RegistryError> {
    let sql = "SELECT model, alias, sequence, version, previous, moved, gate, outcome, who, why, at
               FROM alias_history WHERE model = $1 ORDER BY at DESC, alias, sequence DESC";
    let rows = sqlx::query(sql).bind(name.as_str()).fetch_all(connection).await?;
    rows.iter().map(change_from).collect()
}

fn change_from(row: &AnyRow) -> Result<AliasChange, RegistryError> {
    let model: String = row.try_get("model")?;
    let number = |column: &str| counted(&model, column, row.try_get(column)?);
    let previous: Option<i64> = row.try_get("previous")?;
    let outcome: String = row.try_get("outcome")?;
    Ok(AliasChange {
        alias: parsed(&model, "alias", &row.try_get::<String, _>("alias")?)?,
        sequence: number("sequence")?,
        version: number("version")?,
        previous: previous.map(|previous| counted(&model, "previous", previous)).transpose()?,
        moved: number("moved")? == 1,
        gate: row.try_get("gate")?,
        outcome: serde_json::from_str(&outcome).map_err(|error| damaged(&model, "outcome", &error))?,
        who: row.try_get("who")?,
        why: row.try_get("why")?,
        at: Timestamp(row.try_get("at")?),
    })
}

#[cfg(test)]
mod tests;
