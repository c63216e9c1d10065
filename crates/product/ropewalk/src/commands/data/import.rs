use std::process::ExitCode;

use ropewalk_types::{DatasetName, counted};

use crate::arguments::{Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::bytes;
use crate::{commands, output, terminal};

pub(super) async fn run(shared: &Shared, name: &DatasetName, full: bool) -> Ending {
    let project = commands::open(shared).await?;
    project.import_renew(name, full).await?;
    let options = ropewalk_server::RunOptions { stages: vec![name.as_str().parse()?], ..commands::run::options(None) };
    let result = commands::run::pipeline(&project, options).await?;
    if result.report.failed() {
        project.close().await;
        terminal::say(&commands::run::summary(&result.report));
        return Ok(WORK_FAILED.into());
    }
    let (version, report, _) = project.dataset_report(name, "latest").await?;
    project.close().await;
    match shared.output {
        Format::Json => output::json(&serde_json::json!({ "version": version, "report": report })),
        Format::Text => output::text(&format!(
            "{name} {}: {}, {} set aside, {}\n",
            version.digest.short(),
            counted(version.rows, "row"),
            version.quarantined,
            bytes(version.bytes)
        )),
    }
    Ok(ExitCode::SUCCESS)
}
