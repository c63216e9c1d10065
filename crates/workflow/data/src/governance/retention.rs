use std::collections::BTreeMap;

use ropewalk_catalog::Catalog;
use ropewalk_types::{DatasetName, Timestamp, Uri};
use serde::Serialize;

use super::declaration::{Retention, declaration_history};
use super::inheritance::{Inherited, current, effective};
use crate::DataError;
use crate::dataset::history::{RecordedVersion, version_history};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// A version that may not be kept any longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionDue {
    /// The version, in any zone; its tags stand in the way of its removal.
    pub version: RecordedVersion,
    /// The days that it may be kept.
    pub days: u32,
    /// When they were over.
    pub since: Timestamp,
    /// The datasets whose declarations say so.
    pub from: Vec<Uri>,
}

/// The versions whose days are over at `now`, the most overdue first.
///
/// Days count from the first recording. Raw versions are among them: nothing overwrites them, retention removes them.
pub async fn retention_due(catalog: &Catalog, now: Timestamp) -> Result<Vec<RetentionDue>, DataError> {
    let declared = current(declaration_history(catalog, None).await?);
    let mut due = Vec::new();
    if !declared.values().any(|one| matches!(one.facts.retention, Some(Retention::Days(_)))) {
        return Ok(due);
    }
    let mut own: BTreeMap<DatasetName, Retention> = BTreeMap::new();
    for (name, declaration) in &declared {
        if let Some(retention) = declaration.facts.retention {
            own.insert(name.clone(), retention);
        }
    }
    for version in version_history(catalog, None).await? {
        if version.removed.is_some() {
            continue;
        }
        let (name, digest) = (version.version.name.clone(), version.version.digest);
        let uri = Uri::Data { name: name.clone(), version: digest.to_string() };
        let retention = match own.get(&name) {
            Some(retention) => Inherited { value: Some(*retention), from: vec![uri] },
            None => effective(catalog, &uri, &declared).await?.retention,
        };
        let Some(Retention::Days(days)) = retention.value else { continue };
        let since = Timestamp(version.version.created_at.millis() + i64::from(days) * DAY);
        if since <= now {
            due.push(RetentionDue { version, days, since, from: retention.from });
        }
    }
    due.sort_by(|a, b| {
        (a.since, &a.version.version.name, a.version.number).cmp(&(b.since, &b.version.version.name, b.version.number))
    });
    Ok(due)
}
