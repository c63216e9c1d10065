use std::collections::{BTreeMap, BTreeSet};

use ropewalk_data::{AuditAction, AuditEvent, Removal, audit_append, removal_adopt, version_remove, version_resolve};
use ropewalk_pipeline::{Outcome, outcome_forget, outcome_list, pieces_list};
use ropewalk_store::{Root, StoreError, files};
use ropewalk_types::{DatasetName, Digest, Uri};
use ropewalk_versions::RemovedVersion;
use serde::Serialize;
use serde_json::{Value, json};

use crate::collecting::PIECES;
use crate::{OpenProject, ServerError};

/// A version that was removed, and what becomes of its bytes.
#[derive(Clone, Debug, Serialize)]
pub struct RemovedContent {
    /// The dataset.
    pub name: DatasetName,
    /// The version.
    pub version: Digest,
    /// Why it was removed.
    pub why: String,
    /// Whether something else needs just the same content, so that it stays in the store.
    pub needed: bool,
}

/// A version of a table that is to be removed: its tombstone, the keys of the stages that made it, and what the audit
/// trail says of it.
pub(crate) struct Doomed {
    removal: Removal,
    makers: Vec<Digest>,
    details: Value,
    /// Whether it was removed elsewhere: then only what is here since before that goes.
    elsewhere: bool,
}

impl Doomed {
    pub(crate) fn new(removal: Removal, details: Value, outcomes: &[Outcome]) -> Self {
        let uri = Uri::Data { name: removal.name.clone(), version: removal.digest.to_string() };
        let made =
            |outcome: &&Outcome| outcome.outputs.values().any(|output| output.dataset_uri().as_ref() == Some(&uri));
        let makers = outcomes.iter().filter(made).map(|outcome| outcome.key).collect();
        Self { removal, makers, details, elsewhere: false }
    }

    /// One that was removed on another machine.
    pub(crate) fn elsewhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }
}

impl OpenProject {
    /// Removes a version of tracked files; see [`ropewalk_versions::Workspace::remove_version`].
    pub async fn files_remove(
        &self,
        name: &DatasetName,
        version: &str,
        why: &str,
    ) -> Result<RemovedContent, ServerError> {
        let RemovedVersion { name, version, content, .. } =
            self.workspace().remove_version(name, version, &self.who, why).await?;
        let needed = match content {
            Some(content) => self.roots().await?.contains(&content),
            None => false,
        };
        Ok(RemovedContent { name, version, why: why.to_owned(), needed })
    }

    /// Puts a tombstone on a version of a table; the stages that made it are executed again by the next run.
    ///
    /// Refused while it has a tag. Waits for a run of this project; `waits` hears who holds it.
    pub async fn table_remove(
        &self,
        name: &DatasetName,
        version: &str,
        why: &str,
        waits: impl FnOnce(&str) + Send,
    ) -> Result<RemovedContent, ServerError> {
        let _alone = self.lock("ropewalk data rm", waits).await?;
        let digest = version_resolve(&self.catalog, name, version).await?.digest;
        let outcomes = outcome_list(&self.catalog, u32::MAX).await?;
        let doomed = Doomed::new(self.removal(name, digest, why), json!({ "why": why }), &outcomes);
        self.tables_forget(&[doomed]).await?;
        let needed = self.roots().await?.contains(&Root::Tree(digest));
        Ok(RemovedContent { name: name.clone(), version: digest, why: why.to_owned(), needed })
    }

    /// The tombstone that is put on a version now.
    pub(super) fn removal(&self, name: &DatasetName, digest: Digest, why: &str) -> Removal {
        let (who, why, at) = (self.who.clone(), why.to_owned(), self.ambient.now());
        Removal { name: name.clone(), digest, who, why, at }
    }

    /// Removes versions of tables, their checkpoints and what is cached of them; needs the project's lock. Gives those that
    /// stay, because what was removed elsewhere was made again or tagged here.
    pub(crate) async fn tables_forget(&self, doomed: &[Doomed]) -> Result<Vec<Removal>, ServerError> {
        // What only speeds things up goes first: killed after it, the versions are still there.
        self.pieces_forget(doomed).await?;
        let mut kept = Vec::new();
        for one in doomed {
            if !self.table_forget(one).await? {
                kept.push(one.removal.clone());
            }
        }
        Ok(kept)
    }

    /// Removes a version of a table, and the list of what did not fit of its dataset; false if it stays.
    pub(super) async fn table_forget(&self, doomed: &Doomed) -> Result<bool, ServerError> {
        let (removal, makers) = (doomed.removal.clone(), doomed.makers.clone());
        self.uncache(&removal.digest).await?;
        files::remove_file(&self.quarantine_kept(removal.name.as_str()))?;
        let object = Uri::Data { name: removal.name.clone(), version: removal.digest.to_string() }.to_string();
        let (at, who, details) = (self.ambient.now(), self.who.clone(), doomed.details.clone());
        let event = AuditEvent { at, who, action: AuditAction::Delete, object, details };
        let elsewhere = doomed.elsewhere;
        let write = self.catalog.write(move |connection| {
            Box::pin(async move {
                if !elsewhere {
                    version_remove(connection, &removal).await?;
                } else if !removal_adopt(connection, &removal).await? {
                    return Ok(false);
                }
                for key in &makers {
                    outcome_forget(connection, key).await?;
                }
                audit_append(connection, &event).await?;
                Ok::<bool, ServerError>(true)
            })
        });
        write.await
    }

    /// Deletes every checkpoint but those that stages used which did not make one of the `doomed`.
    ///
    /// Nobody knows whose rows are in one that a killed run left: it goes too, and is made again where it is needed.
    pub(super) async fn pieces_forget(&self, doomed: &[Doomed]) -> Result<(), ServerError> {
        let forgotten: BTreeSet<Digest> = doomed.iter().flat_map(|one| one.makers.iter().copied()).collect();
        let used: BTreeMap<Digest, BTreeSet<Digest>> = pieces_list(&self.catalog).await?;
        let kept: BTreeSet<String> = used
            .iter()
            .filter(|(key, _)| !forgotten.contains(key))
            .flat_map(|(_, pieces)| pieces.iter().map(|piece| format!("{PIECES}{piece}")))
            .collect();
        for name in self.store.ref_list(PIECES).await? {
            if kept.contains(name.as_str()) {
                continue;
            }
            let Some(found) = self.store.ref_get(&name).await? else { continue };
            match self.store.ref_delete(&name, found.generation).await {
                // Another machine has deleted it, or made it again and so uses it.
                Err(StoreError::Conflict { .. }) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Removes the files of a version from the cache of whole files, which no `gc` looks into.
    async fn uncache(&self, tree: &Digest) -> Result<(), ServerError> {
        if self.store.contains(tree).await? {
            let files = self.store.tree_files(tree).await?;
            self.store.uncache(files.into_iter().map(|file| file.digest).collect()).await?;
        }
        Ok(())
    }
}
