use std::collections::BTreeSet;
use std::process::ExitCode;

use ropewalk_data::{EffectiveFacts, Removal};
use ropewalk_server::{DatasetLineage, Strand, Thread};
use serde_json::{Value, json};

use crate::arguments::{DataSpec, Format, Shared};
use crate::commands::said;
use crate::commands::trace::branches;
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
    text.push_str(&said::facts(&lineage.uri, facts));
    if way != Way::Down {
        text.push_str(&tree("came from", &lineage.came_from()));
    }
    if way != Way::Up {
        text.push_str(&tree("went into", &lineage.went_into()));
    }
    text
}

/// What a thread leads to, below a heading. A thing that is met again is named, and its own things are not.
fn tree(heading: &str, thread: &Thread) -> String {
    let mut lines = vec![heading.to_owned()];
    let mut unfolded = BTreeSet::new();
    let mut say = |Strand { relation, to }: &Strand| {
        let again = if to.from.is_empty() && unfolded.contains(&to.uri) { ", as above" } else { "" };
        if !to.from.is_empty() {
            unfolded.insert(to.uri.clone());
        }
        format!("{}  ({relation}{again})", printable(&to.uri.to_string()))
    };
    branches(thread, "", &mut say, &mut lines);
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use ropewalk_lineage::Relation;
    use ropewalk_types::Uri;

    use super::*;

    #[test]
    fn everything_stands_below_what_it_belongs_to_and_is_unfolded_once() {
        fn thread(name: &str, from: Vec<Thread>) -> Thread {
            let uri: Uri = format!("data:{name}@aa").parse().expect("uri");
            let strand = |to| Strand { relation: Relation::Read, to };
            Thread { uri, about: String::new(), from: from.into_iter().map(strand).collect() }
        }
        let source = thread("source", vec![thread("first", Vec::new())]);
        let left = thread("left", vec![source, thread("leaf", Vec::new())]);
        let right = thread("right", vec![thread("source", Vec::new()), thread("leaf", Vec::new())]);
        let expected = "\
came from
├─ data:left@aa  (read)
│  ├─ data:source@aa  (read)
│  │  └─ data:first@aa  (read)
│  └─ data:leaf@aa  (read)
└─ data:right@aa  (read)
   ├─ data:source@aa  (read, as above)
   └─ data:leaf@aa  (read)
";
        assert_eq!(tree("came from", &thread("top", vec![left, right])), expected);
    }
}
