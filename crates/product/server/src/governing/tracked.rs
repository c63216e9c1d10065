//! Tracked files where tables are asked for, and in lineage.

use ropewalk_data::{
    DataError, DatasetFacts, DatasetVersion, Declaration, EffectiveFacts, declaration_get, facts_effective,
    version_history, version_resolve,
};
use ropewalk_types::{DatasetName, Diagnose, Digest, Uri, counted};
use ropewalk_versions::{Dataset, LogEntry};

use super::DatasetLineage;
use crate::planning::{rows_name, tracked_source};
use crate::{OpenProject, ServerError};

/// A question about rows of a dataset that has none.
#[derive(Debug, thiserror::Error)]
#[error("`{asked}` is a dataset of tracked files, not a table")]
struct TrackedFiles {
    asked: DatasetName,
    /// The tracked dataset.
    dataset: DatasetName,
    /// Where its files are, if they belong into this work tree.
    path: Option<String>,
}

impl Diagnose for TrackedFiles {
    fn code(&self) -> &'static str {
        "data.tracked_files"
    }

    fn hint(&self) -> Option<String> {
        let Self { dataset, path, .. } = self;
        let (path, rows) = (path.as_deref().unwrap_or("PATH"), rows_name(dataset.as_str()));
        Some(format!(
            "`ropewalk data log {dataset}` lists its versions, `ropewalk data cat data:{dataset}/FILE` prints a file; \
             stages of kind `run` read it by [data.X] source = \"data:{dataset}\"; \
             [data.{rows}] source = \"{path}\" reads its files into a table of that name"
        ))
    }
}

impl OpenProject {
    /// The version of a table; tracked files of that name are told from a dataset that is not there.
    pub(crate) async fn table_version(&self, name: &DatasetName, version: &str) -> Result<DatasetVersion, ServerError> {
        match version_resolve(&self.catalog, name, version).await {
            Ok(version) => Ok(version),
            Err(error) => Err(self.not_a_table(error).await),
        }
    }

    /// What to say when there is no table: perhaps there are tracked files.
    pub(crate) async fn not_a_table(&self, error: DataError) -> ServerError {
        let DataError::UnknownDataset { name, .. } = &error else { return error.into() };
        let Ok(asked) = DatasetName::new(name.clone()) else { return error.into() };
        let named = self.file.data.get(&asked).and_then(tracked_source).map(|(dataset, _)| dataset);
        let dataset = named.clone().unwrap_or_else(|| asked.clone());
        match self.tracked_here(&dataset).await {
            Ok((here, versions)) if here.is_some() || !versions.is_empty() || named.is_some() => {
                ServerError::Part(TrackedFiles { asked, dataset, path: here.map(|here| here.path) }.into())
            }
            Ok(_) => error.into(),
            Err(other) => other,
        }
    }

    /// A tracked dataset as the work tree has it, and its versions; neither if there is no such dataset.
    async fn tracked_here(&self, name: &DatasetName) -> Result<(Option<Dataset>, Vec<LogEntry>), ServerError> {
        let workspace = self.workspace();
        let here = workspace.dataset_if_tracked(name).await?;
        let versions = if workspace.names().await?.contains(name) { workspace.log(name).await? } else { Vec::new() };
        Ok((here, versions))
    }

    /// What holds for a thing: of tracked files also what is declared of them under other names.
    pub(crate) async fn facts_said(&self, uri: &Uri) -> Result<EffectiveFacts, ServerError> {
        let mut facts = facts_effective(&self.catalog, uri).await?;
        for (of, declaration) in self.said_otherwise(uri).await? {
            facts.add_name(&of, &declaration);
        }
        let mut undeclared = Vec::with_capacity(facts.undeclared.len());
        for one in std::mem::take(&mut facts.undeclared) {
            let mut is_said = false;
            for (of, mut declaration) in self.said_otherwise(&one).await? {
                let Some(classification) = declaration.facts.classification else { continue };
                is_said = true;
                if !facts.classification.from.iter().any(|from| names_same(from, &of)) {
                    declaration.facts =
                        DatasetFacts { classification: Some(classification), ..DatasetFacts::default() };
                    facts.add_name(&of, &declaration);
                }
            }
            if !is_said {
                undeclared.push(one);
            }
        }
        Ok(EffectiveFacts { undeclared, ..facts })
    }

