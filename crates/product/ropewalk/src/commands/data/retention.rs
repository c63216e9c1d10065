use std::process::ExitCode;

use ropewalk_server::{Due, DueState};

use crate::arguments::Shared;
use crate::failure::Ending;
use crate::output::{listing, moment};
use crate::{commands, terminal};

pub(super) async fn run(shared: &Shared, reason: Option<&str>) -> Ending {
    let project = commands::open(shared).await?;
    let due = match reason {
        Some(why) => {
            let waits = |holder: &str| terminal::say(&format!("waiting: this project is being used by {holder}"));
            project.retention_enforce(why, waits).await?
        }
        None => project.retention_list().await?,
    };
    project.close().await;
    listing(shared.output, &due, &["DATASET", "VERSION", "DAYS", "DUE SINCE", "STATE"], |one| {
        vec![one.dataset.to_string(), one.version.short(), one.days.to_string(), moment(one.since.millis()), told(one)]
    });
    Ok(ExitCode::SUCCESS)
}

fn told(due: &Due) -> String {
    match &due.state {
        DueState::Due => "due".to_owned(),
        DueState::Removed => "removed".to_owned(),
        DueState::Kept { reason, .. } => format!("kept: {reason}"),
    }
}
