use std::collections::{BTreeMap, BTreeSet};

use ropewalk_data::{EffectiveFacts, facts_effective, version_list, version_resolve};
use ropewalk_lineage::{Link, Relation, Step, upstream};
use ropewalk_predictions::{PredictionReader, PredictionRecord};
use ropewalk_store::Root;
use ropewalk_types::{PredictionId, Uri, counted};
use serde::Serialize;

use crate::prediction_log::prediction_home;
use crate::verifying::lost;
use crate::{DatasetLineage, OpenProject, ServerError, TrackingHome};

/// A thing, what is known of it, and the things that it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Thread {
    /// Its name.
    pub uri: Uri,
    /// What is known of it, in a few words.
    pub about: String,
    /// What it came from, and in which way; a thing that was met before is named again without its own parents.
    pub from: Vec<Strand>,
}

/// One step along a thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Strand {
    /// In which way.
    pub relation: Relation,
    /// What it leads to.
    pub to: Thread,
}

/// Parents of each thing, in the order in which lineage gives them.
type Parents = BTreeMap<Uri, Vec<(Relation, Uri)>>;

impl OpenProject {
    /// The thread from `uri` back to the bytes that it came from.
    ///
    /// # Errors
    /// What `uri` names is not known here.
    pub async fn trace(&self, uri: &Uri) -> Result<Thread, ServerError> {
        TrackingHome::of(self).thread(uri, Some(self)).await
    }

    /// What is declared of a thing, and what it inherits from those that it was made from.
    pub async fn facts_of(&self, uri: &Uri) -> Result<EffectiveFacts, ServerError> {
        self.facts_said(&TrackingHome::of(self).known(uri).await?).await
    }

    /// What the prediction log holds of an answer.
    pub async fn prediction(&self, id: PredictionId) -> Result<PredictionRecord, ServerError> {
        Ok(self.predictions().prediction_get(id).await?)
    }
}

impl TrackingHome {
    /// As [`OpenProject::trace`], where there may be no project.
    ///
    /// # Errors
    /// What `uri` names is not known here.
    pub async fn trace(&self, uri: &Uri) -> Result<Thread, ServerError> {
        self.thread(uri, None).await
    }

    /// As [`OpenProject::facts_of`], where there may be no project.
    ///
    /// # Errors
    /// What `uri` names is not known here.
    pub async fn facts_of(&self, uri: &Uri) -> Result<EffectiveFacts, ServerError> {
        Ok(facts_effective(&self.catalog, &self.known(uri).await?).await?)
    }

    /// The thread from `uri`; `project` knows of tracked files.
    async fn thread(&self, uri: &Uri, project: Option<&OpenProject>) -> Result<Thread, ServerError> {
        let (start, first) = self.start(uri).await?;
        let mut parents: Parents = first.iter().cloned().collect();
        let from = first.as_ref().and_then(|(_, steps)| steps.first()).map_or(&start, |(_, parent)| parent);
        for step in upstream(&self.catalog, from).await? {
            parents.entry(step.link.child).or_default().push((step.link.relation, step.link.parent));
        }
        if parents.is_empty() {
            // What a client registered from elsewhere, or began without a stage, is known and came from nothing here.
            let kept = match &start {
                Uri::ModelVersion { .. } => true,
                Uri::Run { path, .. } => path.is_empty(),
                _ => false,
            };
            if kept {
                let about = self.about(&start, project).await?;
                return Ok(Thread { uri: start, about, from: Vec::new() });
            }
            let hint = "see `ropewalk data ls`, `ropewalk models ls` and `ropewalk runs ls`".to_owned();
            return Err(ServerError::Unknown { what: format!("`{start}` is not known here"), hint });
        }
        let mut about = BTreeMap::new();
        for uri in parents.iter().flat_map(|(child, up)| up.iter().map(|(_, parent)| parent).chain([child])) {
            if !about.contains_key(uri) {
                about.insert(uri.clone(), self.about(uri, project).await?);
            }
        }
        Ok(weave(&start, &parents, &about, &mut BTreeSet::new()))
    }

    /// What a URI means now, in lineage's table.
    async fn known(&self, uri: &Uri) -> Result<Uri, ServerError> {
        let (start, first) = self.start(uri).await?;
        Ok(first.and_then(|(_, steps)| steps.into_iter().next()).map_or(start, |(_, parent)| parent))
    }

    /// What a URI means now, and the first step back where that is not in lineage's table.
    async fn start(&self, uri: &Uri) -> Result<(Uri, Option<(Uri, Vec<(Relation, Uri)>)>), ServerError> {
        Ok(match uri {
            Uri::Prediction(id) => {
                let record = self.prediction(*id).await?;
                let parent = Uri::ModelVersion { name: record.model, version: record.version };
                (uri.clone(), Some((uri.clone(), vec![(Relation::AnsweredBy, parent)])))
            }
            Uri::ModelAlias { .. } => (self.registry.resolve(uri).await?.uri(), None),
            Uri::Data { name, version } => {
                let version = version_resolve(&self.catalog, name, version).await?.digest.to_string();
                (Uri::Data { name: name.clone(), version }, None)
            }
            other => (other.clone(), None),
        })
    }

    async fn prediction(&self, id: PredictionId) -> Result<PredictionRecord, ServerError> {
        let home = prediction_home(&self.folder, &self.store, &self.catalog);
        Ok(PredictionReader::new(home).prediction_get(id).await?)
    }

