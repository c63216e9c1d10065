//! One file for each command; each turns arguments into one call of the server crate and prints what comes back.

mod bench;
mod completions;
mod credentials;
mod data;
mod demo;
mod doctor;
mod init;
mod listings;
mod models;
mod monitor;
mod predict;
mod pull;
mod push;
mod remote;
mod reproduce;
mod run;
mod runs;
mod said;
mod serve;
mod server;
mod sql;
mod status;
mod trace;
mod tracking;
mod travelled;

use std::path::PathBuf;

use ropewalk_server::{Access, DataProject, HomePlace, OpenProject, ServerError, TrackingHome};
use ropewalk_types::Diagnose as _;
use ropewalk_versions::{Problem, RefusedRemoval};

use crate::arguments::{Arguments, Command, Kept, Shared};
use crate::failure::Ending;
use crate::output::printable;
use crate::terminal;

use credentials::backend_options;

/// Carries out the command that was given.
pub(crate) async fn dispatch(arguments: Arguments) -> Ending {
    let Arguments { shared, command } = arguments;
    match command {
        Command::Demo(arguments) => Box::pin(demo::run(&shared, arguments)).await,
        Command::Init(arguments) => init::run(&shared, &arguments),
        Command::Run(arguments) => Box::pin(run::run(&shared, arguments)).await,
        Command::Status => status::run(&shared).await,
        Command::Serve(arguments) => Box::pin(serve::run(&shared, arguments)).await,
        Command::Predict(arguments) => Box::pin(predict::run(&shared, arguments)).await,
        Command::Bench(command) => Box::pin(bench::run(&shared, command)).await,
        Command::Monitor(arguments) => Box::pin(monitor::run(&shared, &arguments)).await,
        Command::Trace(arguments) => Box::pin(trace::run(&shared, &arguments)).await,
        Command::Sql(arguments) => sql::run(&shared, &arguments).await,
        Command::Data(command) => Box::pin(data::dispatch(&shared, command)).await,
        Command::Remote(command) => Box::pin(remote::run(&shared, command)).await,
        Command::Push(arguments) => push::run(&shared, &arguments).await,
        Command::Pull(arguments) => pull::pull(&shared, &arguments).await,
        Command::Fetch(arguments) => pull::fetch(&shared, &arguments).await,
        Command::Server(arguments) => Box::pin(server::run(&shared, arguments)).await,
        Command::Runs(arguments) => Box::pin(runs::run(&shared, &arguments)).await,
        Command::Reproduce(arguments) => Box::pin(reproduce::run(&shared, &arguments)).await,
        Command::Models(arguments) => Box::pin(models::run(&shared, arguments)).await,
        Command::Tracking(command) => Box::pin(tracking::run(&shared, command)).await,
        Command::Doctor => doctor::run(&shared).await,
        Command::Completions { shell } => Ok(completions::run(shell)),
    }
}

/// Opens the project that the flags name, or the one around the current folder.
async fn open(shared: &Shared) -> Result<OpenProject, ServerError> {
    OpenProject::open(&root(shared)?, access()?).await
}

/// Opens what keeps runs and models: the folder that the flags name, or the project.
async fn open_home(shared: &Shared, kept: &Kept) -> Result<TrackingHome, ServerError> {
    if let Some(folder) = &kept.data {
        let (folder, catalog, store) = (folder.clone(), kept.catalog.clone(), kept.store.clone());
        return TrackingHome::open(&HomePlace { folder, catalog, store }, &backend_options()?).await;
    }
    match open(shared).await {
        Ok(project) => Ok(TrackingHome::of(&project)),
        Err(ServerError::NoProject(folder)) => Err(ServerError::Unknown {
            what: ServerError::NoProject(folder).to_string(),
            hint: "say where runs are kept with --data FOLDER, or begin a project with `ropewalk init`".to_owned(),
        }),
        Err(error) => Err(error),
    }
}

/// Opens the project's tracked files only; `command` describes this process to others that wait for it.
fn data_project(shared: &Shared, command: &str) -> Result<DataProject, ServerError> {
    let waits = |holder: &str| crate::terminal::say(&format!("waiting for {holder}"));
    DataProject::open(&root(shared)?, command, access()?, waits)
}

/// Says what is wrong with one dataset, while the others are told of.
fn say_problem(Problem { path, error }: &Problem) {
    terminal::say(&printable(&format!("warning: {path}: {error}")));
    if let Some(hint) = error.hint() {
        terminal::say(&printable(&format!("hint: {hint}")));
    }
}

/// Says that a version which was removed on one side has a tag on the other, and so is there.
fn say_refused(refused: &RefusedRemoval, place: &str) {
    let RefusedRemoval { name, version, removal, tags } = refused;
    let (version, who, tags) = (version.short(), &removal.who, tags.join("`, `"));
    terminal::say(&printable(&format!(
        "warning: {name} {version} was removed by {who}, but not {place}, where it is tagged `{tags}`: delete the tag with \
         `ropewalk data tag {name} TAG --delete`, then try again"
    )));
}

/// Who works here, with the credentials that the environment has.
fn access() -> Result<Access, ServerError> {
    Ok(Access { who: who(&environment()), backends: backend_options()? })
}

/// The user of the operating system, as the environment calls them; else by their number.
fn who(environment: &std::collections::BTreeMap<String, String>) -> String {
    let names = ["ROPEWALK_USER", "USER", "LOGNAME", "USERNAME"];
    let named = names.iter().find_map(|name| environment.get(*name).filter(|who| !who.trim().is_empty()));
    named.map_or_else(|| format!("uid:{}", rustix::process::getuid().as_raw()), Clone::clone)
}

/// The project's folder: the one that the flags name, or the nearest one upwards.
fn root(shared: &Shared) -> Result<PathBuf, ServerError> {
    match &shared.project {
        Some(root) => Ok(root.clone()),
        None => OpenProject::find(&current_folder()?),
    }
}

fn current_folder() -> Result<PathBuf, ServerError> {
    std::env::current_dir().map_err(|source| ServerError::Serve(format!("cannot tell the current folder: {source}")))
}

/// The environment, as far as it is text; what is not cannot be passed on.
fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
