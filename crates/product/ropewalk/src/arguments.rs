mod batch;
mod data;
mod models;
mod server;
mod spec;
mod tracking;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ropewalk_inference_server::ServeArguments;
use ropewalk_types::{StageName, Uri};

pub(crate) use batch::{Bench, BenchServe, Predict};
pub(crate) use data::{
    AddArguments, Audit, Checkout, Collect, Data, Diff, Fetch, LinkArguments, Merge, Pull, Push, Remote, Remove, Tag,
    Verify,
};
pub(crate) use models::{AliasCommand, Approve, GateCommand, GateSet, Models, ModelsCommand, RoleCommand};
pub(crate) use server::{Kept, Reproduce, Runs, RunsCommand, Server};
pub(crate) use spec::DataSpec;
pub(crate) use tracking::{Tracking, TrackingExport, TrackingImport, TrackingPlace};

/// The whole machine-learning workflow in one program: from raw data to a served, monitored model, with a thread
/// from any prediction back to the bytes it came from.
///
/// Begin with `ropewalk demo`, which does all of it on real data, or with `ropewalk init`.
#[derive(Debug, Parser)]
#[command(name = "ropewalk", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  ropewalk demo                          everything once, on flights out of New York
  ropewalk init --template flights air   the same project, to look at and change
  ropewalk run                           do what has to be done, and nothing else
  ropewalk serve                         answer requests with the champion
  ropewalk predict models:/m@champion --in new.parquet --out scored.parquet
  ropewalk trace prediction:0192…        where did this answer come from?
  ropewalk server --data tracking        a tracking server for MLflow's clients";

/// Flags that every command has.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shared {
    /// The project's folder; by default the nearest one upwards with a ropewalk.toml
    #[arg(long, global = true, value_name = "FOLDER", env = "ROPEWALK_PROJECT")]
    pub(crate) project: Option<PathBuf>,
    /// How results are written to standard output
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Do the whole workflow on real data: ingest, transform, train, register, serve, monitor, trace
    Demo(Demo),
    /// Make a new project
    Init(Init),
    /// Run the pipeline: what is known already is not done again
    Run(Run),
    /// Say what `run` would do, and why
    Status,
    /// Serve the project's models over REST and gRPC (Open Inference Protocol v2)
    Serve(Serve),
    /// Score the rows of tables by a model, into Parquet files
    Predict(Predict),
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
    /// Compare live predictions with what the model was trained on, and with the labels that came later
    Monitor(Monitor),
    /// Follow the thread back from a prediction, a model, a run or a dataset
    Trace(Trace),
    /// Ask the project's datasets a question in SQL
    Sql(Sql),
    /// Datasets: tables and tracked files, their versions, and what is known of them
    #[command(subcommand)]
    Data(Data),
    /// Other stores that data is pushed to and pulled from
    #[command(subcommand)]
    Remote(Remote),
    /// Send versions of tracked files and of tables to a remote
    Push(Push),
    /// Bring versions of tracked files and of tables from a remote, and lay the files out
    Pull(Pull),
    /// Bring versions of tracked files and of tables from a remote, and leave the work tree alone
    Fetch(Fetch),
    /// Take the place of MLflow's server: runs, artifacts and registered models for every MLflow client
    Server(Server),
    /// Tracked runs: list, show, compare
    Runs(Runs),
    /// Do again what a run did, and say what came out equal
    Reproduce(Reproduce),
    /// Registered models: their versions, aliases, gates and approvals
    Models(Models),
    /// All runs and models at once: take over an MLflow, or write one
    #[command(subcommand)]
    Tracking(Tracking),
    /// Look whether everything that the project needs is there
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Listing {
    /// List them
    Ls,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where the project is made; a second run there does nothing twice
    #[arg(long, default_value = "ropewalk-demo", value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// Go on serving when the demo has ended, until Ctrl-C
    #[arg(long)]
    pub(crate) keep_serving: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder of the new project
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// What to begin with
    #[arg(long, value_enum, default_value_t)]
    pub(crate) template: Template,
}

/// What a new project begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// A project file with comments
    #[default]
    Empty,
    /// Flights out of New York in 2013: will a flight arrive late?
    Flights,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Only these stages and what they need
    pub(crate) stages: Vec<StageName>,
    /// How many stages may run at once; by default as many as there are cores
    #[arg(long, short)]
    pub(crate) jobs: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) kept: Kept,
    #[command(flatten)]
    pub(crate) flags: ServeArguments,
}

#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// Where the report page is written
    #[arg(long, default_value = "report.html", value_name = "FILE")]
    pub(crate) html: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) kept: Kept,
    /// What to follow: prediction:ID, models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID, data:NAME@VERSION
    pub(crate) uri: Uri,
}

#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// The query; each dataset is a table by its name, or NAME@VERSION; 'FILE' is a file
    pub(crate) query: String,
    /// How the answer is written
    #[arg(long, value_enum)]
    pub(crate) format: Option<SqlFormat>,
    /// Where it is written; standard output if absent
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Megabytes that the query may hold in memory before it spills to disk
    #[arg(long, default_value = "1024", value_name = "MB")]
    pub(crate) memory: NonZeroUsize,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SqlFormat {
    /// For people; at most 1,000 rows
    Table,
    /// RFC 4180, with a header
    Csv,
    /// One array of objects
    Json,
    /// One object a line
    Jsonl,
    /// Parquet
    Parquet,
    /// Arrow IPC file (Feather V2)
    Arrow,
}
