use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_types::{DatasetName, Diagnose as _};
use ropewalk_versions::{Layout, Problem, Status};
use serde_json::json;

use super::diff::mode;
use crate::arguments::{Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::printable;
use crate::{commands, output};

/// Changed files that are named; the others are counted.
const SHOWN: usize = 20;

pub(super) async fn run(shared: &Shared, names: &[DatasetName]) -> Ending {
    let project = commands::data_project(shared, "ropewalk data status")?;
    let statuses = project.workspace().status_each(names).await?;
    let ending = if statuses.iter().any(Result::is_err) { WORK_FAILED.into() } else { ExitCode::SUCCESS };
    if shared.output == Format::Json {
        let value = |status: &Result<Status, Problem>| match status {
            Ok(status) => json!(status),
            Err(Problem { path, error }) => {
                json!({ "path": path, "problem": error.to_string(), "hint": error.hint() })
            }
        };
        output::json(&statuses.iter().map(value).collect::<Vec<_>>());
        return Ok(ending);
    }
    if statuses.is_empty() {
        output::text("nothing is tracked: begin with `ropewalk data add PATH`\n");
    }
    for status in &statuses {
        output::text(&match status {
            Ok(status) => described(status),
            Err(problem) => wrong(problem),
        });
    }
    Ok(ending)
}

fn wrong(Problem { path, error }: &Problem) -> String {
    let mut text = format!("{path}: {}\n", printable(&error.to_string()));
    if let Some(hint) = error.hint() {
        let _ = writeln!(text, "  hint: {}", printable(&hint));
    }
    text
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
        let _ = writeln!(text, "  only {} is laid out", printable(&selection.join(", ")));
    }
    let lines = (added.iter().map(|file| ('+', &file.path, None)))
        .chain(removed.iter().map(|file| ('-', &file.path, None)))
        .chain(changed.iter().map(|file| ('~', &file.path, mode(file))));
    let total = added.len() + removed.len() + changed.len();
    for (mark, path, how) in lines.take(SHOWN) {
        let how = how.map_or_else(String::new, |how| format!(" ({how})"));
        let _ = writeln!(text, "  {mark} {}{how}", printable(path));
    }
    if total > SHOWN {
        let _ = writeln!(text, "  and {} more", total - SHOWN);
    }
    text
}
