use std::collections::BTreeMap;

use ropewalk_data::{DataError, RecordedVersion, Retention, RetentionDue, declaration_history, retention_due};
use ropewalk_pipeline::outcome_list;
use ropewalk_types::{DatasetName, Digest, Timestamp, Uri};
use ropewalk_versions::{LogEntry, VersionsError};
use serde::Serialize;
use serde_json::json;

use super::removing::Doomed;
use crate::planning::tracked_source;
use crate::{OpenProject, ServerError};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// A version that is kept longer than its dataset's retention allows.
#[derive(Clone, Debug, Serialize)]
pub struct Due {
    /// The dataset.
    pub dataset: DatasetName,
    /// The version.
    pub version: Digest,
    /// What it holds.
    pub holds: Holds,
    /// The days that it may be kept.
    pub days: u32,
    /// When they were over.
    pub since: Timestamp,
    /// The datasets whose declarations say so.
    pub from: Vec<Uri>,
    /// What became of it.
    #[serde(flatten)]
    pub state: DueState,
}

/// What a version holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Rows.
    Table,
    /// Tracked files.
    Files,
}

/// What became of a version that is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DueState {
    /// It can be removed.
    Due,
    /// It was removed.
    Removed,
    /// It cannot be removed, and stays.
    Kept {
        /// Why not.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl DueState {
    fn kept(error: &dyn ropewalk_types::Diagnose) -> Self {
        Self::Kept { reason: error.to_string(), hint: error.hint() }
    }
}

impl OpenProject {
    /// The versions of tables and of tracked files that are kept longer than their dataset's retention allows, the most
    /// overdue first. What the project file says now is recorded first, as by a run.
    pub async fn retention_list(&self) -> Result<Vec<Due>, ServerError> {
        self.declare().await?;
        let tables = retention_due(&self.catalog, self.ambient.now()).await?;
        let mut due: Vec<Due> = tables.into_iter().map(table_due).collect();
        due.extend(self.files_due().await?);
        due.sort_by(|a, b| (a.since, &a.dataset, a.version).cmp(&(b.since, &b.dataset, b.version)));
        Ok(due)
    }

    /// Puts a tombstone on every version that is kept too long; its bytes go with the next `gc`, unless something else
    /// needs them. The stages that made one are executed again by the next run.
    ///
    /// Kept, and said to be, are versions with a tag and those that the work tree holds. Waits for a run of this project;
    /// `waits` hears who holds it.
    pub async fn retention_enforce(&self, why: &str, waits: impl FnOnce(&str) + Send) -> Result<Vec<Due>, ServerError> {
        let _alone = self.lock("ropewalk data retention", waits).await?;
        let mut due = self.retention_list().await?;
        if due.iter().all(|one| one.state != DueState::Due) {
            return Ok(due);
        }
        let outcomes = outcome_list(&self.catalog, u32::MAX).await?;
        let tables = due.iter().filter(|one| one.state == DueState::Due && one.holds == Holds::Table);
        let doomed = tables.map(|one| {
            let removal = self.removal(&one.dataset, one.version, why);
            Doomed::new(removal, json!({ "why": why, "days": one.days }), &outcomes)
        });
        let doomed: Vec<_> = doomed.collect();
        if !doomed.is_empty() {
            // What only speeds things up goes first: killed after it, the versions are still due.
            self.pieces_forget(&doomed).await?;
        }
        let mut doomed = doomed.into_iter();
        for one in due.iter_mut().filter(|one| one.state == DueState::Due) {
            let gone = match one.holds {
                Holds::Files => self.due_files_remove(one, why).await,
                Holds::Table => match doomed.next() {
                    Some(doomed) => self.due_table_remove(&doomed).await,
                    None => continue,
                },
            };
            one.state = gone?;
        }
        Ok(due)
    }

    async fn due_table_remove(&self, doomed: &Doomed) -> Result<DueState, ServerError> {
        match self.table_forget(doomed).await {
            Ok(_) => Ok(DueState::Removed),
            // Tagged since it was listed.
            Err(ServerError::Part(error)) if error.code() == "data.tagged" => Ok(DueState::kept(error.as_ref())),
            Err(error) => Err(error),
        }
    }

