use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_store::LinkMode;
use ropewalk_types::counted;
use ropewalk_versions::{ConflictKind, MergeOutcome, MergeRequest, Prefer};

use crate::arguments::{Format, Merge, Shared};
use crate::commands::data::checkout::described;
use crate::failure::{Ending, WORK_FAILED};
use crate::output::printable;
use crate::terminal::Transfer;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Merge) -> Ending {
    let Merge { name, version, ours, theirs } = arguments;
    let prefer = match (ours, theirs) {
        (true, _) => Some(Prefer::Ours),
        (_, true) => Some(Prefer::Theirs),
        _ => None,
    };
    let project = commands::data_project(shared, "ropewalk data merge")?;
    let (workspace, author) = (project.workspace(), project.author().await);
    let progress = Transfer::new("fetching");
    let conflicted = workspace.conflicted(&name).await?;
    let outcome = match (conflicted, version) {
        (Some(pointer), None) => workspace.merge_pointer(&pointer, prefer, &author, LinkMode::Auto, &progress).await?,
        (_, theirs) => {
            let mode = LinkMode::Auto;
            let request =
                MergeRequest { name: name.clone(), theirs, base: None, prefer, message: String::new(), author, mode };
            project.not_of_a_table(workspace.merge(request, &progress).await).await?
        }
    };
    progress.end();
    if shared.output == Format::Json {
        output::json(&outcome);
    } else {
        output::text(&told(&outcome));
    }
    Ok(if matches!(outcome, MergeOutcome::Conflicts { .. }) { WORK_FAILED.into() } else { ExitCode::SUCCESS })
}

fn told(outcome: &MergeOutcome) -> String {
    match outcome {
        MergeOutcome::UpToDate { version } => format!("{} has it all already\n", version.short()),
        MergeOutcome::FastForward { checked_out, .. } | MergeOutcome::Merged { checked_out, .. } => {
            described(checked_out)
        }
        MergeOutcome::Conflicts { conflicts } => {
            let (count, were) = (conflicts.len() as u64, if conflicts.len() == 1 { "was" } else { "were" });
            let mut text = format!("{} {were} changed by both sides; nothing was done:\n", counted(count, "file"));
            for conflict in conflicts {
                let _ = writeln!(text, "  {} ({})", printable(&conflict.path), happened(conflict.kind));
            }
            text.push_str("decide with --ours or --theirs, or change one side and commit\n");
            text
        }
    }
}

fn happened(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::BothChanged => "both changed it",
        ConflictKind::BothAdded => "both added it",
        ConflictKind::RemovedByUs => "removed here, changed there",
        ConflictKind::RemovedByThem => "changed here, removed there",
        ConflictKind::FileAgainstFolder => "a file on one side, a folder on the other",
    }
}
