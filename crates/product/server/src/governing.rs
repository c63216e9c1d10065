//! Who may be asked about a dataset, how it is to be treated, and who did what with it.

use std::collections::BTreeMap;

use ropewalk_config::{DataSource, Declares, FILE_NAME, Stage};
use ropewalk_data::{
    AuditAction, AuditEntry, AuditEvent, AuditFilter, AuditReport, Check, CheckReport, CheckSettings, CheckSubject,
    Classification, DatasetFacts, Declaration, EffectiveFacts, Removal, Retention, RetentionDue, audit_append,
    audit_list, audit_verify, check, check_tables, declaration_record, facts_effective, retention_due, version_remove,
    version_resolve,
};
use ropewalk_lineage::{Step, downstream, upstream};
use ropewalk_types::{DatasetName, StageName, Uri};
use serde_json::{Value, json};

use crate::kinds::{declared, described};
use crate::{OpenProject, ServerError};

/// What a dataset version came from and what came from it, breadth first.
#[derive(Clone, Debug)]
pub struct DatasetLineage {
    /// The version.
    pub uri: Uri,
    /// What it came from.
    pub up: Vec<Step>,
    /// What came from it.
    pub down: Vec<Step>,
}

impl OpenProject {
    /// Writes into the audit trail what was done to `object`.
    pub async fn audit(&self, action: AuditAction, object: &Uri, details: Value) -> Result<(), ServerError> {
        let (at, who, object) = (self.ambient.now(), self.who.clone(), object.to_string());
        let event = AuditEvent { at, who, action, object, details };
        let write = self
            .catalog
            .write(move |connection| Box::pin(async move { audit_append(connection, &event).await.map(|_| ()) }));
        Ok(write.await?)
    }

    /// Entries of the audit trail, the newest first.
    pub async fn audit_list(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditEntry>, ServerError> {
        Ok(audit_list(&self.catalog, filter, None, limit).await?)
    }

    /// Looks whether an entry of the audit trail was changed or removed.
    pub async fn audit_verify(&self) -> Result<AuditReport, ServerError> {
        Ok(audit_verify(&self.catalog, None).await?)
    }

    /// What is declared of a version, and what it inherits from those that it was made from.
    pub async fn facts(&self, name: &DatasetName, version: &str) -> Result<EffectiveFacts, ServerError> {
        let version = version_resolve(&self.catalog, name, version).await?;
        let uri = Uri::Data { name: version.name, version: version.digest.to_string() };
        Ok(facts_effective(&self.catalog, &uri).await?)
    }

    /// What a version came from and what came from it.
    pub async fn dataset_lineage(&self, name: &DatasetName, version: &str) -> Result<DatasetLineage, ServerError> {
        let version = version_resolve(&self.catalog, name, version).await?;
        let uri = Uri::Data { name: version.name, version: version.digest.to_string() };
        let (up, down) = (upstream(&self.catalog, &uri).await?, downstream(&self.catalog, &uri).await?);
        Ok(DatasetLineage { uri, up, down })
    }

    /// Looks whether what is declared of a dataset holds; the text lists what is broken, with the first rows.
    pub async fn check(&self, name: &DatasetName, version: &str) -> Result<(CheckReport, String), ServerError> {
        let checks = self.declared_checks(name)?;
        let tree = version_resolve(&self.catalog, name, version).await?.digest;
        let mut others = BTreeMap::new();
        for other in check_tables(name, &checks)? {
            let (dataset, version) = other.split_once('@').unwrap_or((&other, "latest"));
            let found = version_resolve(&self.catalog, &DatasetName::new(dataset)?, version).await?;
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

    /// The versions that are kept longer than their dataset's retention allows.
    pub async fn retention_due(&self) -> Result<Vec<RetentionDue>, ServerError> {
        Ok(retention_due(&self.catalog, self.ambient.now()).await?)
    }

    /// Puts a tombstone on every version that is kept too long; its bytes go with the next `gc`.
    pub async fn retention_enforce(&self, why: &str) -> Result<Vec<RetentionDue>, ServerError> {
        let due = self.retention_due().await?;
        for one in &due {
            let (name, digest) = (one.version.version.name.clone(), one.version.version.digest);
            let (at, who, why) = (self.ambient.now(), self.who.clone(), why.to_owned());
            let object = Uri::Data { name: name.clone(), version: digest.to_string() }.to_string();
            let details = json!({ "why": why, "days": one.days });
            let event = AuditEvent { at, who: who.clone(), action: AuditAction::Delete, object, details };
            let removal = Removal { name, digest, who, why, at };
            let write = self.catalog.write(move |connection| {
                Box::pin(async move {
                    version_remove(connection, &removal).await?;
                    audit_append(connection, &event).await.map(|_| ())
                })
            });
            write.await?;
        }
        Ok(due)
    }

    /// Records what the project file says of its datasets, where it says something new.
    pub(crate) async fn declare(&self) -> Result<(), ServerError> {
        for (name, source) in &self.file.data {
            let facts = facts_of(name, source)?;
            if facts != DatasetFacts::default() {
                self.declare_one(name.clone(), facts, None, "said by the project file").await?;
            }
        }
        for (name, stage) in self.file.stages(FILE_NAME)? {
            let declares = self.file.stage.get(&name).and_then(|table| table.declares.as_ref());
            if let (Stage::Sql { out, .. }, Some(Declares { classification, reason })) = (stage, declares) {
                let classification = Some(classified(&format!("stage.{name}"), classification)?);
                let facts = DatasetFacts { classification, ..DatasetFacts::default() };
                self.declare_one(DatasetName::new(out)?, facts, Some(name), reason).await?;
            }
        }
        Ok(())
    }

    async fn declare_one(
        &self,
        name: DatasetName,
        facts: DatasetFacts,
        stage: Option<StageName>,
        why: &str,
    ) -> Result<(), ServerError> {
        let (at, who, why) = (self.ambient.now(), self.who.clone(), why.to_owned());
        let object = format!("data:{name}");
        let details = json!({ "facts": facts, "why": why, "stage": stage });
        let event = AuditEvent { at, who: who.clone(), action: AuditAction::Declare, object, details };
        let declaration = Declaration { name, facts, stage, who, why, at };
        let write = self.catalog.write(move |connection| {
            Box::pin(async move {
                if declaration_record(connection, &declaration).await? {
                    audit_append(connection, &event).await?;
                }
                Ok::<(), ropewalk_data::DataError>(())
            })
        });
        Ok(write.await?)
    }
}

fn facts_of(name: &DatasetName, source: &DataSource) -> Result<DatasetFacts, ServerError> {
    let place = format!("data.{name}");
    let classification = source.classification.as_ref().map(|word| classified(&place, word)).transpose()?;
    Ok(DatasetFacts {
        owner: source.owner.clone(),
        description: source.description.clone(),
        classification,
        retention: source.retention_days.map(Retention::Days),
    })
}

fn classified(place: &str, word: &str) -> Result<Classification, ServerError> {
    word.parse().map_err(|error| ServerError::Unknown {
        what: format!("{FILE_NAME}: [{place}]: {error}"),
        hint: "from the least to the most careful: public, internal, confidential, personal".to_owned(),
    })
}
