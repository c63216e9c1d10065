use std::process::ExitCode;

use ropewalk_types::{DatasetName, counted};
use ropewalk_versions::CommitOutcome;

use crate::arguments::{Format, Shared};
use crate::failure::Ending;
use crate::output::bytes;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, names: &[DatasetName], message: &str, author: Option<String>) -> Ending {
    let project = commands::data_project(shared, "ropewalk data commit")?;
    let author = match author {
        Some(author) => author,
        None => project.author().await,
    };
    let committed = project.workspace().commit(names, message, &author).await;
    let committed = project.not_of_a_table(committed).await?;
    if shared.output == Format::Json {
        output::json(&committed);
        return Ok(ExitCode::SUCCESS);
    }
    for one in &committed {
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
    Ok(ExitCode::SUCCESS)
}
