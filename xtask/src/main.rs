//! The project's own chores: `cargo xtask tidy`, `cargo xtask lint`, `cargo xtask test`, `cargo xtask static-binary`.
#![expect(clippy::print_stdout, reason = "a chore talks to the person who runs it")]

mod lint;
mod process;
mod services;
mod static_binary;
mod test;
mod tidy;
mod zoo;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check the habits of the house: which crate may know which, sizes of files, names.
    Tidy,
    /// Check spelling, licences and the origins of dependencies.
    Lint,
    /// Install what the tests need and run all of them.
    Test {
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Build the static `ropewalk-serve` and check its size, start, memory and answers, as the tests do.
    StaticBinary,
}

fn main() -> Result<()> {
    match Arguments::parse().chore {
        Chore::Tidy => tidy::run(),
        Chore::Lint => lint::run(),
        Chore::Test { filter } => test::run(filter.as_deref()),
        Chore::StaticBinary => test::static_binary(),
    }
}
