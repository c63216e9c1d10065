//! Files on this disk that stages read and that lie in tracked datasets: what is made of them is made of these, and inherits
//! what is declared of them.

use std::path::PathBuf;
use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_config::ProjectFile;
use ropewalk_data::{AuditAction, AuditEvent, Classification, audit_write, facts_effective};
use ropewalk_lineage::{Link, Relation, link};
use ropewalk_pipeline::{Failure, PipelineError, Record, StageContext, StageSpec};
use ropewalk_store::{StoreError, Tree, TreeEntry, TreeFile};
use ropewalk_types::{DatasetName, Diagnose, Digest, Timestamp, Uri};
use ropewalk_versions::Workspace;
use serde_json::{Value, json};

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
    /// The dataset, or another name of it.
    pub(super) name: DatasetName,
    /// What lineage calls that which was laid out or added there: the version, or the content.
    pub(super) known: Uri,
    /// The content that was laid out or added.
    pub(super) content: Digest,
    /// Whether the files differ from it.
    pub(super) differs: bool,
}

impl Held {
    /// What lineage calls that which is read, whose digest is `read`: what is known, or what the files are where they differ
    /// from it.
    pub(super) fn uri(&self, read: Digest) -> Uri {
        if self.differs { data(&self.name, read) } else { self.known.clone() }
    }
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

/// What stages get of a single tracked file: it is alone in a tree.
pub(super) fn tree_of(file: &TreeFile) -> Result<Tree, StoreError> {
    let TreeFile { path, digest, size, executable } = file.clone();
    let mut tree = Tree::new();
    tree.insert(path, TreeEntry::File { digest, size, executable })?;
    Ok(tree)
}

impl Holders {
    /// The tracked datasets that `files` belong to, also under the other names that the project file gives them.
    pub(super) async fn of(&self, files: Vec<PathBuf>) -> Result<Vec<Held>, Failure> {
        let mut found = Vec::new();
        for holder in self.workspace.holders(files).await? {
            let (content, differs) = (holder.content, holder.differs);
            let given = match &holder.file {
                Some(file) => tree_of(file)?.digest(),
                None => content,
            };
            let held = |name: &DatasetName, known: Digest| Held {
                name: name.clone(),
                known: data(name, known),
                content,
                differs,
            };
            found.push(held(&holder.name, holder.version.unwrap_or(content)));
            // A stage that gives tracked files on names them by what stages get.
            found.extend(self.other_names(&holder.name).map(|name| held(name, given)));
        }
        Ok(found)
    }

    /// The names that stand for a tracked dataset by `[data.X] source = "data:NAME"`.
    ///
    /// Also those that stand for another version than the one that is laid out: what is said of a name is said of what it
    /// stands for, and goes on to hold when the dataset moves on.
    pub(crate) fn other_names<'a>(&'a self, dataset: &'a DatasetName) -> impl Iterator<Item = &'a DatasetName> {
        let others = self.file.data.iter().filter(move |(name, source)| {
            *name != dataset && tracked_source(source).is_some_and(|(meant, _)| meant == *dataset)
        });
        others.map(|(name, _)| name)
    }

    /// Notes that a stage is about to read tracked files where they lie.
    pub(super) async fn audit_reads(
        &self,
        spec: &StageSpec,
        context: &StageContext,
        held: &[Held],
    ) -> Result<(), Failure> {
        let details = json!({ "stage": spec.name, "run": context.recorder.run() });
        self.audit(AuditAction::Read, held, context.ambient.now(), &details).await
    }

    /// Notes that somebody is about to read `files`, as far as they are tracked.
    pub(crate) async fn audit_files(
        &self,
        action: AuditAction,
        files: Vec<PathBuf>,
        at: Timestamp,
        details: &Value,
    ) -> Result<(), Failure> {
        let held = self.of(files).await?;
        self.audit(action, &held, at, details).await
    }