    async fn due_files_remove(&self, due: &Due, why: &str) -> Result<DueState, ServerError> {
        let version = due.version.to_string();
        match self.workspace().remove_version(&due.dataset, &version, &self.who, why).await {
            Ok(_) => Ok(DueState::Removed),
            Err(error @ (VersionsError::Tagged { .. } | VersionsError::InWorkTree { .. })) => {
                Ok(DueState::kept(&error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The versions of tracked files that are due. Their days count from when they were made.
    async fn files_due(&self) -> Result<Vec<Due>, ServerError> {
        let (workspace, now) = (self.workspace(), self.ambient.now());
        let mut found = Vec::new();
        for (name, said) in self.files_retention(&workspace.names().await?).await? {
            let there = workspace.log(&name).await?.into_iter().filter(|entry| entry.removed.is_none());
            let mut due = Vec::new();
            for entry in there {
                let Some((days, from)) = said_of(&said, &entry) else { continue };
                let since = Timestamp(entry.version.created_at.millis() + i64::from(days) * DAY);
                if since <= now {
                    let (dataset, version, holds) = (name.clone(), entry.digest, Holds::Files);
                    due.push(Due { dataset, version, holds, days, since, from, state: DueState::Due });
                }
            }
            let versions: Vec<_> = due.iter().map(|one| one.version).collect();
            let stand_in_the_way: BTreeMap<_, _> = workspace.unremovable(&name, &versions).await?.into_iter().collect();
            for one in &mut due {
                if let Some(error) = stand_in_the_way.get(&one.version) {
                    one.state = DueState::kept(error);
                }
            }
            found.extend(due);
        }
        Ok(found)
    }

    /// What is declared of the retention of tracked datasets: by their own name, and by `[data.X] source = "data:NAME"`.
    async fn files_retention(&self, names: &[DatasetName]) -> Result<BTreeMap<DatasetName, Vec<Said>>, ServerError> {
        let mut declared: BTreeMap<DatasetName, Option<Retention>> = BTreeMap::new();
        for declaration in declaration_history(&self.catalog, None).await? {
            // The one that holds is first.
            declared.entry(declaration.name).or_insert(declaration.facts.retention);
        }
        let mut found: BTreeMap<DatasetName, Vec<Said>> = BTreeMap::new();
        let mut say = |name: &DatasetName, by: &DatasetName, only: Option<Digest>| {
            if let Some(Some(retention)) = declared.get(by) {
                let said = Said { retention: *retention, by: by.clone(), only };
                found.entry(name.clone()).or_default().push(said);
            }
        };
        for name in names {
            say(name, name, None);
        }
        for (by, source) in &self.file.data {
            let Some((name, version)) = tracked_source(source) else { continue };
            if name == *by || !names.contains(&name) {
                continue;
            }
            let only = match version {
                Some(version) => Some(self.workspace().recorded(&name, &version).await?.digest),
                None => None,
            };
            say(&name, by, only);
        }
        Ok(found)
    }
}

/// What a declaration says of the versions of a tracked dataset, or of one of them.
struct Said {
    retention: Retention,
    by: DatasetName,
    only: Option<Digest>,
}

/// The shortest time that is said of a version, and who says it.
fn said_of(said: &[Said], entry: &LogEntry) -> Option<(u32, Vec<Uri>)> {
    let about: Vec<_> = said.iter().filter(|one| one.only.is_none_or(|only| only == entry.digest)).collect();
    let shortest = about.iter().map(|one| one.retention).min()?;
    let Retention::Days(days) = shortest else { return None };
    let version = entry.digest.to_string();
    let by = about.iter().filter(|one| one.retention == shortest);
    let from = by.map(|one| Uri::Data { name: one.by.clone(), version: version.clone() }).collect();
    Some((days, from))
}

fn table_due(due: RetentionDue) -> Due {
    let RetentionDue { version: RecordedVersion { version, tags, .. }, days, since, from } = due;
    let (dataset, digest, holds) = (version.name, version.digest, Holds::Table);
    let state = if tags.is_empty() {
        DueState::Due
    } else {
        let tags = tags.into_iter().map(|tag| tag.tag.to_string()).collect();
        DueState::kept(&DataError::Tagged { name: dataset.to_string(), digest, tags })
    };
    Due { dataset, version: digest, holds, days, since, from, state }
}
