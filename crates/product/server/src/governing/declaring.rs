use ropewalk_config::{DataSource, FILE_NAME, Stage};
use ropewalk_data::{
    AuditAction, AuditEvent, Classification, DataError, DatasetFacts, Declaration, Retention, audit_append,
    declaration_record,
};
use ropewalk_types::{DatasetName, StageName};
use serde_json::json;

use crate::{OpenProject, ServerError};

impl OpenProject {
    /// Records what the project file says of the datasets that it makes, where it says something new, and what it says
    /// no longer. Of a dataset that it makes no longer, what was said last holds.
    pub(crate) async fn declare(&self) -> Result<(), ServerError> {
        for (name, source) in &self.file.data {
            self.declare_one(name.clone(), facts_of(name, source)?, None, None).await?;
        }
        for (name, stage) in self.file.stages(FILE_NAME)? {
            let Stage::Sql { out, .. } = stage else { continue };
            let declares = self.file.stage.get(&name).and_then(|table| table.declares.as_ref());
            let place = format!("stage.{name}");
            let classification = declares.map(|declares| classified(&place, &declares.classification)).transpose()?;
            let facts = DatasetFacts { classification, ..DatasetFacts::default() };
            let why = declares.map(|declares| declares.reason.as_str());
            self.declare_one(DatasetName::new(out)?, facts, Some(name), why).await?;
        }
        Ok(())
    }

    async fn declare_one(
        &self,
        name: DatasetName,
        facts: DatasetFacts,
        stage: Option<StageName>,
        why: Option<&str>,
    ) -> Result<(), ServerError> {
        let (at, who) = (self.ambient.now(), self.who.clone());
        let said = if facts.is_empty() { "said by the project file no longer" } else { "said by the project file" };
        let declaration = Declaration { name, facts, stage, who, why: why.unwrap_or(said).to_owned(), at };
        let write = self.catalog.write(move |connection| {
            Box::pin(async move {
                if let Some(before) = declaration_record(connection, &declaration).await? {
                    audit_append(connection, &event(declaration, &before)).await?;
                }
                Ok::<(), DataError>(())
            })
        });
        Ok(write.await?)
    }
}

/// The entry of the audit trail about a declaration, with what it withdraws of the one before it.
fn event(declaration: Declaration, before: &DatasetFacts) -> AuditEvent {
    let Declaration { name, facts, stage, who, why, at } = declaration;
    let withdrawn = Some(before.withdrawn(&facts)).filter(|withdrawn| !withdrawn.is_empty());
    let details = json!({ "facts": facts, "withdrawn": withdrawn, "why": why, "stage": stage });
    AuditEvent { at, who, action: AuditAction::Declare, object: format!("data:{name}"), details }
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
