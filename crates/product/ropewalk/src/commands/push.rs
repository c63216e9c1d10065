use ropewalk_data::TagMove;
use ropewalk_server::{Chosen, DataProject, PushedTables, ServerError};
use ropewalk_store::Store;
use ropewalk_types::counted;
use ropewalk_versions::{PushOptions, Pushed, PushedHead};
use serde_json::json;

use crate::arguments::{Format, Push, Shared};
use crate::commands::pull::listed;
use crate::commands::{say_problem, travelled};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::bytes;
use crate::terminal::{self, Transfer};
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: &Push) -> Ending {
    let project = commands::data_project(shared, "ropewalk push")?;
    let (remote, store) = project.remote_create(arguments.to.remote.as_deref()).await?;
    for name in &arguments.to.names {
        project.check_known(name).await?;
    }
    let chosen = project.chosen(&store, &arguments.to.names).await?;
    let tables = tables(shared, &project, (&remote, &store), &chosen, arguments.move_tags).await?;
    let options = PushOptions { move_tags: arguments.move_tags, remote: remote.clone() };
    let pushed = match &chosen.files {
        None => Pushed::default(),
        Some(names) => {
            let progress = Transfer::new("pushing");
            let pushed = project.workspace().push(&store, names, options, &progress).await?;
            progress.end();
            pushed
        }
    };
    pushed.failed.iter().for_each(say_problem);
    let ending = if pushed.failed.is_empty() {
        travelled::ending(tables.tables.iter().map(|one| &one.refusal))
    } else {
        WORK_FAILED.into()
    };
    if shared.output == Format::Json {
        let failed = listed(&pushed.failed);
        let (files, tabled) = (&pushed.transferred, &tables.transferred);
        let moved = json!({ "pieces": files.pieces + tabled.pieces, "bytes": files.bytes + tabled.bytes });
        output::json(&json!({
            "remote": remote, "pushed": pushed, "failed": failed, "tables": tables.tables, "transferred": moved
        }));
    } else {
        told(&remote, &pushed);
    }
    Ok(ending)
}

/// Tables go first: tracked files that went two ways do not keep them here.
async fn tables(
    shared: &Shared,
    project: &DataProject,
    (remote, store): (&str, &Store),
    chosen: &Chosen,
    move_tags: bool,
) -> Result<PushedTables, ServerError> {
    let Some(names) = &chosen.tables else { return Ok(PushedTables::default()) };
    let moving = if move_tags { TagMove::Allowed } else { TagMove::Refused };
    let progress = Transfer::new("pushing tables");
    let pushed = project.tables_push((remote, store), names, moving, &progress).await?;
    progress.end();
    travelled::pushed(shared.output, remote, &pushed);
    Ok(pushed)
}

fn told(remote: &str, pushed: &Pushed) {
    for (name, head) in &pushed.heads {
        let state = match head {
            PushedHead::UpToDate => "up to date".to_owned(),
            PushedHead::Moved { version } => format!("{} is the latest there now", version.short()),
            PushedHead::Behind { version } => format!("{remote} is further: {}, `ropewalk pull`", version.short()),
            PushedHead::NotHere { version } => format!("{} is not here: `ropewalk pull`", version.short()),
            PushedHead::Nothing => "has no version yet: `ropewalk data commit`".to_owned(),
        };
        output::text(&format!("{name}: {state}\n"));
    }
    for name in &pushed.uncommitted {
        terminal::say(&format!("warning: what is added to {name} is in no version, and may be collected there"));
    }
    for (name, tag) in &pushed.deleted_tags {
        output::text(&format!("{name}: the tag {tag} is deleted in {remote} now\n"));
    }
    for (name, version) in &pushed.removed {
        output::text(&format!("{name}: {} is removed in {remote} now\n", version.short()));
    }
    for refused in &pushed.refused_removals {
        super::say_refused(refused, &format!("in {remote}"));
    }
    for tag in &pushed.refused_tags {
        if tag.local == tag.remote {
            let (name, tag, version) = (&tag.name, &tag.tag, tag.local.short());
            terminal::say(&format!("warning: {name}@{tag} is not set there: {version} was removed in {remote}"));
            continue;
        }
        terminal::say(&format!(
            "warning: {}@{} is {} there, not {}; --move-tags moves it",
            tag.name,
            tag.tag,
            tag.remote.short(),
            tag.local.short()
        ));
    }
    for (name, tag) in &pushed.gone_tags {
        terminal::say(&format!(
            "warning: {name}@{tag} is not set there: it was deleted in {remote} before; if it is meant anew, `ropewalk fetch` \
             and set it again"
        ));
    }
    let moved = &pushed.transferred;
    if moved.pieces > 0 {
        output::text(&format!("{}, {} to {remote}\n", counted(moved.pieces, "piece"), bytes(moved.bytes)));
    }
}
