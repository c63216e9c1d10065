use std::process::ExitCode;

use ropewalk_types::DatasetName;

use crate::arguments::Shared;
use crate::commands;
use crate::failure::Ending;
use crate::output::{bytes, listing, moment};

pub(super) async fn run(shared: &Shared, name: &DatasetName) -> Ending {
    let project = commands::data_project(shared, "ropewalk data log")?;
    let entries = project.workspace().log(name).await?;
    listing(
        shared.output,
        &entries,
        &["VERSION", "DIGEST", "TAGS", "FILES", "SIZE", "MADE", "AUTHOR", "MESSAGE"],
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
            ]
        },
    );
    Ok(ExitCode::SUCCESS)
}
