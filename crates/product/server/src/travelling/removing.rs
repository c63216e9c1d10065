//! Removals that come from a remote.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_data::{AuditAction, AuditEvent, Removal, audit_append, version_remove};
use ropewalk_pipeline::{Outcome, outcome_forget, outcome_list, pieces_list};
use ropewalk_store::{StoreError, files};
use ropewalk_types::{Digest, Uri};
use serde_json::json;

use crate::collecting::PIECES;
use crate::{OpenProject, ServerError};

impl OpenProject {
    /// Puts on versions here the tombstones that they have in a remote: with who removed them, why and when.
    ///
    /// As if they had been removed here: stages that made one are executed again by the next run, and checkpoints that could
    /// hold its rows go. Waits for a run of this project; `waits` hears who holds it.
    pub(crate) async fn removals_take(
        &self,
        removals: &[Removal],
        remote: &str,
        waits: &(dyn Fn(&str) + Sync),
    ) -> Result<(), ServerError> {
        let _alone = self.lock("ropewalk fetch", waits).await?;
        let outcomes = outcome_list(&self.catalog, u32::MAX).await?;
        let makers: Vec<Vec<Digest>> = removals.iter().map(|one| makers(one, &outcomes)).collect();
        // What only speeds things up goes first: killed after it, the versions are still to be removed.
        self.checkpoints_forget(&makers.iter().flatten().copied().collect()).await?;
        for (removal, makers) in removals.iter().zip(makers) {
            self.cache_forget(&removal.digest).await?;
            self.removal_take(removal.clone(), makers, remote).await?;
        }
        Ok(())
    }

    async fn removal_take(&self, removal: Removal, makers: Vec<Digest>, remote: &str) -> Result<(), ServerError> {
        let (at, who) = (self.ambient.now(), self.who.clone());
        let object = Uri::Data { name: removal.name.clone(), version: removal.digest.to_string() }.to_string();
        let details =
            json!({ "why": removal.why, "by": removal.who, "removed_at": removal.at, "fetched_from": remote });
        let event = AuditEvent { at, who, action: AuditAction::Delete, object, details };
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

    /// Deletes every checkpoint but those that stages other than `forgotten` used: nobody knows whose rows are in one that a
    /// killed run left.
    async fn checkpoints_forget(&self, forgotten: &BTreeSet<Digest>) -> Result<(), ServerError> {
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
    async fn cache_forget(&self, tree: &Digest) -> Result<(), ServerError> {
        if !self.store.contains(tree).await? {
            return Ok(());
        }
        for file in self.store.tree_files(tree).await? {
            let name = file.digest.to_string();
            files::remove_file(&self.cache().join(&name[..2]).join(&name))?;
        }
        Ok(())
    }
}

/// The keys whose outcome is the version.
fn makers(removal: &Removal, outcomes: &[Outcome]) -> Vec<Digest> {
    let uri = Uri::Data { name: removal.name.clone(), version: removal.digest.to_string() };
    let made = |outcome: &&Outcome| outcome.outputs.values().any(|output| output.dataset_uri().as_ref() == Some(&uri));
    outcomes.iter().filter(made).map(|outcome| outcome.key).collect()
}
