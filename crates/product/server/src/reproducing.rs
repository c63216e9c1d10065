//! Doing again what a run did: its recorded code, on its recorded inputs, beside everything else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_catalog::Catalog;
use ropewalk_lineage::upstream;
use ropewalk_pipeline::{Input, Observer, StageReport, StageSpec, StageState, outcome_get};
use ropewalk_registry::Registry;
use ropewalk_store::files;
use ropewalk_tracking::{Run, Tracking};
use ropewalk_types::{Digest, RunId, StageName, Uri};
use ropewalk_versions::CodeState;
use serde::Serialize;

use crate::planning::{Planned, plan};
use crate::project::{MIGRATIONS, project_file};
use crate::run_difference::{Difference, Facts, differences, environment, params};
use crate::run_lineage::{CodeRecord, LONGEST_LOCK, RunLineage, code_laid_out};
use crate::{OpenProject, RunOptions, ServerError, TrackingHome};

/// Kinds whose stages make their outputs from what is recorded.
const KINDS: [&str; 5] = ["check", "ingest", "run", "sql", "train"];
/// The tags by which a run says which stage it executed, and with which key.
const STAGE_TAG: &str = "ropewalk.stage";
const KEY_TAG: &str = "ropewalk.key";
/// What a command said, which may well be the time of day.
const LOG: &str = "logs/command.log";

/// How to do a run again.
pub struct ReproduceOptions {
    /// How far metrics may be apart, relative to the larger one, and still count as within tolerance.
    pub tolerance: f64,
    /// The environment of the person who asks, for stages of kind `run`.
    pub environment: BTreeMap<String, String>,
    /// Watches.
    pub observer: Arc<dyn Observer>,
}

/// How one thing came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The same bytes, or the same number.
    Equal,
    /// A number as near as was asked for.
    WithinTolerance,
    /// Something else.
    Different,
    /// It was there, and did not come again.
    Missing,
    /// It was not there before.
    New,
}

/// One thing that the run had, or that came now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// `output`, `artifact`, `metric` or `param`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// As the run had it.
    pub before: Option<String>,
    /// As it came now.
    pub now: Option<String>,
    /// How it came out.
    pub verdict: Verdict,
}

/// What became of a run that was done again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reproduction {
    /// The run.
    pub run: RunId,
    /// Its stage.
    pub stage: StageName,
    /// Whether the stage's key is the one of the run: then also the variables that it declares were the same.
    pub same_key: bool,
    /// Why it could not be done to its end.
    pub error: Option<String>,
    /// Everything that was compared.
    pub compared: Vec<Compared>,
    /// The sources that an ingest read and that are not any more what they were when the run read them, by their digests.
    pub sources: Vec<Difference>,
    /// What is not the same about programs and packages: where something came out otherwise, a likely reason.
    pub environment: Vec<Difference>,
    /// Wall time, in seconds.
    pub seconds: f64,
}

impl Reproduction {
    /// Whether it came to its end and nothing came out otherwise.
    pub fn held(&self) -> bool {
        let holds = |one: &Compared| matches!(one.verdict, Verdict::Equal | Verdict::WithinTolerance);
        self.error.is_none() && self.compared.iter().all(holds)
    }
}

/// What is recorded of a run, all that is needed to do it again.
struct Recorded {
    run: Run,
    lineage: RunLineage,
    stage: StageName,
    key: Option<Digest>,
    sources: Facts,
    outputs: Facts,
    artifacts: Facts,
}

impl OpenProject {
    /// Does again what `run` did: its stage with the code, the inputs and the settings that are recorded of it, in a folder
    /// and a catalogue of its own, so that nothing of the project changes.
    ///
    /// A source that is ingested is read as it is now, and what changed in it is told. `waits` hears who holds the project meanwhile.
    ///
    /// # Errors
    /// The run is not one of a stage, its code or an input is gone, or its stage makes nothing, as a registration.
    pub async fn reproduce(
        &self,
        run: RunId,
        options: &ReproduceOptions,
        waits: impl FnOnce(&str) + Send,
    ) -> Result<Reproduction, ServerError> {
        let recorded = self.recorded(run).await?;
        let _alone = self.lock("ropewalk reproduce", waits).await?;
        let place = self.state().join("reproductions");
        // What a killed one left there.
        files::remove_directory(&place)?;
        let folder = files::temporary_directory(&place)?;
        let code = folder.path().join("project");
        code_laid_out(&self.root, &self.store, &recorded.lineage.code, &code).await.map_err(ServerError::Part)?;
        let Planned { plan, code: code_files } = plan(&code, &project_file(&code)?)?;
        let spec = plan.stages().iter().find(|stage| stage.name == recorded.stage).cloned();
        let spec = spec.ok_or_else(|| unknown(format!("the code of run {run} has no stage `{}`", recorded.stage)))?;
        if !KINDS.contains(&spec.kind) {
            let what =
                format!("stage `{}` is of kind `{}`, which makes nothing that could be compared", spec.name, spec.kind);
            return Err(unknown(what));
        }
        let inputs = self.inputs(&recorded).await?;
        self.lock_file_laid_out(&recorded.lineage, &code)?;
        let beside = self.beside(folder.path(), code, &spec).await?;
        let again = RunOptions {
            stages: Vec::new(),
            jobs: 1,
            environment: options.environment.clone(),
            observer: Arc::clone(&options.observer),
        };
        let state = code_state_of(&recorded.lineage.code);
        let runner = beside.runner(&state, &code_files, &again).await?;
        let report = Box::pin(runner.carry_out(&spec, inputs)).await?;
        let result = beside.compare(&recorded, &report, options.tolerance).await;
        beside.close().await;
        result
    }

