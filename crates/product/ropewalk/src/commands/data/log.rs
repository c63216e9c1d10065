use std::process::ExitCode;

use ropewalk_types::DatasetName;

use crate::arguments::Shared;
use crate::commands;
use crate::failure::Ending;
use crate::output::{bytes, listing, moment};

pub(super) async fn run(shared: &Shared, name: &DatasetName) -> Ending {
    let project = commands::data_project(shared, "ropewalk data log")?;
    if !project.is_tracked(name).await? {
        project.check_known(name).await?;
        return table(shared, name).await;
    }
    let entries = project.workspace().log(name).await?;
    listing(
        shared.output,
        &entries,
        &["VERSION", "DIGEST", "TAGS", "FILES", "SIZE", "MADE", "AUTHOR", "MESSAGE", "REMOVED"],
        |entry| {
            let mut names: Vec<String> = entry.tags.iter().map(ToString::to_string).collect();
            if entry.head {
                names.insert(0, "latest".to_owned());
            }
            vec![
                entry.number.map_or_else(String::new, |number| format!("v{number}")),
                entry.digest.short(),
                names.join(" "),
                entry.version.files.to_string(),
                bytes(entry.version.bytes),
                moment(entry.version.created_at.millis()),
                entry.version.author.clone(),
                entry.version.message.lines().next().unwrap_or_default().to_owned(),
                entry.removed.as_ref().map_or_else(String::new, |removal| {
                    format!("{} by {}: {}", removal.day(), removal.who, removal.why)
                }),
            ]
        },
    );
    Ok(ExitCode::SUCCESS)
}

/// The versions of a table.
async fn table(shared: &Shared, name: &DatasetName) -> Ending {
    let project = commands::open(shared).await?;
    let history = project.dataset_history(name).await?;
    project.close().await;
    let headings = ["VERSION", "DIGEST", "TAGS", "ROWS", "SIZE", "MADE", "REMOVED"];
    listing(shared.output, &history, &headings, |one| {
        let tags: Vec<String> = one.tags.iter().map(|tag| tag.tag.to_string()).collect();
        let removed = one.removed.as_ref().map(|removal| format!("by {}: {}", removal.who, removal.why));
        vec![
            format!("v{}", one.number),
            one.version.digest.short(),
            tags.join(" "),
            one.version.rows.to_string(),
            match &one.elsewhere {
                Some(remote) => format!("{} (in {remote})", bytes(one.version.bytes)),
                None => bytes(one.version.bytes),
            },
            moment(one.version.created_at.millis()),
            removed.unwrap_or_default(),
        ]
    });
    Ok(ExitCode::SUCCESS)
}
