use std::process::ExitCode;

use ropewalk_store::files;

use crate::arguments::{Format, Monitor, Shared};
use crate::failure::Ending;
use crate::{commands, output, terminal};

pub(super) async fn run(shared: &Shared, arguments: &Monitor) -> Ending {
    let project = commands::open(shared).await?;
    let report = project.monitor().await?;
    files::write_atomic(&arguments.html, report.html().as_bytes())?;
    project.close().await;
    match shared.output {
        Format::Json => output::json(&report),
        Format::Text => output::text(&report.terminal()),
    }
    terminal::say(&format!("the page is in {}", arguments.html.display()));
    Ok(ExitCode::SUCCESS)
}