    async fn recorded(&self, run: RunId) -> Result<Recorded, ServerError> {
        let home = TrackingHome::of(self);
        let found = self.tracking.run_get(run).await?;
        let tag = |key: &str| found.tags.get(key).cloned();
        let (Some(stage), Some(key)) = (tag(STAGE_TAG), tag(KEY_TAG)) else {
            return Err(unknown(format!("run {run} was made by no stage of a project: how is not recorded")));
        };
        let Some(lineage) = home.run_lineage(run).await? else {
            let what = format!("run {run} is older than the records by which a run is done again");
            return Err(ServerError::Unknown { what, hint: format!("run it anew: `ropewalk run {stage}`") });
        };
        let key: Option<Digest> = key.parse().ok();
        let stage = StageName::new(stage)?;
        let outcome = match key {
            Some(key) => outcome_get(&self.catalog, &key).await?,
            None => None,
        };
        let sources = sources_of(&self.catalog, &stage, key).await?;
        let outputs = outcome.map(|outcome| outcome.outputs).unwrap_or_default();
        let outputs = outputs.into_iter().map(|(name, artifact)| (name, artifact.digest.to_string())).collect();
        let mut artifacts = home.artifacts(run).await?;
        artifacts.remove(LOG);
        Ok(Recorded { run: found, lineage, stage, key, sources, outputs, artifacts })
    }

    /// Lays the project's lock file beside the code, as it is now, so that it is compared with the one of the run.
    fn lock_file_laid_out(&self, lineage: &RunLineage, code: &Path) -> Result<(), ServerError> {
        let Some(lock) = &lineage.environment.lock else { return Ok(()) };
        let (here, there) = (self.root.join(&lock.path), code.join(&lock.path));
        let is_name = Path::new(&lock.path).file_name().is_some_and(|name| *name == *lock.path);
        if is_name && files::exists(&here)? && !files::exists(&there)? {
            files::write_new(&there, &files::read_bounded(&here, LONGEST_LOCK)?, false)?;
        }
        Ok(())
    }

    /// What the run read, all of which must still be there.
    async fn inputs(&self, recorded: &Recorded) -> Result<BTreeMap<String, Input>, ServerError> {
        let mut inputs = BTreeMap::new();
        for (name, record) in &recorded.lineage.inputs {
            let digest = record.artifact.digest;
            if !self.store.contains(&digest).await? {
                let what = format!(
                    "input `{name}` of run {} is gone: the store lacks {}",
                    recorded.run.info.id,
                    digest.short()
                );
                let hint = "fetch it from a remote with `ropewalk fetch`, if one has it".to_owned();
                return Err(ServerError::Unknown { what, hint });
            }
            inputs.insert(name.clone(), Input::from(record.clone()));
        }
        Ok(inputs)
    }

    /// The same store with a catalogue that knows nothing, so that the stage is executed and leaves no trace.
    async fn beside(&self, folder: &Path, code: PathBuf, spec: &StageSpec) -> Result<Self, ServerError> {
        let url = format!("sqlite:{}", folder.join("catalog.db").display());
        let catalog = Catalog::open(&url, &MIGRATIONS).await?;
        let file = Arc::new(project_file(&code)?);
        // Sources lie with the project, and are no code.
        let root = if spec.kind == "ingest" { self.root.clone() } else { code };
        let tracking = Tracking::new(catalog.clone(), self.store.clone(), Arc::clone(&self.ambient));
        Ok(Self {
            root,
            file,
            store: self.store.clone(),
            registry: Registry::with_files(catalog.clone(), Arc::clone(&self.ambient), tracking.clone()),
            tracking,
            catalog,
            executor: Arc::clone(&self.executor),
            ambient: Arc::clone(&self.ambient),
            who: self.who.clone(),
        })
    }

