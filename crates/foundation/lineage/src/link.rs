use ropewalk_catalog::{Connection, query};
use std::fmt;
use std::str::FromStr;

use ropewalk_types::{Timestamp, Uri, UriError};
use serde::{Deserialize, Serialize};

use crate::LineageError;

/// How a child came from its parent. The texts are stored and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The child was made by reading the parent: a dataset or a stage from a file or a dataset.
    Read,
    /// The child was made by the parent: an artifact or a dataset by a run or a stage.
    Produced,
    /// The child, a model or its run, was trained on the parent.
    Trained,
    /// The child, a run, is the execution of the parent, a stage.
    Executed,
    /// The child, a run or a stage, ran the code that the parent names.
    RanCode,
    /// The child, a model version, was registered from the parent, an artifact of a run.
    Registered,
    /// The child, a prediction, was answered by the parent, a model version.
    AnsweredBy,
}

/// A text that names no relation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a relation of lineage")]
pub struct UnknownRelation(pub String);

impl Relation {
    const ALL: [Self; 7] =
        [Self::Read, Self::Produced, Self::Trained, Self::Executed, Self::RanCode, Self::Registered, Self::AnsweredBy];

    /// The stored text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Produced => "produced",
            Self::Trained => "trained",
            Self::Executed => "executed",
            Self::RanCode => "ran_code",
            Self::Registered => "registered",
            Self::AnsweredBy => "answered_by",
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Relation {
    type Err = UnknownRelation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| UnknownRelation(text.to_owned()))
    }
}

/// `child` came from `parent`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// What was made.
    pub child: Uri,
    /// What it was made from.
    pub parent: Uri,
    /// In which way.
    pub relation: Relation,
}

/// Writes links in the caller's transaction; a link that is there already keeps the time of its first writing.
///
/// Errors: [`LineageError::Movable`] for an alias or `latest`, before anything is written.
pub async fn link(connection: &mut Connection, links: &[Link], at: Timestamp) -> Result<(), LineageError> {
    if let Some(uri) = links.iter().flat_map(|link| [&link.child, &link.parent]).find(|uri| movable(uri)) {
        return Err(LineageError::Movable(uri.clone()));
    }
    for link in links {
        query(
            "INSERT INTO lineage_link (child, parent, relation, at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (child, parent, relation) DO NOTHING",
        )
        .bind(link.child.to_string())
        .bind(link.parent.to_string())
        .bind(link.relation.as_str())
        .bind(at.millis())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Whether it is written down already what `child` came from, as the caller's transaction sees it.
pub async fn is_linked(connection: &mut Connection, child: &Uri) -> Result<bool, LineageError> {
    let found: Option<(i64,)> = query("SELECT CAST(1 AS BIGINT) FROM lineage_link WHERE child = $1 LIMIT 1")
        .bind(child.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Removes in the caller's transaction all that is written down of what `child` came from.
///
/// Only for what others said of a thing before those spoke who made it: lineage of what was made here is never removed.
pub async fn unlink(connection: &mut Connection, child: &Uri) -> Result<(), LineageError> {
    query("DELETE FROM lineage_link WHERE child = $1").bind(child.to_string()).execute(connection).await?;
    Ok(())
}

/// What came from `parent` in one step, as the caller's transaction sees it.
///
/// Errors: [`LineageError::Damaged`] for a link that cannot be read.
pub async fn children(connection: &mut Connection, parent: &Uri) -> Result<Vec<Uri>, LineageError> {
    let found: Vec<(String,)> = query("SELECT DISTINCT child FROM lineage_link WHERE parent = $1 ORDER BY child")
        .bind(parent.to_string())
        .fetch_all(connection)
        .await?;
    let read = |(child,): (String,)| {
        child.parse().map_err(|error: UriError| LineageError::Damaged {
            child,
            parent: parent.to_string(),
            reason: error.to_string(),
        })
    };
    found.into_iter().map(read).collect()
}

fn movable(uri: &Uri) -> bool {
    match uri {
        Uri::ModelAlias { .. } => true,
        Uri::Data { version, .. } => version == "latest",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Relation;

    #[test]
    fn every_relation_has_one_text() {
        for relation in Relation::ALL {
            assert_eq!(relation.as_str().parse(), Ok(relation));
        }
        assert!("READ".parse::<Relation>().is_err());
    }
}
