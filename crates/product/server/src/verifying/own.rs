//! The project's own store.

use ropewalk_config::STATE_FOLDER;
use ropewalk_data::AuditAction;
use ropewalk_predictions::segment_forget;
use ropewalk_store::{Damage, Store, StoreError};
use ropewalk_types::{Ambient as _, Uri};
use ropewalk_versions::{DamagedRef, Examined, GiveUp, NeededVersion, Removal, Workspace, store_examine};
use serde_json::json;

use super::healing::Patient;
use super::letting_go::lost_note;
use super::{
    Affected, LetGone, MARK_WRITTEN, Need, Subject, Verification, is_of_content, open_marked, released, strays,
};
use crate::planning::{Planned, plan};
use crate::project::{CACHE, below, catalog_open, in_use};
use crate::recording::CODE_TAG;
use crate::running::code_kept;
use crate::{DataProject, OpenProject, ServerError, SystemAmbient, store_place};

/// How the project's own store is healed: from its work tree, and as this says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Healing<'a> {
    /// The store from which comes what the work tree does not have.
    pub from: Option<&'a Store>,
    /// Whether refs to versions, and code of runs, that neither that, nor any remote, nor the work tree has are let go.
    pub give_up: bool,
}

/// What the project needs of its store.
struct Own {
    refs: Vec<DamagedRef>,
    /// What tracked files need.
    tracked: Vec<Need>,
    /// What all else needs, or why that cannot be told.
    rest: Result<Vec<Need>, String>,
    /// Whether the content of all versions is needed, because nobody can tell which had been here.
    everything: bool,
}

impl Own {
    fn all(&self) -> Vec<Need> {
        self.tracked.iter().chain(self.rest.iter().flatten()).cloned().collect()
    }

    fn refs_whole(&self) -> bool {
        self.refs.iter().all(|one| one.healed)
    }
}

impl DataProject {
    /// Reads every stored byte again, looks whether all that is needed is there, and heals what is damaged or missing, if
    /// that is asked for.
    ///
    /// A store whose index is damaged is opened all the same. Needed are the objects of all versions that refs lead to, and
    /// the content of those that are here: versions that were never brought here from a remote are not missing. Where that
    /// cannot be told any more, because what said so is lost, all content is taken from the remote.
    pub async fn verify(&self, healing: Option<Healing<'_>>) -> Result<Verification, ServerError> {
        let mut verification = Verification::default();
        let store = self.store_damaged(healing.is_some(), &mut verification.notes).await?;
        strays(&store, healing.is_some(), &mut verification.notes).await?;
        let mut patient = Patient::new(&store).await?;
        (verification.cached, verification.changed) = store.verify_cache().await?;

        let others: Vec<&Store> = healing.and_then(|healing| healing.from).into_iter().collect();
        let alone = self.file().remote.is_empty();
        let can_tell = healing.is_some_and(|healing| healing.from.is_some() || alone);
        let everything =
            can_tell && (patient.found.damaged.iter().any(Damage::is_index) || self.objects_lost(&store).await?);
        let mut own = self.own_needs(&store, &others, everything).await?;
        let all = own.all();
        patient.look(&all).await?;
        patient.find_paths(&all).await?;
        if let Some(healing) = healing {
            Box::pin(self.own_heal((&store, healing), &mut own, &mut patient, &mut verification)).await?;
        }
        // Where nothing can be written, nobody can add files either.
        let _ = self.workspace().damage_note(&patient.found).await;
        verification.unknown.extend(own.rest.err());
        verification.refs = own.refs;
        patient.end(&mut verification);
        self.runs_find(&mut verification.affected).await?;
        Ok(verification)
    }

