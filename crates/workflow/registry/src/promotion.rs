mod history;
mod judge;

use std::collections::BTreeMap;

use ropewalk_catalog::{Connection, query};
use ropewalk_types::{Alias, ModelName, Timestamp};
use serde::{Deserialize, Serialize};

pub use history::{Change, history};
use judge::Verdict;

use crate::alias::alias_points;
use crate::declared::gate_of;
use crate::model::{counted, stored};
use crate::registered::model_id;
use crate::version::version_get;
use crate::{Evidence, Gate, GateOutcome, Interface, ModelVersion, RegistryError, Stage, Target};

/// The wish that a version becomes what `target` says.
#[derive(Clone, Debug)]
pub struct PromotionRequest {
    /// The registered model.
    pub name: ModelName,
    /// The version that shall move.
    pub version: u64,
    /// The alias that shall point at it, or its stage.
    pub target: Target,
    /// What must hold besides what is declared for the target.
    pub gate: Option<Gate>,
    /// Whether the other versions in the stage go to the archive.
    pub archive: bool,
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
    /// Whether the version was moved by this request; false also when it was there already.
    pub moved: bool,
    /// The version that was there before; of a stage, the newest other one.
    pub previous: Option<u64>,
    /// What the gates said; without a gate it holds and lists nothing.
    pub outcome: GateOutcome,
}

/// What is known of the interfaces of versions whose bytes the catalogue does not know, by their numbers.
pub type Interfaces = BTreeMap<u64, Result<Interface, String>>;

/// Whether a [`PromotionRequest`] could be judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Attempt {
    /// It was, and what follows from it is done.
    Judged(Promotion),
    /// Nothing was done: what this version takes and gives has to be read first, outside of the transaction.
    Reads(Box<ModelVersion>),
}

/// Points an alias at a version, or changes its stage, if every gate holds; in the caller's transaction.
///
/// The gates compare with the versions that their aliases point at now; where an alias was taken away, with the one
/// that it pointed at last, so that taking it away opens no way past the gate. Both a move and a refusal are kept in
/// the history. If the version is there already, nothing moves and a gate that holds leaves no record; such a gate
/// compares with the predecessor that the version replaced, not with itself.
///
/// Errors: an unknown model or version, metrics that cannot be read, an archive that is asked for a stage that has
/// none. A gate that does not hold is no error here: the caller's transaction has to keep the record of it.
pub async fn promote(
    connection: &mut Connection,
    request: &PromotionRequest,
    evidence: &dyn Evidence,
    interfaces: &Interfaces,
) -> Result<Attempt, RegistryError> {
    if let Target::Stage(stage) = request.target
        && request.archive
        && !stage.is_active()
    {
        let reason = format!("versions in {stage} are not in use; only those in Staging or Production are archived");
        return Err(RegistryError::Invalid { parameter: "archive_existing_versions", reason });
    }
    let model = model_id(connection, &request.name).await?;
    let candidate = version_get(connection, &request.name, request.version).await?;
    let (there, previous) = match &request.target {
        Target::Alias(alias) => {
            let current = alias_points(connection, model, &request.name, alias).await?;
            (current == Some(request.version), current)
        }
        Target::Stage(stage) => {
            let newest = stage_newest(connection, model, &request.name, request.version, *stage).await?;
            (candidate.stage == *stage, newest)
        }
    };
    let declared = gate_of(connection, model, &request.name, &request.target).await?;
    let bench = judge::Bench { request, model, candidate: &candidate, previous, evidence, interfaces };
    let outcome = match judge::judge(connection, &bench, declared.as_ref()).await? {
        Verdict::Said(outcome) => outcome,
        Verdict::Reads(version) => return Ok(Attempt::Reads(version)),
    };
    let promotion = Promotion { moved: outcome.held && !there, previous, outcome };
    if promotion.outcome.held {
        match &request.target {
            Target::Alias(alias) => alias_move(connection, model, alias, request.version).await?,
            Target::Stage(stage) => stage_move(connection, model, request, *stage).await?,
        }
    }
    if promotion.moved || !promotion.outcome.held {
        let gate = judge::gate_text(request, declared.as_ref());
        history::write(connection, model, request, &promotion, gate).await?;
    }
    Ok(Attempt::Judged(promotion))
}

/// With what the next version for `target` is compared, unless it is that version itself.
pub(crate) async fn standing(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    target: &Target,
) -> Result<Option<u64>, RegistryError> {
    let current = match target {
        Target::Alias(alias) => alias_points(connection, model, name, alias).await?,
        Target::Stage(stage) => stage_newest(connection, model, name, 0, *stage).await?,
    };
    match current {
        Some(current) => Ok(Some(current)),
        None => history::last_other(connection, model, name, target, None).await,
    }
}

/// The newest version in the stage besides one.
async fn stage_newest(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    besides: u64,
    stage: Stage,
) -> Result<Option<u64>, RegistryError> {
    let sql = "SELECT MAX(version) FROM model_version WHERE model = $1 AND stage = $2 AND version <> $3";
    let newest: Option<i64> =
        query(sql).bind(model).bind(stage.as_str()).bind(stored("the version", besides)?).fetch_one(connection).await?;
    newest.map(|version| counted(name.as_str(), "version", version)).transpose()
}

async fn alias_move(connection: &mut Connection, model: i64, alias: &Alias, version: u64) -> Result<(), RegistryError> {
    query(
        "INSERT INTO model_alias (model, alias, version) VALUES ($1, $2, $3)
         ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
    )
    .bind(model)
    .bind(alias.as_str())
    .bind(stored("the version", version)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn stage_move(
    connection: &mut Connection,
    model: i64,
    request: &PromotionRequest,
    stage: Stage,
) -> Result<(), RegistryError> {
    let (version, at) = (stored("the version", request.version)?, request.at.millis());
    if request.archive {
        let others = "UPDATE model_version SET stage = 'Archived', updated_at = $4
                      WHERE model = $1 AND stage = $2 AND version <> $3";
        query(others).bind(model).bind(stage.as_str()).bind(version).bind(at).execute(&mut *connection).await?;
    }
    let moved = "UPDATE model_version SET stage = $2, updated_at = $4 WHERE model = $1 AND version = $3";
    query(moved).bind(model).bind(stage.as_str()).bind(version).bind(at).execute(&mut *connection).await?;
    let touched = "UPDATE registered_model SET updated_at = $2 WHERE id = $1";
    query(touched).bind(model).bind(at).execute(connection).await?;
    Ok(())
}

/// Takes an alias away; one that is not there is fine. The history notes it.
///
/// Errors: [`RegistryError::ModelUnknown`].
pub async fn alias_delete(
    connection: &mut Connection,
    name: &ModelName,
    alias: &Alias,
    who: &str,
    why: &str,
    at: Timestamp,
) -> Result<Option<u64>, RegistryError> {
    let model = model_id(connection, name).await?;
    let Some(version) = alias_points(connection, model, name, alias).await? else { return Ok(None) };
    let sql = "DELETE FROM model_alias WHERE model = $1 AND alias = $2";
    query(sql).bind(model).bind(alias.as_str()).execute(&mut *connection).await?;
    history::write_removal(connection, model, name, alias, version, (who, why), at).await?;
    Ok(Some(version))
}

#[cfg(test)]
mod tests;
