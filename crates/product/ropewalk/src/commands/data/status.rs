use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_types::DatasetName;
use ropewalk_versions::{Layout, Status};

use crate::arguments::{Format, Shared};
use crate::failure::Ending;
use crate::{commands, output};

/// Changed files that are named; the others are counted.
const SHOWN: usize = 20;

pub(super) async fn run(shared: &Shared, names: &[DatasetName]) -> Ending {
    let project = commands::data_project(shared, "ropewalk data status")?;
    let statuses = project.workspace().status(names).await?;
    if shared.output == Format::Json {
        output::json(&statuses);
        return Ok(ExitCode::SUCCESS);
    }
    if statuses.is_empty() {
        output::text("nothing is tracked: begin with `ropewalk data add PATH`\n");
    }
    for status in &statuses {
        output::text(&described(status));
    }
    Ok(ExitCode::SUCCESS)
}

fn described(status: &Status) -> String {
    let Status { path, pointer, layout, selection, added, removed, changed } = status;
    let state = match layout {
        Layout::Missing => "not here: `ropewalk pull` brings it".to_owned(),
        Layout::Outdated { .. } => "the .dataset file names another version: `ropewalk data checkout`".to_owned(),
        Layout::Unknown => "cannot be compared: its content is not in the store".to_owned(),
        Layout::Current if status.is_clean() => "clean".to_owned(),
        Layout::Current if added.is_empty() && removed.is_empty() && changed.is_empty() => {
            "added, not committed".to_owned()
        }
        Layout::Current => format!("{} added, {} removed, {} changed", added.len(), removed.len(), changed.len()),
    };
    let version = pointer.version().map_or_else(|| "no version".to_owned(), |version| version.short());
    let mut text = format!("{} ({path}, {version}): {state}\n", pointer.name);
    if let Some(selection) = selection {
        let _ = writeln!(text, "  only {} is laid out", selection.join(", "));
    }
    let lines = (added.iter().map(|file| ('+', &file.path)))
        .chain(removed.iter().map(|file| ('-', &file.path)))
        .chain(changed.iter().map(|file| ('~', &file.path)));
    let total = added.len() + removed.len() + changed.len();
    for (mark, path) in lines.take(SHOWN) {
        let _ = writeln!(text, "  {mark} {path}");
    }
    if total > SHOWN {
        let _ = writeln!(text, "  and {} more", total - SHOWN);
    }
    text
}
