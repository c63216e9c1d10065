use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ropewalk_catalog::Catalog;
use ropewalk_store::{Store, files};
use ropewalk_types::{Ambient, Digest, RunId, StageName, Uri};
use tokio::task::JoinSet;

mod commit;
mod report;

pub use report::{RunReport, StageReport, StageState, StageStatus};

use crate::outcome::{Outcome, outcome_get};
use crate::{
    Event, Failure, Input, InputSource, Observer, PipelineError, Plan, Project, Reporter, RunRecorders, StageContext,
    StageKind, StageSpec,
};

/// Runs pipelines: decides what is known, executes what is not, and makes results visible.
pub struct Runner {
    parts: Arc<Parts>,
    jobs: usize,
}

/// What every stage's task shares.
struct Parts {
    project: Arc<Project>,
    store: Store,
    catalog: Catalog,
    kinds: BTreeMap<&'static str, Arc<dyn StageKind>>,
    recorders: Arc<dyn RunRecorders>,
    observer: Arc<dyn Observer>,
    ambient: Arc<dyn Ambient>,
    code: Uri,
    scratch: PathBuf,
}

type Finished = (StageName, Result<StageReport, PipelineError>);

impl Runner {
    /// A runner for one project.
    ///
    /// `code` names the code that runs; `scratch` is a folder in which stages get folders of their own; at most
    /// `jobs` stages run at once.
    #[expect(clippy::too_many_arguments, reason = "it is put together once, by the product, from its parts")]
    pub fn new(
        project: Project,
        store: Store,
        catalog: Catalog,
        kinds: Vec<Arc<dyn StageKind>>,
        recorders: Arc<dyn RunRecorders>,
        observer: Arc<dyn Observer>,
        ambient: Arc<dyn Ambient>,
        code: Uri,
        scratch: PathBuf,
        jobs: usize,
    ) -> Self {
        let kinds = kinds.into_iter().map(|kind| (kind.name(), kind)).collect();
        let project = Arc::new(project);
        let parts = Parts { project, store, catalog, kinds, recorders, observer, ambient, code, scratch };
        Self { parts: Arc::new(parts), jobs: jobs.max(1) }
    }

    /// Runs `plan`. A stage that fails stops what needs it, not what doesn't.
    ///
    /// # Errors
    /// The catalogue or the store failed, or a stage is of an unknown kind. A failed stage is in the report.
    pub async fn run(&self, plan: &Plan) -> Result<RunReport, PipelineError> {
        let mut waiting: Vec<StageSpec> = plan.stages().to_vec();
        let mut ended: BTreeMap<StageName, StageReport> = BTreeMap::new();
        let mut tasks: JoinSet<Finished> = JoinSet::new();
        loop {
            self.start_free(&mut waiting, &mut ended, &mut tasks)?;
            match tasks.join_next().await {
                None => break,
                Some(Ok((name, report))) => {
                    let report = report?;
                    self.parts.observer.event(&Event::Ended(report.clone()));
                    ended.insert(name, report);
                }
                Some(Err(crash)) => std::panic::resume_unwind(crash.into_panic()),
            }
        }
        Ok(report::in_order(plan, ended))
    }

    /// Carries out one stage on inputs that were made before, for whoever does again what was done.
    ///
    /// # Errors
    /// The catalogue or the store failed, or the stage is of an unknown kind. That it failed is in the report.
    pub async fn carry_out(
        &self,
        stage: &StageSpec,
        inputs: BTreeMap<String, Input>,
    ) -> Result<StageReport, PipelineError> {
        let report = self.parts.carry_out(stage, inputs).await?;
        self.parts.observer.event(&Event::Ended(report.clone()));
        Ok(report)
    }

    /// Starts stages whose needs have ended, as many as there are jobs for.
    fn start_free(
        &self,
        waiting: &mut Vec<StageSpec>,
        ended: &mut BTreeMap<StageName, StageReport>,
        tasks: &mut JoinSet<Finished>,
    ) -> Result<(), PipelineError> {
        let mut position = 0;
        while position < waiting.len() && tasks.len() < self.jobs {
            let needs = waiting[position].needs();
            if !needs.iter().all(|need| ended.contains_key(need)) {
                position += 1;
                continue;
            }
            let stage = waiting.remove(position);
            if let Some(cause) = needs.iter().find(|need| !ended.get(need).is_some_and(StageReport::has_outputs)) {
                let report = StageReport::skipped(&stage, cause);
                self.parts.observer.event(&Event::Ended(report.clone()));
                ended.insert(stage.name, report);
                position = 0;
                continue;
            }
            let inputs = resolve(&stage, ended)?;
            let parts = Arc::clone(&self.parts);
            tasks.spawn(async move { (stage.name.clone(), parts.carry_out(&stage, inputs).await) });
        }
        Ok(())
    }

    /// What a run of `plan` would do, without doing it.
    ///
    /// A stage after one that would be executed may turn out to be known: its inputs are not known yet.
    pub async fn status(&self, plan: &Plan) -> Result<Vec<StageStatus>, PipelineError> {
        let mut known: BTreeMap<StageName, StageReport> = BTreeMap::new();
        let mut statuses = Vec::new();
        for stage in plan.stages() {
            if let Some(need) = stage.needs().into_iter().find(|need| !known.contains_key(need)) {
                statuses.push(StageStatus::waits(stage, &need));
                continue;
            }
            let inputs = resolve(stage, &known)?;
            let kind = self.parts.kind(stage)?;
            match self.parts.key(stage, kind.as_ref(), &inputs).await {
                Err(failure) => statuses.push(StageStatus::unreadable(stage, &failure)),
                Ok(key) => match self.parts.known(kind.as_ref(), &key).await? {
                    Some(outcome) => {
                        statuses.push(StageStatus::known(stage, &outcome));
                        known.insert(stage.name.clone(), StageReport::cached(stage, outcome, 0.0));
                    }
                    None => statuses.push(StageStatus::new_key(stage, key)),
                },
            }
        }
        Ok(statuses)
    }
}

