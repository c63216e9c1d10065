use std::process::ExitCode;

use ropewalk_data::AuditAction;
use ropewalk_versions::TagName;
use serde_json::json;

use crate::arguments::{Format, Shared, Tag};
use crate::failure::Ending;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Tag) -> Ending {
    let Tag { dataset, name, r#move, delete } = arguments;
    let project = commands::data_project(shared, "ropewalk data tag")?;
    let workspace = project.workspace();
    let Some(tag) = name else {
        let tags: Vec<_> = workspace.tags(&dataset.name).await?.into_iter().collect();
        output::listing(shared.output, &tags, &["TAG", "VERSION"], |(tag, version)| {
            vec![tag.to_string(), version.short()]
        });
        return Ok(ExitCode::SUCCESS);
    };
    let tag = TagName::new(tag)?;
    let said = if delete {
        workspace.tag_remove(&dataset.name, &tag).await?;
        json!({ "dataset": dataset.name, "tag": tag.as_str(), "version": null })
    } else {
        let version = workspace.tag(&dataset.name, dataset.version(), &tag, r#move).await?;
        json!({ "dataset": dataset.name, "tag": tag.as_str(), "version": version })
    };
    let action = if delete { AuditAction::Delete } else { AuditAction::Tag };
    project.audit(action, &dataset.name, None, said.clone()).await?;
    match shared.output {
        Format::Json => output::json(&said),
        Format::Text if delete => output::text(&format!("removed the tag {} of {}\n", tag.as_str(), dataset.name)),
        Format::Text => {
            let version = said["version"].as_str().unwrap_or_default();
            output::text(&format!("{}@{} is {version}\n", dataset.name, tag.as_str()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