    /// What is declared of the other names that the project file gives to tracked files.
    async fn said_otherwise(&self, uri: &Uri) -> Result<Vec<(Uri, Declaration)>, ServerError> {
        let Uri::Data { name, version } = uri else { return Ok(Vec::new()) };
        let others: Vec<DatasetName> = self.holders().other_names(name).cloned().collect();
        let mut said = Vec::with_capacity(others.len());
        for other in others {
            if let Some(declaration) = declaration_get(&self.catalog, &other).await? {
                said.push((Uri::Data { name: other, version: version.clone() }, declaration));
            }
        }
        Ok(said)
    }

    /// What the versions of tracked files went into: of all, or of the one that is named, also by another name that the
    /// project file gives them. None for other datasets.
    pub async fn tracked_lineage(
        &self,
        name: &DatasetName,
        version: Option<&str>,
    ) -> Result<Option<Vec<(DatasetLineage, EffectiveFacts)>>, ServerError> {
        if !version_history(&self.catalog, Some(name)).await?.is_empty() {
            return Ok(None);
        }
        let (mut name, mut version) = (name.clone(), version.map(str::to_owned));
        let (mut here, mut versions) = self.tracked_here(&name).await?;
        if here.is_none()
            && versions.is_empty()
            && let Some((dataset, of_source)) = self.file.data.get(&name).and_then(tracked_source)
        {
            (name, version) = (dataset, version.or(of_source));
            (here, versions) = self.tracked_here(&name).await?;
        }
        if here.is_none() && versions.is_empty() {
            return Ok(None);
        }
        let mut wanted = Vec::new();
        if let Some(version) = &version {
            let found = self.workspace().recorded(&name, version).await?.digest;
            versions.retain(|entry| entry.digest == found);
        } else if let Some(pointer) = here.map(|here| here.pointer).filter(|pointer| pointer.version().is_none()) {
            wanted.push((pointer.digest, format!("not committed, {}", counted(pointer.files, "file"))));
        }
        wanted.extend(versions.iter().map(|entry| (entry.digest, told(entry))));
        let mut found = Vec::with_capacity(wanted.len());
        for (digest, about) in wanted {
            let uri = Uri::Data { name: name.clone(), version: digest.to_string() };
            let facts = self.facts_said(&uri).await?;
            found.push((self.lineage_of(uri, about).await?, facts));
        }
        Ok(Some(found))
    }

    /// What is known of a version of tracked files, named by its own digest or by that of its content; of other digests that
    /// they stand for files as they were read and no version has them.
    pub(crate) async fn tracked_about(&self, name: &DatasetName, version: &str) -> Result<Option<String>, ServerError> {
        let Ok(digest) = version.parse::<Digest>() else { return Ok(None) };
        let (here, versions) = self.tracked_here(name).await?;
        // The newest is first: content that came back is told of as what it was at first.
        let found = versions.iter().rev().find(|entry| entry.digest == digest || entry.version.root == digest);
        let is_tracked = here.is_some() || !versions.is_empty();
        Ok(found.map(told).or_else(|| is_tracked.then(|| "files that no version has".to_owned())))
    }
}

/// `v3, 12 files, "first birds" by Ada`.
fn told(entry: &LogEntry) -> String {
    let number = entry.number.map_or_else(String::new, |number| format!("v{number}, "));
    let message = entry.version.message.lines().next().unwrap_or_default();
    let removed = entry.removed.as_ref().map_or_else(String::new, |removal| {
        format!(", removed by {} on {}: {}", removal.who, removal.day(), removal.why)
    });
    let files = counted(entry.version.files, "file");
    format!("{number}{files}, \"{message}\" by {}{removed}", entry.version.author)
}

/// Whether two things are called by the same name, whichever versions they are.
fn names_same(one: &Uri, other: &Uri) -> bool {
    matches!((one, other), (Uri::Data { name: one, .. }, Uri::Data { name: other, .. }) if one == other)
}