impl Parts {
    fn kind(&self, stage: &StageSpec) -> Result<Arc<dyn StageKind>, PipelineError> {
        let unknown = || PipelineError::UnknownKind { stage: stage.name.clone(), kind: stage.kind.to_owned() };
        self.kinds.get(stage.kind).cloned().ok_or_else(unknown)
    }

    async fn key(
        &self,
        stage: &StageSpec,
        kind: &dyn StageKind,
        inputs: &BTreeMap<String, Input>,
    ) -> Result<Digest, Failure> {
        let fingerprint = kind.fingerprint(stage, &self.project, &self.store).await?;
        Ok(stage.key(kind, &fingerprint, inputs))
    }

    /// The outcome of a key, if it still holds and everything that it made is still in the store.
    async fn known(&self, kind: &dyn StageKind, key: &Digest) -> Result<Option<Outcome>, PipelineError> {
        let Some(outcome) = outcome_get(&self.catalog, key).await? else { return Ok(None) };
        if !kind.still_holds(&outcome) {
            return Ok(None);
        }
        for artifact in outcome.outputs.values() {
            if !self.store.contains(&artifact.digest).await? {
                return Ok(None);
            }
        }
        Ok(Some(outcome))
    }

    async fn carry_out(
        &self,
        stage: &StageSpec,
        inputs: BTreeMap<String, Input>,
    ) -> Result<StageReport, PipelineError> {
        let started = Instant::now();
        let kind = self.kind(stage)?;
        let key = match self.key(stage, kind.as_ref(), &inputs).await {
            Ok(key) => key,
            Err(failure) => return Ok(StageReport::failed(stage, None, &failure, seconds(started))),
        };
        if let Some(outcome) = self.known(kind.as_ref(), &key).await? {
            let reporter = Reporter::new(stage.name.clone(), Arc::clone(&self.observer));
            for line in kind.said_again(&outcome) {
                reporter.said(&line);
            }
            return Ok(match self.recorders.known(&outcome).await {
                Ok(latest_again) => {
                    StageReport { latest_again, ..StageReport::cached(stage, outcome, seconds(started)) }
                }
                Err(failure) => StageReport::failed(stage, Some(outcome.run), &failure, seconds(started)),
            });
        }
        self.observer.event(&Event::Started { stage: stage.name.clone(), kind: kind.name() });
        match self.execute(stage, kind.as_ref(), key, inputs, started).await? {
            Ok(outcome) => Ok(StageReport::executed(stage, outcome, seconds(started))),
            Err((run, failure)) => Ok(StageReport::failed(stage, run, &failure, seconds(started))),
        }
    }

    /// Executes a stage whose key is not known. The inner error is the stage's own.
    async fn execute(
        &self,
        stage: &StageSpec,
        kind: &dyn StageKind,
        key: Digest,
        inputs: BTreeMap<String, Input>,
        started: Instant,
    ) -> Result<Result<Outcome, (Option<RunId>, Failure)>, PipelineError> {
        let recorder = match self.recorders.begin(stage, &key, &inputs).await {
            Ok(recorder) => recorder,
            Err(failure) => return Ok(Err((None, failure))),
        };
        let scratch = self.scratch.join(format!("{}-{}", stage.name, key.short()));
        files::remove_directory(&scratch)?;
        files::create_directories(&scratch)?;
        let context = StageContext {
            project: Arc::clone(&self.project),
            key,
            inputs,
            store: self.store.clone(),
            scratch: scratch.clone(),
            recorder: Arc::clone(&recorder),
            ambient: Arc::clone(&self.ambient),
            reporter: Reporter::new(stage.name.clone(), Arc::clone(&self.observer)),
            stage: stage.name.clone(),
        };
        let result = kind.execute(stage, &context).await;
        files::remove_directory(&scratch)?;
        let failure = match result {
            Ok(executed) => match self.commit(stage, &context, executed, started).await {
                Ok(outcome) => return Ok(Ok(outcome)),
                Err(PipelineError::Record(failure)) => failure,
                Err(error) => return Err(error),
            },
            Err(failure) => failure,
        };
        recorder.fail(&failure.to_string()).await.map_err(PipelineError::Record)?;
        Ok(Err((Some(recorder.run()), failure)))
    }
}

/// The artifacts that a stage reads, out of the reports of the stages that it needs.
fn resolve(
    stage: &StageSpec,
    ended: &BTreeMap<StageName, StageReport>,
) -> Result<BTreeMap<String, Input>, PipelineError> {
    let find = |source: &InputSource| {
        let report = ended.get(&source.stage);
        let made = report.map(|report| &report.outputs);
        let artifact = made.and_then(|made| match &source.output {
            Some(output) => made.get(output),
            None if made.len() == 1 => made.values().next(),
            None => None,
        });
        let input = artifact.zip(report.and_then(|report| report.run));
        input.map(|(artifact, run)| Input { artifact: artifact.clone(), run }).ok_or_else(|| {
            PipelineError::UnknownOutput {
                stage: stage.name.clone(),
                output: source.output.clone().unwrap_or_default(),
                from: source.stage.clone(),
                made: made.map(|made| made.keys().cloned().collect()).unwrap_or_default(),
            }
        })
    };
    stage.inputs.iter().map(|(name, source)| Ok((name.clone(), find(source)?))).collect()
}

fn seconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests;
