//! Files on this disk that stages read and that lie in tracked datasets: what is made of them is made of these, and inherits
//! what is declared of them.

use std::path::PathBuf;
use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_config::ProjectFile;
use ropewalk_data::{AuditAction, AuditEvent, Classification, DataError, audit_append, facts_effective};
use ropewalk_lineage::{Link, Relation, link};
use ropewalk_pipeline::{Failure, PipelineError, Record, StageContext, StageSpec};
use ropewalk_types::{DatasetName, Diagnose, Digest, Timestamp, Uri};
use ropewalk_versions::{Holder, Workspace};
use serde_json::json;

use crate::planning::tracked_source;

/// Finds the tracked datasets that files belong to which a stage reads.
#[derive(Clone)]
pub(crate) struct Holders {
    pub(crate) workspace: Workspace,
    pub(crate) catalog: Catalog,
    /// What it says of datasets, and under which other names of tracked ones.
    pub(crate) file: Arc<ProjectFile>,
    /// Who is named in the audit trail.
    pub(crate) who: String,
}

/// A tracked dataset of which files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// What lineage calls that which is read: the version, or the content that was added; where files differ from it, what
    /// they are.
    pub(super) uri: Uri,
    /// The version or content that was laid out or added there.
    pub(super) known: Uri,
    /// Whether the files differ from it.
    pub(super) differs: bool,
}

/// A table is declared to need less care than the tracked files that it is made of, and nobody says why.
#[derive(Debug, thiserror::Error)]
#[error("[data.{dataset}] is declared to be `{said}`, but it is made of `{from}`, which is `{inherited}`")]
struct Lowered {
    dataset: DatasetName,
    said: Classification,
    from: Uri,
    inherited: Classification,
}

impl Diagnose for Lowered {
    fn code(&self) -> &'static str {
        "data.lowered"
    }

    fn hint(&self) -> Option<String> {
        Some(
            "write reason = \"…\" beside the classification: it is recorded; or leave the classification away: it is \
             inherited"
                .to_owned(),
        )
    }
}

/// What lineage calls a version, or content, of a dataset.
pub(super) fn data(name: &DatasetName, version: Digest) -> Uri {
    Uri::Data { name: name.clone(), version: version.to_string() }
}

impl Holders {
    /// The tracked datasets that `files` belong to, also under the other names that the project file gives them.
    ///
    /// `read` is the digest of what was read of all of them, once that is known.
    pub(super) async fn of(&self, files: Vec<PathBuf>, read: Option<Digest>) -> Result<Vec<Held>, Failure> {
        let mut found = Vec::new();
        for holder in self.workspace.holders(files).await? {
            let differs = holder.differs;
            let held = |name: &DatasetName, known: Digest| Held {
                uri: data(name, read.filter(|_| differs).unwrap_or(known)),
                known: data(name, known),
                differs,
            };
            found.push(held(&holder.name, holder.version.unwrap_or(holder.content)));
            // A stage that gives tracked files on names them by their content.
            let others = self.other_names(&holder).await;
            found.extend(others.into_iter().map(|name| held(&name, holder.content)));
        }
        Ok(found)
    }

    /// The names by which `[data.X] source = "data:NAME"` knows what is laid out of a tracked dataset.
    async fn other_names(&self, holder: &Holder) -> Vec<DatasetName> {
        let mut names = Vec::new();
        for (name, source) in &self.file.data {
            let Some((dataset, version)) = tracked_source(source) else { continue };
            if dataset != holder.name || *name == dataset {
                continue;
            }
            let is_meant = match version {
                None => true,
                // One that is not known is the trouble of its own stage.
                Some(version) => {
                    let found = self.workspace.recorded(&dataset, &version).await;
                    found.is_ok_and(|found| Some(found.digest) == holder.version)
                }
            };
            if is_meant {
                names.push(name.clone());
            }
        }
        names
    }

    /// Notes that somebody is about to read tracked files where they lie.
    pub(super) async fn audit_reads(
        &self,
        spec: &StageSpec,
        context: &StageContext,
        held: &[Held],
    ) -> Result<(), Failure> {
        let at = context.ambient.now();
        let event = |held: &Held| {
            let mut details = json!({ "stage": spec.name, "run": context.recorder.run() });
            if held.differs {
                details["differs"] = true.into();
            }
            let (who, object) = (self.who.clone(), held.known.to_string());
            AuditEvent { at, who, action: AuditAction::Read, object, details }
        };
        let events: Vec<_> = held.iter().map(event).collect();
        if events.is_empty() {
            return Ok(());
        }
        let written: Result<(), DataError> = self
            .catalog
            .write(move |connection| {
                Box::pin(async move {
                    for event in &events {
                        audit_append(connection, event).await?;
                    }
                    Ok(())
                })
            })
            .await;
        Ok(written?)
    }

    /// Refuses to make `dataset` of what needs more care than is declared of it, unless the project file says why.
    pub(super) async fn check_lowered(&self, dataset: &DatasetName, made_of: &[Uri]) -> Result<(), Failure> {
        let Some(source) = self.file.data.get(dataset).filter(|source| source.reason.is_none()) else { return Ok(()) };
        // A word that is no classification was refused when it was to be recorded.
        let said = source.classification.as_ref().and_then(|word| word.parse::<Classification>().ok());
        let Some(said) = said else { return Ok(()) };
        for uri in made_of {
            let facts = facts_effective(&self.catalog, uri).await?;
            if let Some(inherited) = facts.classification.value.filter(|inherited| said < *inherited) {
                let (dataset, from) = (dataset.clone(), uri.clone());
                return Err(Lowered { dataset, said, from, inherited }.into());
            }
        }
        Ok(())
    }
}

/// Writes down what those files were made from that are not as they were laid out or added.
pub(super) fn changes_record(held: &[Held], at: Timestamp) -> Option<Record> {
    let changed = held.iter().filter(|held| held.differs && held.uri != held.known);
    let links: Vec<_> = changed
        .map(|held| Link { child: held.uri.clone(), parent: held.known.clone(), relation: Relation::Read })
        .collect();
    if links.is_empty() {
        return None;
    }
    let record: Record = Box::new(move |connection| {
        Box::pin(async move { link(connection, &links, at).await.map_err(|error| PipelineError::Record(error.into())) })
    });
    Some(record)
}
