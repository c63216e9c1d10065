use std::process::ExitCode;

use ropewalk_data::CheckOutcome;

use crate::arguments::{DataSpec, Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, dataset: &DataSpec) -> Ending {
    let project = commands::open(shared).await?;
    let (report, broken) = project.check(&dataset.name, dataset.version()).await?;
    project.close().await;
    output::listing(shared.output, &report.outcomes, &["CHECK", "STATE", "FOUND"], |outcome: &CheckOutcome| {
        let state = if outcome.passed { "holds".to_owned() } else { format!("{:?}", outcome.severity).to_uppercase() };
        vec![outcome.check.clone(), state, outcome.message.clone()]
    });
    if shared.output == Format::Text && !broken.is_empty() {
        output::text(&format!("{}\n", broken.trim_start()));
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { WORK_FAILED.into() })
}
