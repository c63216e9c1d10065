//! What a remote keeps of tables beside their bytes, where it is damaged: found, and written again from what is known here.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_data::{AuditAction, RecordedVersion, TableState, TagMove, table_states, version_history};
use ropewalk_store::{NoProgress, RefHistory, RefName, Root, Store, StoreError, Verified};
use ropewalk_types::{Ambient as _, DatasetName, Diagnose as _, Digest, Timestamp, Uri};
use serde_json::json;

use super::ends::Ends;
use super::layout::{Listed, listed, state_ref, version_ref};
use super::reading::{bounded, one_table, pointed, record_read, state_read};
use crate::verifying::{Need, Subject};
use crate::{DataProject, ServerError, SystemAmbient};

/// Refs of tables that are looked into at once.
const READS: usize = 16;

/// Something that a remote keeps of a table, and that cannot be read or used.
#[derive(Clone, Debug)]
pub struct TableFault {
    /// The table.
    pub name: DatasetName,
    /// The version whose record it is; none for what can change of the table: tags, declarations, removals.
    pub digest: Option<Digest>,
    /// What is wrong.
    pub reason: String,
    /// It was written again, from what is known of the table here and elsewhere.
    pub healed: bool,
    /// The generation of the ref at which that was found; none if the ref has been set since.
    generation: Option<u64>,
}

impl TableFault {
    fn reference(&self) -> Result<RefName, StoreError> {
        match &self.digest {
            Some(digest) => version_ref(&self.name, digest),
            None => state_ref(&self.name),
        }
    }

    fn is_of(&self, other: &Self) -> bool {
        (&self.name, self.digest) == (&other.name, other.digest)
    }
}

/// What the tables of a remote need there, and what of it is wrong beside bytes.
#[derive(Debug, Default)]
pub(crate) struct ExaminedTables {
    pub(crate) needs: Vec<Need>,
    pub(crate) faults: Vec<TableFault>,
}

/// Looks into every record and state that refs of tables name; one is held at a time.
pub(crate) async fn tables_examine(remote: &Store, now: Timestamp) -> Result<ExaminedTables, ServerError> {
    let listed = listed(remote, &[]).await?;
    let mut looks = Vec::new();
    for (name, refs) in &listed.tables {
        looks.extend(refs.versions.iter().map(|digest| look(remote, name, Some(*digest), now)));
        looks.extend(refs.state.then(|| look(remote, name, None, now)));
    }
    let mut looks = std::pin::pin!(futures::stream::iter(looks).buffered(READS));
    let mut examined = ExaminedTables::default();
    while let Some((need, fault)) = looks.try_next().await? {
        examined.needs.push(need);
        examined.faults.extend(fault);
    }
    Ok(examined)
}

/// A ref of tables that this program does not know, as a later one may write them.
pub(crate) async fn tables_unknown(remote: &Store) -> Result<Option<RefName>, ServerError> {
    Ok(listed(remote, &[]).await?.unknown.into_iter().next())
}

/// What a ref of a table needs, and what is wrong with what it names.
async fn look(
    remote: &Store,
    name: &DatasetName,
    digest: Option<Digest>,
    now: Timestamp,
) -> Result<(Need, Option<TableFault>), ServerError> {
    let subject = match digest {
        Some(digest) => Subject::Version { name: name.clone(), digest, number: None },
        None => Subject::State(name.clone()),
    };
    let mut need = Need { subject, roots: digest.map(Root::Tree).into_iter().collect() };
    let mut fault = TableFault { name: name.clone(), digest, reason: String::new(), healed: false, generation: None };
    let reference = fault.reference()?;
    let read = match one_table(pointed(remote, &reference).await)? {
        // It has gone since it was listed.
        Ok(None) => return Ok((Need { roots: Vec::new(), ..need }, None)),
        Ok(Some(pointed)) => {
            need.roots.push(Root::Blob(pointed.digest));
            // What is read now is of this generation or a later one.
            fault.generation = Some(pointed.generation);
            one_table(match &digest {
                Some(digest) => record_read(remote, name, digest, now).await.map(drop),
                None => state_read(remote, name, now).await.map(drop),
            })?
        }
        Err(error) => {
            let history = remote.ref_history(&reference).await?.filter(|history| newest(history).is_none());
            fault.generation = history.map(|history| history.generation);
            Err(error)
        }
    };
    match read {
        Ok(()) => Ok((need, None)),
        // Whether it is right is for that program to tell.
        Err(error) if error.code() == "data.newer_format" => Ok((need, None)),
        Err(error) => {
            fault.reason = error.to_string();
            Ok((need, Some(fault)))
        }
    }
}

