use std::process::ExitCode;

use ropewalk_data::DatasetVersion;
use ropewalk_types::{DatasetName, Digest};
use serde::Serialize;

use crate::arguments::Shared;
use crate::commands;
use crate::failure::Ending;
use crate::output::{bytes, listing, moment};

/// A version of a table, or a tracked file or folder as its `.dataset` file has it.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Table(DatasetVersion),
    Tracked { name: DatasetName, zone: &'static str, path: String, digest: Digest, files: u64, bytes: u64 },
}

pub(super) async fn datasets(shared: &Shared) -> Ending {
    let project = commands::open(shared).await?;
    let mut listed: Vec<Listed> = project.datasets().await?.into_iter().map(Listed::Table).collect();
    for dataset in project.tracked().await? {
        let dataset = match dataset {
            Ok(dataset) => dataset,
            Err(problem) => {
                commands::say_problem(&problem);
                continue;
            }
        };
        let pointer = dataset.pointer;
        let digest = pointer.version().unwrap_or(pointer.digest);
        let (files, bytes, zone) = (pointer.files, pointer.bytes, "tracked");
        listed.push(Listed::Tracked { name: pointer.name, zone, path: dataset.path, digest, files, bytes });
    }
    project.close().await;
    let headings = ["DATASET", "VERSION", "ZONE", "ROWS", "COLUMNS", "FILES", "SIZE", "QUARANTINED", "MADE"];
    listing(shared.output, &listed, &headings, |listed| match listed {
        Listed::Table(version) => vec![
            version.name.to_string(),
            version.digest.short(),
            version.zone.to_string(),
            version.rows.to_string(),
            version.columns.len().to_string(),
            String::new(),
            bytes(version.bytes),
            version.quarantined.to_string(),
            moment(version.created_at.millis()),
        ],
        Listed::Tracked { name, zone, digest, files, bytes: size, .. } => {
            let mut cells = vec![name.to_string(), digest.short(), (*zone).to_owned(), String::new(), String::new()];
            cells.extend([files.to_string(), bytes(*size), String::new(), String::new()]);
            cells
        }
    });
    Ok(ExitCode::SUCCESS)
}
