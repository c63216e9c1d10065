//! The project's own store.

use ropewalk_config::STATE_FOLDER;
use ropewalk_store::{Damage, Store};
use ropewalk_types::Ambient as _;
use ropewalk_versions::{Examined, NeededVersion, Workspace, store_examine};

use super::healing::Patient;
use super::{Need, Subject, Verification, is_of_content};
use crate::project::below;
use crate::{DataProject, OpenProject, ServerError, SystemAmbient, store_place};

impl DataProject {
    /// Reads every stored byte again, looks whether all that is needed is there, and takes from `heal_from` what is
    /// damaged or missing.
    ///
    /// A store whose index is damaged is opened all the same. Needed are the objects of all versions that refs lead to, and
    /// the content of those that are here: versions that were never brought here from a remote are not missing. Where that
    /// cannot be told any more, because what said so is lost, all content is taken from `heal_from`.
    pub async fn verify(&self, heal_from: Option<&Store>) -> Result<Verification, ServerError> {
        let storage = below(self.root(), "file:", &self.file().backends.storage);
        store_place::check_there(&self.root().join(STATE_FOLDER), &storage, self.options()).await?;
        let store = Store::open_damaged(&storage, self.options()).await?;
        let store = store.with_cache(self.root().join(STATE_FOLDER).join("cache"));
        let workspace = self.workspace();
        let mut patient = Patient::new(&store).await?;
        let (cached, changed) = store.verify_cache().await?;
        let mut verification = Verification { cached, changed, ..Verification::default() };

        let others: Vec<&Store> = heal_from.into_iter().collect();
        let pointed = workspace.pointed_versions().await?;
        let Examined { versions, mut refs } = store_examine(&store, &others, &pointed, SystemAmbient.now()).await?;
        let lost = patient.found.damaged.iter().any(Damage::is_index) || objects_lost(&store, &versions).await?;
        let tracked = needs(&store, workspace, &versions, lost && heal_from.is_some()).await?;
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

/// Whether the object of a version is not in the store, which all versions have that refs lead to.
async fn objects_lost(store: &Store, versions: &[NeededVersion]) -> Result<bool, ServerError> {
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
