//! The project's own store.

use ropewalk_config::STATE_FOLDER;
use ropewalk_store::{Damage, Store, StoreError};
use ropewalk_types::{Ambient as _, DatasetName, Digest, Timestamp};
use ropewalk_versions::{Examined, NeededVersion, Workspace, store_examine};

use super::healing::Patient;
use super::{MARK_WRITTEN, Need, Subject, Verification, is_of_content};
use crate::project::{CACHE, below, in_use};
use crate::{DataProject, OpenProject, ServerError, SystemAmbient, store_place};

impl DataProject {
    /// Reads every stored byte again, looks whether all that is needed is there, and takes from `heal_from` what is
    /// damaged or missing.
    ///
    /// A store whose index is damaged is opened all the same. Needed are the objects of all versions that refs lead to, and
    /// the content of those that are here: versions that were never brought here from a remote are not missing. Where that
    /// cannot be told any more, because what said so is lost, all content is taken from `heal_from`.
    pub async fn verify(&self, heal_from: Option<&Store>) -> Result<Verification, ServerError> {
        let mut notes = Vec::new();
        let store = self.store_damaged(heal_from.is_some(), &mut notes).await?;
        let workspace = self.workspace();
        let mut patient = Patient::new(&store).await?;
        let (cached, changed) = store.verify_cache().await?;
        let mut verification = Verification { notes, cached, changed, ..Verification::default() };

        let others: Vec<&Store> = heal_from.into_iter().collect();
        let pointed = workspace.pointed_versions().await?;
        let now = SystemAmbient.now();
        let Examined { versions, mut refs } = store_examine(&store, &others, &pointed, now).await?;
        let everything = heal_from.is_some()
            && (patient.found.damaged.iter().any(Damage::is_index) || objects_lost(&store, &pointed, now).await?);
        let tracked = needs(&store, workspace, &versions, everything).await?;
        let rest = self.catalog_needs().await?;
        let mut all = tracked.clone();
        all.extend(rest.as_deref().unwrap_or_default().iter().cloned());
        patient.look(&all).await?;

        let mut rest = rest;
        if let Some(other) = heal_from {
            patient.heal(other).await?;
            patient.fill(other, &tracked).await?;
            for damaged in &mut refs {
                damaged.repair(&store).await?;
            }
            // Only a store that can be opened says what the catalogue needs of it.
            rest = self.catalog_needs().await?;
            all = tracked;
            all.extend(rest.as_deref().unwrap_or_default().iter().cloned());
            patient.fill(other, &all).await?;
            if rest.is_ok() && refs.iter().all(|one| one.healed) {
                patient.let_go(&all).await?;
            }
        }
        verification.unknown.extend(rest.err());
        verification.refs = refs;
        patient.end(&mut verification);
        Ok(verification)
    }

    /// The project's store, whatever of it is damaged; others see that it is in use.
    async fn store_damaged(&self, heals: bool, notes: &mut Vec<String>) -> Result<Store, ServerError> {
        let state = self.root().join(STATE_FOLDER);
        let storage = below(self.root(), "file:", &self.file().backends.storage);
        match store_place::check_there(&state, &storage, self.options()).await {
            Err(StoreError::MarkLost { .. }) if heals => notes.push(MARK_WRITTEN.to_owned()),
            checked => checked?,
        }
        // Before the store is opened: whoever has it alone is removing things.
        let lock = in_use(&state).await;
        let store = Store::open_damaged(&storage, self.options()).await?.with_cache(state.join(CACHE));
        Ok(match lock {
            Some(lock) => store.with_lock(lock),
            None => store,
        })
    }

    /// What versions of tables, runs, models and stages need, or why that cannot be told.
    async fn catalog_needs(&self) -> Result<Result<Vec<Need>, String>, ServerError> {
        let needs = async {
            let project = OpenProject::open(self.root(), self.access()).await?;
            let needs = project.needs().await;
            project.close().await;
            needs
        };
        match needs.await {
            Err(error) if is_of_content(&error) => {
                Ok(Err(format!("what tables, runs, models and commits of git need: {error}")))
            }
            needs => needs.map(Ok),
        }
    }
}

impl OpenProject {
    /// What the catalogue and commits of git need.
    async fn needs(&self) -> Result<Vec<Need>, ServerError> {
        let mut needs = self.catalog_needs().await?;
        needs.push(Need { subject: Subject::Git, roots: self.workspace().roots().await? });
        Ok(needs)
    }
}

/// Whether the object of a version is not in the store, which all versions have that its refs lead to.
///
/// Where those lead is asked of nobody else: another store may be ahead, and its newest versions were never here.
async fn objects_lost(store: &Store, pointed: &[(DatasetName, Digest)], now: Timestamp) -> Result<bool, ServerError> {
    let Examined { versions, .. } = store_examine(store, &[], pointed, now).await?;
    for version in versions {
        if !store.contains(&version.digest).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What tracked files need: of each version its object, and its content if that is here, or if `everything` is meant to be.
async fn needs(
    store: &Store,
    workspace: &Workspace,
    versions: &[NeededVersion],
    everything: bool,
) -> Result<Vec<Need>, ServerError> {
    let mut needs = Vec::with_capacity(versions.len() + 1);
    for version in versions {
        let here = match version.content {
            Some(content) if !everything => store.contains(content.digest()).await?,
            content => content.is_some(),
        };
        needs.push(Need::of_version(version, here));
    }
    needs.push(Need { subject: Subject::WorkTree, roots: workspace.laid_out().await? });
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use ropewalk_store::files;

    use super::*;
    use crate::Access;

    #[tokio::test]
    async fn a_store_that_is_read_again_is_seen_to_be_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(ropewalk_config::FILE_NAME);
        files::write_atomic(&file, b"[project]\nname = \"x\"\n").expect("a project file");
        let project = DataProject::open(folder.path(), "test", Access::default(), |_| ()).expect("a project");
        let store = project.store_damaged(true, &mut Vec::new()).await.expect("a store");
        let other = in_use(&folder.path().join(STATE_FOLDER)).await.expect("a lock");
        assert!(other.alone().expect("locks").is_none());
        drop(store);
        assert!(other.alone().expect("locks").is_some());
    }
}
