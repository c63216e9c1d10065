//! What was declared for the aliases and stages of a model, who approved, and who has a role.

use ropewalk_catalog::{CatalogError, Connection, FromRow, Row, query};
use ropewalk_types::{ModelName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::{counted, damaged, parsed};
use crate::registered::model_id;
use crate::version::version_key;
use crate::{Approver, GateDeclaration, RegistryError, Target};

/// A gate as it was declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredGate {
    /// The alias or stage that it guards.
    pub target: Target,
    /// What must hold; none where a gate was taken away.
    pub declaration: Option<GateDeclaration>,
    /// Who declared it.
    pub who: String,
    /// When.
    pub at: Timestamp,
}

/// Declares what must hold before a version of the model moves to `target`, in place of what was declared before.
///
/// None, or one that asks for nothing, takes the gate away. What was declared before is kept; the same again leaves no
/// record.
///
/// Errors: [`RegistryError::ModelUnknown`], [`RegistryError::Gate`].
pub async fn gate_declare(
    connection: &mut Connection,
    name: &ModelName,
    target: &Target,
    declaration: Option<&GateDeclaration>,
    who: &str,
    at: Timestamp,
) -> Result<(), RegistryError> {
    let declaration = declaration.filter(|declaration| !declaration.is_empty());
    let text = match declaration {
        Some(declaration) => {
            declaration.gate()?;
            let text = serde_json::to_string(declaration);
            Some(text.map_err(|error| damaged(name.as_str(), "declaration", &error))?)
        }
        None => None,
    };
    let model = model_id(connection, name).await?;
    if gate_of(connection, model, name, target).await?.as_ref() == declaration {
        return Ok(());
    }
    query(
        "INSERT INTO model_gate (model, target, sequence, declaration, who, at)
         VALUES ($1, $2, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM model_gate WHERE model = $1 AND target = $2),
                 $3, $4, $5)",
    )
    .bind(model)
    .bind(target.to_string())
    .bind(text)
    .bind(who)
    .bind(at.millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// The gates of a model, or with `before` also those that were declared before and taken away, newest first.
///
/// Errors: [`RegistryError::ModelUnknown`].
pub async fn gate_list(
    connection: &mut Connection,
    name: &ModelName,
    before: bool,
) -> Result<Vec<DeclaredGate>, RegistryError> {
    let model = model_id(connection, name).await?;
    let sql = "SELECT target, declaration, who, at FROM model_gate WHERE model = $1 ORDER BY target, sequence DESC";
    let rows: Vec<(String, Option<String>, String, i64)> = query(sql).bind(model).fetch_all(connection).await?;
    let mut gates = Vec::with_capacity(rows.len());
    let mut last = None;
    for (text, declaration, who, at) in rows {
        let target: Target = parsed(name.as_str(), "target", &text)?;
        let newest = last.as_ref() != Some(&text);
        last = Some(text);
        if before || (newest && declaration.is_some()) {
            let declaration = declaration.map(|text| declaration_from(name, &text)).transpose()?;
            gates.push(DeclaredGate { target, declaration, who, at: Timestamp(at) });
        }
    }
    Ok(gates)
}

fn declaration_from(name: &ModelName, text: &str) -> Result<GateDeclaration, RegistryError> {
    serde_json::from_str(text).map_err(|error| damaged(name.as_str(), "declaration", &error))
}

/// What holds now for a target.
pub(crate) async fn gate_of(
    connection: &mut Connection,
    model: i64,
    name: &ModelName,
    target: &Target,
) -> Result<Option<GateDeclaration>, RegistryError> {
    let sql = "SELECT declaration FROM model_gate WHERE model = $1 AND target = $2 ORDER BY sequence DESC LIMIT 1";
    let text: Option<Option<String>> =
        query(sql).bind(model).bind(target.to_string()).fetch_optional(connection).await?;
    text.flatten().map(|text| declaration_from(name, &text)).transpose()
}

/// That somebody stands for a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The version.
    pub version: u64,
    /// For which alias or stage; none for each of them.
    pub target: Option<Target>,
    /// In which role they did it, if they said so.
    pub role: Option<String>,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Notes that somebody stands for a version. A gate counts it if it names them, or a role that they have by then.
///
/// Errors: as [`crate::version_get`]; [`RegistryError::NotMember`] if they have not the role in which they approve.
pub async fn approve(connection: &mut Connection, name: &ModelName, approval: &Approval) -> Result<(), RegistryError> {
    let (model, number) = version_key(connection, name, approval.version).await?;
    if let Some(role) = &approval.role
        && !is_member(connection, role, &approval.who).await?
    {
        return Err(RegistryError::NotMember { who: approval.who.clone(), role: role.clone() });
    }
    query(
        "INSERT INTO model_approval (model, version, sequence, target, role, who, why, at)
         VALUES ($1, $2, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM model_approval WHERE model = $1 AND version = $2),
                 $3, $4, $5, $6, $7)",
    )
    .bind(model)
    .bind(number)
    .bind(approval.target.as_ref().map(Target::to_string))
    .bind(approval.role.as_deref())
    .bind(approval.who.as_str())
    .bind(approval.why.as_str())
    .bind(approval.at.millis())
    .execute(connection)
    .await?;
    Ok(())
}

