//! The transaction in which a table from elsewhere becomes visible here.

use std::collections::BTreeSet;

use ropewalk_data::{
    Adoption, AuditAction, AuditEvent, DataError, Declaration, Renumbered, TableState, TagMove, Untag, VersionTag,
    arrival_fetched, arrival_moved, audit_append, declaration_record, tag_remove, tag_set, untag_record,
    versions_adopt,
};
use ropewalk_types::{Digest, TagName};
use serde_json::json;
use sqlx::AnyConnection;

use super::ends::Ends;
use super::fetching::{FetchedTable, Here};
use crate::ServerError;

/// All that is taken over of one table.
pub(super) struct Taking {
    adoption: Adoption,
    /// Versions that were known before, whose bytes have come.
    fetched: Vec<Digest>,
    /// Versions that were known before, whose bytes are in this remote.
    elsewhere: Vec<Digest>,
    tags: Vec<VersionTag>,
    /// Tags that were taken away elsewhere; true where they are set here.
    untags: Vec<(Untag, bool)>,
    declaration: Option<Declaration>,
    /// Who takes it over.
    who: String,
}

/// What a transaction has changed.
struct Taken {
    renumbered: Vec<Renumbered>,
    declared: bool,
}

impl Taking {
    /// What is different between `base`, which is known here, and `merged`.
    pub(super) fn new(
        ends: &Ends<'_>,
        mut adoption: Adoption,
        fetched: Vec<Digest>,
        here: &Here,
        base: &TableState,
        merged: &TableState,
    ) -> Self {
        adoption.latest = adoption.latest.filter(|there| base.latest.is_none_or(|here| here < *there));
        let name = &adoption.name;
        let known = here.versions.iter().filter(|one| one.removed.is_none()).map(|one| one.version.digest);
        let known: BTreeSet<Digest> = known.chain(adoption.records.iter().map(|(record, _)| record.digest)).collect();
        let (mut tags, mut untags) = (Vec::new(), Vec::new());
        for (tag, tagged) in merged.tags.iter().filter(|(tag, tagged)| base.tags.get(*tag) != Some(*tagged)) {
            let (name, tag, who, at) = (name.clone(), tag.clone(), tagged.who.clone(), tagged.at);
            match tagged.digest {
                Some(digest) if known.contains(&digest) => tags.push(VersionTag { name, tag, digest, who, at }),
                // It comes when its version does.
                Some(_) => {}
                None => {
                    let set = base.tags.get(&tag).is_some_and(|here| here.digest.is_some());
                    untags.push((Untag { name, tag, who, at }, set));
                }
            }
        }
        let declared = merged.declaration.clone().filter(|_| merged.declaration != base.declaration);
        let declaration = declared.map(|one| Declaration {
            name: name.clone(),
            facts: one.facts,
            stage: one.stage,
            who: one.who,
            why: one.why,
            at: one.at,
        });
        Self { adoption, fetched, elsewhere: Vec::new(), tags, untags, declaration, who: ends.who.clone() }
    }

    /// With versions whose bytes another remote was known to have, and this one has.
    pub(super) fn moved(mut self, elsewhere: Vec<Digest>) -> Self {
        self.elsewhere = elsewhere;
        self
    }

    fn is_empty(&self) -> bool {
        let versions = self.adoption.records.len() + self.fetched.len() + self.elsewhere.len();
        let tags = self.tags.len() + self.untags.len();
        versions + tags == 0 && self.declaration.is_none() && self.adoption.latest.is_none()
    }

    /// Writes it down, all or nothing.
    pub(super) async fn commit(self, ends: &Ends<'_>, report: &mut FetchedTable) -> Result<(), ServerError> {
        if self.is_empty() {
            return Ok(());
        }
        let tags: Vec<TagName> = self
            .tags
            .iter()
            .map(|tag| tag.tag.clone())
            .chain(self.untags.iter().filter(|(_, set)| *set).map(|(untag, _)| untag.tag.clone()))
            .collect();
        let taken: Result<Taken, DataError> =
            ends.catalog.write(move |connection| Box::pin(async move { self.write(connection).await })).await;
        let taken = taken?;
        report.renumbered = taken.renumbered;
        report.declared = taken.declared;
        report.tags = tags;
        Ok(())
    }

    async fn write(&self, connection: &mut AnyConnection) -> Result<Taken, DataError> {
        let (name, remote) = (&self.adoption.name, &self.adoption.remote);
        let renumbered = versions_adopt(connection, &self.adoption).await?;
        for digest in &self.fetched {
            arrival_fetched(connection, name, digest).await?;
        }
        for digest in &self.elsewhere {
            arrival_moved(connection, name, digest, remote).await?;
        }
        for tag in &self.tags {
            tag_set(connection, tag, TagMove::Allowed).await?;
            let details = json!({ "tag": tag.tag, "version": tag.digest, "by": tag.who, "fetched_from": remote });
            audit_append(connection, &self.event(AuditAction::Tag, details)).await?;
        }
        for (untag, set) in &self.untags {
            if *set {
                tag_remove(connection, name, &untag.tag).await?;
                let details = json!({ "tag": untag.tag, "by": untag.who, "fetched_from": remote });
                audit_append(connection, &self.event(AuditAction::Delete, details)).await?;
            }
            untag_record(connection, untag).await?;
        }
        let mut declared = false;
        if let Some(declaration) = &self.declaration
            && let Some(before) = declaration_record(connection, declaration).await?
        {
            let withdrawn = Some(before.withdrawn(&declaration.facts)).filter(|withdrawn| !withdrawn.is_empty());
            let details = json!({
                "facts": declaration.facts, "withdrawn": withdrawn, "why": declaration.why, "stage": declaration.stage,
                "by": declaration.who, "fetched_from": remote,
            });
            audit_append(connection, &self.event(AuditAction::Declare, details)).await?;
            declared = true;
        }
        Ok(Taken { renumbered, declared })
    }

    fn event(&self, action: AuditAction, details: serde_json::Value) -> AuditEvent {
        let (at, who, object) = (self.adoption.at, self.who.clone(), format!("data:{}", self.adoption.name));
        AuditEvent { at, who, action, object, details }
    }
}
