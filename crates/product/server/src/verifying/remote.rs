//! The store of a remote, healed from this project's store and from other remotes.

use ropewalk_data::AuditAction;
use ropewalk_store::{Store, StoreError};
use ropewalk_types::{Ambient as _, Timestamp};
use ropewalk_versions::{DamagedRef, GiveUp, VersionsError, store_examine};
use serde_json::json;

use super::healing::Patient;
use super::{MARK_WRITTEN, Need, Subject, Verification, open_marked, released, strays};
use crate::collecting::foreign_ref;
use crate::travelling::{tables_examine, tables_unknown};
use crate::{DataProject, ServerError, SystemAmbient, TableFault};

/// Where a remote is to be healed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealFrom {
    /// Nowhere: it is only read.
    Nothing,
    /// From this project's store, and from its other remotes where that does not suffice.
    Everywhere,
    /// The same; refs to versions that none of these has are let go there.
    GiveUp,
}

/// What refs of a remote need, and which of them are damaged.
struct Remote {
    needs: Vec<Need>,
    refs: Vec<DamagedRef>,
    tables: Vec<TableFault>,
}

impl Remote {
    /// Whether this ref is damaged still.
    fn has_wrong(&self, other: &DamagedRef) -> bool {
        self.refs.iter().any(|one| one.name == other.name)
    }
}

impl DataProject {
    /// Reads every byte of a remote again, and looks whether all is there that its refs need, whoever pushed it. What is
    /// damaged or missing is sent again, as far as this project or its other remotes have it.
    ///
    /// A remote whose index is damaged is opened all the same.
    pub async fn remote_verify(&self, name: &str, heal: HealFrom) -> Result<Verification, ServerError> {
        let (name, url) = self.remote(Some(name))?;
        let mut verification = Verification::default();
        let heals = heal != HealFrom::Nothing;
        let store = self.remote_damaged(&name, url, heals, &mut verification.notes).await?;
        strays(&store, heals, &mut verification.notes).await?;
        let own = self.workspace().store().await?.clone();
        let now = SystemAmbient.now();
        let mut patient = Patient::new(&store).await?;
        // What cannot be read there may be known here: which versions are behind, and what their numbers are.
        let mut sources = vec![own];
        let mut remote = examined(&store, &sources, now).await?;
        patient.look(&remote.needs).await?;
        patient.find_paths(&remote.needs).await?;
        if heals && !(patient.is_whole() && remote.refs.is_empty() && remote.tables.is_empty()) {
            self.heal_announce(&name, &remote.needs, &patient).await?;
            for source in &sources {
                patient.heal(source).await?;
                patient.fill(source, &remote.needs).await?;
            }
            let mut not_asked = Vec::new();
            for other in self.file().remote.keys().filter(|other| **other != name) {
                // Before anything is given up, all are asked.
                let healed = patient.is_whole() && remote.refs.iter().all(DamagedRef::is_known);
                if healed && heal != HealFrom::GiveUp {
                    break;
                }
                let source = match self.remote_open(Some(other)).await {
                    Ok((_, source)) => source,
                    Err(error) => {
                        let why = format!("the remote {other} was not asked: {error}");
                        not_asked.push(why);
                        continue;
                    }
                };
                sources.push(source.clone());
                remote = examined(&store, &sources, now).await?;
                patient.heal(&source).await?;
                patient.fill(&source, &remote.needs).await?;
            }
            let others: Vec<&Store> = sources.iter().skip(1).collect();
            for damaged in &mut remote.refs {
                damaged.repair(&store).await?;
            }
            self.tables_heal((&name, &store), &others, &mut remote.tables, &mut patient.found).await?;
            let Remote { mut needs, refs, .. } = examined(&store, &sources, now).await?;
            patient.look(&needs).await?;
            if heal == HealFrom::GiveUp && !(patient.is_whole() && refs.is_empty()) {
                if not_asked.is_empty() {
                    Box::pin(self.remote_give_up(&store, &sources, &mut patient, &mut verification)).await?;
                    let after = examined(&store, &sources, now).await?;
                    remote.refs.iter_mut().for_each(|one| one.healed |= !after.has_wrong(one));
                    needs = after.needs;
                    patient.look(&needs).await?;
                } else {
                    not_asked.push("nothing was given up: one of these may have it".to_owned());
                }
            }
            verification.unasked = !not_asked.is_empty();
            verification.notes.append(&mut not_asked);
            let facts_whole =
                remote.refs.iter().all(|one| one.healed) && remote.tables.iter().all(|fault| fault.healed);
            if facts_whole && patient.is_damaged() {
                match needed_by_others(&store).await? {
                    None => patient.let_go(&needs).await?,
                    Some(why) => verification.notes.push(format!("nothing that is damaged was let go: {why}")),
                }
            }
        }
        verification.refs = remote.refs;
        verification.tables = remote.tables;
        patient.end(&mut verification);
        Ok(verification)
    }