struct ApprovalRow {
    version: i64,
    target: Option<String>,
    role: Option<String>,
    who: String,
    why: String,
    at: i64,
}

impl FromRow for ApprovalRow {
    fn from_row(row: &Row<'_>) -> Result<Self, CatalogError> {
        Ok(Self {
            version: row.get(0)?,
            target: row.get(1)?,
            role: row.get(2)?,
            who: row.get(3)?,
            why: row.get(4)?,
            at: row.get(5)?,
        })
    }
}

/// Who stands for the versions of a model, newest first. Errors: [`RegistryError::ModelUnknown`].
pub async fn approval_list(connection: &mut Connection, name: &ModelName) -> Result<Vec<Approval>, RegistryError> {
    let model = model_id(connection, name).await?;
    let sql = "SELECT version, target, role, who, why, at FROM model_approval WHERE model = $1
               ORDER BY at DESC, version DESC, sequence DESC";
    let rows: Vec<ApprovalRow> = query(sql).bind(model).fetch_all(connection).await?;
    rows.into_iter()
        .map(|row| {
            Ok(Approval {
                version: counted(name.as_str(), "version", row.version)?,
                target: row.target.map(|target| parsed(name.as_str(), "target", &target)).transpose()?,
                role: row.role,
                who: row.who,
                why: row.why,
                at: Timestamp(row.at),
            })
        })
        .collect()
}

/// The first of the approvals of a version that one of `approvers` gave for `target`: who, as whom, and why.
pub(crate) async fn approval_by(
    connection: &mut Connection,
    key: (i64, i64),
    target: &Target,
    approvers: &[Approver],
) -> Result<Option<(String, Approver, String)>, RegistryError> {
    let sql = "SELECT who, why FROM model_approval
               WHERE model = $1 AND version = $2 AND (target IS NULL OR target = $3) ORDER BY sequence";
    let given: Vec<(String, String)> =
        query(sql).bind(key.0).bind(key.1).bind(target.to_string()).fetch_all(&mut *connection).await?;
    for (who, why) in given {
        for approver in approvers {
            let counts = match approver {
                Approver::Principal(name) => *name == who,
                Approver::Role(role) => is_member(connection, role, &who).await?,
            };
            if counts {
                return Ok(Some((who, approver.clone(), why)));
            }
        }
    }
    Ok(None)
}

async fn is_member(connection: &mut Connection, role: &str, who: &str) -> Result<bool, RegistryError> {
    let sql = "SELECT member FROM registry_role_member WHERE role = $1 AND member = $2";
    let found: Option<String> = query(sql).bind(role).bind(who).fetch_optional(connection).await?;
    Ok(found.is_some())
}

/// Gives a role to somebody, or takes it away.
pub async fn role_member_set(
    connection: &mut Connection,
    role: &str,
    member: &str,
    is_one: bool,
) -> Result<(), RegistryError> {
    for text in [role, member] {
        text.parse::<Approver>()
            .map_err(|error| RegistryError::Invalid { parameter: "role", reason: error.to_string() })?;
    }
    let insert =
        "INSERT INTO registry_role_member (role, member) VALUES ($1, $2) ON CONFLICT (role, member) DO NOTHING";
    let delete = "DELETE FROM registry_role_member WHERE role = $1 AND member = $2";
    query(if is_one { insert } else { delete }).bind(role).bind(member).execute(connection).await?;
    Ok(())
}

/// Each role and its members, in order.
pub async fn role_list(connection: &mut Connection) -> Result<Vec<(String, String)>, RegistryError> {
    let sql = "SELECT role, member FROM registry_role_member ORDER BY role, member";
    Ok(query(sql).fetch_all(connection).await?)
}
