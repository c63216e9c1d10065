use std::cmp::Reverse;

use ropewalk_config::{DataSource, Declares, FILE_NAME, Stage};
use ropewalk_data::{
    AuditAction, AuditEvent, Classification, DataError, DatasetFacts, Declaration, NO_REASON, Retention, audit_append,
    declaration_get, declaration_record, version_list,
};
use ropewalk_lineage::upstream;
use ropewalk_types::{DatasetName, StageName, Uri};
use serde_json::json;

use crate::planning::tracked_source;
use crate::{OpenProject, ServerError};

/// Why nothing is declared any longer.
const NO_LONGER: &str = "said by the project file no longer";

impl OpenProject {
    /// Records what the project file says of the datasets that it makes, where it says something new, and what it says
    /// no longer. Of a dataset that it makes no longer, what was said last holds.
    ///
    /// # Errors
    /// A dataset is said to need less care than what it was made of, and no reason is given: that is not recorded. A table
    /// has the name of tracked files.
    pub(crate) async fn declare(&self) -> Result<(), ServerError> {
        let mut tracked = self.check_names().await?;
        let mut said = Vec::with_capacity(self.file.data.len());
        for (name, source) in &self.file.data {
            said.push((name, source, facts_of(name, source)?));
        }
        // What needs most care is known before it is asked whether something is lowered; so is what is said no longer.
        said.sort_by_key(|(.., facts)| (facts.classification.is_some(), Reverse(facts.classification)));
        for (name, source, facts) in said {
            if facts.classification.is_some() && source.reason.is_none() {
                let made_of = self.made_of(name, source).await?;
                self.holders().check_lowered(name, &made_of).await.map_err(ServerError::Part)?;
            }
            self.declare_one(name.clone(), facts, None, source.reason.as_deref()).await?;
        }
        for (name, stage) in self.file.stages(FILE_NAME)? {
            let table = self.file.stage.get(&name);
            let declares = table.and_then(|table| table.declares.clone());
            let declared_as = match stage {
                Stage::Sql { out, .. } | Stage::Predict { out, .. } => DatasetName::new(out)?,
                // What its runs leave behind; by the stage's own name, which is then no dataset's.
                Stage::Train(_) | Stage::Run(_) => {
                    let declared_as = DatasetName::new(name.as_str())?;
                    if declares.is_none() && !self.is_declared_by(&declared_as, &name).await? {
                        continue;
                    }
                    if declares.is_some() && self.is_of_files(&declared_as, &mut tracked).await? {
                        return Err(ServerError::Unknown {
                            what: format!(
                                "{FILE_NAME}: [stage.{name}] has `declares`, and tracked files have its name"
                            ),
                            hint: "give the stage another name: what it declares would be said of the files".to_owned(),
                        });
                    }
                    declared_as
                }
                Stage::Register(_) => continue,
            };
            let declares = declares.unwrap_or_default();
            let classification = classification(&format!("stage.{name}"), declares.classification.as_deref())?;
            let Declares { owner, description, retention_days, reason, .. } = declares;
            let facts =
                DatasetFacts { owner, description, classification, retention: retention_days.map(Retention::Days) };
            self.declare_one(declared_as, facts, Some(name), reason.as_deref()).await?;
        }
        Ok(())
    }

    /// Whether tracked files have this name, or had it: `tracked` are those that have, once somebody has looked.
    async fn is_of_files(
        &self,
        name: &DatasetName,
        tracked: &mut Option<Vec<DatasetName>>,
    ) -> Result<bool, ServerError> {
        let here = match tracked {
            Some(here) => here,
            None => tracked.insert(self.workspace().tracked_names().await?),
        };
        Ok(here.contains(name) || self.workspace().names().await?.contains(name))
    }

    /// What the latest version of a table was made of, if there is one; of tracked files with another name, the files.
    async fn made_of(&self, name: &DatasetName, source: &DataSource) -> Result<Vec<Uri>, ServerError> {
        if let Some((dataset, version)) = tracked_source(source) {
            // What is said of the files themselves is said anew.
            let files = Some(dataset).filter(|dataset| dataset != name).map(|name| {
                let version = version.unwrap_or_else(|| "latest".to_owned());
                Uri::Data { name, version }
            });
            return Ok(files.into_iter().collect());
        }
        let Some(latest) = version_list(&self.catalog, Some(name)).await?.into_iter().next() else {
            return Ok(Vec::new());
        };
        let uri = Uri::Data { name: latest.name, version: latest.digest.to_string() };
        let steps = upstream(&self.catalog, &uri).await?.into_iter();
        Ok(steps.filter(|step| step.link.child == uri).map(|step| step.link.parent).collect())
    }

    /// Whether what holds of a name was said by this stage.
    async fn is_declared_by(&self, name: &DatasetName, stage: &StageName) -> Result<bool, ServerError> {
        let held = declaration_get(&self.catalog, name).await?;
        Ok(held.is_some_and(|held| held.stage.as_ref() == Some(stage)))
    }

    async fn declare_one(
        &self,
        name: DatasetName,
        facts: DatasetFacts,
        stage: Option<StageName>,
        why: Option<&str>,
    ) -> Result<(), ServerError> {
        let (at, who) = (self.ambient.now(), self.who.clone());
        let why = if facts.is_empty() { NO_LONGER } else { why.unwrap_or(NO_REASON) };
        let declaration = Declaration { name, facts, stage, who, why: why.to_owned(), at };
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
    let classification = classification(&format!("data.{name}"), source.classification.as_deref())?;
    Ok(DatasetFacts {
        owner: source.owner.clone(),
        description: source.description.clone(),
        classification,
        retention: source.retention_days.map(Retention::Days),
    })
}

fn classification(place: &str, word: Option<&str>) -> Result<Option<Classification>, ServerError> {
    let read = word.map(str::parse::<Classification>).transpose();
    read.map_err(|error| ServerError::Unknown {
        what: format!("{FILE_NAME}: [{place}]: {error}"),
        hint: "from the least to the most careful: public, internal, confidential, personal".to_owned(),
    })
}
