use async_trait::async_trait;
use ropewalk_pipeline::{CommandKind, CommandSettings, Executed, Failure, Project, StageContext, StageKind, StageSpec};
use ropewalk_store::Store;
use ropewalk_types::{Digest, Uri};
use serde_json::{Value, json};

use super::holders::{Holders, changes_record};

/// A command whose `deps` may be tracked files: what it makes of them is then made of their datasets.
pub(crate) struct TrackedCommandKind {
    pub(crate) command: CommandKind,
    pub(crate) holders: Holders,
}

fn deps(spec: &StageSpec, project: &Project) -> Result<Vec<std::path::PathBuf>, Failure> {
    let settings: CommandSettings = spec.settings()?;
    Ok(settings.deps.iter().map(|path| project.root.join(path)).collect())
}

/// The digest of all `deps` by a fingerprint of the command.
fn read_digest(fingerprint: &Value) -> Digest {
    Digest::of_json(&fingerprint["deps"])
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
        let held = self.holders.of(deps(spec, project)?, Some(read_digest(&fingerprint))).await?;
        if !held.is_empty() {
            let tracked: Vec<Uri> = held.into_iter().map(|held| held.uri).collect();
            fingerprint["tracked"] = json!(tracked);
        }
        Ok(fingerprint)
    }

    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure> {
        let files = deps(spec, &context.project)?;
        let read = if files.is_empty() {
            None
        } else {
            let fingerprint = self.command.fingerprint(spec, &context.project, &context.store).await?;
            Some(read_digest(&fingerprint))
        };
        let held = self.holders.of(files, read).await?;
        self.holders.audit_reads(spec, context, &held).await?;
        let mut executed = self.command.execute(spec, context).await?;
        executed.records.extend(changes_record(&held, context.ambient.now()));
        executed.sources.extend(held.into_iter().map(|held| held.uri));
        Ok(executed)
    }
}
