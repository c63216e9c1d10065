use std::process::ExitCode;

use ropewalk_config::FILE_NAME;
use serde_json::json;

use crate::arguments::{Format, Init, Shared};
use crate::failure::Ending;
use crate::{output, template, terminal};

pub(super) fn run(shared: &Shared, arguments: &Init) -> Ending {
    let files = template::write(arguments.template, &arguments.folder)?;
    match shared.output {
        Format::Json => output::json(&json!({ "folder": arguments.folder, "files": files })),
        Format::Text => {
            terminal::say(&format!("made {} in {}", files.join(", "), arguments.folder.display()));
            terminal::say(&format!("next: look at {FILE_NAME}, then `ropewalk run`"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
