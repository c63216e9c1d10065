//! Messages as JSON, after `mlflow/protos/service.proto`.

pub(crate) mod number;
pub(crate) mod registry;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::fmt::Display;

use ropewalk_tracking::{ArtifactEntry, Experiment, Pairs, Tag};
use ropewalk_types::ExperimentId;
use serde::{Deserialize, Serialize, Serializer};

use number::Int64;

/// `Param`, `RunTag`, `ExperimentTag`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct KeyValue {
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
}

impl From<KeyValue> for Tag {
    fn from(pair: KeyValue) -> Self {
        Self::new(pair.key.unwrap_or_default(), pair.value.unwrap_or_default())
    }
}

/// The same, on the way out.
#[derive(Debug, Serialize)]
pub(crate) struct KeyValueOut<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

pub(crate) fn pairs(map: &BTreeMap<String, String>) -> Vec<KeyValueOut<'_>> {
    map.iter().map(|(key, value)| KeyValueOut { key, value }).collect()
}

/// Params or tags of a run.
#[derive(Debug)]
pub(crate) struct PairsOut<'a>(pub(crate) &'a Pairs);

impl Serialize for PairsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(key, value)| KeyValueOut { key, value }))
    }
}

/// Tags, as they were given.
#[derive(Debug)]
pub(crate) struct TagsOut<'a>(pub(crate) &'a [Tag]);

impl TagsOut<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for TagsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|tag| KeyValueOut { key: &tag.key, value: &tag.value }))
    }
}

/// A value by its text.
#[derive(Debug)]
pub(crate) struct Text<T>(pub(crate) T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// `active` or `deleted`.
pub(crate) fn lifecycle_stage(deleted: bool) -> &'static str {
    if deleted { "deleted" } else { "active" }
}

/// Where an experiment's artifacts are, for a client: proxied by this server, unless it was created elsewhere.
pub(crate) fn artifact_root(experiment: ExperimentId, location: Option<&str>) -> String {
    match location {
        Some(location) => location.to_owned(),
        None => format!("mlflow-artifacts:/{experiment}"),
    }
}

/// `Experiment`.
#[derive(Debug, Serialize)]
pub(crate) struct ExperimentOut<'a> {
    experiment_id: Text<ExperimentId>,
    name: &'a str,
    artifact_location: String,
    lifecycle_stage: &'static str,
    creation_time: i64,
    last_update_time: i64,
    tags: Vec<KeyValueOut<'a>>,
}

impl<'a> From<&'a Experiment> for ExperimentOut<'a> {
    fn from(experiment: &'a Experiment) -> Self {
        Self {
            experiment_id: Text(experiment.id),
            name: &experiment.name,
            artifact_location: artifact_root(experiment.id, experiment.artifact_location.as_deref()),
            lifecycle_stage: lifecycle_stage(experiment.deleted),
            creation_time: experiment.created.0,
            last_update_time: experiment.updated.0,
            tags: pairs(&experiment.tags),
        }
    }
}

/// `FileInfo`.
#[derive(Debug, Serialize)]
pub(crate) struct FileInfo<'a> {
    path: &'a str,
    is_dir: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
}

impl<'a> FileInfo<'a> {
    /// With its path inside the run.
    pub(crate) fn of(entry: &'a ArtifactEntry) -> Self {
        let file_size = match entry {
            ArtifactEntry::File(artifact) => Some(artifact.size),
            ArtifactEntry::Folder(_) => None,
        };
        Self { path: entry.path().as_str(), is_dir: file_size.is_none(), file_size }
    }

    /// With its name only.
    pub(crate) fn by_name(entry: &'a ArtifactEntry) -> Self {
        Self { path: entry.path().name(), ..Self::of(entry) }
    }
}

/// An enum's value: ProtoJSON takes its name or its number.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum EnumValue {
    Number(i64),
    Name(String),
}

impl EnumValue {
    /// Which of `names` it is; the first has the number 1.
    pub(crate) fn position(&self, names: &[&str]) -> Option<usize> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Name(name) => match names.iter().position(|one| one == name) {
                Some(position) => return Some(position),
                None => name.parse().ok()?,
            },
        };
        usize::try_from(number).ok()?.checked_sub(1).filter(|position| *position < names.len())
    }
}

/// How many results are wanted: `default` if nothing is said, never more than `most`.
pub(crate) fn page_size(wanted: Option<Int64>, default: usize, most: usize) -> Result<usize, crate::MlflowError> {
    let Some(Int64(wanted)) = wanted else { return Ok(default) };
    match usize::try_from(wanted) {
        Ok(size) if (1..=most).contains(&size) => Ok(size),
        _ => Err(crate::MlflowError::invalid("max_results", &format!("{wanted} is not between 1 and {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_have_names_and_numbers() {
        let names = ["RUNNING", "SCHEDULED"];
        let position = |json: &str| serde_json::from_str::<EnumValue>(json).expect(json).position(&names);
        assert_eq!(position("\"SCHEDULED\""), Some(1));
        assert_eq!(position("1"), Some(0));
        assert_eq!(position("\"2\""), Some(1));
        for bad in ["0", "3", "-1", "\"running\"", "\"\""] {
            assert_eq!(position(bad), None, "{bad}");
        }
    }
}
