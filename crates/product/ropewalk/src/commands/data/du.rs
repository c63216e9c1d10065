use std::process::ExitCode;

use ropewalk_types::DatasetName;

use crate::arguments::Shared;
use crate::commands;
use crate::failure::Ending;
use crate::output::{bytes, listing};

pub(super) async fn run(shared: &Shared, names: &[DatasetName]) -> Ending {
    let files = commands::data_project(shared, "ropewalk data du")?;
    for name in names {
        files.check_known(name).await?;
    }
    let project = commands::open(shared).await?;
    let costs = project.costs(names).await?;
    project.close().await;
    listing(shared.output, &costs, &["DATASET", "VERSION", "SIZE", "STORED", "ONLY HERE"], |cost| {
        vec![
            cost.name.to_string(),
            cost.version.short(),
            bytes(cost.logical_bytes),
            bytes(cost.stored_bytes),
            bytes(cost.own_bytes),
        ]
    });
    Ok(ExitCode::SUCCESS)
}
