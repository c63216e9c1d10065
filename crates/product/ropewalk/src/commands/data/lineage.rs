use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::arguments::{DataSpec, Format, Shared};
use crate::failure::Ending;
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
    let lineage = project.dataset_lineage(&dataset.name, dataset.version()).await?;
    let facts = project.facts(&dataset.name, dataset.version()).await?;
    project.close().await;
    if shared.output == Format::Json {
        output::json(&json!({ "uri": lineage.uri, "facts": facts, "up": lineage.up, "down": lineage.down }));
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("{}\n", lineage.uri);
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
            let _ = writeln!(text, "{}{other}  ({})", "  ".repeat(step.depth as usize), step.link.relation);
        }
    }
    output::text(&text);
    Ok(ExitCode::SUCCESS)
}
