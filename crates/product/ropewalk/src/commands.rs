//! One file for each command; each turns arguments into one call of the server crate and prints what comes back.

mod completions;
mod data;
mod demo;
mod doctor;
mod init;
mod listings;
mod monitor;
mod run;
mod serve;
mod sql;
mod status;
mod trace;

use std::path::PathBuf;

use ropewalk_server::{OpenProject, ServerError};

use crate::arguments::{Arguments, Command, Data, Shared};
use crate::failure::Ending;

/// Carries out the command that was given.
pub(crate) async fn dispatch(arguments: Arguments) -> Ending {
    let Arguments { shared, command } = arguments;
    match command {
        Command::Demo(arguments) => Box::pin(demo::run(&shared, arguments)).await,
        Command::Init(arguments) => init::run(&shared, &arguments),
        Command::Run(arguments) => Box::pin(run::run(&shared, arguments)).await,
        Command::Status => status::run(&shared).await,
        Command::Serve(arguments) => serve::run(&shared, arguments).await,
        Command::Monitor(arguments) => Box::pin(monitor::run(&shared, &arguments)).await,
        Command::Trace(arguments) => trace::run(&shared, &arguments).await,
        Command::Sql(arguments) => sql::run(&shared, &arguments).await,
        Command::Data(Data::Ls) => listings::datasets(&shared).await,
        Command::Data(Data::Show { name, version }) => data::show(&shared, &name, &version).await,
        Command::Runs(_) => listings::runs(&shared).await,
        Command::Models(_) => listings::models(&shared).await,
        Command::Doctor => doctor::run(&shared).await,
        Command::Completions { shell } => Ok(completions::run(shell)),
    }
}

/// Opens the project that the flags name, or the one around the current folder.
async fn open(shared: &Shared) -> Result<OpenProject, ServerError> {
    let root = match &shared.project {
        Some(root) => root.clone(),
        None => OpenProject::find(&current_folder()?)?,
    };
    OpenProject::open(&root).await
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
