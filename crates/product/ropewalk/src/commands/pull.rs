use std::process::ExitCode;

use ropewalk_server::{Chosen, DataProject, FetchedTables, ServerError, TableContent};
use ropewalk_store::Store;
use ropewalk_types::{DatasetName, Diagnose as _};
use ropewalk_versions::{Fetched, Problem, PullOptions, PullTo, Pulled, Selection};
use serde_json::json;

use crate::arguments::{Fetch, Format, Pull, Shared};
use crate::commands::data::checkout::described;
use crate::commands::{say_problem, travelled};
use crate::failure::{Ending, WORK_FAILED};
use crate::terminal::{self, Transfer};
use crate::{commands, output};

/// Fetches and lays out.
pub(super) async fn pull(shared: &Shared, arguments: &Pull) -> Ending {
    let project = commands::data_project(shared, "ropewalk pull")?;
    let (remote, store) = project.remote_open(arguments.from.remote.as_deref()).await?;
    let options = PullOptions {
        to: if arguments.latest { PullTo::Latest } else { PullTo::Pointer },
        selection: Selection::Recorded,
        mode: arguments.laying_out.link.into(),
        force: arguments.laying_out.force,
        remote: remote.clone(),
    };
    let chosen = project.chosen(&store, &arguments.from.names).await?;
    let tables = tables(shared, &project, (&remote, &store), &chosen, arguments.all).await?;
    let mut pulled = Pulled::default();
    if let Some(names) = &chosen.files {
        let progress = Transfer::new("pulling");
        let everything = if arguments.all {
            project.workspace().fetch(&store, names, true, &progress).await?
        } else {
            Fetched::default()
        };
        pulled = project.workspace().pull(&store, names, options, &progress).await?.after(everything);
        progress.end();
    }
    let ending = ending(&tables, &pulled.gone);
    if shared.output == Format::Json {
        let gone = listed(&pulled.gone);
        output::json(&json!({ "remote": remote, "pulled": pulled, "gone": gone, "tables": tables.tables }));
        return Ok(ending);
    }
    told(&remote, &pulled.fetched, &pulled.gone);
    for made in &pulled.checked_out {
        output::text(&described(made));
    }
    for (name, head) in &pulled.behind {
        output::text(&format!("{name}: {} is later; --latest takes it\n", head.short()));
    }
    Ok(ending)
}

/// Tables come first: files in the work tree that stand in the way do not keep them there.
async fn tables(
    shared: &Shared,
    project: &DataProject,
    (remote, store): (&str, &Store),
    chosen: &Chosen,
    every_version: bool,
) -> Result<FetchedTables, ServerError> {
    let Some(names) = &chosen.tables else { return Ok(FetchedTables::default()) };
    let content = if every_version { TableContent::Everything } else { TableContent::Named };
    let waits = |holder: &str| terminal::say(&format!("waiting: this project is being used by {holder}"));
    let progress = Transfer::new("fetching tables");
    let fetched = project.tables_fetch((remote, store), names, content, &progress, &waits).await?;
    progress.end();
    travelled::fetched(shared.output, remote, &fetched);
    Ok(fetched)
}

/// Says what is wrong with some of the datasets; how a command ends that has brought the others.
fn ending(tables: &FetchedTables, problems: &[Problem]) -> ExitCode {
    problems.iter().for_each(say_problem);
    if problems.is_empty() {
        travelled::ending(tables.tables.iter().map(|one| &one.refusal))
    } else {
        WORK_FAILED.into()
    }
}

/// What is wrong with some of the datasets, for programs.
pub(super) fn listed(problems: &[Problem]) -> Vec<serde_json::Value> {
    let one = |Problem { path, error }: &Problem| {
        let problem = error.to_string();
        json!({ "name": path, "code": error.code(), "problem": problem, "hint": error.hint() })
    };
    problems.iter().map(one).collect()
}

/// Fetches only.
pub(super) async fn fetch(shared: &Shared, arguments: &Fetch) -> Ending {
    let project = commands::data_project(shared, "ropewalk fetch")?;
    let (remote, store) = project.remote_open(arguments.from.remote.as_deref()).await?;
    let chosen = project.chosen(&store, &arguments.from.names).await?;
    let tables = tables(shared, &project, (&remote, &store), &chosen, arguments.all).await?;
    let mut fetched = Fetched::default();
    if let Some(names) = &chosen.files {
        let progress = Transfer::new("fetching");
        fetched = project.workspace().fetch(&store, names, arguments.all, &progress).await?;
        progress.end();
    }
    let ending = ending(&tables, &fetched.failed);
    match shared.output {
        Format::Json => {
            let gone = listed(&fetched.failed);
            output::json(&json!({ "remote": remote, "fetched": fetched, "gone": gone, "tables": tables.tables }));
        }
        Format::Text => told(&remote, &fetched, &fetched.failed),
    }
    // A name that is known neither there nor here is misspelt.
    for name in fetched.missing.iter().filter(|name| arguments.from.names.contains(name)) {
        project.check_known(name).await?;
    }
    Ok(ending)
}

fn told(remote: &str, fetched: &Fetched, problems: &[Problem]) {
    for (name, version) in &fetched.moved {
        output::text(&format!("{name}: {} is the latest now\n", version.short()));
    }
    for (name, version) in &fetched.diverged {
        output::text(&format!(
            "{name}: {} of {remote} went another way: `ropewalk data merge {name}`\n",
            version.short()
        ));
    }
    let said = |name: &DatasetName| problems.iter().any(|problem| problem.path == name.as_str());
    for name in fetched.missing.iter().filter(|name| !said(name)) {
        terminal::say(&format!("warning: {remote} has nothing of {name}"));
    }
    for (name, tag) in &fetched.deleted_tags {
        output::text(&format!("{name}: the tag {tag} was deleted in {remote}, and so here\n"));
    }
    for (name, version) in &fetched.removed {
        output::text(&format!("{name}: {} was removed in {remote}, and so here\n", version.short()));
    }
    for refused in &fetched.refused_removals {
        super::say_refused(refused, "here");
    }
    for tag in &fetched.refused_tags {
        if tag.local == tag.remote {
            let (name, tag, version) = (&tag.name, &tag.tag, tag.local.short());
            terminal::say(&format!("warning: {name}@{tag} of {remote} is not set here: {version} was removed"));
            continue;
        }
        let (here, there) = (tag.local.short(), tag.remote.short());
        terminal::say(&format!("warning: {}@{} is {here} here and {there} in {remote}", tag.name, tag.tag));
    }
}
