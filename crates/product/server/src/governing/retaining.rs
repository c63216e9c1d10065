use std::collections::{BTreeMap, BTreeSet};

use ropewalk_data::{AuditAction, AuditEvent, Removal, RetentionDue, audit_append, retention_due, version_remove};
use ropewalk_pipeline::{Outcome, outcome_forget, outcome_list, pieces_list};
use ropewalk_store::{StoreError, files};
use ropewalk_types::{Digest, Uri};
use serde_json::json;

use crate::collecting::PIECES;
use crate::{OpenProject, ServerError};

impl OpenProject {
    /// The versions that are kept longer than their dataset's retention allows.
    pub async fn retention_due(&self) -> Result<Vec<RetentionDue>, ServerError> {
        Ok(retention_due(&self.catalog, self.ambient.now()).await?)
    }

    /// Puts a tombstone on every version that is kept too long; its bytes go with the next `gc`, unless something else
    /// needs them. The stages that made one are executed again by the next run.
    ///
    /// Waits for a run of this project; `waits` hears who holds it.
    pub async fn retention_enforce(
        &self,
        why: &str,
        waits: impl FnOnce(&str) + Send,
    ) -> Result<Vec<RetentionDue>, ServerError> {
        let _alone = self.lock("ropewalk data retention", waits).await?;
        let due = self.retention_due().await?;
        if due.is_empty() {
            return Ok(due);
        }
        let outcomes = outcome_list(&self.catalog, u32::MAX).await?;
        let makers: Vec<Vec<Digest>> = due.iter().map(|one| makers(one, &outcomes)).collect();
        // What only speeds things up goes first: killed after it, the versions are still due.
        self.pieces_forget(&makers.iter().flatten().copied().collect()).await?;
        for (one, makers) in due.iter().zip(makers) {
            self.uncache(one).await?;
            self.version_forget(one, makers, why).await?;
        }
        Ok(due)
    }

    async fn version_forget(&self, due: &RetentionDue, makers: Vec<Digest>, why: &str) -> Result<(), ServerError> {
        let (name, digest) = (due.version.version.name.clone(), due.version.version.digest);
        let (at, who, why) = (self.ambient.now(), self.who.clone(), why.to_owned());
        let object = Uri::Data { name: name.clone(), version: digest.to_string() }.to_string();
        let details = json!({ "why": why, "days": due.days });
        let event = AuditEvent { at, who: who.clone(), action: AuditAction::Delete, object, details };
        let removal = Removal { name, digest, who, why, at };
        let write = self.catalog.write(move |connection| {
            Box::pin(async move {
                version_remove(connection, &removal).await?;
                for key in &makers {
                    outcome_forget(connection, key).await?;
                }
                audit_append(connection, &event).await?;
                Ok::<(), ServerError>(())
            })
        });
        write.await
    }

    /// Deletes every checkpoint but those that stages other than `forgotten` used.
    ///
    /// Nobody knows whose rows are in one that a killed run left: it goes too, and is made again where it is needed.
    async fn pieces_forget(&self, forgotten: &BTreeSet<Digest>) -> Result<(), ServerError> {
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
    async fn uncache(&self, due: &RetentionDue) -> Result<(), ServerError> {
        let tree = due.version.version.digest;
        if !self.store.contains(&tree).await? {
            return Ok(());
        }
        for file in self.store.tree_files(&tree).await? {
            let name = file.digest.to_string();
            files::remove_file(&self.cache().join(&name[..2]).join(&name))?;
        }
        Ok(())
    }
}

/// The keys whose outcome is a version that is due.
fn makers(due: &RetentionDue, outcomes: &[Outcome]) -> Vec<Digest> {
    let version = &due.version.version;
    let uri = Uri::Data { name: version.name.clone(), version: version.digest.to_string() };
    let made = |outcome: &&Outcome| outcome.outputs.values().any(|output| output.dataset_uri().as_ref() == Some(&uri));
    outcomes.iter().filter(made).map(|outcome| outcome.key).collect()
}
