mod surroundings;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use ropewalk_server::{DataProject, Remembered, ServerError};
use ropewalk_store::LinkMode;
use ropewalk_types::counted;
use ropewalk_versions::{AddLinks, FailedOutput, ImportOutcome, ImportPlan, Imported};
use serde_json::json;

use super::add::{FOLLOWED, LEFT_OUT, say_links};
use crate::arguments::{Format, LinkArguments, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::{bytes, printable};
use crate::terminal::{self, Transfer};
use crate::{commands, output};
use surroundings::surroundings;

/// Damaged objects of a dataset that are shown each.
const DAMAGED_SHOWN: usize = 10;

/// Takes over the data of a DVC project.
pub(super) async fn dvc(shared: &Shared, folder: &Path, links: LinkArguments, dry_run: bool) -> Ending {
    let project = commands::data_project(shared, "ropewalk data import-dvc")?;
    let (folder, surroundings) = (commands::current_folder()?.join(folder), surroundings());
    let mut plan = project.dvc_plan(&folder, links.into(), &surroundings).await?;
    if follow(&project, &plan, dry_run).await? {
        plan = project.dvc_plan(&folder, links.into(), &surroundings).await?;
    }
    Ok(take_over(shared, &project, &plan, dry_run).await?.0)
}

/// Takes over files of Git LFS, which git then no longer tracks.
pub(super) async fn lfs(shared: &Shared, path: Option<&Path>, links: LinkArguments, dry_run: bool) -> Ending {
    let project = commands::data_project(shared, "ropewalk data import-lfs")?;
    let path = match path {
        Some(path) => commands::current_folder()?.join(path),
        None => project.root().to_owned(),
    };
    let mut plan = project.lfs_plan(&path, links.into()).await?;
    if follow(&project, &plan, dry_run).await? {
        plan = project.lfs_plan(&path, links.into()).await?;
    }
    let (ending, imported) = take_over(shared, &project, &plan, dry_run).await?;
    if !dry_run {
        // With those of a run that was stopped before it came here.
        let mut taken: BTreeSet<_> = imported.into_iter().map(|one| one.path).collect();
        taken.extend(project.workspace().lfs_left().await?);
        let taken: Vec<_> = taken.into_iter().collect();
        match project.git_forget(&taken).await? {
            Some(Remembered { command, reason }) => {
                terminal::say(&printable(&format!("git still tracks these files: {reason}")));
                terminal::say(&printable(&format!("next: {command}")));
                return Ok(WORK_FAILED.into());
            }
            None if !taken.is_empty() => {
                terminal::say("git no longer tracks these files; next: git add . and git commit");
            }
            None if is_empty(&plan) => terminal::say("no files of Git LFS were found"),
            None => {}
        }
    }
    Ok(ending)
}

/// Whether a plan speaks of nothing at all.
fn is_empty(plan: &ImportPlan) -> bool {
    plan.outputs.is_empty() && plan.skipped.is_empty() && plan.failed.is_empty()
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

/// What cannot be taken over is said, and makes the exit code 1; the rest is taken over.
async fn take_over(
    shared: &Shared,
    project: &DataProject,
    plan: &ImportPlan,
    dry_run: bool,
) -> Result<(ExitCode, Vec<Imported>), ServerError> {
    say_plan(plan);
    let ImportOutcome { imported, failed } = if dry_run {
        ImportOutcome::default()
    } else {
        let progress = Transfer::new("taking over");
        let author = project.author().await;
        let outcome = project.workspace().import(plan, &author, LinkMode::Auto, &progress).await?;
        progress.end();
        outcome
    };
    say_failed(&failed, BTreeSet::new());
    say_changed(&imported);
    if shared.output == Format::Json {
        output::json(&json!({ "plan": plan, "imported": imported, "failed": failed }));
    } else if dry_run {
        for output in plan.whole() {
            let size = output.files.iter().map(|file| file.size).sum();
            let files = counted(output.files.len() as u64, "file");
            output::text(&format!("{}: {files}, {}\n", output.name, bytes(size)));
        }
    } else {
        for one in &imported {
            let files = counted(one.files, "file");
            output::text(&format!("{} {}: {files}, {}\n", one.name, one.version.short(), bytes(one.bytes)));
        }
    }
    let ending = if plan.is_whole() && failed.is_empty() { ExitCode::SUCCESS } else { WORK_FAILED.into() };
    Ok((ending, imported))
}

/// Says what of a plan is not taken over, and why.
fn say_plan(plan: &ImportPlan) {
    let mut hints = BTreeSet::new();
    for output in &plan.outputs {
        for damaged in output.damaged.iter().take(DAMAGED_SHOWN) {
            terminal::say(&printable(&format!("damaged: {} of {}: {damaged}", damaged.file, output.path)));
        }
        // A file may be damaged in several places.
        let damaged: BTreeSet<&String> = output.damaged.iter().map(|damaged| &damaged.file).collect();
        for (what, count, first) in [
            ("not found", output.missing.len(), output.missing.first()),
            ("damaged", damaged.len(), damaged.first().copied()),
        ] {
            if let Some(first) = first {
                let count = counted(count as u64, "file");
                let text = format!("{what}: {count} of {}, such as {first}: it is not taken over", output.path);
                terminal::say(&printable(&text));
            }
        }
        hints.extend(&output.hint);
    }
    for skipped in &plan.skipped {
        let text = format!("passed over: {} of {}: {}", skipped.path, skipped.declared_in, skipped.reason);
        terminal::say(&printable(&text));
    }
    say_failed(&plan.failed, hints);
}

/// Says what cannot be taken over, and what can be done about it and about what else `hints` are for; each hint once.
fn say_failed<'a>(failed: &'a [FailedOutput], mut hints: BTreeSet<&'a String>) {
    for FailedOutput { path, declared_in, line: _, reason, hint } in failed {
        // A file that cannot be read declares nothing that could be named.
        let what =
            if path == declared_in { format!("what {path} declares") } else { format!("{path} of {declared_in}") };
        terminal::say(&printable(&format!("not taken over: {what}: {reason}")));
        hints.extend(hint);
    }
    for hint in hints {
        terminal::say(&printable(&format!("hint: {hint}")));
    }
}

/// Says where the work tree differs from what the other tool keeps.
fn say_changed(imported: &[Imported]) {
    for Imported { name, changed, .. } in imported {
        if let Some(first) = changed.first() {
            let count = counted(changed.len() as u64, "file");
            terminal::say(&printable(&format!(
                "changed since: {count} of {name}, such as {first}: they were left as they are, and `ropewalk data \
                 commit {name}` makes a version of them"
            )));
        }
    }
}
