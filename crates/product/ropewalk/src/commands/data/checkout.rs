use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_data::AuditAction;
use ropewalk_types::counted;
use ropewalk_versions::{CheckedOut, CheckoutRequest, Selection};
use serde_json::json;

use crate::arguments::{Checkout, Format, Shared};
use crate::failure::Ending;
use crate::output::printable;
use crate::terminal::Transfer;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Checkout) -> Ending {
    let Checkout { dataset, files, laying_out } = arguments;
    let project = commands::data_project(shared, "ropewalk data checkout")?;
    // Of what nobody has there is nothing to be read.
    project.not_of_a_table(project.workspace().dataset(&dataset.name).await).await?;
    // Before anything of it is to be seen.
    let details = json!({ "checkout": dataset.version, "files": files });
    project.audit(AuditAction::Read, &dataset.name, None, details).await?;
    let request = CheckoutRequest {
        name: dataset.name,
        version: dataset.version,
        selection: if files.is_empty() { Selection::Everything } else { Selection::Only(files) },
        mode: laying_out.link.into(),
        force: laying_out.force,
    };
    let progress = Transfer::new("fetching");
    let made = project.workspace().checkout(request, &progress).await?;
    progress.end();
    match shared.output {
        Format::Json => output::json(&made),
        Format::Text => output::text(&described(&made)),
    }
    Ok(ExitCode::SUCCESS)
}

pub(in crate::commands) fn described(made: &CheckedOut) -> String {
    let CheckedOut { name, path, version, written, removed, kept, left_out, laid_out, .. } = made;
    let version = version.map_or_else(|| "not committed".to_owned(), |version| version.short());
    let written = counted(*written, "file");
    let mut text = format!("{name} {version} in {path}: {written} written, {removed} removed");
    for (count, how) in [(laid_out.reflinked, "cloned"), (laid_out.hardlinked, "linked, read-only")] {
        if count > 0 {
            let _ = write!(text, ", {count} of them {how}");
        }
    }
    if *left_out > 0 {
        let _ = write!(text, ", {left_out} not asked for");
    }
    text.push('\n');
    for path in kept {
        let _ = writeln!(text, "  kept with its changes: {}", printable(path));
    }
    text
}
