use std::process::ExitCode;

use crate::arguments::{Format, Shared, Sql};
use crate::failure::Ending;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: &Sql) -> Ending {
    let project = commands::open(shared).await?;
    let result = project.sql(&arguments.query).await?;
    project.close().await;
    match shared.output {
        Format::Json => output::text(&String::from_utf8_lossy(&result.write_json()?)),
        Format::Text => output::text(&format!("{}\n", result.format_table()?)),
    }
    Ok(ExitCode::SUCCESS)
}
