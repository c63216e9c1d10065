use std::process::ExitCode;

use ropewalk_server::{Exported, HomePlace, ServerError, TakeOverSource, TakenCount, TakenOver, TrackingHome};

use crate::arguments::{Format, Shared, Tracking, TrackingExport, TrackingImport, TrackingPlace};
use crate::commands::credentials::backend_options;
use crate::failure::{Ending, WORK_FAILED};
use crate::output::printable;
use crate::{commands, output, terminal};

pub(super) async fn run(shared: &Shared, command: Tracking) -> Ending {
    match command {
        Tracking::Import(arguments) => import(shared, arguments).await,
        Tracking::Export(arguments) => export(shared, arguments).await,
    }
}

/// The folder of a server, or the project's own.
async fn home(shared: &Shared, place: TrackingPlace) -> Result<TrackingHome, ServerError> {
    match place.data {
        Some(folder) => {
            let place = HomePlace { folder, catalog: place.catalog, store: place.store };
            TrackingHome::open(&place, &backend_options()?).await
        }
        None => Ok(TrackingHome::of(&commands::open(shared).await?)),
    }
}

/// What the server that is taken over asks for, where MLflow's own client looks for it.
fn credentials() -> Option<String> {
    let variables = commands::environment();
    let named = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    named("MLFLOW_TRACKING_TOKEN")
        .or_else(|| Some(format!("{}:{}", named("MLFLOW_TRACKING_USERNAME")?, named("MLFLOW_TRACKING_PASSWORD")?)))
}

async fn import(shared: &Shared, arguments: TrackingImport) -> Ending {
    let home = home(shared, arguments.place).await?;
    let source = TakeOverSource { from: arguments.from, artifacts: arguments.artifacts, credentials: credentials() };
    let taken = Box::pin(home.take_over(&source, |what: &str| terminal::say(&printable(what)))).await?;
    for left in &taken.left {
        terminal::say(&printable(&format!("warning: not taken over: {left}")));
    }
    tell_taken(shared.output, &taken);
    home.close().await;
    Ok(if taken.left.is_empty() { ExitCode::SUCCESS } else { WORK_FAILED.into() })
}

fn tell_taken(format: Format, taken: &TakenOver) {
    if format == Format::Json {
        return output::json(taken);
    }
    let line =
        |what: &str, count: TakenCount| format!("{what:18} {:>9} new {:>9} here already\n", count.new, count.here);
    let mut text = [
        line("experiments", taken.experiments),
        line("runs", taken.runs),
        line("logged models", taken.logged_models),
        line("traces", taken.traces),
        line("registered models", taken.registered_models),
        line("versions", taken.versions),
        line("files of artifacts", taken.artifacts),
    ]
    .concat();
    if taken.elsewhere > 0 {
        let stay = format!("the artifacts of {} runs and models stay where they are\n", taken.elsewhere);
        text.push_str(&stay);
    }
    output::text(&text);
}

async fn export(shared: &Shared, arguments: TrackingExport) -> Ending {
    let home = home(shared, arguments.place).await?;
    let told: Exported = Box::pin(home.export(&arguments.to, |what: &str| terminal::say(&printable(what)))).await?;
    for left in &told.left {
        terminal::say(&printable(&format!("warning: not written: {left}")));
    }
    if shared.output == Format::Json {
        output::json(&told);
    } else {
        let Exported { experiments, runs, logged_models, registered_models, artifacts, .. } = told;
        output::text(&format!(
            "{experiments} experiments, {runs} runs, {logged_models} logged models, {registered_models} registered \
             models, {} files\n",
            artifacts.new + artifacts.here
        ));
    }
    home.close().await;
    Ok(ExitCode::SUCCESS)
}
