use std::process::ExitCode;

use crate::arguments::Shared;
use crate::failure::Ending;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared) -> Ending {
    let project = commands::open(shared).await?;
    let stages = project.status(commands::run::options(None)).await?;
    project.close().await;
    output::listing(shared.output, &stages, &["STAGE", "KIND", "STATE", "WHY"], |stage| {
        let state = if stage.up_to_date { "known" } else { "to do" };
        vec![stage.name.to_string(), stage.kind.to_owned(), state.to_owned(), stage.reason.clone()]
    });
    Ok(ExitCode::SUCCESS)
}
