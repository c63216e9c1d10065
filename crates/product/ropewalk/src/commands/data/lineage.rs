use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_data::{EffectiveFacts, Removal};
use ropewalk_server::DatasetLineage;
use serde_json::{Value, json};

use crate::arguments::{DataSpec, Format, Shared};
use crate::failure::Ending;
use crate::output::{moment, printable};
use crate::{commands, output};

/// Which way to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
    Both,
}

pub(super) async fn run(shared: &Shared, dataset: &DataSpec, way: Way) -> Ending {
    let project = commands::open(shared).await?;
    let (name, version) = (&dataset.name, dataset.version());
    if let Some(versions) = project.tracked_lineage(name, dataset.version.as_deref()).await? {
        project.close().await;
        match shared.output {
            Format::Json => {
                let versions: Vec<_> = versions.iter().map(|(lineage, facts)| json_of(lineage, facts)).collect();
                output::json(&json!({ "name": name, "versions": versions }));
            }
            Format::Text => {
                let texts: Vec<_> = versions.iter().map(|(lineage, facts)| text_of(lineage, facts, way)).collect();
                output::text(&texts.join("\n"));
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (lineage, facts) = project.dataset_lineage(name, version).await?;
    project.close().await;
    match shared.output {
        Format::Json => output::json(&json_of(&lineage, &facts)),
        Format::Text => output::text(&text_of(&lineage, &facts, way)),
    }
    Ok(ExitCode::SUCCESS)
}

fn json_of(lineage: &DatasetLineage, facts: &EffectiveFacts) -> Value {
    let DatasetLineage { uri, about, removed, up, down } = lineage;
    json!({ "uri": uri, "about": about, "removed": removed, "facts": facts, "up": up, "down": down })
}

fn text_of(lineage: &DatasetLineage, facts: &EffectiveFacts, way: Way) -> String {
    let about = match &lineage.removed {
        Some(Removal { who, why, at, .. }) => format!("removed by {who} at {}: {why}", moment(at.millis())),
        None => lineage.about.clone(),
    };
    let about = if about.is_empty() { String::new() } else { format!("  ({})", printable(&about)) };
    let mut text = format!("{}{about}\n", printable(&lineage.uri.to_string()));
    if let Some(classification) = facts.classification.value {
        let from: Vec<String> = facts.classification.from.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  {classification}, said of {}", from.join(", "));
    }
    for (heading, steps, shown) in
        [("came from", &lineage.up, way != Way::Down), ("went into", &lineage.down, way != Way::Up)]
    {
        if !shown {
            continue;
        }
        let _ = writeln!(text, "{heading}");
        for step in steps {
            let other = if heading == "came from" { &step.link.parent } else { &step.link.child };
            let other = printable(&other.to_string());
            let _ = writeln!(text, "{}{other}  ({})", "  ".repeat(step.depth as usize), step.link.relation);
        }
    }
    text
}
