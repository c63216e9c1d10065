use std::collections::{BTreeMap, BTreeSet};

use ropewalk_types::{Digest, RunId, StageName};
use serde::Serialize;
use serde_json::Value;

use crate::outcome::Outcome;
use crate::{Artifact, Failure, Plan, StageSpec};

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// Its work was done.
    Executed,
    /// Its key was known: nothing had to be done.
    Cached,
    /// Its work failed.
    Failed,
    /// A stage that it needs failed.
    Skipped,
}

/// What became of one stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// Its name.
    pub name: StageName,
    /// Its kind.
    pub kind: &'static str,
    /// How it ended.
    pub state: StageState,
    /// Wall time, in seconds.
    pub seconds: f64,
    /// Its key, if it came so far.
    pub key: Option<Digest>,
    /// The run that made its outputs.
    pub run: Option<RunId>,
    /// What it made, by output name.
    pub outputs: BTreeMap<String, Artifact>,
    /// Names of outputs that were known and became the latest of their datasets again.
    pub latest_again: BTreeSet<String>,
    /// Facts for people and programs.
    pub summary: Value,
    /// Why it failed or was skipped.
    pub error: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What became of a pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Its stages, in the order of the plan.
    pub stages: Vec<StageReport>,
}

/// What a run would do with a stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageStatus {
    /// Its name.
    pub name: StageName,
    /// Its kind.
    pub kind: &'static str,
    /// Whether its outputs are known.
    pub up_to_date: bool,
    /// Why not, or when and by which run it was made.
    pub reason: String,
    /// Its key, where it can be told.
    pub key: Option<Digest>,
}

impl RunReport {
    /// Whether any stage failed or was skipped.
    pub fn failed(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage.state, StageState::Failed | StageState::Skipped))
    }

    /// How many stages ended in `state`.
    pub fn count(&self, state: StageState) -> usize {
        self.stages.iter().filter(|stage| stage.state == state).count()
    }

    /// Names of outputs that were known and became the latest of their datasets again.
    pub fn latest_again(&self) -> BTreeSet<&str> {
        self.stages.iter().flat_map(|stage| &stage.latest_again).map(String::as_str).collect()
    }

    /// The stage called `name`.
    pub fn stage(&self, name: &str) -> Option<&StageReport> {
        self.stages.iter().find(|stage| stage.name.as_str() == name)
    }
}

pub(super) fn in_order(plan: &Plan, mut ended: BTreeMap<StageName, StageReport>) -> RunReport {
    RunReport { stages: plan.stages().iter().filter_map(|stage| ended.remove(&stage.name)).collect() }
}

impl StageReport {
    pub(super) fn has_outputs(&self) -> bool {
        matches!(self.state, StageState::Executed | StageState::Cached)
    }

    fn empty(stage: &StageSpec, state: StageState, seconds: f64) -> Self {
        Self {
            name: stage.name.clone(),
            kind: stage.kind,
            state,
            seconds,
            key: None,
            run: None,
            outputs: BTreeMap::new(),
            latest_again: BTreeSet::new(),
            summary: Value::Null,
            error: None,
            hint: None,
        }
    }

    pub(super) fn executed(stage: &StageSpec, outcome: Outcome, seconds: f64) -> Self {
        let Outcome { key, run, outputs, summary, .. } = outcome;
        Self { key: Some(key), run: Some(run), outputs, summary, ..Self::empty(stage, StageState::Executed, seconds) }
    }

    pub(super) fn cached(stage: &StageSpec, outcome: Outcome, seconds: f64) -> Self {
        Self { state: StageState::Cached, ..Self::executed(stage, outcome, seconds) }
    }

    pub(super) fn failed(stage: &StageSpec, run: Option<RunId>, failure: &Failure, seconds: f64) -> Self {
        let (error, hint) = (Some(failure.to_string()), failure.hint());
        Self { run, error, hint, ..Self::empty(stage, StageState::Failed, seconds) }
    }

    pub(super) fn skipped(stage: &StageSpec, cause: &StageName) -> Self {
        let error = Some(format!("not begun: `{cause}` did not end well"));
        Self { error, ..Self::empty(stage, StageState::Skipped, 0.0) }
    }
}

impl StageStatus {
    fn of(stage: &StageSpec, up_to_date: bool, reason: String, key: Option<Digest>) -> Self {
        Self { name: stage.name.clone(), kind: stage.kind, up_to_date, reason, key }
    }

    pub(super) fn waits(stage: &StageSpec, need: &StageName) -> Self {
        Self::of(stage, false, format!("`{need}` is to be executed before it"), None)
    }

    pub(super) fn unreadable(stage: &StageSpec, failure: &Failure) -> Self {
        Self::of(stage, false, failure.to_string(), None)
    }

    pub(super) fn known(stage: &StageSpec, outcome: &Outcome) -> Self {
        Self::of(stage, true, format!("made by run {}", outcome.run), Some(outcome.key))
    }

    pub(super) fn new_key(stage: &StageSpec, key: Digest) -> Self {
        let reason = "new, or what it reads has changed, or what it made was removed or no longer stands";
        Self::of(stage, false, reason.to_owned(), Some(key))
    }
}
