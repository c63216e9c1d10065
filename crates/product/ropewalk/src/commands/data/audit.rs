use std::process::ExitCode;

use ropewalk_data::AuditFilter;

use crate::arguments::{Audit, Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::{listing, moment};
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Audit) -> Ending {
    let Audit { name, who, limit, verify } = arguments;
    let project = commands::open(shared).await?;
    if verify {
        let report = project.audit_verify().await?;
        project.close().await;
        let whole = report.faults.is_empty();
        match shared.output {
            Format::Json => output::json(&report),
            Format::Text if whole => output::text(&format!("{} entries, none changed or removed\n", report.entries)),
            Format::Text => {
                for fault in &report.faults {
                    output::text(&format!("entry {}: {}\n", fault.number, fault.reason));
                }
            }
        }
        return Ok(if whole { ExitCode::SUCCESS } else { WORK_FAILED.into() });
    }
    let filter = AuditFilter { who, object: name.map(|name| format!("data:{name}")), ..AuditFilter::default() };
    let entries = project.audit_list(&filter, limit).await?;
    project.close().await;
    listing(shared.output, &entries, &["NUMBER", "WHEN", "WHO", "WHAT", "OBJECT", "DETAILS"], |entry| {
        vec![
            entry.number.to_string(),
            moment(entry.at.millis()),
            entry.who.clone(),
            entry.action.to_string(),
            entry.object.clone(),
            entry.details.to_string(),
        ]
    });
    Ok(ExitCode::SUCCESS)
}
