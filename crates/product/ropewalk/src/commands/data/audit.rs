use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_data::{AuditFilter, AuditHead, AuditReport};

use crate::arguments::{Audit, Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::{listing, moment};
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Audit) -> Ending {
    let Audit { name, who, limit, verify, head } = arguments;
    let project = commands::open(shared).await?;
    if verify {
        let report = project.audit_verify(head).await?;
        project.close().await;
        let whole = report.faults.is_empty();
        match shared.output {
            Format::Json => output::json(&report),
            Format::Text => output::text(&told(&report, head)),
        }
        return Ok(if whole { ExitCode::SUCCESS } else { WORK_FAILED.into() });
    }
    let object = name.as_ref().map(|name| format!("data:{name}"));
    let filter = AuditFilter { who, object, ..AuditFilter::default() };
    let entries = project.audit_list(&filter, limit).await?;
    project.close().await;
    if let (Some(name), true) = (&name, entries.is_empty()) {
        commands::data_project(shared, "ropewalk data audit")?.check_known(name).await?;
    }
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

/// What was found, and the newest entry, which somebody may keep elsewhere.
fn told(report: &AuditReport, known: Option<AuditHead>) -> String {
    let mut text = String::new();
    for fault in &report.faults {
        let _ = writeln!(text, "entry {}: {}", fault.number, fault.reason);
    }
    if report.faults.is_empty() {
        let up_to = known.map_or_else(String::new, |known| format!(", entry {} among them as it was", known.number));
        let _ = writeln!(text, "{} entries, each follows the one before it{up_to}", report.entries);
    }
    if let Some(newest) = report.head {
        let _ = writeln!(text, "newest {newest}");
    }
    text
}
