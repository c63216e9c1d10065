//! Who may be asked about a dataset, how it is to be treated, and who did what with it.

mod declaring;
mod naming;
mod removing;
mod retaining;
mod tracked;
mod trail;

use std::collections::BTreeMap;

use ropewalk_config::{FILE_NAME, Stage};
use ropewalk_data::{
    AuditAction, AuditEntry, AuditEvent, AuditFilter, AuditHead, AuditReport, Check, CheckReport, CheckSettings,
    CheckSubject, DataError, EffectiveFacts, RecordedVersion, Removal, TagMove, Untag, VersionTag, audit_append,
    audit_list, audit_verify, audit_write, check, check_tables, tag_remove, tag_set, untag_record, version_history,
    version_resolve,
};
use ropewalk_lineage::{Step, downstream, upstream};
use ropewalk_types::{DatasetName, Digest, TagName, Uri};
use serde_json::{Value, json};

pub(crate) use removing::Doomed;
pub use removing::RemovedContent;
pub use retaining::{Due, DueState, Holds};
pub(crate) use trail::trail_of;

use crate::asking::PREDICTIONS;
use crate::kinds::{declared, described};
use crate::{OpenProject, ServerError};

/// What a dataset version came from and what came from it, breadth first.
#[derive(Clone, Debug)]
pub struct DatasetLineage {
    /// The version.
    pub uri: Uri,
    /// What is known of it, in a few words; nothing of tables, which tell of themselves.
    pub about: String,
    /// That it is a version of a table which was removed, if it was.
    pub removed: Option<Removal>,
    /// What it came from.
    pub up: Vec<Step>,
    /// What came from it.
    pub down: Vec<Step>,
}

impl OpenProject {
    /// Writes into the audit trail what was done to `object`.
    pub async fn audit(&self, action: AuditAction, object: &Uri, details: Value) -> Result<(), ServerError> {
        self.audit_object(action, object.to_string(), details).await
    }

    /// Writes into the audit trail that the log of predictions is about to be read: it holds what people asked of models.
    pub(crate) async fn audit_predictions(&self, action: AuditAction, details: Value) -> Result<(), ServerError> {
        self.audit_object(action, format!("data:{PREDICTIONS}"), details).await
    }

    async fn audit_object(&self, action: AuditAction, object: String, details: Value) -> Result<(), ServerError> {
        let (at, who) = (self.ambient.now(), self.who.clone());
        let event = AuditEvent { at, who, action, object, details };
        Ok(audit_write(&self.catalog, vec![event]).await?)
    }

