//! Tables to a remote.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_data::{
    AuditAction, DataError, Made, MadeBy, RecordedVersion, Removed, TableRecord, TableState, TagConflict, TagMove,
    arrival_made, table_states, version_history,
};
use ropewalk_ingest::report;
use ropewalk_lineage::upstream;
use ropewalk_pipeline::outcome_get;
use ropewalk_store::{Root, Store, StoreError, TransferProgress, Transferred};
use ropewalk_types::{DatasetName, Diagnose as _, Digest, TagName, Uri};
use serde::Serialize;
use serde_json::json;

use super::Refusal;
use super::ends::Ends;
use super::layout::{TableRefs, listed, state_ref, version_ref};
use super::reading::{ReadState, blobs_put, concerns_one, one_table, record_read, state_read};
use crate::{DataProject, ServerError};

/// Tables that are looked at, and refs that are written, at once.
const AT_ONCE: usize = 16;
/// Each time round, another push has changed the same state.
const MAX_ROUNDS: usize = 16;

/// What became of the tables of a push.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PushedTables {
    /// Each of them, by name.
    pub tables: Vec<PushedTable>,
    /// What travelled.
    #[serde(skip)]
    pub transferred: Transferred,
}

/// What became of a table in the remote.
#[derive(Clone, Debug, Serialize)]
pub struct PushedTable {
    /// Its name.
    pub name: DatasetName,
    /// Versions that are new there.
    pub pushed: Vec<Digest>,
    /// Versions that the remote had.
    pub present: u64,
    /// Versions that are removed here, and that the remote names no longer.
    pub removed: Vec<Digest>,
    /// Versions that somebody else removed; they were not pushed.
    pub removed_there: Vec<RemovedThere>,
    /// Versions that are removed here, and have a tag there: they stay.
    pub protected: Vec<(Digest, TagName)>,
    /// Versions whose bytes are neither here nor there.
    pub lacking: Vec<Digest>,
    /// Tags that name other versions there.
    pub refused_tags: Vec<TagConflict>,
    /// Why nothing of it was pushed, or nothing beside `pushed`.
    pub refusal: Option<Refusal>,
}

/// A version that somebody removed elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct RemovedThere {
    /// The version.
    pub digest: Digest,
    /// Who removed it, why and when.
    #[serde(flatten)]
    pub removed: Removed,
}

/// A table on its way.
struct Journey {
    report: PushedTable,
    /// What is known here, as far as it concerns the remote.
    ours: TableState,
    theirs: Option<ReadState>,
    /// Versions that the remote names.
    there: BTreeSet<Digest>,
    new: Vec<NewVersion>,
    /// What the remote lacks of the bytes.
    roots: Vec<Root>,
}

/// A version that the remote is to name.
struct NewVersion {
    digest: Digest,
    record: Bytes,
    /// The generation of a ref to an older record: the version was removed and made again.
    replaces: Option<u64>,
}

impl DataProject {
    /// Sends tables to a remote: all versions that are not removed here, with their records, and what can change of them.
    ///
    /// Only what the remote lacks travels; what is written there is never overwritten but merged. Without names, all
    /// tables and all declarations. A table that cannot travel is told, and the others do.
    pub fn tables_push<'a>(
        &'a self,
        (remote_name, remote): (&'a str, &'a Store),
        names: &'a [DatasetName],
        moving: TagMove,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<PushedTables, ServerError>> {
        Box::pin(async move {
            let ends = self.ends(remote_name, remote).await?;
            let pushed = ends.push(names, moving, progress).await;
            ends.close().await;
            pushed
        })
    }
}

