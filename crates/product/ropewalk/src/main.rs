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
use tokio::runtime::{Builder, Runtime};

use crate::arguments::{Arguments, Command};

/// What long-lived servers need: freed memory goes back to the system, whichever thread it was of. docs/adr/021-allocator.md.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Most threads of a server that answer requests.
const SERVER_THREADS: usize = 4;
/// Most threads of a server that wait for the disk.
const SERVER_BLOCKING_THREADS: usize = 64;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match runtime(&arguments.command) {
        Ok(runtime) => runtime,
        Err(error) => return failure::no_runtime(&error),
    };
    // It ends by a signal, too, but by its own way: what is under way is answered first.
    let ends_itself = matches!(arguments.command, Command::Server(_) | Command::Serve(_) | Command::Bench(_));
    let serves = matches!(arguments.command, Command::Serve(_));
    let ending = runtime.block_on(async {
        tokio::select! {
            ending = commands::dispatch(arguments) => ending,
            () = interrupted(), if !ends_itself => Ok(failure::INTERRUPTED.into()),
        }
    });
    if serves {
        // What a model still evaluates was given its time, or a second signal has ended it.
        runtime.shutdown_background();
    }
    let ending = ending.unwrap_or_else(|error| failure::tell(&error));
    if output::is_lost() { failure::ENVIRONMENT.into() } else { ending }
}

/// A server of runs has few threads, since each has a stack and a share of the heap of its own: its work is short, and its disk
/// and database are not faster with more.
fn runtime(command: &Command) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if matches!(command, Command::Server(_)) {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        builder.worker_threads(cores.min(SERVER_THREADS)).max_blocking_threads(SERVER_BLOCKING_THREADS);
    }
    builder.enable_all().build()
}

/// Ends when the person presses Ctrl-C before any command took that over.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
