use std::fmt::Write as _;
use std::process::ExitCode;

use ropewalk_server::Verification;
use ropewalk_store::{Damage, Root};
use serde_json::{Value, json};

use crate::arguments::{Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::bytes;
use crate::{commands, output};

/// Missing things that are listed one by one.
const LISTED: usize = 20;

pub(super) async fn run(shared: &Shared, heal: Option<&str>) -> Ending {
    let project = commands::data_project(shared, "ropewalk data verify")?;
    let healer = match heal {
        Some(remote) => Some(project.remote_open(Some(remote)).await?.1),
        None => None,
    };
    let found = project.verify(healer.as_ref()).await?;
    match shared.output {
        Format::Json => output::json(&as_json(&found, heal)),
        Format::Text => output::text(&told(&found, heal)),
    }
    let whole = found.missing.is_empty() && found.store.damaged.iter().all(|damage| damage.healed);
    Ok(if whole { ExitCode::SUCCESS } else { WORK_FAILED.into() })
}

/// All damage that was found, each with the remote in which it lies; `None` for the project's own store.
fn damaged<'a>(found: &'a Verification, heal: Option<&'a str>) -> impl Iterator<Item = (Option<&'a str>, &'a Damage)> {
    let own = found.store.damaged.iter().map(|damage| (None, damage));
    own.chain(found.store.damaged_there.iter().map(move |damage| (heal, damage)))
}

fn as_json(found: &Verification, heal: Option<&str>) -> Value {
    let damage = |(remote, damage): (Option<&str>, &Damage)| {
        json!({
            "remote": remote,
            "digest": damage.digest,
            "object": damage.object,
            "reason": damage.reason,
            "healed": damage.healed,
        })
    };
    let missing = |root: &Root| json!({ "digest": root.digest(), "kind": kind(root) });
    json!({
        "store": found.place,
        "pieces": found.store.pieces,
        "bytes": found.store.bytes,
        "damaged": damaged(found, heal).map(damage).collect::<Vec<_>>(),
        "missing": found.missing.iter().map(missing).collect::<Vec<_>>(),
        "fetched": found.fetched,
        "cached_files": found.cached,
        "cached_files_removed": found.changed,
    })
}

fn kind(root: &Root) -> &'static str {
    match root {
        Root::Blob(_) => "file",
        Root::Tree(_) => "folder",
    }
}

fn told(found: &Verification, heal: Option<&str>) -> String {
    let mut text = String::new();
    for (remote, damage) in damaged(found, heal) {
        let state = if damage.healed { "healed" } else { "DAMAGED" };
        let place = match remote {
            None => format!("the project's store, {}", found.place),
            Some(remote) => format!("the remote {remote}"),
        };
        let _ = writeln!(text, "{state} {} in {} of {place}: {}", damage.digest, damage.object, damage.reason);
    }
    for root in found.missing.iter().take(LISTED) {
        let _ = writeln!(text, "MISSING {} (a {}, or a part of one)", root.digest(), kind(root));
    }
    if let Some(more) = found.missing.len().checked_sub(LISTED).filter(|more| *more > 0) {
        let _ = writeln!(text, "… and {more} more");
    }
    for path in &found.changed {
        let _ =
            writeln!(text, "removed {}: it was changed in place, and is made again when it is needed", path.display());
    }
    let healed = found.store.damaged.iter().filter(|damage| damage.healed).count();
    let _ = writeln!(
        text,
        "{} pieces, {} read; {} damaged, {healed} of them healed; {} missing, {} fetched",
        found.store.pieces,
        bytes(found.store.bytes),
        found.store.damaged.len(),
        found.missing.len(),
        found.fetched
    );
    text
}
