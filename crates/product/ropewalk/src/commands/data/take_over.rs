use std::path::Path;
use std::process::ExitCode;

use ropewalk_server::{DataProject, ServerError};
use ropewalk_store::LinkMode;
use ropewalk_versions::{AddLinks, ImportPlan};
use serde_json::json;

use super::add::{FOLLOWED, LEFT_OUT, say_links};
use crate::arguments::{Format, LinkArguments, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::{bytes, printable};
use crate::terminal::{self, Transfer};
use crate::{commands, output};

/// Takes over the data of a DVC project.
pub(super) async fn dvc(shared: &Shared, folder: &Path, links: LinkArguments, dry_run: bool) -> Ending {
    let project = commands::data_project(shared, "ropewalk data import-dvc")?;
    let folder = commands::current_folder()?.join(folder);
    let mut plan = project.workspace().dvc_plan(&folder, links.into()).await?;
    if follow(&project, &plan, dry_run).await? {
        plan = project.workspace().dvc_plan(&folder, links.into()).await?;
    }
    take_over(shared, &project, &plan, dry_run).await
}

/// Takes over files of Git LFS, which git then no longer tracks.
pub(super) async fn lfs(shared: &Shared, path: Option<&Path>, links: LinkArguments, dry_run: bool) -> Ending {
    let project = commands::data_project(shared, "ropewalk data import-lfs")?;
    let path = match path {
        Some(path) => commands::current_folder()?.join(path),
        None => project.root().to_owned(),
    };
    let mut plan = project.workspace().lfs_plan(&path, None, links.into()).await?;
    if follow(&project, &plan, dry_run).await? {
        plan = project.workspace().lfs_plan(&path, None, links.into()).await?;
    }
    let ending = take_over(shared, &project, &plan, dry_run).await?;
    if !dry_run {
        let taken = plan.outputs.iter().filter(|output| output.missing.is_empty());
        let taken: Vec<_> = taken.map(|output| output.path.clone()).collect();
        match project.git_forget(&taken).await? {
            Some(command) => terminal::say(&format!("next: {command}")),
            None if taken.is_empty() => terminal::say("no files of Git LFS were found"),
            None => terminal::say("git no longer tracks these files; next: git add . and git commit"),
        }
    }
    Ok(ending)
}

/// Puts what links point to in their place, if that was asked for; says whether anything is another than the plan has it.
async fn follow(project: &DataProject, plan: &ImportPlan, dry_run: bool) -> Result<bool, ServerError> {
    let links: Vec<String> = plan
        .whole()
        .flat_map(|output| output.links.iter().map(move |link| format!("{}/{link}", output.path)))
        .collect();
    match (plan.links, dry_run) {
        (AddLinks::AsBefore, _) => {}
        (AddLinks::Skip, false) => say_links(LEFT_OUT, &links),
        (AddLinks::Skip, true) => say_links("would leave out", &links),
        (AddLinks::Follow | AddLinks::FollowAnywhere, true) => {
            say_links("would put what they point to in the place of", &links);
        }
        (AddLinks::Follow | AddLinks::FollowAnywhere, false) => {
            let followed = project.workspace().import_follow(plan).await?;
            say_links(FOLLOWED, &followed);
            return Ok(!followed.is_empty());
        }
    }
    Ok(false)
}

/// What cannot be found is said, and makes the exit code 1; the rest is taken over.
async fn take_over(shared: &Shared, project: &DataProject, plan: &ImportPlan, dry_run: bool) -> Ending {
    let incomplete = plan.outputs.iter().any(|output| !output.missing.is_empty());
    for output in plan.outputs.iter().filter(|output| !output.missing.is_empty()) {
        let (first, count) = (output.missing.first().map_or("", String::as_str), output.missing.len());
        let first = printable(first);
        terminal::say(&format!("not found: {count} files of {}, such as {first}: it is not taken over", output.path));
    }
    for skipped in &plan.skipped {
        let text = format!("passed over: {} of {}: {}", skipped.path, skipped.declared_in, skipped.reason);
        terminal::say(&printable(&text));
    }
    let imported = if dry_run {
        Vec::new()
    } else {
        let progress = Transfer::new("taking over");
        let author = project.author().await;
        let imported = project.workspace().import(plan, &author, LinkMode::Auto, &progress).await?;
        progress.end();
        imported
    };
    if shared.output == Format::Json {
        output::json(&json!({ "plan": plan, "imported": imported }));
    } else if dry_run {
        for output in plan.outputs.iter().filter(|output| output.missing.is_empty()) {
            let size = output.files.iter().map(|file| file.size).sum();
            output::text(&format!("{}: {} files, {}\n", output.path, output.files.len(), bytes(size)));
        }
    } else {
        for one in &imported {
            output::text(&format!("{} {}: {} files, {}\n", one.name, one.version.short(), one.files, bytes(one.bytes)));
        }
    }
    Ok(if incomplete { WORK_FAILED.into() } else { ExitCode::SUCCESS })
}
