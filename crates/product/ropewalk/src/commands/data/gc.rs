use std::process::ExitCode;
use std::time::Duration;

use ropewalk_server::Gone;
use ropewalk_store::Amount;
use ropewalk_types::counted;
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
        let of = |amount: Amount| json!({ "pieces": amount.pieces, "bytes": amount.bytes });
        output::json(&json!({
            "removed": of(collected.removed),
            "condemned": of(collected.condemned),
            "waiting": of(collected.waiting),
            "restored": of(collected.restored),
            "kept": of(collected.kept),
            "freed_bytes": collected.freed,
            "freed_objects": collected.freed_packs,
            "merged": of(collected.merged),
            "merged_packs": collected.merged_packs,
            "copies": of(collected.copies),
            "half_written": { "objects": swept.objects, "bytes": swept.bytes },
            "cache": { "files": cached.objects, "bytes": cached.bytes },
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let would = if arguments.dry_run { "would be " } else { "" };
    output::text(&format!(
        "{would}removed: {}\n{would}set aside for {} h: {}\nkept: {}\n",
        amount(collected.removed),
        arguments.grace,
        amount(collected.condemned),
        amount(collected.kept)
    ));
    if collected.freed_packs > 0 {
        let (packs, size) = (counted(collected.freed_packs, "pack"), bytes(collected.freed));
        output::text(&format!("{would}freed: {size}, in {packs}\n"));
    }
    if collected.merged_packs > 0 {
        let (packs, size) = (counted(collected.merged_packs, "small pack"), bytes(collected.merged.bytes));
        output::text(&format!("{would}merged: {packs}, {size}\n"));
    }
    if collected.copies.pieces > 0 {
        output::text(&format!("second copies of what is kept, on their way out: {}\n", amount(collected.copies)));
    }
    if cached.objects > 0 {
        let (files, size) = (counted(cached.objects, "file"), bytes(cached.bytes));
        output::text(&format!("removed from the cache: {files}, {size}\n"));
    }
    if swept.objects > 0 {
        let (objects, size) = (counted(swept.objects, "object"), bytes(swept.bytes));
        output::text(&format!("left by commands that were killed, removed: {objects}, {size}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// `3 pieces, 1.2 MB`.
fn amount(Amount { pieces, bytes: size }: Amount) -> String {
    format!("{}, {}", counted(pieces, "piece"), bytes(size))
}
