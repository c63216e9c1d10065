use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use ropewalk_config::ModelPlace;
use ropewalk_inference::EngineName;

use super::Kept;

#[derive(Debug, Args)]
pub(crate) struct Predict {
    #[command(flatten)]
    pub(crate) kept: Kept,
    /// The model: FILE.onnx, a folder, models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN_ID/PATH
    pub(crate) model: ModelPlace,
    /// The table: a file (.parquet, .csv, .tsv, .ndjson, .arrow), a folder of such files, or 'FOLDER/*.parquet'
    #[arg(long = "in", value_name = "PATH")]
    pub(crate) input: PathBuf,
    /// FILE.parquet, or a folder that gets a file for each table
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// The columns of the model's one matrix, in its order; by default those of the inputs' names, or else all numbers
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// The columns that stay beside the scores; by default all
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub(crate) keep: Option<Vec<String>>,
    /// What the names of the scores begin with
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) prefix: String,
    /// Rows that are scored at once
    #[arg(long, default_value = "8192", value_name = "N")]
    pub(crate) batch_rows: NonZeroUsize,
    /// Threads that score; by default as many as there are cores
    #[arg(long, short, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// The engine: embedded, onnxruntime or python; by default the one that suits the model
    #[arg(long)]
    pub(crate) engine: Option<EngineName>,
    /// Score again what was made already by the same model of the same input
    #[arg(long)]
    pub(crate) again: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Load an endpoint of the Open Inference Protocol, and say how much it answers and how fast
    Serve(BenchServe),
}

#[derive(Debug, Args)]
pub(crate) struct BenchServe {
    /// The endpoint: http://HOST:PORT, https://HOST:PORT or HOST:PORT; with --grpc also grpc:// and grpcs://
    pub(crate) endpoint: String,
    /// The model that is asked
    #[arg(long, value_name = "NAME", required_unless_present = "path")]
    pub(crate) model: Option<String>,
    /// Its version; by default the one that the server chooses
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u64>,
    /// Ask over gRPC; the endpoint is then the port of gRPC
    #[arg(long, conflicts_with = "binary")]
    pub(crate) grpc: bool,
    /// Ask over REST with binary tensors in place of JSON
    #[arg(long)]
    pub(crate) binary: bool,
    /// Send the body of --input as it is to this path, such as /invocations of MLflow
    #[arg(long, value_name = "/PATH", requires = "input", conflicts_with_all = ["grpc", "binary", "rows", "version"])]
    pub(crate) path: Option<String>,
    /// Requests that are under way at once; several numbers are tried one after another
    #[arg(long, default_value = "1,4,16", value_name = "N,…", value_delimiter = ',')]
    pub(crate) concurrency: Vec<NonZeroUsize>,
    /// Seconds for each concurrency
    #[arg(long, default_value = "10", value_name = "S", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds of the same load before those that count
    #[arg(long, default_value = "1", value_name = "S", value_parser = warm_up)]
    pub(crate) warm_up: Duration,
    /// Requests a second that are due; latency is counted from when a request was due. By default as many as are answered
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Rows of a request; 1 by default
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<NonZeroUsize>,
    /// What is asked: a table (.parquet, .csv, .tsv, .ndjson, .arrow) whose rows are sent in turn, or a request as the
    /// protocol has it in JSON; by default one is made up from the model's metadata
    #[arg(long, value_name = "TABLE|BODY.json")]
    pub(crate) input: Option<PathBuf>,
    /// The columns of the model's one matrix, in its order; by default those of the inputs' names, or else all numbers
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "input")]
    pub(crate) columns: Vec<String>,
    /// The environment variable that holds the key with which the endpoint is asked
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) key_env: Option<String>,
    /// A header of each request, or metadata of gRPC; others on this machine can read it: --key-env is for secrets
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,
    /// Certificates in PEM that are trusted in place of this machine's
    #[arg(long, value_name = "FILE.pem")]
    pub(crate) cacert: Option<PathBuf>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn warm_up(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0 && *seconds <= 3600.0);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give seconds from 0 on, an hour at most".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give seconds above 0, a day at most".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (1e-3..=1e7).contains(rate));
    rate.ok_or_else(|| "give requests a second, from 0.001 to 10000000".to_owned())
}
