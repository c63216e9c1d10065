use std::collections::{BTreeMap, BTreeSet};

use ropewalk_tracking::{ArtifactEntry, ArtifactPath, ArtifactRoot, Run, RunFilter, TrackingError};
use ropewalk_types::RunId;
use serde::Serialize;

use crate::recording::CODE_TAG;
use crate::run_lineage::{FOLDER, RunLineage, lineage_of};
use crate::{ServerError, TrackingHome};

/// How many of the newest runs are searched for one whose id was not written to its end.
const SEARCHED: usize = 1000;
/// Tags in which clients keep what is compared elsewhere, or what is never the same.
const TAGS_PASSED_OVER: [&str; 2] = ["ropewalk.key", CODE_TAG];
/// Tags by which foreign clients say what their code was.
const CODE_TAGS: [&str; 3] = ["mlflow.source.git.commit", "mlflow.source.git.branch", "mlflow.source.name"];

/// The files in which a logged model declares its packages, and its Python.
const PACKAGES: &str = "requirements.txt";
const PYTHON: &str = "python_env.yaml";
/// Longest such file that is read, in bytes.
const LONGEST_DECLARATION: u64 = 1 << 20;

/// One thing that differs between two runs; absent where a run does not have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is.
    pub name: String,
    /// Of the first run.
    pub first: Option<String>,
    /// Of the second run.
    pub second: Option<String>,
}

/// What differs between two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunDifference {
    /// The first run.
    pub first: RunId,
    /// The second run.
    pub second: RunId,
    /// Parameters.
    pub params: Vec<Difference>,
    /// The latest points of metrics.
    pub metrics: Vec<Difference>,
    /// Tags.
    pub tags: Vec<Difference>,
    /// The code: commit, the files themselves, the changes that the commit lacks.
    pub code: Vec<Difference>,
    /// What was read, by digest.
    pub data: Vec<Difference>,
    /// Programs and packages, by version.
    pub environment: Vec<Difference>,
    /// The machine.
    pub hardware: Vec<Difference>,
    /// The digests of artifacts.
    pub artifacts: Vec<Difference>,
}

