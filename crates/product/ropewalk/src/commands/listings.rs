use std::process::ExitCode;

use ropewalk_tracking::RunFilter;

use crate::arguments::Shared;
use crate::commands;
use crate::failure::Ending;
use crate::output::{bytes, listing, moment};

/// How many runs a listing shows.
const RUNS: usize = 100;

pub(super) async fn datasets(shared: &Shared) -> Ending {
    let project = commands::open(shared).await?;
    let versions = project.datasets().await?;
    project.close().await;
    let headings = ["DATASET", "VERSION", "ZONE", "ROWS", "COLUMNS", "SIZE", "QUARANTINED", "MADE"];
    listing(shared.output, &versions, &headings, |version| {
        vec![
            version.name.to_string(),
            version.digest.short(),
            version.zone.to_string(),
            version.rows.to_string(),
            version.columns.len().to_string(),
            bytes(version.bytes),
            version.quarantined.to_string(),
            moment(version.created_at.millis()),
        ]
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn runs(shared: &Shared) -> Ending {
    let project = commands::open(shared).await?;
    let page = project.tracking().run_list(RunFilter::default(), RUNS).await?;
    project.close().await;
    listing(shared.output, &page.runs, &["RUN", "NAME", "STATUS", "BEGAN", "AUC", "STAGE"], |run| {
        let auc = run.metric("auc").map_or_else(String::new, |metric| format!("{:.4}", metric.value));
        vec![
            run.info.id.to_string(),
            run.info.name.clone(),
            run.info.status.to_string(),
            moment(run.info.start.millis()),
            auc,
            run.tags.get("ropewalk.stage").cloned().unwrap_or_default(),
        ]
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn models(shared: &Shared) -> Ending {
    let project = commands::open(shared).await?;
    let models = project.registry().model_list().await?;
    project.close().await;
    listing(shared.output, &models, &["MODEL", "LATEST", "ALIASES", "RUN", "SIZE", "REGISTERED"], |model| {
        let aliases: Vec<String> = model.aliases.iter().map(|(alias, version)| format!("{alias}={version}")).collect();
        vec![
            model.name.to_string(),
            model.latest.version.to_string(),
            aliases.join(" "),
            model.latest.run.to_string(),
            bytes(model.latest.size),
            moment(model.latest.created_at.millis()),
        ]
    });
    Ok(ExitCode::SUCCESS)
}
