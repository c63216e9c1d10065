//! Tables from a remote.

mod again;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_data::{
    Adoption, AuditAction, DataError, DatasetVersion, Latest, RecordedVersion, Removal, Renumbered, TableRecord,
    TableState, TagConflict, TagMove, table_states, version_history,
};
use ropewalk_ingest::{Inspected, inspect};
use ropewalk_store::{Root, Store, StoreError, TransferProgress, Transferred};
use ropewalk_types::{DatasetName, Digest, TagName, Uri};
use serde::Serialize;
use serde_json::json;

use super::Refusal;
use super::adopting::Taking;
use super::ends::Ends;
use super::layout::{TableRefs, listed};
use super::reading::{concerns_one, record_measured, state_read};
use crate::{DataProject, OpenProject, ServerError};

/// Records that are read at once.
const READS: usize = 16;
/// Bytes that all new records of a table may have: they are held at once, because the table becomes visible at once.
const RECORDS_BYTES: u64 = 256 << 20;

/// Of which versions the bytes come along with what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableContent {
    /// Of the latest version, and of those with a tag.
    #[default]
    Named,
    /// Of every version.
    Everything,
}

/// What became of the tables of a fetch.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FetchedTables {
    /// Each of them, by name.
    pub tables: Vec<FetchedTable>,
    /// Names that were asked for and of which the remote has nothing.
    pub missing: Vec<DatasetName>,
    /// Refs of the remote that this program does not know, as a later one writes them; they were passed over.
    pub unknown_refs: u64,
    /// What travelled.
    #[serde(skip)]
    pub transferred: Transferred,
}

/// What became of a table here.
#[derive(Clone, Debug, Serialize)]
pub struct FetchedTable {
    /// Its name.
    pub name: DatasetName,
    /// Versions that were not known here.
    pub recorded: Vec<Digest>,
    /// Versions whose bytes came.
    pub content: Vec<Digest>,
    /// Versions whose bytes are in this remote and not here.
    pub elsewhere: u64,
    /// Versions that have another number here.
    pub renumbered: Vec<Renumbered>,
    /// Tags that were set or taken away.
    pub tags: Vec<TagName>,
    /// Tags that name other versions here.
    pub refused_tags: Vec<TagConflict>,
    /// Versions that were removed here, and made again elsewhere after that: they are here again.
    pub again: Vec<Digest>,
    /// Versions that were removed there, and so here.
    pub removed: Vec<Digest>,
    /// Versions that were removed there, and have a tag here: they stay.
    pub protected: Vec<(Digest, TagName)>,
    /// Whether something new is declared of it.
    pub declared: bool,
    /// Versions that the remote names and whose bytes it does not have.
    pub lacking: Vec<Digest>,
    /// Why nothing of it was taken, unless `declared` says that something new is declared of it.
    pub refusal: Option<Refusal>,
}

/// What is known here of one table.
#[derive(Default)]
pub(super) struct Here {
    pub(super) versions: Vec<RecordedVersion>,
    pub(super) state: Option<TableState>,
}

/// What a remote has of one table.
struct There {
    state: TableState,
    /// Versions that are not known here.
    records: Vec<TableRecord>,
    /// Versions that are known here, and were made again elsewhere after they were removed, here or there.
    again: Vec<TableRecord>,
}

impl DataProject {
    /// Brings tables from a remote: what is known there of each version, its lineage, tags, declarations and removals, and
    /// the bytes of those that are wanted. Without names, all tables.
    ///
    /// What is known here is never overwritten but merged; a version that was removed here does not come back. What becomes
    /// visible of a table does so in one transaction, after its bytes are here and were found to be what its records say. A
    /// table that cannot be taken is told, and the others are. `waits` hears who holds the project when a removal has to
    /// wait for a run.
    pub fn tables_fetch<'a>(
        &'a self,
        (remote_name, remote): (&'a str, &'a Store),
        names: &'a [DatasetName],
        content: TableContent,
        progress: &'a dyn TransferProgress,
        waits: &'a (dyn Fn(&str) + Sync),
    ) -> BoxFuture<'a, Result<FetchedTables, ServerError>> {
        Box::pin(async move {
            let ends = self.ends(remote_name, remote).await?;
            let mut removals = Vec::new();
            let mut fetched = ends.fetch(names, content, progress, &mut removals).await;
            ends.close().await;
            if !removals.is_empty() {
                let project = OpenProject::open(self.root(), self.access()).await?;
                let taken = project.removals_take(&removals, remote_name, waits).await;
                project.close().await;
                let kept = taken?;
                for table in fetched.iter_mut().flat_map(|fetched| &mut fetched.tables) {
                    let stays =
                        |digest: &Digest| kept.iter().any(|one| one.name == table.name && one.digest == *digest);
                    table.removed.retain(|digest| !stays(digest));
                }
            }
            fetched
        })
    }
}

