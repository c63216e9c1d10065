use std::process::ExitCode;

use ropewalk_server::Remembered;
use ropewalk_types::{counted, shell_word};
use ropewalk_versions::AddRequest;

use crate::arguments::{AddArguments, Format, Shared};
use crate::failure::Ending;
use crate::output::{bytes, printable};
use crate::{commands, output, terminal};

/// Links that are named.
const NAMED: usize = 20;
pub(super) const LEFT_OUT: &str = "left out";
pub(super) const FOLLOWED: &str = "put what they point to in the place of";

pub(super) async fn run(shared: &Shared, arguments: AddArguments) -> Ending {
    let AddArguments { path, name, force, links } = arguments;
    let project = commands::data_project(shared, "ropewalk data add")?;
    let path = commands::current_folder()?.join(path);
    let added = project.add(AddRequest { path, name, force, links: links.into() }).await?;
    if force && let Some(Remembered { command, reason }) = project.git_forget(std::slice::from_ref(&added.path)).await?
    {
        let text = format!("warning: git still tracks {}: {reason}; run {command}", added.path);
        terminal::say(&printable(&text));
    }
    say_links(LEFT_OUT, &added.skipped_links);
    say_links(FOLLOWED, &added.followed_links);
    if shared.output == Format::Json {
        output::json(&added);
        return Ok(ExitCode::SUCCESS);
    }
    let pointer = &added.pointer;
    let state = if added.changed { "added" } else { "unchanged" };
    output::text(&format!(
        "{state} {} {}: {}, {} ({} read)\n",
        pointer.name,
        pointer.digest.short(),
        counted(pointer.files, "file"),
        bytes(pointer.bytes),
        added.read
    ));
    if pointer.version().is_none() {
        output::text(&format!(
            "next: ropewalk data commit {} -m \"what it is\", then git add {}\n",
            pointer.name,
            shell_word(&format!("{}.dataset", added.path))
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Links are told also where the answer is for machines: somebody may miss what they point to.
pub(super) fn say_links(what: &str, links: &[String]) {
    if links.is_empty() {
        return;
    }
    let shown: Vec<_> = links.iter().take(NAMED).map(|link| printable(link)).collect();
    let dots = if links.len() > NAMED { ", …" } else { "" };
    let count = counted(links.len() as u64, "symbolic link");
    terminal::say(&format!("{what} {count}: {}{dots}", shown.join(", ")));
}
