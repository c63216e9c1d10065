use std::process::ExitCode;

use crate::arguments::Shared;
use crate::failure::{ENVIRONMENT, Ending};
use crate::{commands, output};

pub(super) async fn run(shared: &Shared) -> Ending {
    let root = match &shared.project {
        Some(root) => root.clone(),
        None => commands::current_folder()?,
    };
    let findings = ropewalk_server::examine(&root, commands::access()?, &commands::environment()).await;
    output::listing(shared.output, &findings, &["WHAT", "STATE", "DETAIL"], |finding| {
        let state = if finding.good { "good" } else { "BAD" };
        vec![finding.what.clone(), state.to_owned(), finding.detail.clone()]
    });
    Ok(if findings.iter().all(|finding| finding.good) { ExitCode::SUCCESS } else { ENVIRONMENT.into() })
}