impl Ends<'_> {
    async fn fetch(
        &self,
        names: &[DatasetName],
        content: TableContent,
        progress: &dyn TransferProgress,
        removals: &mut Vec<Removal>,
    ) -> Result<FetchedTables, ServerError> {
        let mut here = self.here().await?;
        let there = listed(self.remote, names).await?;
        let mut fetched = FetchedTables { unknown_refs: there.unknown.len() as u64, ..FetchedTables::default() };
        fetched.missing = names.iter().filter(|name| !there.tables.contains_key(*name)).cloned().collect();
        let mut ancestors = BTreeSet::new();
        for (name, refs) in &there.tables {
            let mut report = FetchedTable::of(name.clone());
            let here = here.remove(name).unwrap_or_default();
            let journey = Journey { ends: self, name, refs, here: &here, content, progress };
            let taken = async {
                if !names.is_empty() {
                    self.ancestors_find(&here.versions, &mut ancestors).await?;
                }
                journey.run(&mut report, &mut fetched.transferred, &mut ancestors).await
            };
            match taken.await {
                Ok(gone) => removals.extend(gone),
                Err(error) if concerns_one(&error) => {
                    report = FetchedTable { refusal: Some(Refusal::of(&error)), ..FetchedTable::of(name.clone()) };
                    // Others were made from it, and are as personal as it is, whether it can be had or not.
                    match journey.declaration(&mut report).await {
                        Err(error) if !concerns_one(&error) => return Err(error),
                        _ => {}
                    }
                }
                Err(error) => return Err(error),
            }
            fetched.tables.push(report);
        }
        // What was declared of the datasets that these were made from says how these are to be treated.
        let ancestors: Vec<DatasetName> =
            ancestors.into_iter().filter(|name| !there.tables.contains_key(name)).collect();
        if !names.is_empty() && !ancestors.is_empty() {
            for (name, refs) in &listed(self.remote, &ancestors).await?.tables {
                if !refs.state {
                    continue;
                }
                let refs = TableRefs { versions: BTreeSet::new(), ..refs.clone() };
                let known = here.remove(name).unwrap_or_default();
                let known = Here { versions: Vec::new(), ..known };
                let journey = Journey { ends: self, name, refs: &refs, here: &known, content, progress };
                let mut report = FetchedTable::of(name.clone());
                match journey.declaration(&mut report).await {
                    Ok(()) => {}
                    Err(error) if concerns_one(&error) => {
                        report.refusal = Some(Refusal::of(&error));
                        fetched.tables.push(report);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(fetched)
    }

    /// What is known here, by table.
    async fn here(&self) -> Result<BTreeMap<DatasetName, Here>, ServerError> {
        let mut here: BTreeMap<DatasetName, Here> = BTreeMap::new();
        for one in version_history(&self.catalog, None).await? {
            here.entry(one.version.name.clone()).or_default().versions.push(one);
        }
        for (name, state) in table_states(&self.catalog).await? {
            here.entry(name).or_default().state = Some(state);
        }
        Ok(here)
    }
}

/// A table on its way.
struct Journey<'a> {
    ends: &'a Ends<'a>,
    name: &'a DatasetName,
    refs: &'a TableRefs,
    here: &'a Here,
    content: TableContent,
    progress: &'a dyn TransferProgress,
}

impl Journey<'_> {
    /// Brings the table; gives what is to be removed here.
    async fn run(
        &self,
        report: &mut FetchedTable,
        transferred: &mut Transferred,
        ancestors: &mut BTreeSet<DatasetName>,
    ) -> Result<Vec<Removal>, ServerError> {
        let there = self.there().await?;
        self.check_zone(&there)?;
        let base = self.base();
        let merged = base.merge(&there.state, TagMove::Refused);
        let mut wanted = self.wanted(&there, &merged.state);
        let roots = self.roots(&mut wanted, report).await?;
        self.announce(&there, &wanted).await?;
        if !roots.is_empty() {
            let moved = self.ends.remote.link_to(self.ends.store, &roots, self.progress).await?;
            transferred.pieces += moved.pieces;
            transferred.bytes += moved.bytes;
            transferred.present += moved.present;
        }
        for digest in &wanted {
            self.inspect(digest, &there).await?;
        }
        let away = self.here.versions.iter().filter(|one| one.elsewhere.is_some());
        let fetched: Vec<Digest> =
            away.map(|one| one.version.digest).filter(|digest| wanted.contains(digest)).collect();
        let links = there.records.iter().flat_map(|record| &record.links);
        ancestors.extend(links.filter_map(|link| match &link.parent {
            Uri::Data { name, .. } => Some(name.clone()),
            _ => None,
        }));
        report.recorded = there.records.iter().map(|record| record.digest).collect();
        let new = there.records.iter().filter(|record| !wanted.contains(&record.digest)).count();
        let moved = self.moved(&fetched).await?;
        let there_still = |one: &&RecordedVersion| {
            let digest = &one.version.digest;
            let in_this = one.elsewhere.as_deref() == Some(self.ends.remote_name) || moved.contains(digest);
            in_this && one.removed.is_none() && !fetched.contains(digest)
        };
        let still = self.here.versions.iter().filter(there_still).count();
        let again = self.again(&there, &wanted).await?;
        let back = again.iter().filter(|(record, fetched)| !fetched && self.is_removed(&record.digest)).count();
        report.elsewhere = (new + still + back) as u64;
        report.again = again.iter().map(|(record, _)| record.digest).filter(|one| self.is_removed(one)).collect();
        report.refused_tags = merged.conflicts;
        let removals = self.removals(&there, &merged.state);
        report.removed = removals.iter().map(|removal| removal.digest).collect();
        let alive = self.here.versions.iter().filter(|one| one.removed.is_none());
        let alive = alive.map(|one| one.version.digest).filter(|digest| !there.made_again(digest));
        let alive: BTreeSet<Digest> = alive.collect();
        report.protected = merged.protected.into_iter().filter(|(digest, _)| alive.contains(digest)).collect();
        let with_content = |record: TableRecord| {
            let fetched = wanted.contains(&record.digest);
            (record, fetched)
        };
        let adoption = Adoption {
            name: self.name.clone(),
            remote: self.ends.remote_name.to_owned(),
            records: there.records.into_iter().map(with_content).collect(),
            again,
            latest: merged.state.latest,
            at: self.ends.now(),
        };
        let taking = Taking::new(self.ends, adoption, fetched, self.here, &base, &merged.state).moved(moved);
        taking.commit(self.ends, report).await?;
        Ok(removals)
    }

    /// Takes over what is declared of a dataset, and nothing else.
    async fn declaration(&self, report: &mut FetchedTable) -> Result<(), ServerError> {
        let there = self.state().await?;
        let base = self.base();
        let only = TableState { declaration: there.declaration, ..TableState::empty(self.name.clone()) };
        let merged = base.merge(&only, TagMove::Refused).state;
        let (name, remote) = (self.name.clone(), self.ends.remote_name.to_owned());
        let adoption =
            Adoption { name, remote, records: Vec::new(), again: Vec::new(), latest: None, at: self.ends.now() };
        Taking::new(self.ends, adoption, Vec::new(), self.here, &base, &merged).commit(self.ends, report).await
    }

    fn base(&self) -> TableState {
        self.here.state.clone().unwrap_or_else(|| TableState::empty(self.name.clone()))
    }

    /// The state that the remote has, if it has one.
    async fn state(&self) -> Result<TableState, ServerError> {
        let Self { ends, name, refs, .. } = *self;
        let state = if refs.state { state_read(ends.remote, name, ends.now()).await? } else { None };
        Ok(state.map_or_else(|| TableState::empty(name.clone()), |read| read.state))
    }

    async fn there(&self) -> Result<There, ServerError> {
        let Self { ends, name, refs, .. } = *self;
        let state = self.state().await?;
        let known: BTreeSet<Digest> = self.here.versions.iter().map(|one| one.version.digest).collect();
        let new: Vec<Digest> = refs.versions.difference(&known).copied().collect();
        let mut reads = Vec::with_capacity(new.len());
        for digest in &new {
            reads.push(record_measured(ends.remote, name, digest, ends.now()));
        }
        let mut reads = futures::stream::iter(reads).buffered(READS);
        let (mut records, mut size) = (Vec::new(), 0);
        while let Some(read) = reads.try_next().await? {
            let Some((record, _, bytes)) = read else { continue };
            size += bytes;
            if size > RECORDS_BYTES {
                let what = format!("what `{}` keeps of the versions of `{name}` that are new here", ends.remote_name);
                return Err(StoreError::TooLarge { what, size, limit: RECORDS_BYTES, unit: "bytes" }.into());
            }
            records.push(record);
        }
        // The ref of one that was removed is about to go.
        let records: Vec<_> =
            records.into_iter().filter(|record| state.removal(&record.digest, record.created_at).is_none()).collect();
        Ok(There { again: self.again_there(&state).await?, state, records })
    }

    /// Before anything travels; the transaction looks again.
    fn check_zone(&self, there: &There) -> Result<(), DataError> {
        let known = self.here.versions.iter().map(|one| one.version.zone).next();
        let there = there.records.iter().chain(&there.again);
        let mut zones = known.into_iter().chain(there.map(|record| record.zone));
        let Some(present) = zones.next() else { return Ok(()) };
        match zones.find(|zone| *zone != present) {
            None => Ok(()),
            Some(wanted) => {
                let (present, wanted) = (present.to_string(), wanted.to_string());
                Err(DataError::ZoneChange { name: self.name.to_string(), present, wanted })
            }
        }
    }

    /// The versions of which the bytes are to be here.
    fn wanted(&self, there: &There, merged: &TableState) -> BTreeSet<Digest> {
        let known = self.here.versions.iter().filter(|one| one.removed.is_none());
        let known = known.filter(|one| merged.removal(&one.version.digest, one.version.created_at).is_none());
        let known = known.map(|one| one.version.digest).chain(there.again.iter().map(|record| record.digest));
        let alive: BTreeSet<Digest> = known.chain(there.records.iter().map(|record| record.digest)).collect();
        if self.content == TableContent::Everything {
            return alive;
        }
        let tagged = merged.tags.values().filter_map(|tagged| tagged.digest);
        let made = there.records.iter().chain(&there.again);
        let mut latest: Vec<Latest> =
            made.map(|record| Latest { at: record.created_at, digest: record.digest }).collect();
        latest.extend(there.state.latest);
        latest.extend(self.here.state.as_ref().and_then(|state| state.latest));
        let latest = latest.into_iter().filter(|one| alive.contains(&one.digest)).max();
        tagged.chain(latest.map(|latest| latest.digest)).filter(|digest| alive.contains(digest)).collect()
    }

    /// What has to be copied for that; what cannot be had is taken from `wanted` and told.
    async fn roots(&self, wanted: &mut BTreeSet<Digest>, report: &mut FetchedTable) -> Result<Vec<Root>, ServerError> {
        let mut roots = Vec::new();
        for digest in wanted.clone() {
            if self.ends.store.contains(&digest).await? {
                continue;
            }
            if self.ends.remote.contains(&digest).await? {
                roots.push(Root::Tree(digest));
                report.content.push(digest);
            } else {
                wanted.remove(&digest);
                // Another remote may have those that this one does not name.
                report.lacking.extend(self.refs.versions.contains(&digest).then_some(digest));
            }
        }
        Ok(roots)
    }

    /// Versions whose bytes another remote was known to have, and are in this one too.
    async fn moved(&self, fetched: &[Digest]) -> Result<Vec<Digest>, ServerError> {
        let mut moved = Vec::new();
        for one in &self.here.versions {
            let digest = one.version.digest;
            let other = one.elsewhere.as_ref().is_some_and(|at| at != self.ends.remote_name);
            let named = other && self.refs.versions.contains(&digest) && !fetched.contains(&digest);
            if named && self.ends.remote.contains(&digest).await? {
                moved.push(digest);
            }
        }
        Ok(moved)
    }

    /// The audit trail knows what is written before it is.
    async fn announce(&self, there: &There, wanted: &BTreeSet<Digest>) -> Result<(), ServerError> {
        let made = there.records.iter().chain(&there.again);
        let mut written: BTreeSet<Digest> = made.map(|record| record.digest).collect();
        let arrived = self.here.versions.iter().filter(|one| one.elsewhere.is_some());
        written.extend(arrived.map(|one| one.version.digest).filter(|digest| wanted.contains(digest)));
        let event = |digest: Digest| {
            let object = Uri::Data { name: self.name.clone(), version: digest.to_string() }.to_string();
            let details = json!({ "fetching_from": self.ends.remote_name, "bytes": wanted.contains(&digest) });
            self.ends.event(AuditAction::Write, object, details)
        };
        self.ends.audit(written.into_iter().map(event).collect()).await
    }

    /// Whether the bytes of a version that was made elsewhere are what was said of them.
    async fn inspect(&self, digest: &Digest, there: &There) -> Result<(), ServerError> {
        let said: Option<DatasetVersion> =
            if let Some(record) = there.records.iter().find(|record| record.digest == *digest) {
                Some(record.version())
            } else {
                let known = self.here.versions.iter().find(|one| one.version.digest == *digest);
                known.filter(|one| one.elsewhere.is_some()).map(|one| one.version.clone())
            };
        let Some(said) = said else { return Ok(()) };
        let Inspected { rows, columns, quarantined } = inspect(self.ends.store, digest).await?;
        let reason = if rows != said.rows || quarantined != said.quarantined {
            let (there, aside) = (said.rows, said.quarantined);
            format!("its record says {there} rows and {aside} set aside, its files hold {rows} and {quarantined}")
        } else if columns != said.columns {
            "its record says other columns than its files have".to_owned()
        } else {
            return Ok(());
        };
        Err(DataError::Foreign { name: self.name.to_string(), digest: Some(*digest), reason }.into())
    }

    /// The tombstones of the remote that versions here are to get.
    fn removals(&self, there: &There, merged: &TableState) -> Vec<Removal> {
        let alive = self.here.versions.iter().filter(|one| one.removed.is_none());
        let alive = alive.filter(|one| !there.made_again(&one.version.digest));
        let gone = alive.filter_map(|one| {
            let removed = merged.removal(&one.version.digest, one.version.created_at)?.clone();
            let (name, digest) = (self.name.clone(), one.version.digest);
            Some(Removal { name, digest, who: removed.who, why: removed.why, at: removed.at })
        });
        gone.collect()
    }
}

impl FetchedTable {
    fn of(name: DatasetName) -> Self {
        Self {
            name,
            recorded: Vec::new(),
            content: Vec::new(),
            elsewhere: 0,
            renumbered: Vec::new(),
            tags: Vec::new(),
            refused_tags: Vec::new(),
            again: Vec::new(),
            removed: Vec::new(),
            protected: Vec::new(),
            declared: false,
            lacking: Vec::new(),
            refusal: None,
        }
    }

    /// Whether anything of it is new here or worth a word.
    pub fn is_quiet(&self) -> bool {
        let counts = [
            self.recorded.len(),
            self.content.len(),
            self.tags.len(),
            self.refused_tags.len(),
            self.again.len(),
            self.removed.len(),
            self.protected.len(),
            self.lacking.len(),
        ];
        counts.iter().all(|count| *count == 0) && !self.declared && self.refusal.is_none()
    }
}
