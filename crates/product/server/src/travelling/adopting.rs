//! The transaction in which a table from elsewhere becomes visible here.

use ropewalk_catalog::Connection;
use std::collections::BTreeSet;

use ropewalk_data::{
    Adoption, AuditAction, AuditEvent, DataError, Declaration, Renumbered, TableState, TagAdopted, TagConflict, Tagged,
    arrival_fetched, arrival_moved, audit_append, declaration_adopt, tag_adopt, versions_adopt,
};
use ropewalk_types::{Digest, TagName};
use serde_json::json;

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
    /// Tags that were set or taken away elsewhere: as they were here when that was read, and as they are there.
    tags: Vec<(TagName, Option<Tagged>, Tagged)>,
    declaration: Option<Declaration>,
    /// Who takes it over.
    who: String,
}

/// What a transaction has changed.
struct Taken {
    renumbered: Vec<Renumbered>,
    tags: Vec<TagName>,
    refused_tags: Vec<TagConflict>,
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
        let came = adoption.records.iter().chain(&adoption.again).map(|(record, _)| record.digest);
        let known: BTreeSet<Digest> = known.chain(came).collect();
        let differs = merged.tags.iter().filter(|(tag, tagged)| base.tags.get(*tag) != Some(*tagged));
        // One on a version that is not known comes when its version does.
        let differs = differs.filter(|(_, tagged)| tagged.digest.is_none_or(|digest| known.contains(&digest)));
        let tags = differs.map(|(tag, there)| (tag.clone(), base.tags.get(tag).cloned(), there.clone())).collect();
        let declared = merged.declaration.clone().filter(|_| merged.declaration != base.declaration);
        let declaration = declared.map(|one| Declaration {
            name: name.clone(),
            facts: one.facts,
            stage: one.stage,
            who: one.who,
            why: one.why,
            at: one.at,
        });
        Self { adoption, fetched, elsewhere: Vec::new(), tags, declaration, who: ends.who.clone() }
    }

    /// With versions whose bytes another remote was known to have, and this one has.
    pub(super) fn moved(mut self, elsewhere: Vec<Digest>) -> Self {
        self.elsewhere = elsewhere;
        self
    }

    fn is_empty(&self) -> bool {
        let records = self.adoption.records.len() + self.adoption.again.len();
        let versions = records + self.fetched.len() + self.elsewhere.len();
        versions + self.tags.len() == 0 && self.declaration.is_none() && self.adoption.latest.is_none()
    }

    /// Writes it down, all or nothing.
    pub(super) async fn commit(self, ends: &Ends<'_>, report: &mut FetchedTable) -> Result<(), ServerError> {
        if self.is_empty() {
            return Ok(());
        }
        let taken: Result<Taken, DataError> =
            ends.catalog.write(move |connection| Box::pin(async move { self.write(connection).await })).await;
        let taken = taken?;
        report.renumbered = taken.renumbered;
        report.declared = taken.declared;
        report.tags = taken.tags;
        report.refused_tags.extend(taken.refused_tags);
        Ok(())
    }

    async fn write(&self, connection: &mut Connection) -> Result<Taken, DataError> {
        let (name, remote) = (&self.adoption.name, &self.adoption.remote);
        let renumbered = versions_adopt(connection, &self.adoption).await?;
        for digest in &self.fetched {
            arrival_fetched(connection, name, digest).await?;
        }
        for digest in &self.elsewhere {
            arrival_moved(connection, name, digest, remote).await?;
        }
        let (mut tags, mut refused_tags) = (Vec::new(), Vec::new());
        for (tag, base, there) in &self.tags {
            match (tag_adopt(connection, (name, tag), base.as_ref(), there).await?, there.digest) {
                (TagAdopted::Taken, Some(digest)) => {
                    let details = json!({ "tag": tag, "version": digest, "by": there.who, "fetched_from": remote });
                    audit_append(connection, &self.event(AuditAction::Tag, details)).await?;
                    tags.push(tag.clone());
                }
                (TagAdopted::Taken, None) if base.as_ref().is_some_and(|base| base.digest.is_some()) => {
                    let details = json!({ "tag": tag, "by": there.who, "fetched_from": remote });
                    audit_append(connection, &self.event(AuditAction::Delete, details)).await?;
                    tags.push(tag.clone());
                }
                (TagAdopted::Kept(Some(kept)), Some(refused)) if kept != refused => {
                    refused_tags.push(TagConflict { tag: tag.clone(), kept, refused });
                }
                // What was done here in the meantime was done last.
                (TagAdopted::Taken | TagAdopted::Kept(_), _) => {}
            }
        }
        let mut declared = false;
        if let Some(declaration) = &self.declaration
            && let Some(before) = declaration_adopt(connection, declaration).await?
        {
            let withdrawn = Some(before.withdrawn(&declaration.facts)).filter(|withdrawn| !withdrawn.is_empty());
            let details = json!({
                "facts": declaration.facts, "withdrawn": withdrawn, "why": declaration.why, "stage": declaration.stage,
                "by": declaration.who, "fetched_from": remote,
            });
            audit_append(connection, &self.event(AuditAction::Declare, details)).await?;
            declared = true;
        }
        Ok(Taken { renumbered, tags, refused_tags, declared })
    }

    fn event(&self, action: AuditAction, details: serde_json::Value) -> AuditEvent {
        let (at, who, object) = (self.adoption.at, self.who.clone(), format!("data:{}", self.adoption.name));
        AuditEvent { at, who, action, object, details }
    }
}
