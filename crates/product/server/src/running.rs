use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ropewalk_config::{FILE_NAME, MaskedFile, SecretRules, masked};
use ropewalk_connectors::{is_secret_name, variable_name, without_secrets};
use ropewalk_inference_server::engines;
use ropewalk_pipeline::{CommandKind, Observer, Project, RunReport, Runner, StageKind, StageState, StageStatus};
use ropewalk_store::{Store, files};
use ropewalk_types::StageName;
use ropewalk_versions::{CodeState, code_state};

use crate::kinds::{
    CheckKind, Holders, IngestKind, PredictKind, RegisterKind, SqlKind, TrackedCommandKind, TrackedKind, TrainKind,
};
use crate::planning::{Planned, plan};
use crate::project::project_text;
use crate::recording::TrackedRuns;
use crate::run_lineage::Surroundings;
use crate::{OpenProject, ServerError, TrackingHome};

/// Memory that a query of a stage may hold before it spills, in bytes.
const QUERY_MEMORY: usize = 1 << 30;

/// How to run a pipeline.
pub struct RunOptions {
    /// Only these stages and what they need; all if empty.
    pub stages: Vec<StageName>,
    /// How many stages may run at once.
    pub jobs: usize,
    /// The environment of the person who runs it, for stages of kind `run`.
    pub environment: BTreeMap<String, String>,
    /// Watches.
    pub observer: Arc<dyn Observer>,
}

/// What a run of the pipeline gave.
pub struct RunResult {
    /// What became of each stage.
    pub report: RunReport,
    /// The code that ran.
    pub code: CodeState,
}

impl OpenProject {
    /// Runs the pipeline. A second run of the same project waits for the first; `waits` hears who holds it.
    pub async fn run(&self, options: RunOptions, waits: impl FnOnce(&str) + Send) -> Result<RunResult, ServerError> {
        let _alone = self.lock("ropewalk run", waits).await?;
        self.runs_abandoned_mark().await?;
        self.declare().await?;
        files::remove_directory(&self.stages_folder())?;
        let Planned { plan, code: code_files } = plan(&self.root, &self.file)?;
        let plan = if options.stages.is_empty() { plan } else { plan.only(&options.stages)? };
        let code = code_kept(&self.root, &self.store, &code_files).await?;
        let runner = self.runner(&code, &code_files, &options).await?;
        let report = Box::pin(runner.run(&plan)).await?;
        // The source is again what it was: nobody needs to look at what did not fit meanwhile.
        for stage in report.stages.iter().filter(|stage| stage.state == StageState::Cached) {
            for dataset in stage.outputs.keys() {
                files::remove_file(&self.quarantine_kept(dataset))?;
            }
        }
        Ok(RunResult { report, code })
    }

    /// What a run would do, stage by stage.
    pub async fn status(&self, options: RunOptions) -> Result<Vec<StageStatus>, ServerError> {
        self.check_names().await?;
        let Planned { plan, code: code_files } = plan(&self.root, &self.file)?;
        let code = code_kept(&self.root, &self.store, &code_files).await?;
        Ok(self.runner(&code, &code_files, &options).await?.status(&plan).await?)
    }

    /// Where secrets stand in the project file: what is kept of it for a run has them hidden.
    pub fn secrets_written(&self) -> Result<Vec<String>, ServerError> {
        Ok(file_masked(&self.root)?.map(|masked| masked.places).unwrap_or_default())
    }

    /// What runs stages of the code that is `code`, and whose files are `code_files`.
    pub(crate) async fn runner(
        &self,
        code: &CodeState,
        code_files: &[PathBuf],
        options: &RunOptions,
    ) -> Result<Runner, ServerError> {
        let holders = self.holders();
        let shown = |text: &str| without_secrets(text).unwrap_or_else(|| text.to_owned());
        let command = CommandKind::new(Arc::clone(&self.executor), options.environment.clone(), shown);
        // A run keeps it with the secrets masked, among its code.
        let command = command.without_copy_of(FILE_NAME);
        let kinds: Vec<Arc<dyn StageKind>> = vec![
            Arc::new(IngestKind {
                environment: options.environment.clone(),
                ambient: Arc::clone(&self.ambient),
                catalog: self.catalog.clone(),
                downloads: self.state().join("downloads"),
                quarantined: self.quarantined(),
                who: self.who.clone(),
                holders: holders.clone(),
            }),
            Arc::new(TrackedKind { holders: holders.clone() }),
            Arc::new(CheckKind { ambient: Arc::clone(&self.ambient), memory_limit: QUERY_MEMORY }),
            Arc::new(SqlKind { memory_limit: QUERY_MEMORY, who: self.who.clone() }),
            Arc::new(TrackedCommandKind { command, holders }),
            Arc::new(TrainKind),
            Arc::new(RegisterKind {
                registry: self.registry.clone(),
                tracking: self.tracking.clone(),
                engines: engines(&options.environment),
            }),
            Arc::new(PredictKind {
                home: TrackingHome::of(self),
                engines: engines(&options.environment),
                who: self.who.clone(),
            }),
        ];
        let surroundings = Surroundings::find(&self.root, code, code_files, &options.environment).await;
        let recorders = TrackedRuns::new(self, code.clone(), surroundings.map_err(ServerError::Part)?).await?;
        let project = Project { root: self.root.clone(), name: self.file.project.name.clone() };
        Ok(Runner::new(
            project,
            self.store.clone(),
            self.catalog.clone(),
            kinds,
            Arc::new(recorders),
            Arc::clone(&options.observer),
            Arc::clone(&self.ambient),
            code.uri(),
            self.stages_folder(),
            options.jobs,
        ))
    }

    /// Finds whose the files are that stages read.
    pub(crate) fn holders(&self) -> Holders {
        let (workspace, catalog, file) = (self.workspace(), self.catalog.clone(), Arc::clone(&self.file));
        Holders { workspace, catalog, file, who: self.who.clone() }
    }

    /// Where stages work; what a killed run left there goes.
    pub(crate) fn stages_folder(&self) -> PathBuf {
        self.state().join("stages")
    }
}

/// The project file as it is kept, where that is not as it is written.
fn file_masked(root: &Path) -> Result<Option<MaskedFile>, ServerError> {
    let rules = SecretRules { is_name: is_secret_name, without: without_secrets, variable: variable_name };
    Ok(masked(FILE_NAME, &project_text(root)?, rules)?)
}

/// Keeps the files that are the code of the project at `root`.
pub(crate) async fn code_kept(root: &Path, store: &Store, files: &[PathBuf]) -> Result<CodeState, ServerError> {
    let masked = file_masked(root)?.map(|masked| (PathBuf::from(FILE_NAME), Bytes::from(masked.text)));
    let instead: BTreeMap<PathBuf, Bytes> = masked.into_iter().collect();
    Ok(code_state(root, files, &instead, store).await?)
}
