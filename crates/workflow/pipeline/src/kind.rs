use ropewalk_catalog::Connection;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use ropewalk_store::Store;
use ropewalk_types::{Ambient, Digest, StageName, Uri};
use serde_json::Value;

use crate::{Artifact, Event, Failure, Input, Observer, Outcome, PipelineError, RunRecorder, StageSpec};

/// The project that stages belong to.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its root: the folder of the project file. Paths in settings are relative to it.
    pub root: PathBuf,
    /// Its name.
    pub name: String,
}

/// A write that happens in the transaction that makes a stage's outcome visible.
pub type Record = Box<dyn for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<(), PipelineError>> + Send>;

/// What executing a stage gave.
#[derive(Default)]
pub struct Executed {
    /// What it made, by output name.
    pub outputs: BTreeMap<String, Artifact>,
    /// Facts for people and programs: rows, metrics, reports.
    pub summary: Value,
    /// What it read that is no output of another stage: source files.
    pub sources: Vec<Uri>,
    /// Writes of other boxes that stand or fall with the outcome.
    pub records: Vec<Record>,
}

/// What a stage is given.
pub struct StageContext {
    /// The project.
    pub project: Arc<Project>,
    /// The stage's key.
    pub key: Digest,
    /// Its inputs.
    pub inputs: BTreeMap<String, Input>,
    /// Where bytes lie.
    pub store: Store,
    /// A folder of its own for scratch; it is emptied before and removed afterwards.
    pub scratch: PathBuf,
    /// Where figures and artifacts of its run go.
    pub recorder: Arc<dyn RunRecorder>,
    /// Time and randomness.
    pub ambient: Arc<dyn Ambient>,
    /// Where to tell how far the work is.
    pub reporter: Reporter,
    pub(crate) stage: StageName,
}

/// Tells whoever watches how a stage gets on; can be handed to a thread.
#[derive(Clone)]
pub struct Reporter {
    stage: StageName,
    observer: Arc<dyn Observer>,
}

impl Reporter {
    /// Tells `observer` of the stage.
    pub fn new(stage: StageName, observer: Arc<dyn Observer>) -> Self {
        Self { stage, observer }
    }

    /// The stage is `done` of `total` pieces far; a total of 0 means that it cannot tell.
    pub fn progress(&self, text: &str, done: u64, total: u64) {
        let stage = self.stage.clone();
        self.observer.event(&Event::Progress { stage, text: text.to_owned(), done, total });
    }

    /// `bytes` of what the stage reads from elsewhere are here, `before` of them since an earlier run; in the end there
    /// will be `total`, where the source says.
    pub fn received(&self, bytes: u64, before: u64, total: Option<u64>) {
        self.observer.event(&Event::Received { stage: self.stage.clone(), bytes, before, total });
    }

    /// Passes on a line that the stage's work said.
    pub fn said(&self, text: &str) {
        self.observer.event(&Event::Said { stage: self.stage.clone(), text: text.to_owned() });
    }
}

impl StageContext {
    /// The input called `name`.
    pub fn input(&self, name: &str) -> Result<&Input, PipelineError> {
        self.inputs
            .get(name)
            .ok_or_else(|| PipelineError::MissingInput { stage: self.stage.clone(), input: name.to_owned() })
    }
}

/// A kind of stage: what `[stage.X]` tables of one sort do.
#[async_trait]
pub trait StageKind: Send + Sync {
    /// Its name, as [`StageSpec::kind`] has it.
    fn name(&self) -> &'static str;

    /// Raised when the kind makes something else of the same key, so that what it made before is made anew.
    fn revision(&self) -> u32;

    /// Digests of what the stage reads outside the pipeline: source files, SQL, scripts. Part of the key.
    async fn fingerprint(&self, spec: &StageSpec, project: &Project, store: &Store) -> Result<Value, Failure>;

    /// Does the work. Everything it makes must be durable in the store when it returns.
    async fn execute(&self, spec: &StageSpec, context: &StageContext) -> Result<Executed, Failure>;

    /// Whether what a key once made still holds; false where time alone has changed it, as it does the age of rows: the
    /// stage is then executed again under the same key.
    fn still_holds(&self, _outcome: &Outcome) -> bool {
        true
    }

    /// What is said whenever the outcome is known, since its run is not there to say it: warnings that still stand.
    fn said_again(&self, _outcome: &Outcome) -> Vec<String> {
        Vec::new()
    }
}
