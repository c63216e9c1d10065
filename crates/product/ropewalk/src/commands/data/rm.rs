use std::process::ExitCode;

use ropewalk_server::{RemovedContent, ServerError};
use ropewalk_types::DatasetName;

use crate::arguments::{DataSpec, Format, Remove, Shared};
use crate::failure::Ending;
use crate::{commands, output, terminal};

pub(super) async fn run(shared: &Shared, arguments: Remove) -> Ending {
    let Remove { dataset: DataSpec { name, version, path }, files, force, reason } = arguments;
    if let Some(path) = path {
        let hint = "a version is removed as a whole; remove the file from the work tree, and commit that".to_owned();
        return Err(ServerError::Unknown { what: format!("`{path}` cannot be removed from a version"), hint });
    }
    match (version, reason) {
        (Some(version), Some(reason)) => remove(shared, &name, &version, &reason).await,
        (Some(version), _) => {
            let what = format!("the removal of {name}@{version} needs a reason");
            let hint = format!("say why: `ropewalk data rm {name}@{version} --reason WHY`, without other flags");
            Err(ServerError::Unknown { what, hint })
        }
        (None, Some(_)) => {
            let what = format!("`{name}` names no version, and a reason is for the removal of one");
            let hint = format!("name it as {name}@VERSION; `ropewalk data log {name}` lists the versions");
            Err(ServerError::Unknown { what, hint })
        }
        (None, None) => untrack(shared, &name, files, force).await,
    }
}

async fn untrack(shared: &Shared, name: &DatasetName, remove_files: bool, force: bool) -> Ending {
    let project = commands::data_project(shared, "ropewalk data rm")?;
    let removed = project.workspace().remove(name, !remove_files, force).await;
    let removed = project.not_of_a_table(removed).await?;
    match shared.output {
        Format::Json => output::json(&removed),
        Format::Text => {
            let files = if removed.files_removed { "its files are removed" } else { "its files stay" };
            output::text(&format!("{name} is no longer tracked; {files}, its versions stay in the store\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes one version.
async fn remove(shared: &Shared, name: &DatasetName, version: &str, why: &str) -> Ending {
    let files = commands::data_project(shared, "ropewalk data rm")?;
    files.check_known(name).await?;
    let tracked = files.is_tracked(name).await?;
    let project = commands::open(shared).await?;
    let removed = if tracked {
        project.files_remove(name, version, why).await?
    } else {
        let waits = |holder: &str| terminal::say(&format!("waiting: this project is being used by {holder}"));
        project.table_remove(name, version, why, waits).await?
    };
    project.close().await;
    if shared.output == Format::Json {
        output::json(&removed);
        return Ok(ExitCode::SUCCESS);
    }
    let RemovedContent { version, needed, .. } = removed;
    let bytes = if needed {
        "something else needs the same content, which stays"
    } else {
        "`ropewalk data gc` removes the bytes that nothing else needs"
    };
    let there = if tracked { "; `ropewalk push` removes it there too" } else { "" };
    output::text(&format!("{name} {} is removed; {bytes}{there}\n", version.short()));
    Ok(ExitCode::SUCCESS)
}
