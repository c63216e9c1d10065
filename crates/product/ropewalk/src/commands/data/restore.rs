use std::process::ExitCode;

use ropewalk_data::AuditAction;
use ropewalk_store::LinkMode;
use ropewalk_types::{DatasetName, counted};
use ropewalk_versions::RestoreRequest;
use serde_json::json;

use crate::arguments::{Format, Shared};
use crate::failure::Ending;
use crate::terminal::Transfer;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, name: DatasetName, patterns: Vec<String>, force: bool) -> Ending {
    let project = commands::data_project(shared, "ropewalk data restore")?;
    // Of what nobody has there is nothing to be read.
    project.not_of_a_table(project.workspace().dataset(&name).await).await?;
    project.audit(AuditAction::Read, &name, None, json!({ "restore": patterns })).await?;
    let request = RestoreRequest { name, patterns, version: None, mode: LinkMode::Auto, force };
    let progress = Transfer::new("fetching");
    let restored = project.workspace().restore(request, &progress).await?;
    progress.end();
    match shared.output {
        Format::Json => output::json(&restored),
        Format::Text => output::text(&format!(
            "{}: {} written, {} removed\n",
            restored.name,
            counted(restored.written.len() as u64, "file"),
            restored.removed.len()
        )),
    }
    Ok(ExitCode::SUCCESS)
}