impl Ends<'_> {
    async fn push(
        &self,
        names: &[DatasetName],
        moving: TagMove,
        progress: &dyn TransferProgress,
    ) -> Result<PushedTables, ServerError> {
        let mut journeys = self.journeys(names).await?;
        let reads = journeys.iter().flat_map(|one| {
            let name = &one.report.name;
            one.new.iter().map(move |new| Uri::Data { name: name.clone(), version: new.digest.to_string() }.to_string())
        });
        let details = json!({ "pushing_to": self.remote_name });
        self.audit(reads.map(|object| self.event(AuditAction::Read, object, details.clone())).collect()).await?;
        let roots: Vec<Root> = journeys.iter().flat_map(|one| one.roots.iter().copied()).collect();
        let mut pushed = PushedTables::default();
        if !roots.is_empty() {
            pushed.transferred = self.store.copy_to(self.remote, &roots, progress).await?;
        }
        self.refs_push(&mut journeys, moving).await?;
        pushed.tables = journeys.into_iter().map(|one| one.report).filter(PushedTable::is_table).collect();
        Ok(pushed)
    }

    /// What is to be done for each table, and for each dataset of which only a declaration travels.
    async fn journeys(&self, names: &[DatasetName]) -> Result<Vec<Journey>, ServerError> {
        let mut versions: BTreeMap<DatasetName, Vec<RecordedVersion>> = BTreeMap::new();
        for one in version_history(&self.catalog, None).await? {
            versions.entry(one.version.name.clone()).or_default().push(one);
        }
        let mut states = table_states(&self.catalog).await?;
        let tables: BTreeSet<DatasetName> = match names {
            [] => versions.keys().cloned().collect(),
            names => names.iter().cloned().collect(),
        };
        let mut refused = BTreeMap::new();
        let mut declared: BTreeSet<DatasetName> = match names {
            [] => states.keys().cloned().collect(),
            _ => self.ancestors(&versions, &tables, &mut refused).await?,
        };
        declared.retain(|name| !tables.contains(name) && states.get(name).is_some_and(|one| one.declaration.is_some()));
        let wanted = if names.is_empty() { BTreeSet::new() } else { &tables | &declared };
        let wanted: Vec<DatasetName> = wanted.into_iter().collect();
        let mut there = listed(self.remote, &wanted).await?.tables;
        let mut begun = Vec::new();
        for name in tables.into_iter().chain(declared.iter().cloned()) {
            let refs = there.remove(&name).unwrap_or_default();
            let mut ours = states.remove(&name).unwrap_or_else(|| TableState::empty(name.clone()));
            let mut mine = versions.remove(&name).unwrap_or_default();
            if declared.contains(&name) {
                ours = TableState { declaration: ours.declaration, ..TableState::empty(name.clone()) };
                mine.clear();
            }
            begun.push(self.journey(name, ours, mine, refs));
        }
        let mut journeys: Vec<Journey> = futures::stream::iter(begun).buffered(AT_ONCE).try_collect().await?;
        for journey in &mut journeys {
            if let Some(error) = refused.remove(&journey.report.name) {
                journey.refuse(error)?;
            }
        }
        Ok(journeys)
    }

    async fn journey(
        &self,
        name: DatasetName,
        ours: TableState,
        versions: Vec<RecordedVersion>,
        refs: TableRefs,
    ) -> Result<Journey, ServerError> {
        let report = PushedTable::of(name);
        let there = refs.versions.clone();
        let mut journey = Journey { report, ours, theirs: None, there, new: Vec::new(), roots: Vec::new() };
        if let Err(error) = self.journey_plan(&mut journey, versions, &refs).await {
            journey.refuse(error)?;
        }
        Ok(journey)
    }

    async fn journey_plan(
        &self,
        journey: &mut Journey,
        versions: Vec<RecordedVersion>,
        refs: &TableRefs,
    ) -> Result<(), ServerError> {
        let name = journey.report.name.clone();
        if refs.state {
            journey.theirs = state_read(self.remote, &name, self.now()).await?;
        }
        self.check_zone(&name, &versions, refs).await?;
        let nothing = TableState::empty(name.clone());
        let theirs = journey.theirs.as_ref().map_or(&nothing, |read| &read.state);
        for one in versions {
            if one.removed.is_some() {
                continue;
            }
            let (digest, created_at) = (one.version.digest, one.version.created_at);
            if let Some(removed) = theirs.removal(&digest, created_at) {
                let named = refs.versions.contains(&digest);
                let record = if named { record_read(self.remote, &name, &digest, self.now()).await? } else { None };
                if record.is_some_and(|(record, _)| theirs.removal(&digest, record.created_at).is_none()) {
                    // Made again elsewhere.
                    journey.report.present += 1;
                    continue;
                }
                journey.report.removed_there.push(RemovedThere { digest, removed: removed.clone() });
                continue;
            }
            let here = one.elsewhere.is_none() && self.store.contains(&digest).await?;
            let mut replaces = None;
            if refs.versions.contains(&digest) {
                if theirs.removed.contains_key(&digest) {
                    let record = record_read(self.remote, &name, &digest, self.now()).await?;
                    replaces = record.and_then(|(record, generation)| {
                        theirs.removal(&digest, record.created_at).map(|_| generation)
                    });
                }
                if replaces.is_none() {
                    journey.report.present += 1;
                    // The bytes may have been lost there.
                    journey.roots.extend(here.then_some(Root::Tree(digest)));
                    continue;
                }
            }
            if !here && !self.remote.contains(&digest).await? {
                journey.report.lacking.push(digest);
                continue;
            }
            let record = Bytes::from(self.record(&one, here).await?.encode()?);
            journey.roots.extend(here.then_some(Root::Tree(digest)));
            journey.new.push(NewVersion { digest, record, replaces });
        }
        Ok(())
    }

    /// The record of a version, with all that is known here about how it was made.
    pub(super) async fn record(&self, one: &RecordedVersion, here: bool) -> Result<TableRecord, ServerError> {
        let version = &one.version;
        let uri = Uri::Data { name: version.name.clone(), version: version.digest.to_string() };
        let links = upstream(&self.catalog, &uri).await?.into_iter().map(|step| step.link).collect();
        let mut made = arrival_made(&self.catalog, &version.name, &version.digest).await?.unwrap_or_default();
        if let Some(key) = &version.stage_key
            && let Some(outcome) = outcome_get(&self.catalog, key).await?
        {
            made.stage = Some(MadeBy {
                finished_at: outcome.finished_at,
                kind: outcome.kind,
                milliseconds: outcome.milliseconds,
                name: outcome.stage,
                summary: outcome.summary,
            });
        }
        if here {
            made.imports = report(self.store, &version.digest).await?.origin.map_or_else(Vec::new, |one| one.imports);
        }
        let made = Some(made).filter(|made| *made != Made::default());
        Ok(TableRecord::new(version, one.number, links, made))
    }

    /// Writes records and states, then refs; each ref names what is durable.
    async fn refs_push(&self, journeys: &mut [Journey], moving: TagMove) -> Result<(), ServerError> {
        let mut blobs: Vec<Bytes> = Vec::new();
        let mut first_states = BTreeMap::new();
        for journey in journeys.iter_mut() {
            journey.only_what_is_there();
            match journey.state(moving) {
                Ok(Some(bytes)) => {
                    first_states.insert(journey.report.name.clone(), bytes.clone());
                    blobs.push(bytes);
                }
                Ok(None) => {}
                Err(error) => journey.refuse(error.into())?,
            }
            blobs.extend(journey.new.iter().map(|new| new.record.clone()));
        }
        if !blobs.is_empty() {
            blobs_put(self.remote, &blobs).await?;
        }
        let mut named = Vec::new();
        for one in journeys.iter() {
            let name = &one.report.name;
            named.extend(one.new.iter().map(|new| async move { one_table(self.version_name(name, new).await) }));
        }
        let named: Vec<_> = futures::stream::iter(named).buffered(AT_ONCE).try_collect().await?;
        let mut named = named.into_iter();
        for journey in journeys {
            let mut wrong = None;
            for (new, created) in std::mem::take(&mut journey.new).iter().zip(named.by_ref()) {
                match created {
                    Ok(true) => journey.report.pushed.push(new.digest),
                    Ok(false) => journey.report.present += 1,
                    Err(error) => wrong = Some(error),
                }
            }
            let first = first_states.remove(&journey.report.name);
            let ended = match wrong {
                Some(error) => Err(error),
                None => self.journey_end(journey, moving, first).await,
            };
            if let Err(error) = ended {
                journey.refuse(error)?;
            }
        }
        Ok(())
    }

    /// After the versions are named: the state, and then the refs that nobody needs any more.
    async fn journey_end(
        &self,
        journey: &mut Journey,
        moving: TagMove,
        first: Option<Bytes>,
    ) -> Result<(), ServerError> {
        if journey.report.refusal.is_some() {
            return Ok(());
        }
        let merged = self.state_push(journey, moving, first).await?;
        self.removed_unname(journey, &merged).await
    }

    /// Lets a ref name the record of a version; false if another push was faster.
    async fn version_name(&self, name: &DatasetName, new: &NewVersion) -> Result<bool, ServerError> {
        let value = Bytes::from(Digest::of(&new.record).to_string());
        let reference = version_ref(name, &new.digest)?;
        for _ in 0..MAX_ROUNDS {
            match self.remote.ref_set(&reference, new.replaces, value.clone()).await {
                Ok(_) => return Ok(true),
                Err(StoreError::Conflict { .. }) if self.remote.ref_get(&reference).await?.is_some() => {
                    return Ok(false);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(self.restless(name))
    }

    /// Merges what is known here into the remote's state; `first` is what that gave when it was read.
    async fn state_push(
        &self,
        journey: &mut Journey,
        moving: TagMove,
        mut first: Option<Bytes>,
    ) -> Result<TableState, ServerError> {
        let name = journey.report.name.clone();
        for _ in 0..MAX_ROUNDS {
            let base = journey.base();
            let merged = base.merge(&journey.ours, moving);
            let generation = journey.theirs.as_ref().map(|read| read.generation);
            if merged.state == base || self.state_set(&name, generation, &merged.state, first.take()).await? {
                journey.report.refused_tags = merged.conflicts;
                journey.report.protected = merged.protected;
                return Ok(merged.state);
            }
            journey.theirs = state_read(self.remote, &name, self.now()).await?;
        }
        Err(self.restless(&name))
    }

    /// Lets the ref of a state name another one, which may be stored already; false if another push was faster.
    async fn state_set(
        &self,
        name: &DatasetName,
        generation: Option<u64>,
        state: &TableState,
        stored: Option<Bytes>,
    ) -> Result<bool, ServerError> {
        let blob = if let Some(bytes) = stored {
            Digest::of(&bytes)
        } else {
            let bytes = Bytes::from(state.encode()?);
            let blob = Digest::of(&bytes);
            blobs_put(self.remote, &[bytes]).await?;
            blob
        };
        match self.remote.ref_set(&state_ref(name)?, generation, Bytes::from(blob.to_string())).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn restless(&self, name: &DatasetName) -> ServerError {
        ServerError::Unknown {
            what: format!("what the remote `{}` keeps of `{name}` changes as fast as it is read", self.remote_name),
            hint: "push again".to_owned(),
        }
    }

    /// Takes the refs away of versions that were removed, so that a collection there can have their bytes.
    async fn removed_unname(&self, journey: &mut Journey, state: &TableState) -> Result<(), ServerError> {
        let name = journey.report.name.clone();
        for digest in state.removed.keys() {
            if !journey.there.contains(digest) {
                continue;
            }
            let reference = version_ref(&name, digest)?;
            let Some(found) = self.remote.ref_get(&reference).await? else { continue };
            let gone = match record_read(self.remote, &name, digest, self.now()).await {
                Ok(record) => record.is_some_and(|(record, _)| state.removal(digest, record.created_at).is_some()),
                // Whether it was made again afterwards is for that program to tell.
                Err(error) if error.code() == "data.newer_format" => false,
                Err(error) if concerns_one(&error) => true,
                Err(error) => return Err(error),
            };
            if gone {
                match self.remote.ref_delete(&reference, found.generation).await {
                    Ok(()) => journey.report.removed.push(*digest),
                    // Somebody has taken it away, or made the version again.
                    Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

impl Journey {
    /// Ends the journey of this table; others go on, unless the error concerns them too.
    fn refuse(&mut self, error: ServerError) -> Result<(), ServerError> {
        if !concerns_one(&error) {
            return Err(error);
        }
        let pushed = std::mem::take(&mut self.report.pushed);
        let (name, refusal) = (self.report.name.clone(), Some(Refusal::of(&error)));
        self.report = PushedTable { pushed, refusal, ..PushedTable::of(name) };
        self.new.clear();
        self.roots.clear();
        Ok(())
    }

    /// The remote's state as it was read.
    fn base(&self) -> TableState {
        let name = self.report.name.clone();
        self.theirs.as_ref().map_or_else(|| TableState::empty(name), |read| read.state.clone())
    }

    /// Tags and the latest version must be among those that the remote names.
    fn only_what_is_there(&mut self) {
        let there: BTreeSet<Digest> = self.new.iter().map(|new| new.digest).chain(self.there.iter().copied()).collect();
        let gone: BTreeSet<Digest> = self.report.removed_there.iter().map(|one| one.digest).collect();
        let named = |digest: &Digest| there.contains(digest) && !gone.contains(digest);
        self.ours.tags.retain(|_, tagged| tagged.digest.is_none_or(|digest| named(&digest)));
        self.ours.latest = self.ours.latest.filter(|latest| named(&latest.digest));
    }

    /// The state that the remote is to have, if that is another one than it has.
    fn state(&self, moving: TagMove) -> Result<Option<Bytes>, DataError> {
        let base = self.base();
        let merged = base.merge(&self.ours, moving).state;
        if self.report.refusal.is_some() || merged == base {
            return Ok(None);
        }
        Ok(Some(Bytes::from(merged.encode()?)))
    }
}

impl PushedTable {
    fn of(name: DatasetName) -> Self {
        Self {
            name,
            pushed: Vec::new(),
            present: 0,
            removed: Vec::new(),
            removed_there: Vec::new(),
            protected: Vec::new(),
            lacking: Vec::new(),
            refused_tags: Vec::new(),
            refusal: None,
        }
    }

    /// Of a dataset that has no version here or there only a declaration may have travelled.
    fn is_table(&self) -> bool {
        let told = [self.pushed.len(), self.removed.len(), self.removed_there.len(), self.lacking.len()];
        self.present > 0 || self.refusal.is_some() || told.iter().any(|count| *count > 0)
    }
}
