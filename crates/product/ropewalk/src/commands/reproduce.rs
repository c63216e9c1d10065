use std::process::ExitCode;
use std::sync::Arc;

use ropewalk_server::{Compared, ReproduceOptions, Reproduction, TrackingHome, Verdict};

use crate::arguments::{Format, Reproduce, Shared};
use crate::failure::{Ending, WORK_FAILED};
use crate::terminal::{self, Progress};
use crate::{commands, output};

/// How much of a digest is shown to people.
const SHOWN: usize = 16;

pub(super) async fn run(shared: &Shared, arguments: &Reproduce) -> Ending {
    let project = commands::open(shared).await?;
    let run = TrackingHome::of(&project).run_find(&arguments.run).await?;
    let options = ReproduceOptions {
        tolerance: arguments.tolerance,
        environment: commands::environment(),
        observer: Arc::new(Progress::new()),
    };
    let waits = |holder: &str| terminal::say(&format!("waiting: this project is being run by {holder}"));
    let reproduction = Box::pin(project.reproduce(run, &options, waits)).await?;
    project.close().await;
    match shared.output {
        Format::Json => output::json(&Told { held: reproduction.held(), reproduction: &reproduction }),
        Format::Text => tell(&reproduction),
    }
    Ok(if reproduction.held() { ExitCode::SUCCESS } else { WORK_FAILED.into() })
}

/// What became of it, with the sum of it.
#[derive(serde::Serialize)]
struct Told<'a> {
    held: bool,
    #[serde(flatten)]
    reproduction: &'a Reproduction,
}

fn tell(reproduction: &Reproduction) {
    let word = |verdict: Verdict| match verdict {
        Verdict::Equal => "equal",
        Verdict::WithinTolerance => "within tolerance",
        Verdict::Different => "DIFFERENT",
        Verdict::Missing => "MISSING",
        Verdict::New => "NEW",
    };
    let short = |text: &Option<String>| -> String {
        text.as_deref().map_or_else(|| "-".to_owned(), |text| text.chars().take(SHOWN).collect())
    };
    output::table(&reproduction.compared, &["", "NAME", "THEN", "NOW", "RESULT"], |one: &Compared| {
        vec![one.what.to_owned(), one.name.clone(), short(&one.before), short(&one.now), word(one.verdict).to_owned()]
    });
    for one in &reproduction.sources {
        let (then, now) = (short(&one.first), short(&one.second));
        terminal::say(&output::printable(&format!("note: the source {} changed: {then} then, {now} now", one.name)));
    }
    for one in &reproduction.environment {
        let (then, now) = (short(&one.first), short(&one.second));
        terminal::say(&output::printable(&format!("note: {} was {then} and is {now}", one.name)));
    }
    if !reproduction.same_key && reproduction.error.is_none() {
        terminal::say("note: a variable that the stage declares, or this program, is not as it was in the run");
    }
    let odd = reproduction.compared.iter();
    let odd = odd.filter(|one| !matches!(one.verdict, Verdict::Equal | Verdict::WithinTolerance)).count();
    let (run, all) = (reproduction.run, reproduction.compared.len());
    terminal::say(&match &reproduction.error {
        Some(error) => output::printable(&format!("run {run} could not be done again: {error}")),
        None if odd == 0 => format!("run {run} is reproduced: all {all} things came out equal"),
        None => format!("run {run} is not reproduced: {odd} of {all} things came out otherwise"),
    });
}
