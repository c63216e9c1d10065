use std::process::ExitCode;

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
        None => project.retention_due().await?,
    };
    project.close().await;
    listing(shared.output, &due, &["DATASET", "VERSION", "DAYS", "DUE SINCE"], |one| {
        vec![
            one.version.version.name.to_string(),
            one.version.version.digest.short(),
            one.days.to_string(),
            moment(one.since.millis()),
        ]
    });
    Ok(ExitCode::SUCCESS)
}
