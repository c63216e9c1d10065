use std::process::ExitCode;

use ropewalk_types::{DatasetName, Diagnose as _, counted};
use ropewalk_versions::{CommitOutcome, Committed, CommittedEach, Problem};
use serde_json::json;

use crate::arguments::{Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::bytes;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, names: &[DatasetName], message: &str, author: Option<String>) -> Ending {
    let project = commands::data_project(shared, "ropewalk data commit")?;
    let author = match author {
        Some(author) => author,
        None => project.author().await,
    };
    let each = project.workspace().commit_each(names, message, &author).await;
    let CommittedEach { mut each, stopped } = project.not_of_a_table(each).await?;
    // Of one alone, what is wrong with it is the error of the command.
    let alone = each.len() == 1 && stopped.is_none();
    if let Some(Err(problem)) = each.pop_if(|one| alone && one.is_err()) {
        return project.not_of_a_table(Err(*problem.error)).await;
    }
    each.iter().filter_map(|one| one.as_ref().err()).for_each(commands::say_problem);
    let ending = match stopped {
        // With nothing done, there is nothing to tell but this.
        Some(error) if each.is_empty() => return Err(error.into()),
        Some(error) => Err(error.into()),
        None if each.iter().all(Result::is_ok) => Ok(ExitCode::SUCCESS),
        None => Ok(WORK_FAILED.into()),
    };
    if shared.output == Format::Json {
        let value = |one: &Result<Committed, Problem>| match one {
            Ok(committed) => json!(committed),
            Err(Problem { path, error }) => {
                json!({ "path": path, "code": error.code(), "problem": error.to_string(), "hint": error.hint() })
            }
        };
        output::json(&each.iter().map(value).collect::<Vec<_>>());
        return ending;
    }
    for one in each.iter().flatten() {
        output::text(&match one.outcome {
            CommitOutcome::Unchanged { version } => format!("{} {}: unchanged\n", one.name, version.short()),
            CommitOutcome::Committed { version, beside, files, bytes: size, .. } => {
                let beside = beside.map_or_else(String::new, |head| {
                    format!(", beside {}: `ropewalk data merge {}` joins them", head.short(), one.name)
                });
                let files = counted(files, "file");
                format!("{} {}: {files}, {}{beside}\n", one.name, version.short(), bytes(size))
            }
        });
    }
    ending
}
