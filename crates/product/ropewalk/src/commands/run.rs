use std::process::ExitCode;
use std::sync::Arc;

use ropewalk_config::FILE_NAME;
use ropewalk_pipeline::{RunReport, StageState};
use ropewalk_server::{OpenProject, RunOptions, RunResult, ServerError};
use serde_json::json;

use crate::arguments::{Format, Run, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::terminal::{self, Progress};
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Run) -> Ending {
    let project = commands::open(shared).await?;
    let options = RunOptions { stages: arguments.stages, ..options(arguments.jobs) };
    let result = pipeline(&project, options).await?;
    project.close().await;
    tell(shared.output, &result);
    Ok(if result.report.failed() { WORK_FAILED.into() } else { ExitCode::SUCCESS })
}

/// Runs the pipeline of an open project and shows it at work.
pub(super) async fn pipeline(project: &OpenProject, options: RunOptions) -> Result<RunResult, ServerError> {
    let places = project.secrets_written()?;
    if !places.is_empty() {
        let places = places.join(", ");
        terminal::say(&output::printable(&format!(
            "warning: secrets stand in {FILE_NAME} and are hidden in the copy that is kept with runs: {places}"
        )));
        terminal::say(
            "hint: take them from the environment: `?token=${NAME}` in a URL, `{ env = \"NAME\" }` for a header, `secrets` of \
             a `run` stage",
        );
    }
    let waits = |holder: &str| terminal::say(&format!("waiting: this project is being run by {holder}"));
    Box::pin(project.run(options, waits)).await
}

/// Every stage, with as many at once as there are cores.
pub(super) fn options(jobs: Option<usize>) -> RunOptions {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    RunOptions {
        stages: Vec::new(),
        jobs: jobs.unwrap_or(cores),
        environment: commands::environment(),
        observer: Arc::new(Progress::new()),
    }
}

fn tell(format: Format, result: &RunResult) {
    match format {
        Format::Json => output::json(&json!({ "stages": result.report.stages, "code": result.code })),
        Format::Text => terminal::say(&summary(&result.report)),
    }
}

/// How many stages ended in which way.
pub(super) fn summary(report: &RunReport) -> String {
    let count = |state| report.count(state);
    let (executed, cached) = (count(StageState::Executed), count(StageState::Cached));
    let bad = count(StageState::Failed) + count(StageState::Skipped);
    let again: Vec<&str> = report.latest_again().into_iter().collect();
    let told = match (executed, bad) {
        (0, 0) if again.is_empty() => format!("nothing to do: all {cached} stages are known"),
        (0, 0) => format!("all {cached} stages are known"),
        (_, 0) => format!("{executed} stages executed, {cached} known"),
        _ => format!("{executed} stages executed, {cached} known, {bad} failed or skipped"),
    };
    if again.is_empty() {
        told
    } else {
        format!("{told}; an earlier version is the latest again of {}", again.join(", "))
    }
}
