use std::process::ExitCode;

use ropewalk_data::EffectiveFacts;
use ropewalk_server::{Strand, Thread};
use serde::Serialize;

use crate::arguments::{Format, Shared, Trace};
use crate::commands::said;
use crate::failure::Ending;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, arguments: &Trace) -> Ending {
    let (thread, facts) = if arguments.kept.data.is_some() {
        let home = commands::open_home(shared, &arguments.kept).await?;
        let told = (home.trace(&arguments.uri).await?, home.facts_of(&arguments.uri).await?);
        home.close().await;
        told
    } else {
        let project = commands::open(shared).await?;
        let told = (project.trace(&arguments.uri).await?, project.facts_of(&arguments.uri).await?);
        project.close().await;
        told
    };
    match shared.output {
        Format::Json => output::json(&Told { thread: &thread, facts: &facts }),
        Format::Text => output::text(&(drawn(&thread) + &said::facts(&thread.uri, &facts))),
    }
    Ok(ExitCode::SUCCESS)
}

/// A thread, and what holds of the thing that it begins with.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    thread: &'a Thread,
    facts: &'a EffectiveFacts,
}

/// The thread as a tree, from the thing itself down to where it came from.
pub(super) fn drawn(thread: &Thread) -> String {
    let mut lines = vec![described(thread)];
    branches(thread, "", &mut |strand| described(&strand.to), &mut lines);
    lines.push(String::new());
    lines.join("\n")
}

/// Adds a line for each thing that a thread leads to, in the words of `say`.
pub(super) fn branches(thread: &Thread, indent: &str, say: &mut dyn FnMut(&Strand) -> String, lines: &mut Vec<String>) {
    let last = thread.from.len().saturating_sub(1);
    for (position, strand) in thread.from.iter().enumerate() {
        let (joint, below) = if position == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(format!("{indent}{joint}{}", say(strand)));
        branches(&strand.to, &format!("{indent}{below}"), say, lines);
    }
}

fn described(thread: &Thread) -> String {
    if thread.about.is_empty() { thread.uri.to_string() } else { format!("{}  ({})", thread.uri, thread.about) }
}