impl DataProject {
    /// Writes records and states of a remote again that are faulty there: from what is known here, from `others`, and from
    /// what the remote itself had before. What took the place of something damaged is noted in `found`.
    pub(crate) async fn tables_heal(
        &self,
        (remote_name, remote): (&str, &Store),
        others: &[&Store],
        faults: &mut [TableFault],
        found: &mut Verified,
    ) -> Result<(), ServerError> {
        if faults.is_empty() {
            return Ok(());
        }
        // Bytes that came meanwhile may have been all that was wrong.
        let left = tables_examine(remote, SystemAmbient.now()).await?.faults;
        let ends = self.ends(remote_name, remote).await?;
        let healed = ends.heal(others, &left, found).await;
        ends.close().await;
        healed?;
        let left = tables_examine(remote, SystemAmbient.now()).await?.faults;
        for fault in faults {
            fault.healed = !left.iter().any(|other| other.is_of(fault));
        }
        Ok(())
    }
}

impl Ends<'_> {
    async fn heal(&self, others: &[&Store], faults: &[TableFault], found: &mut Verified) -> Result<(), ServerError> {
        let known: BTreeMap<(DatasetName, Digest), RecordedVersion> = version_history(&self.catalog, None)
            .await?
            .into_iter()
            .filter(|one| one.removed.is_none())
            .map(|one| ((one.version.name.clone(), one.version.digest), one))
            .collect();
        let states = table_states(&self.catalog).await?;
        let there = listed(self.remote, &[]).await?;
        let mut written: Vec<(&TableFault, Bytes)> = Vec::new();
        for fault in faults {
            let made = match &fault.digest {
                Some(digest) => {
                    let own = known.get(&(fault.name.clone(), *digest));
                    self.record_again(&fault.name, digest, own, others).await
                }
                None => self.state_again(&fault.name, states.get(&fault.name), &there, others).await,
            };
            // What cannot be made again stays as it is, and is told.
            if let Ok(Some(bytes)) = one_table(made)? {
                written.push((fault, bytes));
            }
        }
        self.announce(&written).await?;
        let made = Store::open("memory:").await?;
        let mut roots = Vec::with_capacity(written.len());
        for (_, bytes) in &written {
            roots.push(Root::Blob(made.put_bytes(bytes.clone()).await?.digest));
        }
        // Of one that is the same as what is damaged, the damaged place goes; others are new there.
        self.remote.heal(found, &made).await?;
        made.copy_to(self.remote, &roots, &NoProgress).await?;
        for ((fault, _), root) in written.iter().zip(&roots) {
            point(self.remote, fault, root.digest()).await?;
        }
        Ok(())
    }

    async fn announce(&self, written: &[(&TableFault, Bytes)]) -> Result<(), ServerError> {
        let details = json!({ "healing": self.remote_name });
        let versions = written.iter().filter_map(|(fault, _)| {
            let version = fault.digest?.to_string();
            Some(Uri::Data { name: fault.name.clone(), version }.to_string())
        });
        self.audit(versions.map(|object| self.event(AuditAction::Read, object, details.clone())).collect()).await
    }

    /// The record of a version, as it is known here, or as another remote has it.
    async fn record_again(
        &self,
        name: &DatasetName,
        digest: &Digest,
        own: Option<&RecordedVersion>,
        others: &[&Store],
    ) -> Result<Option<Bytes>, ServerError> {
        if let Some(own) = own {
            let here = own.elsewhere.is_none() && self.store.contains(digest).await?;
            return Ok(Some(Bytes::from(self.record(own, here).await?.encode()?)));
        }
        for other in others {
            if let Ok(Some((record, _))) = one_table(record_read(other, name, digest, self.now()).await)? {
                return Ok(Some(Bytes::from(record.encode()?)));
            }
        }
        Ok(None)
    }

    /// The state of a table: what the remote had before, what other remotes have and what is known here, merged.
    async fn state_again(
        &self,
        name: &DatasetName,
        own: Option<&TableState>,
        there: &Listed,
        others: &[&Store],
    ) -> Result<Option<Bytes>, ServerError> {
        let mut known = self.states_before(name).await?;
        for other in others {
            if let Ok(Some(read)) = one_table(state_read(other, name, self.now()).await)? {
                known.push(read.state);
            }
        }
        known.extend(own.cloned());
        let Some(mut state) = known.into_iter().reduce(|state, next| state.merge(&next, TagMove::Refused).state) else {
            return Ok(None);
        };
        // Tags and the latest version must be among those that the remote names.
        let named = |digest: &Digest| there.tables.get(name).is_some_and(|refs| refs.versions.contains(digest));
        state.tags.retain(|_, tagged| tagged.digest.is_none_or(|digest| named(&digest)));
        state.latest = state.latest.filter(|latest| named(&latest.digest));
        Ok(Some(Bytes::from(state.encode()?)))
    }

    /// The states that the ref named before, as far as they can be read.
    async fn states_before(&self, name: &DatasetName) -> Result<Vec<TableState>, ServerError> {
        let history = self.remote.ref_history(&state_ref(name)?).await?;
        let mut states = Vec::new();
        for value in history.into_iter().flat_map(|history| history.values) {
            let Some(digest) = std::str::from_utf8(&value.bytes).ok().and_then(|text| text.parse().ok()) else {
                continue;
            };
            let read = bounded(self.remote, &digest, TableState::MAX_BYTES).await.map_err(ServerError::from);
            let decoded = |bytes: Bytes| TableState::decode(&bytes, name, self.now()).map_err(ServerError::from);
            states.extend(one_table(read.and_then(decoded))?);
        }
        Ok(states)
    }
}

