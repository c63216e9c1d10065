use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use ropewalk_pipeline::{CommandKind, CommandSettings, Executed, Failure, Project, StageContext, StageKind, StageSpec};
use ropewalk_store::Store;
use ropewalk_types::{DatasetName, Digest};
use serde_json::{Value, json};

use super::holders::{Holders, changes_record};

/// A command whose `deps` may be tracked files: what it makes of them is then made of their datasets.
pub(crate) struct TrackedCommandKind {
    pub(crate) command: CommandKind,
    pub(crate) holders: Holders,
}

fn deps(spec: &StageSpec, project: &Project) -> Result<Vec<PathBuf>, Failure> {
    let settings: CommandSettings = spec.settings()?;
    Ok(settings.deps.iter().map(|path| project.root.join(path)).collect())
}

#[async_trait]
impl StageKind for TrackedCommandKind {
    fn name(&self) -> &'static str {
        self.command.name()
    }

    fn revision(&self) -> u32 {
        self.command.revision()
    }

    async fn fingerprint(&self, spec: &StageSpec, project: &Project, store: &Store) -> Result<Value, Failure> {
        let mut fingerprint = self.command.fingerprint(spec, project, store).await?;
        // The names alone, because of what they say: another version with the same bytes makes nothing else, and lineage goes
        // on to name the one that was read.
        let held = self.holders.of(deps(spec, project)?).await?;
        let tracked: BTreeSet<DatasetName> = held.into_iter().map(|held| held.name).collect();
        if !tracked.is_empty() {
            fingerprint["tracked"] = json!(tracked);
        }
        Ok(fingerprint)
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let held = self.holders.of(deps(spec, &context.project)?).await?;
        // Only what no version has is named by what it is.
        let changed = if held.iter().any(|held| held.differs) {
            let fingerprint = self.command.fingerprint(spec, &context.project, &context.store).await?;
            Some(Digest::of_json(&fingerprint["deps"]))
        } else {
            None
        };
        self.holders.audit_reads(spec, context, &held).await?;
        let mut executed = self.command.execute(spec, context).await?;
        match changed {
            Some(read) => {
                executed.records.extend(changes_record(&held, read, context.ambient.now()));
                executed.sources.extend(held.iter().map(|held| held.uri(read)));
            }
            None => executed.sources.extend(held.into_iter().map(|held| held.known)),
        }
        Ok(executed)
    }
}
