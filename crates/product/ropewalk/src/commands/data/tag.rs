use std::process::ExitCode;

use ropewalk_data::TagMove;
use ropewalk_server::ServerError;
use ropewalk_types::{DatasetName, Digest, TagName};
use serde_json::json;

use crate::arguments::{DataSpec, Format, Shared, Tag};
use crate::failure::Ending;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Tag) -> Ending {
    let Tag { dataset, name, r#move, delete } = arguments;
    let project = commands::data_project(shared, "ropewalk data tag")?;
    project.check_known(&dataset.name).await?;
    let tracked = project.is_tracked(&dataset.name).await?;
    let Some(tag) = name else {
        let tags =
            if tracked { of_files(shared, &dataset.name).await? } else { of_table(shared, &dataset.name).await? };
        output::listing(shared.output, &tags, &["TAG", "VERSION"], |(tag, version)| {
            vec![tag.to_string(), version.short()]
        });
        return Ok(ExitCode::SUCCESS);
    };
    let tag = TagName::new(tag)?;
    let version = match (tracked, delete) {
        (true, true) => {
            file_untag(shared, &dataset.name, &tag).await?;
            None
        }
        (true, false) => Some(file_tag(shared, &dataset, &tag, r#move).await?),
        (false, true) => {
            table_untag(shared, &dataset.name, &tag).await?;
            None
        }
        (false, false) => Some(table_tag(shared, &dataset, &tag, r#move).await?),
    };
    match (shared.output, version) {
        (Format::Json, version) => {
            output::json(&json!({ "dataset": dataset.name, "tag": tag, "version": version }));
        }
        (Format::Text, Some(version)) => output::text(&format!("{}@{tag} is {}\n", dataset.name, version.short())),
        (Format::Text, None) => output::text(&format!("removed the tag {tag} of {}\n", dataset.name)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn of_files(shared: &Shared, name: &DatasetName) -> Result<Vec<(TagName, Digest)>, ServerError> {
    let project = commands::data_project(shared, "ropewalk data tag")?;
    Ok(project.workspace().tags(name).await?.into_iter().collect())
}

async fn of_table(shared: &Shared, name: &DatasetName) -> Result<Vec<(TagName, Digest)>, ServerError> {
    let project = commands::open(shared).await?;
    let history = project.dataset_history(name).await?;
    project.close().await;
    Ok(history.into_iter().flat_map(|one| one.tags).map(|tag| (tag.tag, tag.digest)).collect())
}

async fn file_tag(shared: &Shared, dataset: &DataSpec, tag: &TagName, moves: bool) -> Result<Digest, ServerError> {
    let project = commands::data_project(shared, "ropewalk data tag")?;
    Ok(project.workspace().tag(&dataset.name, dataset.version(), tag, moves).await?)
}

async fn file_untag(shared: &Shared, name: &DatasetName, tag: &TagName) -> Result<(), ServerError> {
    let project = commands::data_project(shared, "ropewalk data tag")?;
    Ok(project.workspace().tag_remove(name, tag).await?)
}

async fn table_tag(shared: &Shared, dataset: &DataSpec, tag: &TagName, moves: bool) -> Result<Digest, ServerError> {
    let project = commands::open(shared).await?;
    let moving = if moves { TagMove::Allowed } else { TagMove::Refused };
    let version = project.dataset_tag(&dataset.name, dataset.version(), tag, moving).await?;
    project.close().await;
    Ok(version)
}

async fn table_untag(shared: &Shared, name: &DatasetName, tag: &TagName) -> Result<(), ServerError> {
    let project = commands::open(shared).await?;
    project.dataset_untag(name, tag).await?;
    project.close().await;
    Ok(())
}
