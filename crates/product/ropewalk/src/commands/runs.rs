use std::process::ExitCode;

use ropewalk_server::{Difference, RunDifference, RunLineage, ServerError, TrackingHome};
use ropewalk_tracking::{Run, RunFilter};
use serde::Serialize;

use crate::arguments::{Format, Runs, RunsCommand, Shared};
use crate::failure::Ending;
use crate::output::{bytes, listing, moment};
use crate::{commands, output};

/// How many runs a listing shows.
const RUNS: usize = 100;

pub(super) async fn run(shared: &Shared, arguments: &Runs) -> Ending {
    let home = commands::open_home(shared, &arguments.kept).await?;
    let told = match &arguments.command {
        RunsCommand::List => list(shared.output, &home).await,
        RunsCommand::Show { run } => show(shared.output, &home, run).await,
        RunsCommand::Diff { first, second } => diff(shared.output, &home, first, second).await,
    };
    home.close().await;
    told.map(|()| ExitCode::SUCCESS)
}

async fn list(format: Format, home: &TrackingHome) -> Result<(), ServerError> {
    let page = home.tracking().run_list(RunFilter::default(), RUNS).await?;
    listing(format, &page.runs, &["RUN", "NAME", "STATUS", "BEGAN", "AUC", "STAGE"], |run| {
        let auc = run.metric("auc").map_or_else(String::new, |metric| format!("{:.4}", metric.value));
        vec![
            run.info.id.to_string(),
            run.info.name.clone(),
            run.info.status.to_string(),
            moment(run.info.start.millis()),
            auc,
            run.tags.get("ropewalk.stage").cloned().unwrap_or_default(),
        ]
    });
    Ok(())
}

/// A run, and what decided what it made.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    run: Run,
    lineage: Option<RunLineage>,
}

/// A line of what is told of a run.
struct Line {
    about: &'static str,
    name: String,
    value: String,
}

async fn show(format: Format, home: &TrackingHome, run: &str) -> Result<(), ServerError> {
    let run = home.run_find(run).await?;
    let shown = Shown { run: home.tracking().run_get(run).await?, lineage: home.run_lineage(run).await? };
    if format == Format::Json {
        output::json(&shown);
        return Ok(());
    }
    let row = |line: &Line| vec![line.about.to_owned(), line.name.clone(), line.value.clone()];
    output::table(&lines(&shown), &["", "NAME", "VALUE"], row);
    Ok(())
}

fn lines(shown: &Shown) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |about: &'static str, name: &str, value: String| {
        lines.push(Line { about, name: name.to_owned(), value });
    };
    let info = &shown.run.info;
    add("run", "id", info.id.to_string());
    add("run", "name", info.name.clone());
    add("run", "experiment", info.experiment.to_string());
    add("run", "status", info.status.to_string());
    add("run", "began", moment(info.start.millis()));
    if let Some(end) = info.end {
        add("run", "ended", moment(end.millis()));
    }
    for (name, value) in &shown.run.params {
        add("param", name, value.clone());
    }
    for metric in &shown.run.metrics {
        add("metric", &metric.key, format!("{} (step {})", metric.value, metric.step));
    }
    for (name, value) in &shown.run.tags {
        add("tag", name, value.clone());
    }
    for dataset in &shown.run.datasets {
        add("data", &dataset.name, dataset.digest.clone());
    }
    for model in &shown.run.models_read {
        add("model", "read", model.clone());
    }
    for model in &shown.run.models_made {
        add("model", "made", format!("{} (step {})", model.model, model.step));
    }
    if let Some(lineage) = &shown.lineage {
        told_lineage(lineage, &mut add);
    }
    lines
}

fn told_lineage(lineage: &RunLineage, add: &mut dyn FnMut(&'static str, &str, String)) {
    let RunLineage { code, inputs, environment, hardware } = lineage;
    for (name, input) in inputs {
        add("data", name, input.artifact.digest.to_string());
    }
    add("code", "files", code.tree.to_string());
    if let Some(commit) = &code.commit {
        let dirty = if code.clean { "" } else { ", changed" };
        add("code", "commit", format!("{commit}{dirty}"));
    }
    if let Some(patch) = &code.patch {
        add("code", "patch", format!("ropewalk/code.patch, {}", patch.short()));
    }
    add("environment", "ropewalk", environment.ropewalk.clone());
    if let Some(python) = &environment.python {
        add("environment", "python", format!("{python}, {} packages", environment.packages.len()));
    }
    if let Some(lock) = &environment.lock {
        add("environment", &lock.path, lock.digest.short());
    }
    add("hardware", "platform", hardware.platform.clone());
    if let Some(processor) = &hardware.processor {
        add("hardware", "processor", processor.clone());
    }
    add("hardware", "cores", hardware.cores.to_string());
    if let Some(memory) = hardware.memory {
        add("hardware", "memory", bytes(memory));
    }
    for graphics in &hardware.graphics {
        add("hardware", "graphics", graphics.clone());
    }
}

async fn diff(format: Format, home: &TrackingHome, first: &str, second: &str) -> Result<(), ServerError> {
    let (first, second) = (home.run_find(first).await?, home.run_find(second).await?);
    let difference = home.run_difference(first, second).await?;
    if format == Format::Json {
        output::json(&difference);
        return Ok(());
    }
    let rows = rows(&difference);
    if rows.is_empty() {
        output::text("nothing differs\n");
        return Ok(());
    }
    let short = |id: String| id.chars().take(12).collect::<String>();
    let (first, second) = (short(first.to_string()), short(second.to_string()));
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    output::table(&rows, &["", "NAME", &first, &second], |(about, one): &(&str, &Difference)| {
        vec![(*about).to_owned(), one.name.clone(), cell(&one.first), cell(&one.second)]
    });
    Ok(())
}

fn rows(difference: &RunDifference) -> Vec<(&'static str, &Difference)> {
    let sections = difference.sections().into_iter();
    sections.flat_map(|(about, all)| all.iter().map(move |one| (about, one))).collect()
}
