use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_versions::{ChangedFile, Side, VersionsError};

use crate::arguments::{DataSpec, Diff, Format, Shared};
use crate::failure::Ending;
use crate::output::{bytes, printable};
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Diff) -> Ending {
    let Diff { from, to, key } = arguments;
    let tracked = commands::data_project(shared, "ropewalk data diff")?;
    if !tracked.is_tracked(&from.name).await? {
        tracked.check_known(&from.name).await?;
        return tables(shared, &from, to.as_ref(), &key).await;
    }
    let before = from.version.clone().map_or(Side::Pointer, Side::Version);
    let (name, after) = match &to {
        Some(to) => (&to.name, to.version.clone().map_or(Side::Pointer, Side::Version)),
        None => (&from.name, Side::Work),
    };
    if *name != from.name {
        return Err(VersionsError::TwoDatasets { first: from.name.clone(), second: name.clone() }.into());
    }
    let diff = tracked.workspace().diff(name, &before, &after).await?;
    if shared.output == Format::Json {
        output::json(&diff);
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for file in &diff.added {
        let _ = writeln!(text, "+ {} ({})", printable(&file.path), bytes(file.size));
    }
    for file in &diff.removed {
        let _ = writeln!(text, "- {} ({})", printable(&file.path), bytes(file.size));
    }
    for file in &diff.changed {
        let sizes = file.content.then(|| format!("{} to {}", bytes(file.from), bytes(file.to)));
        let how: Vec<_> = sizes.into_iter().chain(mode(file).map(str::to_owned)).collect();
        let _ = writeln!(text, "~ {} ({})", printable(&file.path), how.join(", "));
    }
    for file in &diff.moved {
        let _ = writeln!(text, "> {} to {}", printable(&file.from), printable(&file.to));
    }
    let _ = writeln!(
        text,
        "{} added, {} removed, {} changed, {} moved",
        diff.added.len(),
        diff.removed.len(),
        diff.changed.len(),
        diff.moved.len()
    );
    output::text(&text);
    Ok(ExitCode::SUCCESS)
}

/// What is new about who may execute a file.
pub(super) fn mode(file: &ChangedFile) -> Option<&'static str> {
    file.executable.map(|now| if now { "now executable" } else { "no longer executable" })
}

/// Versions of a table: which rows and columns.
async fn tables(shared: &Shared, from: &DataSpec, to: Option<&DataSpec>, key: &[String]) -> Ending {
    let project = commands::open(shared).await?;
    let later = to.map_or("latest", DataSpec::version);
    let other = to.map_or(&from.name, |to| &to.name);
    let before = match (&from.version, to) {
        // What the latest import or run made of it.
        (None, None) => project.table_before(&from.name).await?.to_string(),
        _ => from.version().to_owned(),
    };
    let diff = project.table_diff((&from.name, &before), (other, later), key).await?;
    project.close().await;
    crate::commands::data::table_diff::told(shared, &diff)
}