    async fn about(&self, uri: &Uri, project: Option<&OpenProject>) -> Result<String, ServerError> {
        Ok(match uri {
            Uri::Prediction(id) => {
                let record = self.prediction(*id).await?;
                let outputs = serde_json::Value::Object(record.outputs);
                format!("request {}: {outputs} in {} µs", record.request.unwrap_or_default(), record.latency_us)
            }
            Uri::Data { name, version } => {
                let versions = version_list(&self.catalog, Some(name)).await?;
                match versions.iter().find(|one| one.digest.to_string() == *version) {
                    Some(one) => {
                        let columns = counted(one.columns.len() as u64, "column");
                        format!("{}, {}, {columns}", one.zone, counted(one.rows, "row"))
                    }
                    None => match project {
                        Some(project) => project.tracked_about(name, version).await?.unwrap_or_default(),
                        None => String::new(),
                    },
                }
            }
            Uri::ModelVersion { .. } => {
                let version = self.registry.resolve(uri).await?;
                let aliases: Vec<&str> = version.aliases.iter().map(AsRef::as_ref).collect();
                let alias = if aliases.is_empty() { String::new() } else { format!("{}, ", aliases.join(", ")) };
                match &version.content {
                    Some(content) => {
                        let (inputs, digest) = (content.signature.inputs.len(), content.digest.short());
                        format!("{alias}{inputs} inputs, {} bytes, digest {digest}", content.size)
                    }
                    None => format!("{alias}from {}", version.source),
                }
            }
            Uri::Run { run, path } if path.is_empty() => {
                let info = self.tracking.run_info(*run).await?;
                format!("{} {}", info.name, info.status)
            }
            Uri::Code(tree) => match lost(&self.store, Root::Tree(*tree)).await? {
                Some(gone) => format!("the project's code as it was; lost, given up by {} on {}", gone.who, gone.day()),
                None => "the project's code as it was; no commit holds it".to_owned(),
            },
            _ => String::new(),
        })
    }
}

impl DatasetLineage {
    /// What it came from, as a thread.
    pub fn came_from(&self) -> Thread {
        self.woven(&self.up, |link| (&link.child, &link.parent))
    }

    /// What came from it, as a thread that leads the other way.
    pub fn went_into(&self) -> Thread {
        self.woven(&self.down, |link| (&link.parent, &link.child))
    }

    fn woven(&self, steps: &[Step], ends: impl Fn(&Link) -> (&Uri, &Uri)) -> Thread {
        let mut next = Parents::new();
        for step in steps {
            let (near, far) = ends(&step.link);
            next.entry(near.clone()).or_default().push((step.link.relation, far.clone()));
        }
        weave(&self.uri, &next, &BTreeMap::new(), &mut BTreeSet::new())
    }
}

fn weave(uri: &Uri, parents: &Parents, about: &BTreeMap<Uri, String>, met: &mut BTreeSet<Uri>) -> Thread {
    let mut from = Vec::new();
    if met.insert(uri.clone()) {
        for (relation, parent) in parents.get(uri).into_iter().flatten() {
            from.push(Strand { relation: *relation, to: weave(parent, parents, about, met) });
        }
    }
    Thread { uri: uri.clone(), about: about.get(uri).cloned().unwrap_or_default(), from }
}

#[cfg(test)]
mod tests {
    use ropewalk_registry::SourcedVersion;
    use ropewalk_store::BackendOptions;
    use ropewalk_tracking::{DEFAULT_EXPERIMENT, NewRun};
    use ropewalk_types::{ModelName, Timestamp};

    use super::*;
    use crate::HomePlace;

    #[tokio::test]
    async fn what_clients_registered_is_traced_without_a_project() {
        let folder = tempfile::tempdir().expect("folder");
        let place = HomePlace { folder: folder.path().to_owned(), catalog: None, store: None };
        let home = TrackingHome::open(&place, &BackendOptions::default()).await.expect("home");
        let name = ModelName::new("m").expect("name");
        home.registry().model_create(&name, None, Vec::new()).await.expect("model");
        let new = NewRun::new(DEFAULT_EXPERIMENT, Timestamp(1));
        let run = home.tracking().run_create(new).await.expect("run").info.id.to_string();
        for (source, run) in [(format!("runs:/{run}/model"), Some(run.clone())), ("s3://b/m".to_owned(), None)] {
            let version = SourcedVersion {
                name: name.clone(),
                source,
                run,
                logged_model: None,
                run_link: String::new(),
                description: None,
                tags: Vec::new(),
                user: None,
            };
            home.registry().version_create(version).await.expect("version");
        }
        let thread = home.trace(&uri("models:/m/1")).await.expect("by its run");
        assert_eq!(thread.from[0].to.uri, uri(&format!("runs:/{run}/model")));
        let elsewhere = home.trace(&uri("models:/m/2")).await.expect("from elsewhere");
        assert_eq!((elsewhere.about.as_str(), elsewhere.from.len()), ("from s3://b/m", 0));
        assert!(home.trace(&uri(&format!("runs:/{run}"))).await.expect("run").about.contains("RUNNING"));
        home.trace(&uri("models:/m/3")).await.expect_err("no such version");
        home.close().await;
    }

    fn uri(text: &str) -> Uri {
        text.parse().expect(text)
    }

    #[test]
    fn a_thing_met_twice_is_unrolled_once() {
        let (top, left, right, source) = (uri("git:aa"), uri("git:bb"), uri("git:cc"), uri("git:dd"));
        let read = |to: &Uri| (Relation::Read, to.clone());
        let parents = Parents::from([
            (top.clone(), vec![read(&left), read(&right)]),
            (left.clone(), vec![read(&source)]),
            (right.clone(), vec![read(&source)]),
            (source.clone(), vec![read(&uri("git:ee"))]),
        ]);
        let thread = weave(&top, &parents, &BTreeMap::new(), &mut BTreeSet::new());
        assert_eq!(thread.from.len(), 2);
        assert_eq!(thread.from[0].to.from[0].to.from.len(), 1);
        assert_eq!(thread.from[1].to.from[0].to.from.len(), 0);
    }
}
