use std::process::ExitCode;

use ropewalk_versions::{PushOptions, Pushed, PushedHead};
use serde_json::json;

use crate::arguments::{Format, Push, Shared};
use crate::failure::Ending;
use crate::output::bytes;
use crate::terminal::{self, Transfer};
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: &Push) -> Ending {
    let project = commands::data_project(shared, "ropewalk push")?;
    let (remote, store) = project.remote_create(arguments.to.remote.as_deref()).await?;
    let options = PushOptions { move_tags: arguments.move_tags, remote: remote.clone() };
    let progress = Transfer::new("pushing");
    let pushed = project.workspace().push(&store, &arguments.to.names, options, &progress).await?;
    progress.end();
    if shared.output == Format::Json {
        let moved = json!({ "pieces": pushed.transferred.pieces, "bytes": pushed.transferred.bytes });
        output::json(&json!({ "remote": remote, "pushed": pushed, "transferred": moved }));
    } else {
        told(&remote, &pushed);
    }
    Ok(ExitCode::SUCCESS)
}

fn told(remote: &str, pushed: &Pushed) {
    for (name, head) in &pushed.heads {
        let state = match head {
            PushedHead::UpToDate => "up to date".to_owned(),
            PushedHead::Moved { version } => format!("{} is the latest there now", version.short()),
            PushedHead::Behind { version } => format!("{remote} is further: {}, `ropewalk pull`", version.short()),
            PushedHead::Nothing => "has no version yet: `ropewalk data commit`".to_owned(),
        };
        output::text(&format!("{name}: {state}\n"));
    }
    for name in &pushed.uncommitted {
        terminal::say(&format!("warning: what is added to {name} is in no version, and may be collected there"));
    }
    if pushed.deleted_tags > 0 {
        output::text(&format!("{} tags are deleted in {remote} now\n", pushed.deleted_tags));
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
    let moved = &pushed.transferred;
    if moved.pieces > 0 {
        output::text(&format!("{} pieces, {} to {remote}\n", moved.pieces, bytes(moved.bytes)));
    }
}