    /// Entries of the audit trail, the newest first.
    pub async fn audit_list(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditEntry>, ServerError> {
        Ok(audit_list(&self.catalog, filter, None, limit).await?)
    }

    /// Looks whether an entry of the audit trail was changed or removed; `known` is one that was kept elsewhere.
    pub async fn audit_verify(&self, known: Option<AuditHead>) -> Result<AuditReport, ServerError> {
        Ok(audit_verify(&self.catalog, known).await?)
    }

    /// Every version of a table that was ever recorded, the latest first, with its tags.
    pub async fn dataset_history(&self, name: &DatasetName) -> Result<Vec<RecordedVersion>, ServerError> {
        Ok(version_history(&self.catalog, Some(name)).await?)
    }

    /// Gives a version of a table a name; a tag that is at another version is only moved where that is allowed.
    pub async fn dataset_tag(
        &self,
        name: &DatasetName,
        version: &str,
        tag: &TagName,
        moving: TagMove,
    ) -> Result<Digest, ServerError> {
        self.check_tag(name, tag).await?;
        let digest = version_resolve(&self.catalog, name, version).await?.digest;
        let tagged =
            VersionTag { name: name.clone(), tag: tag.clone(), digest, who: self.who.clone(), at: self.ambient.now() };
        let event = self.tag_event(AuditAction::Tag, name, tag);
        let write = self.catalog.write(move |connection| {
            Box::pin(async move {
                tag_set(connection, &tagged, moving).await?;
                audit_append(connection, &event).await.map(|_| ())
            })
        });
        write.await?;
        Ok(digest)
    }

    /// Refuses a new tag that is the beginning of a digest: the version that has it would be meant.
    async fn check_tag(&self, name: &DatasetName, tag: &TagName) -> Result<(), ServerError> {
        if !tag.may_begin_digest() {
            return Ok(());
        }
        let history = self.dataset_history(name).await?;
        let is_set = history.iter().flat_map(|one| &one.tags).any(|set| set.tag == *tag);
        let begins = |one: &RecordedVersion| one.version.digest.to_string().starts_with(tag.as_str());
        if !is_set && history.iter().any(begins) { Err(tag.begins_digest().into()) } else { Ok(()) }
    }

    /// Takes a tag from a version of a table; the version stays.
    pub async fn dataset_untag(&self, name: &DatasetName, tag: &TagName) -> Result<(), ServerError> {
        let event = self.tag_event(AuditAction::Delete, name, tag);
        let untag = Untag { name: name.clone(), tag: tag.clone(), who: self.who.clone(), at: event.at };
        let write = self.catalog.write(move |connection| {
            Box::pin(async move {
                untag_record(connection, &untag).await?;
                tag_remove(connection, &untag.name, &untag.tag).await?;
                audit_append(connection, &event).await.map(|_| ())
            })
        });
        Ok(write.await?)
    }

    fn tag_event(&self, action: AuditAction, name: &DatasetName, tag: &TagName) -> AuditEvent {
        let (at, who) = (self.ambient.now(), self.who.clone());
        AuditEvent { at, who, action, object: format!("data:{name}"), details: json!({ "tag": tag.as_str() }) }
    }

    /// What a version of a table came from and what came from it, with what is declared of it and inherited; also of one
    /// that was removed.
    pub async fn dataset_lineage(
        &self,
        name: &DatasetName,
        version: &str,
    ) -> Result<(DatasetLineage, EffectiveFacts), ServerError> {
        let (digest, removed) = match version_resolve(&self.catalog, name, version).await {
            Ok(version) => (version.digest, None),
            Err(DataError::Removed(removal)) => (removal.digest, Some(*removal)),
            Err(error) => return Err(self.not_a_table(error).await),
        };
        let uri = Uri::Data { name: name.clone(), version: digest.to_string() };
        let facts = self.facts_said(&uri).await?;
        let lineage = self.lineage_of(uri, String::new()).await?;
        Ok((DatasetLineage { removed, ..lineage }, facts))
    }

    async fn lineage_of(&self, uri: Uri, about: String) -> Result<DatasetLineage, ServerError> {
        let (up, down) = (upstream(&self.catalog, &uri).await?, downstream(&self.catalog, &uri).await?);
        Ok(DatasetLineage { uri, about, removed: None, up, down })
    }

    /// Looks whether what is declared of a dataset holds; the text lists what is broken, with the first rows.
    pub async fn check(&self, name: &DatasetName, version: &str) -> Result<(CheckReport, String), ServerError> {
        let checks = self.declared_checks(name)?;
        let what = json!({ "what": "check" });
        let tree = self.version_to_read(name, version, what.clone()).await?.digest;
        let mut others = BTreeMap::new();
        for other in check_tables(name, &checks)? {
            let (dataset, version) = other.split_once('@').unwrap_or((&other, "latest"));
            let found = self.version_to_read(&DatasetName::new(dataset)?, version, what.clone()).await?;
            others.insert(other.clone(), found.digest);
        }
        let subject = CheckSubject { name: name.clone(), tree, others };
        let settings = CheckSettings::new(self.state().join("scratch"));
        let report = check(&checks, &subject, self.ambient.now(), &self.store, &settings).await?;
        let text = described(&report)?;
        Ok((report, text))
    }

    /// The checks that the project file declares of a dataset, wherever it is made.
    fn declared_checks(&self, name: &DatasetName) -> Result<Vec<Check>, ServerError> {
        if let Some(source) = self.file.data.get(name) {
            return declared(&format!("data.{name}"), &source.checks);
        }
        for (stage, made) in self.file.stages(FILE_NAME)? {
            if let (Stage::Sql { out, .. }, Some(table)) = (made, self.file.stage.get(&stage))
                && out == name.as_str()
            {
                return declared(&format!("stage.{stage}"), &table.checks);
            }
        }
        Ok(Vec::new())
    }
}
