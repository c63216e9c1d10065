use std::path::PathBuf;
use std::process::ExitCode;

use ropewalk_types::DatasetName;
use ropewalk_versions::AddRequest;

use crate::arguments::{Format, Shared};
use crate::failure::Ending;
use crate::output::{bytes, printable};
use crate::{commands, output, terminal};

pub(super) async fn run(shared: &Shared, path: PathBuf, name: Option<DatasetName>, force: bool) -> Ending {
    let project = commands::data_project(shared, "ropewalk data add")?;
    let path = commands::current_folder()?.join(path);
    let added = project.workspace().add(AddRequest { path, name, force }).await?;
    if force && let Some(command) = project.git_forget(std::slice::from_ref(&added.path)).await? {
        terminal::say(&format!("warning: git still tracks {}: run {command}", printable(&added.path)));
    }
    if shared.output == Format::Json {
        output::json(&added);
        return Ok(ExitCode::SUCCESS);
    }
    let pointer = &added.pointer;
    let state = if added.changed { "added" } else { "unchanged" };
    output::text(&format!(
        "{state} {} {}: {} files, {} ({} read)\n",
        pointer.name,
        pointer.digest.short(),
        pointer.files,
        bytes(pointer.bytes),
        added.read
    ));
    if pointer.version().is_none() {
        output::text(&format!(
            "next: ropewalk data commit {} -m \"what it is\", then git add {}.dataset\n",
            pointer.name, added.path
        ));
    }
    Ok(ExitCode::SUCCESS)
}
