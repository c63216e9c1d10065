use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use ropewalk_batch::{ColumnChoice, Progress, ScoreSettings, ScoredFile, tasks};
use ropewalk_config::ModelPlace;
use ropewalk_server::{ScoringModel, ServerError};
use serde_json::json;

use crate::arguments::{Format, Predict, Shared};
use crate::failure::Ending;
use crate::output::{bytes, printable};
use crate::{commands, output, terminal};

/// Nobody follows single rows: each file is told when it is done.
struct Unseen;

impl Progress for Unseen {
    fn rows(&self, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

pub(super) async fn run(shared: &Shared, arguments: Predict) -> Ending {
    // What cannot be is said before a model is loaded.
    let tasks = tasks(&arguments.input, &arguments.out)?;
    let model = model(shared, &arguments).await?;
    let begun = Instant::now();
    let scored = model.score(tasks, settings(&arguments), Unseen, tell_one).await?;
    tell(shared.output, &model, &scored, begun.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

async fn model(shared: &Shared, arguments: &Predict) -> Result<ScoringModel, ServerError> {
    let environment = commands::environment();
    let uri = match &arguments.model {
        ModelPlace::Path { path, .. } => {
            return ScoringModel::of_path(path.clone(), arguments.engine, &environment).await;
        }
        ModelPlace::Uri(uri) => uri,
    };
    let home = commands::open_home(shared, &arguments.kept).await?;
    let model = home.scoring_model(uri, arguments.engine, &environment).await;
    home.close().await;
    model
}

fn settings(arguments: &Predict) -> ScoreSettings {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ScoreSettings {
        choice: ColumnChoice { columns: arguments.columns.clone() },
        kept: arguments.keep.clone(),
        prefix: arguments.prefix.clone(),
        batch_rows: arguments.batch_rows.get(),
        workers: arguments.jobs.map_or(cores, std::num::NonZero::get),
        again: arguments.again,
    }
}

fn tell_one(scored: &ScoredFile) {
    let known = if scored.known { ", known" } else { "" };
    let line = format!("{}: {} rows, {}{known}", scored.output.display(), scored.rows, bytes(scored.bytes));
    terminal::say(&printable(&line));
    for (column, count) in &scored.rounded {
        terminal::say(&printable(&format!(
            "note: {count} values of column `{column}` were rounded to the precision of the model's input"
        )));
    }
}

fn tell(format: Format, model: &ScoringModel, scored: &[ScoredFile], seconds: f64) {
    let rows: u64 = scored.iter().filter(|one| !one.known).map(|one| one.rows).sum();
    let known = scored.iter().filter(|one| one.known).count();
    let per_second = if seconds > 0.0 { rows as f64 / seconds } else { 0.0 };
    if format == Format::Json {
        return output::json(&json!({
            "model": model.name, "model_digest": model.digest, "rows": rows, "seconds": seconds,
            "rows_per_second": per_second, "known": known, "files": scored,
        }));
    }
    terminal::say(&format!("{rows} rows scored in {seconds:.2} s, {per_second:.0} rows/s; {known} files known"));
}