    /// Compares what this project made of a stage with what is recorded.
    async fn compare(
        &self,
        recorded: &Recorded,
        report: &StageReport,
        tolerance: f64,
    ) -> Result<Reproduction, ServerError> {
        let run = recorded.run.info.id;
        let failed = report.state != StageState::Executed;
        let mut reproduction = Reproduction {
            run,
            stage: recorded.stage.clone(),
            same_key: report.key.is_some() && report.key == recorded.key,
            error: failed.then(|| report.error.clone().unwrap_or_else(|| "the stage did not run".to_owned())),
            compared: Vec::new(),
            sources: Vec::new(),
            environment: Vec::new(),
            seconds: report.seconds,
        };
        let (Some(again), false) = (report.run, failed) else { return Ok(reproduction) };
        let home = TrackingHome::of(self);
        let now = self.tracking.run_get(again).await?;
        let made = report.outputs.iter().map(|(name, artifact)| (name.clone(), artifact.digest.to_string())).collect();
        let all = &mut reproduction.compared;
        all.extend(compared("output", &recorded.outputs, &made));
        let mut artifacts = home.artifacts(again).await?;
        artifacts.remove(LOG);
        all.extend(compared("artifact", &recorded.artifacts, &artifacts));
        all.extend(compared("param", &params(&recorded.run), &params(&now)));
        all.extend(metrics(&recorded.run, &now, tolerance));
        // Of a run whose sources are not known there is nothing to say.
        if !recorded.sources.is_empty() {
            let sources = sources_of(&self.catalog, &recorded.stage, report.key).await?;
            reproduction.sources = differences(&recorded.sources, &sources);
        }
        let programs = home.run_lineage(again).await?;
        let (before, after) = (environment(&now, Some(&recorded.lineage)), environment(&now, programs.as_ref()));
        reproduction.environment = differences(&before, &after);
        Ok(reproduction)
    }
}

fn unknown(what: String) -> ServerError {
    ServerError::Unknown { what, hint: "see `ropewalk runs list`".to_owned() }
}

/// The digests of what an execution of a stage read from outside of the project's data, by its path.
async fn sources_of(catalog: &Catalog, stage: &StageName, key: Option<Digest>) -> Result<Facts, ServerError> {
    let Some(key) = key else { return Ok(Facts::new()) };
    let executed = Uri::Stage { name: stage.clone(), key };
    let mut found = Facts::new();
    for step in Box::pin(upstream(catalog, &executed)).await? {
        if let Uri::File { path, digest } = step.link.parent
            && step.link.child == executed
        {
            found.insert(path, digest.to_string());
        }
    }
    Ok(found)
}

fn code_state_of(code: &CodeRecord) -> CodeState {
    let (tree, commit, branch, clean) = (code.tree, code.commit.clone(), code.branch.clone(), code.clean);
    CodeState { tree, commit, branch, clean, patch: None, note: None }
}

/// Every name of both sides, with what became of it.
fn compared(what: &'static str, before: &Facts, now: &Facts) -> Vec<Compared> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let one = |name: &String| {
        let (before, now) = (before.get(name).cloned(), now.get(name).cloned());
        let verdict = match (&before, &now) {
            (Some(before), Some(now)) if before == now => Verdict::Equal,
            (Some(_), Some(_)) => Verdict::Different,
            (Some(_), None) => Verdict::Missing,
            (None, _) => Verdict::New,
        };
        Compared { what, name: name.clone(), before, now, verdict }
    };
    names.into_iter().map(one).collect()
}

fn metrics(before: &Run, now: &Run, tolerance: f64) -> Vec<Compared> {
    let values = |run: &Run| -> BTreeMap<String, f64> {
        run.metrics.iter().map(|metric| (metric.key.clone(), metric.value)).collect()
    };
    let (values_before, values_now) = (values(before), values(now));
    let texts = |values: &BTreeMap<String, f64>| -> Facts {
        values.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
    };
    let mut all = compared("metric", &texts(&values_before), &texts(&values_now));
    for one in all.iter_mut().filter(|one| one.verdict == Verdict::Different) {
        if let (Some(before), Some(now)) = (values_before.get(&one.name), values_now.get(&one.name))
            && (before - now).abs() <= tolerance * before.abs().max(now.abs())
        {
            one.verdict = Verdict::WithinTolerance;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_both_sides_has_a_verdict() {
        let facts = |pairs: &[(&str, &str)]| -> Facts {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let before = facts(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let now = facts(&[("a", "1"), ("b", "3"), ("d", "4")]);
        let all = compared("output", &before, &now);
        let verdicts: Vec<(&str, Verdict)> = all.iter().map(|one| (one.name.as_str(), one.verdict)).collect();
        assert_eq!(
            verdicts,
            [("a", Verdict::Equal), ("b", Verdict::Different), ("c", Verdict::Missing), ("d", Verdict::New)]
        );
    }
}