    async fn audit(&self, action: AuditAction, held: &[Held], at: Timestamp, details: &Value) -> Result<(), Failure> {
        let event = |held: &Held| {
            let mut details = details.clone();
            if held.differs {
                details["differs"] = true.into();
            }
            AuditEvent { at, who: self.who.clone(), action, object: held.known.to_string(), details }
        };
        Ok(audit_write(&self.catalog, held.iter().map(event).collect()).await?)
    }

    /// Refuses to make `dataset` of what needs more care than is declared of it, unless the project file says why.
    pub(crate) async fn check_lowered(&self, dataset: &DatasetName, made_of: &[Uri]) -> Result<(), Failure> {
        let Some(source) = self.file.data.get(dataset).filter(|source| source.reason.is_none()) else { return Ok(()) };
        // A word that is no classification was refused when it was to be recorded.
        let said = source.classification.as_ref().and_then(|word| word.parse::<Classification>().ok());
        let Some(said) = said else { return Ok(()) };
        for uri in made_of {
            let found = facts_effective(&self.catalog, uri).await?.classification;
            if let Some(inherited) = found.value.filter(|inherited| said < *inherited) {
                let from = found.from.into_iter().next().unwrap_or_else(|| uri.clone());
                return Err(Lowered { dataset: dataset.clone(), said, from, inherited }.into());
            }
        }
        Ok(())
    }
}

/// What was read between two looks at the files.
///
/// It has the names that were known before. Where other content lies there since, or the dataset has the files no longer,
/// nobody can say that what was read is what was known.
pub(super) fn before_and_after(mut before: Vec<Held>, mut after: Vec<Held>) -> Vec<Held> {
    for held in &mut before {
        held.differs |= match after.iter().position(|one| one.name == held.name) {
            Some(position) => {
                let now = after.swap_remove(position);
                now.differs || now.content != held.content
            }
            None => true,
        };
    }
    before.extend(after);
    before
}

/// Writes down what those files were made from that are not as they were laid out or added; `read` is the digest of what was
/// read.
pub(super) fn changes_record(held: &[Held], read: Digest, at: Timestamp) -> Option<Record> {
    let links: Vec<_> = held
        .iter()
        .map(|held| Link { child: held.uri(read), parent: held.known.clone(), relation: Relation::Read })
        .filter(|link| link.child != link.parent)
        .collect();
    if links.is_empty() {
        return None;
    }
    let record: Record = Box::new(move |connection| {
        Box::pin(async move { link(connection, &links, at).await.map_err(|error| PipelineError::Record(error.into())) })
    });
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str, content: &[u8], differs: bool) -> Held {
        let (name, content) = (DatasetName::new(name).unwrap(), Digest::of(content));
        Held { known: data(&name, content), name, content, differs }
    }

    #[test]
    fn what_was_read_while_a_dataset_moved_on_is_no_version() {
        let before = vec![
            held("same", b"1", false),
            held("moved", b"1", false),
            held("edited", b"1", false),
            held("restored", b"1", true),
            held("gone", b"1", false),
        ];
        let after = vec![
            held("new", b"1", false),
            held("restored", b"1", false),
            held("edited", b"1", true),
            held("moved", b"2", false),
            held("same", b"1", false),
        ];
        let read = Digest::of(b"read");
        let named: Vec<_> =
            before_and_after(before, after).iter().map(|held| (held.uri(read), held.known.clone())).collect();
        let known = |name: &str| held(name, b"1", false).known;
        let unknown = |name: &str| data(&DatasetName::new(name).unwrap(), read);
        let expected = [
            (known("same"), known("same")),
            (unknown("moved"), known("moved")),
            (unknown("edited"), known("edited")),
            (unknown("restored"), known("restored")),
            (unknown("gone"), known("gone")),
            (known("new"), known("new")),
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn a_commit_of_the_same_content_changes_nothing() {
        let added = held("people", b"content", false);
        let committed = Held { known: data(&added.name, Digest::of(b"version")), ..added.clone() };
        assert_eq!(before_and_after(vec![added.clone()], vec![committed]), [added]);
    }
}
