//! The `ropewalk-serve` binary: models of files and folders, answered over REST and gRPC, and nothing else.
//!
//! It has no catalogue, no store and no prediction log. Standard error is talk. Exit codes: 0 done, 2 usage or environment,
//! 130 cut off by a second signal.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use ropewalk_config::{ModelPlace, Serve};
use ropewalk_inference_server::{
    Ended, InferenceServerError, ServeArguments, Signals, Started, SystemAmbient, begin, engines, serve_file,
    until_signalled,
};
use ropewalk_listening::{RUST_LOG, tell};
use ropewalk_serving::NoPredictionLog;
use tokio::runtime::Builder;

/// Wrong usage, or something about the machine.
const ENVIRONMENT: u8 = 2;
/// Cut off by a second signal.
const INTERRUPTED: u8 = 130;
/// Most threads that answer requests: a machine's cores are for the models.
const THREADS: usize = 8;

/// Serve models of files and folders over the Open Inference Protocol
///
/// FILE.onnx, NAME=FILE.onnx, a Triton model repository, a folder whose folders hold a model.onnx, an MLflow model.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    serve: ServeArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse().serve;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = Builder::new_multi_thread().worker_threads(cores.min(THREADS)).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: cannot start the worker threads: {error}"));
            return ENVIRONMENT.into();
        }
    };
    let ended = runtime.block_on(run(&arguments));
    // What still runs was given its time, or a second signal has ended it.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::Cut) => INTERRUPTED.into(),
        Err(error) => {
            say(&format!("error: {}", error.in_one_line()));
            ENVIRONMENT.into()
        }
    }
}

async fn run(arguments: &ServeArguments) -> Result<Ended, InferenceServerError> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    tell(environment.get(RUST_LOG).map(String::as_str))?;
    let configured = arguments.config.as_deref().map(serve_file).transpose()?.unwrap_or_default();
    let serve = arguments.over(configured);
    check(&serve)?;
    let (log, ambient) = (Arc::new(NoPredictionLog), Arc::new(SystemAmbient));
    let Started { server, notes, .. } = begin(&serve, &environment, engines(&environment), log, ambient).await?;
    let signals = Signals::new()?;
    server.ready();
    for note in &notes {
        say(&format!("note: {note}"));
    }
    let models: Vec<String> = server.models().iter().map(|model| format!("{}/{}", model.name, model.version)).collect();
    say(&format!("serving {}", if models.is_empty() { "no model yet".to_owned() } else { models.join(", ") }));
    say(&format!("REST  {}/v2", server.rest_url()));
    say(&format!("gRPC  {}", server.grpc_url()));
    until_signalled(signals, server, || say("stopping")).await
}

fn check(serve: &Serve) -> Result<(), InferenceServerError> {
    let wrong = |what: String, hint: &str| Err(InferenceServerError::Options { what, hint: hint.to_owned() });
    if serve.models.is_empty() {
        return wrong("there is no model to serve".to_owned(), "name a file or folder");
    }
    let registered = serve.models.iter().find(|model| matches!(model, ModelPlace::Uri(_)));
    match registered {
        Some(model) => wrong(format!("{model} is in a registry, which this program has not"), "use `ropewalk serve`"),
        None => Ok(()),
    }
}

/// Standard error may be closed; that is no reason to end.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// Names of files are anybody's: what could play tricks with a terminal is escaped.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}
