use std::process::ExitCode;

use ropewalk_store::Damage;
use serde_json::json;

use crate::arguments::{Format, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::output::bytes;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, heal: Option<&str>) -> Ending {
    let project = commands::data_project(shared, "ropewalk data verify")?;
    let healer = match heal {
        Some(remote) => Some(project.remote_open(Some(remote)).await?.1),
        None => None,
    };
    let verified = project.workspace().store().await?.verify(healer.as_ref()).await?;
    let lost = verified.damaged.iter().filter(|damage| !damage.healed).count();
    if shared.output == Format::Json {
        let damage = |damage: &Damage| json!({ "digest": damage.digest, "object": damage.object, "reason": damage.reason, "healed": damage.healed });
        let damaged: Vec<_> = verified.damaged.iter().map(damage).collect();
        output::json(&json!({ "pieces": verified.pieces, "bytes": verified.bytes, "damaged": damaged }));
    } else {
        for damage in &verified.damaged {
            let state = if damage.healed { "healed" } else { "DAMAGED" };
            output::text(&format!("{state} {} in {}: {}\n", damage.digest, damage.object, damage.reason));
        }
        output::text(&format!(
            "{} pieces, {} read; {} damaged, {} of them healed\n",
            verified.pieces,
            bytes(verified.bytes),
            verified.damaged.len(),
            verified.damaged.len() - lost
        ));
    }
    Ok(if lost > 0 { WORK_FAILED.into() } else { ExitCode::SUCCESS })
}