impl RunDifference {
    /// All differences, by what they are about.
    pub fn sections(&self) -> [(&'static str, &[Difference]); 8] {
        [
            ("params", &self.params),
            ("metrics", &self.metrics),
            ("tags", &self.tags),
            ("code", &self.code),
            ("data", &self.data),
            ("environment", &self.environment),
            ("hardware", &self.hardware),
            ("artifacts", &self.artifacts),
        ]
    }
}

/// Named texts of one run.
pub(crate) type Facts = BTreeMap<String, String>;

impl TrackingHome {
    /// The run that `text` names: an id, or the beginning of the id of one of the newest 1000 runs.
    ///
    /// # Errors
    /// No run begins so, or several do.
    pub async fn run_find(&self, text: &str) -> Result<RunId, ServerError> {
        let unknown = |what: String| ServerError::Unknown { what, hint: "see `ropewalk runs list`".to_owned() };
        if let Ok(run) = text.parse::<RunId>() {
            return Ok(self.tracking.run_info(run).await?.id);
        }
        let text = text.to_ascii_lowercase();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown(format!("`{text}` is not the id of a run")));
        }
        let page = self.tracking.run_list(RunFilter::default(), SEARCHED).await?;
        let ids = page.runs.iter().map(|run| run.info.id);
        let found: Vec<RunId> = ids.filter(|id| id.to_string().starts_with(&text)).collect();
        match found.as_slice() {
            [run] => Ok(*run),
            [] => Err(unknown(format!("no run begins with `{text}`"))),
            several => Err(unknown(format!("{} runs begin with `{text}`", several.len()))),
        }
    }

    /// What decided what a run made, where a stage made it.
    pub async fn run_lineage(&self, run: RunId) -> Result<Option<RunLineage>, ServerError> {
        lineage_of(&self.tracking, run).await.map_err(ServerError::Part)
    }

    /// What differs between two runs.
    ///
    /// # Errors
    /// One of them is not there.
    pub async fn run_difference(&self, first: RunId, second: RunId) -> Result<RunDifference, ServerError> {
        let (one, other) = (self.tracking.run_get(first).await?, self.tracking.run_get(second).await?);
        let (of_one, of_other) = (self.run_lineage(first).await?, self.run_lineage(second).await?);
        let facts = |of: fn(&Run, Option<&RunLineage>) -> Facts| {
            differences(&of(&one, of_one.as_ref()), &of(&other, of_other.as_ref()))
        };
        let (artifacts_of_one, artifacts_of_other) = (self.artifacts(first).await?, self.artifacts(second).await?);
        let environments = (
            self.environment_of(&one, of_one.as_ref(), &artifacts_of_one).await?,
            self.environment_of(&other, of_other.as_ref(), &artifacts_of_other).await?,
        );
        Ok(RunDifference {
            first,
            second,
            params: facts(|run, _| params(run)),
            metrics: facts(|run, _| metrics(run)),
            tags: facts(|run, _| tags(run)),
            code: facts(code),
            data: facts(data),
            environment: differences(&environments.0, &environments.1),
            hardware: facts(hardware),
            artifacts: differences(&artifacts_of_one, &artifacts_of_other),
        })
    }

    /// Programs and packages of a run: of its stage, or as the models declare them that a foreign client logged.
    async fn environment_of(
        &self,
        run: &Run,
        lineage: Option<&RunLineage>,
        artifacts: &Facts,
    ) -> Result<Facts, ServerError> {
        let mut facts = environment(run, lineage);
        if lineage.is_some() {
            return Ok(facts);
        }
        let experiment = run.info.experiment;
        let mut places = Vec::new();
        for model in &run.models_made {
            let root = ArtifactRoot::Model { experiment, model: model.model.clone() };
            places.push((root.clone(), PACKAGES.to_owned()));
            places.push((root, PYTHON.to_owned()));
        }
        // Before version 3 models lay among the artifacts of their runs.
        let root = ArtifactRoot::Run { experiment, run: run.info.id };
        for path in artifacts.keys().filter(|path| [PACKAGES, PYTHON].iter().any(|name| path.ends_with(name))) {
            places.push((root.clone(), path.clone()));
        }
        for (root, path) in places {
            let Ok(path) = ArtifactPath::new(path) else { continue };
            // It may lie in a bucket, or not be there.
            if let Ok(file) = self.tracking.artifact_at(&root, &path).await
                && file.size <= LONGEST_DECLARATION
            {
                let bytes = self.store.get_bytes(&file.digest).await?;
                facts.extend(declared(&String::from_utf8_lossy(&bytes)));
            }
        }
        Ok(facts)
    }

    /// The digests of all artifacts of a run but those of its lineage, by path; of those in a bucket nothing is known.
    pub(crate) async fn artifacts(&self, run: RunId) -> Result<Facts, ServerError> {
        let mut found = Facts::new();
        let mut folders: Vec<Option<ArtifactPath>> = vec![None];
        while let Some(folder) = folders.pop() {
            let entries = match self.tracking.artifact_list(run, folder.as_ref()).await {
                Err(TrackingError::ArtifactsElsewhere { .. }) => return Ok(Facts::new()),
                entries => entries?,
            };
            for entry in entries {
                match entry {
                    ArtifactEntry::File(file) => {
                        found.insert(file.path.to_string(), file.digest.to_string());
                    }
                    ArtifactEntry::Folder(path) if path.as_str() == FOLDER => {}
                    ArtifactEntry::Folder(path) => folders.push(Some(path)),
                }
            }
        }
        Ok(found)
    }
}

/// Every name whose value is not the same on both sides.
pub(crate) fn differences(first: &Facts, second: &Facts) -> Vec<Difference> {
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let differing = names.into_iter().filter(|name| first.get(*name) != second.get(*name));
    let difference = |name: &String| Difference {
        name: name.clone(),
        first: first.get(name).cloned(),
        second: second.get(name).cloned(),
    };
    differing.map(difference).collect()
}