    /// A remote, whatever of it is damaged.
    async fn remote_damaged(
        &self,
        name: &str,
        url: String,
        heals: bool,
        notes: &mut Vec<String>,
    ) -> Result<Store, ServerError> {
        let store = match Store::open_existing_damaged(&url, self.options()).await {
            Err(StoreError::MarkLost { .. }) if heals => {
                notes.push(MARK_WRITTEN.to_owned());
                Some(Store::open_damaged(&url, self.options()).await?)
            }
            Err(StoreError::UnknownFormat { .. }) if heals => {
                Some(open_marked(&url, self.options(), heals, notes).await?)
            }
            opened => opened?,
        };
        Ok(store.ok_or_else(|| VersionsError::RemoteMissing { name: name.to_owned(), url })?)
    }

    /// Lets go there of refs to versions that neither this project nor its other remotes have; does nothing while something
    /// of this project is lost itself, which its work tree or a remote may have.
    async fn remote_give_up(
        &self,
        store: &Store,
        sources: &[Store],
        patient: &mut Patient<'_>,
        verification: &mut Verification,
    ) -> Result<(), ServerError> {
        if !Box::pin(self.verify(None)).await?.is_whole() {
            let why =
                "nothing was given up: the project's own store is not whole; `ropewalk data verify --heal` comes first";
            verification.unknown.push(why.to_owned());
            return Ok(());
        }
        patient.give_up();
        let others: Vec<&Store> = sources.iter().collect();
        released(self.workspace().give_up(GiveUp { store, others: &others, own: false }).await?, verification);
        Ok(())
    }

    /// The audit trail knows what is sent before it is.
    async fn heal_announce(&self, remote: &str, needs: &[Need], patient: &Patient<'_>) -> Result<(), ServerError> {
        for need in needs.iter().filter(|need| patient.is_hurt(&need.subject)) {
            if let Subject::Version { name, digest, .. } = &need.subject {
                self.audit(AuditAction::Read, name, Some(digest), json!({ "healing": remote })).await?;
            }
        }
        Ok(())
    }
}

/// Why more may be needed of a remote than can be seen from here, if that is so.
async fn needed_by_others(store: &Store) -> Result<Option<String>, ServerError> {
    if let Some(other) = foreign_ref(store).await? {
        let why = format!(
            "the remote is also the store of a project, which keeps `{other}` in it; `ropewalk data verify --heal REMOTE` in \
             that project tells what it needs"
        );
        return Ok(Some(why));
    }
    let unknown = tables_unknown(store).await?;
    Ok(unknown.map(|other| format!("this program does not know what the ref `{other}` needs")))
}

async fn examined(store: &Store, sources: &[Store], now: Timestamp) -> Result<Remote, ServerError> {
    let others: Vec<&Store> = sources.iter().collect();
    let tracked = store_examine(store, &others, &[], now).await?;
    let tables = tables_examine(store, now).await?;
    let mut needs: Vec<Need> = tracked.versions.iter().map(|version| Need::of_version(version, true)).collect();
    needs.extend(tables.needs);
    Ok(Remote { needs, refs: tracked.refs, tables: tables.faults })
}
