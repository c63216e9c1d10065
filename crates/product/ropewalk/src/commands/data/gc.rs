use std::process::ExitCode;
use std::time::Duration;

use ropewalk_server::Gone;
use ropewalk_store::Amount;
use serde_json::json;

use crate::arguments::{Collect, Format, Shared};
use crate::failure::Ending;
use crate::output::bytes;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: Collect) -> Ending {
    let grace = Duration::from_hours(u64::from(arguments.grace));
    let Gone { collected, swept, cached } = if let Some(remote) = &arguments.remote {
        let project = commands::data_project(shared, "ropewalk data gc")?;
        project.remote_collect(remote, grace, arguments.dry_run).await?
    } else {
        let project = commands::open(shared).await?;
        let gone = project.collect(grace, arguments.dry_run).await?;
        project.close().await;
        gone
    };
    if shared.output == Format::Json {
        let amount = |amount: Amount| json!({ "pieces": amount.pieces, "bytes": amount.bytes });
        output::json(&json!({
            "removed": amount(collected.removed),
            "condemned": amount(collected.condemned),
            "waiting": amount(collected.waiting),
            "restored": amount(collected.restored),
            "kept": amount(collected.kept),
            "freed_bytes": collected.freed,
            "merged": amount(collected.merged),
            "merged_packs": collected.merged_packs,
            "copies": amount(collected.copies),
            "half_written": { "objects": swept.objects, "bytes": swept.bytes },
            "cache": { "files": cached.objects, "bytes": cached.bytes },
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let would = if arguments.dry_run { "would be " } else { "" };
    output::text(&format!(
        "{would}removed: {} pieces, {}\n{would}set aside for {} h: {} pieces, {}\nkept: {} pieces, {}\n",
        collected.removed.pieces,
        bytes(collected.removed.bytes),
        arguments.grace,
        collected.condemned.pieces,
        bytes(collected.condemned.bytes),
        collected.kept.pieces,
        bytes(collected.kept.bytes)
    ));
    if collected.merged_packs > 0 {
        let (packs, size) = (collected.merged_packs, bytes(collected.merged.bytes));
        output::text(&format!("{would}merged: {packs} small packs, {size}\n"));
    }
    if collected.copies.pieces > 0 {
        let (pieces, size) = (collected.copies.pieces, bytes(collected.copies.bytes));
        output::text(&format!("second copies of what is kept, on their way out: {pieces} pieces, {size}\n"));
    }
    if cached.objects > 0 {
        output::text(&format!("removed from the cache: {} files, {}\n", cached.objects, bytes(cached.bytes)));
    }
    if swept.objects > 0 {
        let (objects, size) = (swept.objects, bytes(swept.bytes));
        output::text(&format!("left by commands that were killed, removed: {objects} objects, {size}\n"));
    }
    Ok(ExitCode::SUCCESS)
}
