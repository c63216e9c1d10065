//! The `ropewalk` binary: arguments in, a project's work done, tables or JSON out.
//!
//! One file for each command under `commands/`. Standard output is data, standard error is talk. Exit codes: 0 done,
//! 1 the user's work failed (a stage, a gate, a check), 2 usage or environment.

mod arguments;
mod commands;
mod failure;
mod output;
mod template;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::no_runtime(&error),
    };
    let ending = runtime.block_on(async {
        tokio::select! {
            ending = commands::dispatch(arguments) => ending,
            () = interrupted() => Ok(failure::INTERRUPTED.into()),
        }
    });
    let ending = ending.unwrap_or_else(|error| failure::tell(&error));
    if output::is_lost() { failure::ENVIRONMENT.into() } else { ending }
}

/// Ends when the person presses Ctrl-C before any command took that over.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