    async fn own_heal(
        &self,
        (store, healing): (&Store, Healing<'_>),
        own: &mut Own,
        patient: &mut Patient<'_>,
        verification: &mut Verification,
    ) -> Result<(), ServerError> {
        patient.heal_from_files(self.workspace(), &own.tracked, &mut verification.notes).await?;
        if let Some(other) = healing.from {
            patient.heal(other).await?;
            patient.fill(other, &own.tracked).await?;
        }
        for damaged in &mut own.refs {
            damaged.repair(store).await?;
        }
        // Only a store that can be opened says what the catalogue needs of it.
        own.rest = self.catalog_needs().await?;
        let all = own.all();
        patient.look(&all).await?;
        if all.iter().any(|need| matches!(need.subject, Subject::Code { .. }) && patient.is_hurt(&need.subject)) {
            match self.code_now().await {
                Ok(code) => {
                    patient.heal(&code).await?;
                    patient.fill(&code, &all).await?;
                }
                Err(error) => verification.notes.push(format!("the project's code could not be read: {error}")),
            }
        }
        if let Some(other) = healing.from {
            patient.fill(other, &all).await?;
        }
        let whole = patient.is_whole() && own.refs_whole();
        if healing.give_up && (!whole || self.workspace().points_nowhere(store).await?) {
            Box::pin(self.own_give_up(store, own, patient, verification)).await?;
        }
        if own.rest.is_ok() && own.refs_whole() {
            patient.let_go(&own.all()).await?;
        }
        Ok(())
    }

    /// Lets go of refs to versions, and of code of runs, that neither the work tree nor any remote has; does nothing while a
    /// remote cannot be asked.
    async fn own_give_up(
        &self,
        store: &Store,
        own: &mut Own,
        patient: &mut Patient<'_>,
        verification: &mut Verification,
    ) -> Result<(), ServerError> {
        let mut remotes = Vec::new();
        for name in self.file().remote.keys() {
            match self.remote_open(Some(name)).await {
                Ok((_, remote)) => remotes.push(remote),
                Err(error) => {
                    let why = format!("nothing was given up: the remote {name} could not be asked: {error}");
                    verification.unknown.push(why);
                    verification.unasked = true;
                    return Ok(());
                }
            }
        }
        // So far one remote was asked: another may have what that has lost, and say what a ref held.
        let others: Vec<&Store> = remotes.iter().collect();
        let mut again = self.own_needs(store, &others, own.everything).await?;
        let all = again.all();
        for remote in &remotes {
            patient.heal(remote).await?;
            patient.fill(remote, &all).await?;
        }
        for damaged in &mut again.refs {
            damaged.repair(store).await?;
        }
        patient.look(&all).await?;
        patient.give_up();
        released(self.workspace().give_up(GiveUp { store, others: &others, own: true }).await?, verification);

        // Refs that lead somewhere tell what all else needs.
        let mut after = self.own_needs(store, &others, own.everything).await?;
        patient.look(&after.all()).await?;
        patient.give_up();
        self.runs_give_up(store, &after, patient, &mut verification.given_up).await?;
        after.rest = self.catalog_needs().await?;
        patient.look(&after.all()).await?;
        for before in &mut own.refs {
            before.healed |= !after.refs.iter().any(|one| one.name == before.name);
        }
        let new = after.refs.into_iter().filter(|one| !own.refs.iter().any(|before| before.name == one.name));
        let new: Vec<DamagedRef> = new.collect();
        own.refs.extend(new);
        (own.tracked, own.rest) = (after.tracked, after.rest);
        Ok(())
    }

    /// Notes as lost the code and the artifacts of runs that nobody has.
    async fn runs_give_up(
        &self,
        store: &Store,
        own: &Own,
        patient: &Patient<'_>,
        given_up: &mut Vec<LetGone>,
    ) -> Result<(), ServerError> {
        for need in own.rest.iter().flatten().filter(|need| patient.is_hurt(&need.subject)) {
            let (lost, object) = match &need.subject {
                Subject::Code { tree, .. } => (tree, Uri::Code(*tree).to_string()),
                Subject::Artifact { digest } | Subject::Predictions { digest } => (digest, digest.to_string()),
                _ => continue,
            };
            let what = format!("{} is noted as lost", need.subject);
            let details = json!({ "given_up": what, "store": store.place() });
            self.audit_object(AuditAction::Delete, object, details).await?;
            let (at, who) = (SystemAmbient.now(), self.access().who);
            let removal = Removal { at, who, why: "nobody has it any more".to_owned() };
            lost_note(store, lost, &removal).await?;
            if matches!(need.subject, Subject::Predictions { .. }) {
                // What is listed is read.
                let catalog = catalog_open(self.root(), self.file()).await?;
                let forgotten = segment_forget(&catalog, lost).await;
                catalog.close().await;
                forgotten?;
            }
            given_up.push(LetGone { name: None, version: None, what });
        }
        Ok(())
    }

    async fn own_needs(&self, store: &Store, others: &[&Store], everything: bool) -> Result<Own, ServerError> {
        let workspace = self.workspace();
        let pointed = workspace.pointed_versions().await?;
        let Examined { versions, refs } = store_examine(store, others, &pointed, SystemAmbient.now()).await?;
        let tracked = needs(store, workspace, &versions, everything).await?;
        Ok(Own { refs, tracked, rest: self.catalog_needs().await?, everything })
    }

    /// The project's code as it is now, in a store of its own.
    async fn code_now(&self) -> Result<Store, ServerError> {
        let Planned { code, .. } = plan(self.root(), self.file())?;
        let scratch = Store::open("memory:").await?;
        code_kept(self.root(), &scratch, &code).await?;
        Ok(scratch)
    }

    /// Finds out whose code it is that something is wrong with.
    async fn runs_find(&self, affected: &mut [Affected]) -> Result<(), ServerError> {
        if !affected.iter().any(|one| matches!(one.subject, Subject::Code { .. })) {
            return Ok(());
        }
        let project = match OpenProject::open(self.root(), self.access()).await {
            // That is told already.
            Err(error) if is_of_content(&error) => return Ok(()),
            project => project?,
        };
        for one in affected {
            if let Subject::Code { tree, runs } = &mut one.subject {
                *runs = project.tracking().tag_holders(CODE_TAG, &Uri::Code(*tree).to_string()).await?;
            }
        }
        project.close().await;
        Ok(())
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
        let store = open_marked(&storage, self.options(), heals, notes).await?.with_cache(state.join(CACHE));
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

    /// Whether the object of a version is not in the store, which all versions have that its refs lead to.
    ///
    /// Where those lead is asked of nobody else: another store may be ahead, and its newest versions were never here.
    async fn objects_lost(&self, store: &Store) -> Result<bool, ServerError> {
        let pointed = self.workspace().pointed_versions().await?;
        let Examined { versions, .. } = store_examine(store, &[], &pointed, SystemAmbient.now()).await?;
        for version in versions {
            if !store.contains(&version.digest).await? {
                return Ok(true);
            }
        }
        Ok(false)
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
    let mut laid_out = workspace.laid_out().await?;
    // Of a version that was removed nothing is needed, though it is what was laid out last.
    match workspace.removed_contents().await.map_err(ServerError::from) {
        Err(error) if is_of_content(&error) => {}
        removed => {
            let removed = removed?;
            laid_out.retain(|root| !removed.contains(root.digest()));
        }
    }
    needs.push(Need { subject: Subject::WorkTree, roots: laid_out });
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