pub(crate) fn params(run: &Run) -> Facts {
    run.params.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn metrics(run: &Run) -> Facts {
    run.metrics.iter().map(|metric| (metric.key.clone(), metric.value.to_string())).collect()
}

fn tags(run: &Run) -> Facts {
    fn said_elsewhere(key: &str) -> bool {
        TAGS_PASSED_OVER.contains(&key) || CODE_TAGS.contains(&key)
    }
    let tags = run.tags.iter().filter(|(key, _)| !said_elsewhere(key));
    tags.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn code(run: &Run, lineage: Option<&RunLineage>) -> Facts {
    let mut facts = Facts::new();
    let Some(RunLineage { code, .. }) = lineage else {
        for key in CODE_TAGS {
            facts.extend(run.tags.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        return facts;
    };
    facts.insert("files".to_owned(), code.tree.short());
    facts.extend(code.commit.clone().map(|commit| ("commit".to_owned(), commit)));
    facts.extend(code.branch.clone().map(|branch| ("branch".to_owned(), branch)));
    facts.extend(code.patch.map(|patch| ("patch".to_owned(), patch.short())));
    facts
}

fn data(run: &Run, lineage: Option<&RunLineage>) -> Facts {
    let inputs = lineage.into_iter().flat_map(|lineage| &lineage.inputs);
    let inputs = inputs.map(|(name, input)| (name.clone(), input.artifact.digest.to_string()));
    // What foreign clients log as inputs: those for training and for testing often have one name.
    let logged = run.datasets.iter().map(|dataset| (dataset.name.clone(), dataset.digest.clone()));
    let mut digests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, digest) in inputs.chain(logged) {
        digests.entry(name).or_default().insert(digest);
    }
    let joined = |digests: BTreeSet<String>| digests.into_iter().collect::<Vec<String>>().join(", ");
    digests.into_iter().map(|(name, digests)| (name, joined(digests))).collect()
}

pub(crate) fn environment(_: &Run, lineage: Option<&RunLineage>) -> Facts {
    let mut facts = Facts::new();
    let Some(RunLineage { environment, .. }) = lineage else { return facts };
    facts.insert("ropewalk".to_owned(), environment.ropewalk.clone());
    facts.extend(environment.python.clone().map(|version| ("python".to_owned(), version)));
    facts.extend(environment.lock.as_ref().map(|lock| (lock.path.clone(), lock.digest.short())));
    facts.extend(environment.packages.iter().map(|(name, version)| (format!("package {name}"), version.clone())));
    facts
}

/// The lines `NAME==VERSION` and `python: VERSION` of a declaration; all others name no version.
fn declared(text: &str) -> Facts {
    let fact = |line: &str| {
        let line = line.split([';', '#']).next().unwrap_or_default().trim();
        if let Some(version) = line.strip_prefix("python:") {
            return Some(("python".to_owned(), version.trim().to_owned()));
        }
        // What builds the environment is in a list, and no package of it.
        let (name, version) = line.split_once("==").filter(|_| !line.starts_with('-'))?;
        let name = name.trim().to_lowercase().replace('_', "-");
        Some((format!("package {name}"), version.trim().to_owned()))
    };
    text.lines().filter_map(fact).collect()
}

fn hardware(_: &Run, lineage: Option<&RunLineage>) -> Facts {
    let mut facts = Facts::new();
    let Some(RunLineage { hardware, .. }) = lineage else { return facts };
    facts.insert("platform".to_owned(), hardware.platform.clone());
    facts.insert("cores".to_owned(), hardware.cores.to_string());
    facts.extend(hardware.kernel.clone().map(|kernel| ("kernel".to_owned(), kernel)));
    facts.extend(hardware.processor.clone().map(|processor| ("processor".to_owned(), processor)));
    facts.extend(hardware.memory.map(|memory| ("memory".to_owned(), memory.to_string())));
    if !hardware.graphics.is_empty() {
        facts.insert("graphics".to_owned(), hardware.graphics.join(", "));
    }
    facts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ropewalk_catalog::Catalog;
    use ropewalk_registry::Registry;
    use ropewalk_store::Store;
    use ropewalk_tracking::{DatasetInput, NewExperiment, NewRun, Tracking};
    use ropewalk_types::{Ambient, ManualAmbient, Timestamp};

    use super::*;
    use crate::project::MIGRATIONS;

    async fn home() -> TrackingHome {
        let catalog = Catalog::in_memory(&MIGRATIONS).await.expect("catalogue");
        let store = Store::open("memory:").await.expect("store");
        let ambient: Arc<dyn Ambient> = Arc::new(ManualAmbient::default());
        let tracking = Tracking::new(catalog.clone(), store.clone(), Arc::clone(&ambient));
        let registry = Registry::with_files(catalog.clone(), ambient, tracking.clone());
        TrackingHome { folder: std::env::temp_dir(), catalog, store, tracking, registry }
    }

    #[tokio::test]
    async fn runs_with_artifacts_in_a_bucket_are_compared_by_all_digests_of_a_name() {
        let home = home().await;
        let location = Some("s3://bucket/away".to_owned());
        let new = NewExperiment { name: "away".to_owned(), artifact_location: location, tags: Vec::new() };
        let experiment = home.tracking.experiment_create_as(new).await.expect("experiment").id;
        let mut runs = Vec::new();
        for digests in [vec!["1", "2"], vec!["2"]] {
            let run = home.tracking.run_create(NewRun::new(experiment, Timestamp(1))).await.expect("run").info.id;
            let dataset = |digest: &str| DatasetInput {
                name: "dataset".to_owned(),
                digest: digest.to_owned(),
                source_type: "code".to_owned(),
                source: "{}".to_owned(),
                schema: None,
                profile: None,
                tags: Vec::new(),
            };
            let datasets = digests.into_iter().map(dataset).collect();
            home.tracking.inputs_log(run, datasets, Vec::new()).await.expect("inputs");
            runs.push(run);
        }
        assert_eq!(home.run_lineage(runs[0]).await.expect("a run of a client"), None);
        let difference = home.run_difference(runs[0], runs[1]).await.expect("difference");
        let data =
            Difference { name: "dataset".to_owned(), first: Some("1, 2".to_owned()), second: Some("2".to_owned()) };
        assert_eq!((difference.data, difference.artifacts), (vec![data], Vec::new()));
    }

    #[test]
    fn models_declare_their_packages() {
        let facts = declared("mlflow==3.17.2\nScikit_Learn == 1.7.1 ; python_version > '3'\n# x==1\nnumpy>=2\n");
        let text = |name: &str| facts.get(name).map(String::as_str);
        assert_eq!((facts.len(), text("package mlflow")), (2, Some("3.17.2")));
        assert_eq!(text("package scikit-learn"), Some("1.7.1"));
        assert_eq!(declared("python: 3.11.2\nbuild_dependencies:\n- pip==23.0\n")["python"], "3.11.2");
    }

    #[test]
    fn what_differs_is_what_one_side_lacks_or_has_otherwise() {
        let facts = |pairs: &[(&str, &str)]| -> Facts {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (first, second) =
            (facts(&[("a", "1"), ("b", "2"), ("c", "3")]), facts(&[("b", "2"), ("c", "4"), ("d", "5")]));
        let found = differences(&first, &second);
        let shown = |one: &Difference| (one.name.clone(), one.first.clone(), one.second.clone());
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            found.iter().map(shown).collect::<Vec<_>>(),
            [
                ("a".to_owned(), text("1"), None),
                ("c".to_owned(), text("3"), text("4")),
                ("d".to_owned(), None, text("5")),
            ]
        );
        assert!(differences(&first, &first).is_empty());
    }
}
