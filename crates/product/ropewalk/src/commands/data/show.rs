use std::process::ExitCode;

use ropewalk_data::QueryResult;
use ropewalk_ingest::ColumnReport;
use ropewalk_server::ServerError;
use ropewalk_types::counted;
use serde_json::{Value, json};

use super::origin;
use crate::arguments::{DataSpec, Format, Shared};
use crate::failure::Ending;
use crate::{commands, output};

/// The report of one version: columns, files, and what was set aside.
pub(super) async fn run(shared: &Shared, dataset: &DataSpec) -> Ending {
    let name = &dataset.name;
    let project = commands::open(shared).await?;
    let (version, report, aside) = project.dataset_report(name, dataset.version()).await?;
    let sources = project.dataset_sources(&version).await?;
    project.close().await;
    if shared.output == Format::Json {
        let rows = aside.as_ref().map_or(Ok(json!([])), rows)?;
        output::json(&json!({ "version": version, "sources": sources, "report": report, "quarantine": rows }));
        return Ok(ExitCode::SUCCESS);
    }
    output::text(&format!(
        "{name} {} ({}): {}, {} set aside\n{}\n",
        version.digest.short(),
        version.zone,
        counted(report.rows, "row"),
        report.quarantined,
        origin::told(&version, &sources, &report)
    ));
    output::listing(Format::Text, &report.columns, &["COLUMN", "TYPE", "NULLS", "MISFITS"], |column: &ColumnReport| {
        vec![column.name.clone(), column.data_type.clone(), column.nulls.to_string(), column.misfits.to_string()]
    });
    if let Some(aside) = aside {
        output::text(&format!("\nset aside:\n{}\n", aside.format_table()?));
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(aside: &QueryResult) -> Result<Value, ServerError> {
    let bytes = aside.write_json()?;
    serde_json::from_slice(&bytes).map_err(|error| ServerError::Serve(error.to_string()))
}
