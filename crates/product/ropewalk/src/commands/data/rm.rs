use std::process::ExitCode;

use ropewalk_data::AuditAction;
use ropewalk_types::DatasetName;
use serde_json::json;

use crate::arguments::{Format, Shared};
use crate::failure::Ending;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, name: &DatasetName, remove_files: bool, force: bool) -> Ending {
    let project = commands::data_project(shared, "ropewalk data rm")?;
    let removed = project.workspace().remove(name, !remove_files, force).await?;
    let details = json!({ "files_removed": removed.files_removed });
    project.audit(AuditAction::Delete, name, None, details).await?;
    match shared.output {
        Format::Json => output::json(&removed),
        Format::Text => {
            let files = if removed.files_removed { "its files are removed" } else { "its files stay" };
            output::text(&format!("{name} is no longer tracked; {files}, its versions stay in the store\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