/// The blob that the newest generation of a ref names, if it names one.
fn newest(history: &RefHistory) -> Option<Digest> {
    let newest = history.values.first().filter(|newest| newest.generation == history.generation)?;
    std::str::from_utf8(&newest.bytes).ok()?.parse().ok()
}

/// Lets the ref of what was faulty name a blob, unless somebody has set it since the fault was found: by another healing, or a
/// push after that.
async fn point(remote: &Store, fault: &TableFault, blob: &Digest) -> Result<(), ServerError> {
    let (reference, Some(generation)) = (fault.reference()?, fault.generation) else { return Ok(()) };
    let Some(history) = remote.ref_history(&reference).await? else { return Ok(()) };
    if history.generation != generation || newest(&history) == Some(*blob) {
        return Ok(());
    }
    match remote.ref_set(&reference, Some(generation), Bytes::from(blob.to_string())).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_set_since_a_fault_was_found_stays() {
        let remote = Store::open("memory:").await.expect("a store");
        let (name, now) = (DatasetName::new("people").expect("a name"), Timestamp(1_700_000_000_000));
        let reference = state_ref(&name).expect("a name");
        let set =
            async |expected, bytes: String| remote.ref_set(&reference, expected, bytes.into()).await.expect("set");
        let named = async || {
            let value = remote.ref_get(&reference).await.expect("read").expect("a value");
            String::from_utf8(value.bytes.to_vec()).expect("text")
        };
        let found = async || look(&remote, &name, None, now).await.expect("looked at").1.expect("a fault");
        let (blob, pushed) = (Digest::of(b"written again"), Digest::of(b"pushed"));
        // One that names nothing, and one that names what is not there.
        let first = set(None, "nothing".to_owned()).await;
        let fault = found().await;
        assert_eq!(fault.generation, Some(first));
        let second = set(Some(first), pushed.to_string()).await;
        point(&remote, &fault, &blob).await.expect("left alone");
        assert_eq!(named().await, pushed.to_string());
        let fault = found().await;
        assert_eq!(fault.generation, Some(second));
        point(&remote, &fault, &blob).await.expect("set");
        assert_eq!(named().await, blob.to_string());
        // It is not counted as another generation when it says so already.
        let fault = found().await;
        point(&remote, &fault, &blob).await.expect("as it is");
        assert_eq!(found().await.generation, fault.generation);
    }
}
