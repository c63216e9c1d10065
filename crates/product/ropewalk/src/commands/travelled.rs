//! What became of tables on their way to or from a remote, in words.

use std::process::ExitCode;

use ropewalk_data::TagConflict;
use ropewalk_server::{FetchedTable, FetchedTables, PushedTable, PushedTables, Refusal};
use ropewalk_types::{DatasetName, counted};

use crate::arguments::Format;
use crate::failure::WORK_FAILED;
use crate::output::{self, bytes, printable};
use crate::terminal;

/// How a command ends that some of the tables may have been refused to; why was said of each.
pub(super) fn ending<'a>(mut refusals: impl Iterator<Item = &'a Option<Refusal>>) -> ExitCode {
    if refusals.any(Option::is_some) { WORK_FAILED.into() } else { ExitCode::SUCCESS }
}

/// Says what was pushed; of programs only what is wrong is told here.
pub(super) fn pushed(format: Format, remote: &str, pushed: &PushedTables) {
    for table in &pushed.tables {
        if format == Format::Text {
            pushed_table(remote, table);
        }
        refused(remote, &table.name, table.refusal.as_ref());
        pushed_warnings(remote, table);
    }
    let moved = &pushed.transferred;
    if format == Format::Text && moved.pieces > 0 {
        let pieces = counted(moved.pieces, "piece");
        output::text(&format!("{pieces} of tables, {} to {remote}\n", bytes(moved.bytes)));
    }
}

fn pushed_table(remote: &str, table: &PushedTable) {
    let name = &table.name;
    if !table.pushed.is_empty() {
        output::text(&format!("{name}: {} new in {remote}\n", versions(table.pushed.len())));
    } else if table.present > 0 && table.removed.is_empty() {
        output::text(&format!("{name}: up to date\n"));
    }
    if !table.removed.is_empty() {
        output::text(&format!("{name}: {} removed in {remote}, as here\n", versions(table.removed.len())));
    }
}

fn pushed_warnings(remote: &str, table: &PushedTable) {
    let name = &table.name;
    for one in &table.removed_there {
        let (version, who, why) = (one.digest.short(), printable(&one.removed.who), printable(&one.removed.why));
        terminal::say(&format!(
            "warning: {name}: {version} was removed in {remote} by {who}: {why}; `ropewalk fetch {name}` removes it here too"
        ));
    }
    for (version, tag) in &table.protected {
        let version = version.short();
        terminal::say(&format!(
            "warning: {name}: {version} is removed here and tagged `{tag}` in {remote}, where it stays until the tag goes"
        ));
    }
    for version in &table.lacking {
        let version = version.short();
        terminal::say(&format!(
            "warning: {name}: {version} was not pushed: its bytes are neither here nor in {remote}; `ropewalk fetch {name} \
             --all` brings them from where they are"
        ));
    }
    for TagConflict { tag, kept, refused } in &table.refused_tags {
        let (kept, refused) = (kept.short(), refused.short());
        terminal::say(&format!("warning: {name}@{tag} is {kept} there, not {refused}; --move-tags moves it"));
    }
}

/// Says what was fetched; of programs only what is wrong is told here.
pub(super) fn fetched(format: Format, remote: &str, fetched: &FetchedTables) {
    for table in &fetched.tables {
        if format == Format::Text {
            fetched_table(remote, table);
        }
        refused(remote, &table.name, table.refusal.as_ref());
        fetched_warnings(remote, table);
    }
    for name in &fetched.missing {
        terminal::say(&format!("warning: {remote} has nothing of the table {name}"));
    }
    if fetched.unknown_refs > 0 {
        let refs = counted(fetched.unknown_refs, "ref");
        terminal::say(&format!("warning: {remote} has {refs} of tables that only a newer Ropewalk can read"));
    }
}

fn fetched_table(remote: &str, table: &FetchedTable) {
    let name = &table.name;
    if !table.recorded.is_empty() {
        output::text(&format!("{name}: {} new here\n", versions(table.recorded.len())));
    } else if !table.content.is_empty() {
        output::text(&format!("{name}: the bytes of {} came\n", counted(table.content.len() as u64, "version")));
    }
    if table.elsewhere > 0 && !table.is_quiet() {
        let count = table.elsewhere;
        output::text(&format!("{name}: the bytes of {count} more are in {remote}: `ropewalk fetch {name} --all`\n"));
    }
    for one in &table.renumbered {
        let (version, here, there) = (one.digest.short(), one.here, one.there);
        let why = if there < here { "is another version" } else { "is far above all others" };
        output::text(&format!("{name}: {version} is v{here} here, because v{there} {why}\n"));
    }
    for tag in &table.tags {
        output::text(&format!("{name}: the tag {tag} is as in {remote}\n"));
    }
    if table.declared {
        output::text(&format!("{name}: what is declared of it is as in {remote}\n"));
    }
    if !table.again.is_empty() {
        let count = versions(table.again.len());
        output::text(&format!("{name}: {count} here again, made after the removal and pushed to {remote}\n"));
    }
    if !table.removed.is_empty() {
        output::text(&format!("{name}: {} removed, as in {remote}\n", versions(table.removed.len())));
    }
}

fn fetched_warnings(remote: &str, table: &FetchedTable) {
    let name = &table.name;
    for (version, tag) in &table.protected {
        let version = version.short();
        terminal::say(&format!(
            "warning: {name}: {version} was removed in {remote} and is tagged `{tag}` here, where it stays until the tag goes"
        ));
    }
    for version in &table.lacking {
        let version = version.short();
        terminal::say(&format!("warning: {name}: {remote} names {version}, but does not have its bytes"));
    }
    for TagConflict { tag, kept, refused } in &table.refused_tags {
        let (here, there) = (kept.short(), refused.short());
        terminal::say(&format!("warning: {name}@{tag} is {here} here and {there} in {remote}"));
    }
}

fn refused(remote: &str, name: &DatasetName, refusal: Option<&Refusal>) {
    let Some(Refusal { error, hint }) = refusal else { return };
    terminal::say(&format!("error: {name} stays as it is, here and in {remote}: {}", printable(error)));
    if let Some(hint) = hint {
        terminal::say(&format!("hint: {}", printable(hint)));
    }
}

fn versions(count: usize) -> String {
    format!("{} {}", counted(count as u64, "version"), if count == 1 { "is" } else { "are" })
}
