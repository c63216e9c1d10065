use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What is done with all runs and models at once.
#[derive(Debug, Subcommand)]
pub(crate) enum Tracking {
    /// Take over an existing MLflow, with all ids; done again it brings what is new there
    Import(TrackingImport),
    /// Write everything as a folder mlruns that MLflow reads, with all ids
    Export(TrackingExport),
}

/// Where the runs and models are kept.
#[derive(Debug, Args)]
pub(crate) struct TrackingPlace {
    /// The folder of a `ropewalk server`; by default the project's own runs and models are meant
    #[arg(long, value_name = "FOLDER", env = "ROPEWALK_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The server's catalogue, if it is not in the folder: postgresql://USER@HOST/DATABASE; with a password by the variable
    #[arg(long, value_name = "URL", requires = "data", env = "ROPEWALK_CATALOG", hide_env_values = true)]
    pub(crate) catalog: Option<String>,
    /// The server's store, if it is not in the folder: s3://BUCKET/PATH, gs://, az://
    #[arg(long, value_name = "URL", requires = "data", env = "ROPEWALK_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TrackingImport {
    /// What to take over: a database mlflow.db, a folder mlruns, or http://HOST:PORT of a server
    #[arg(long, value_name = "PLACE")]
    pub(crate) from: String,
    /// The folder that `mlflow server` was given as --artifacts-destination; by default mlartifacts beside the database
    #[arg(long, value_name = "FOLDER")]
    pub(crate) artifacts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: TrackingPlace,
}

#[derive(Debug, Args)]
pub(crate) struct TrackingExport {
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) place: TrackingPlace,
}
