use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where runs and models are kept; by default in the project.
#[derive(Clone, Debug, Args)]
pub(crate) struct Kept {
    /// Keep runs and models in this folder, not in a project; it is made if it is not there
    #[arg(long, global = true, value_name = "FOLDER", env = "ROPEWALK_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The catalogue, as postgresql://USER@HOST/NAME; SQLite in the folder by default
    #[arg(
        long,
        global = true,
        value_name = "URL",
        requires = "data",
        env = "ROPEWALK_CATALOG",
        hide_env_values = true
    )]
    pub(crate) catalog: Option<String>,
    /// The store of artifacts, as s3://BUCKET/PREFIX; in the folder by default. Servers with one catalogue need one store
    #[arg(long, global = true, value_name = "URL", requires = "data", env = "ROPEWALK_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Server {
    #[command(flatten)]
    pub(crate) kept: Kept,
    /// Address to listen on; others than this machine's own need credentials
    #[arg(long, default_value = "127.0.0.1", value_parser = address)]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 5000)]
    pub(crate) port: u16,
    /// A name, without port, under which clients address the server besides localhost and addresses; * is any
    #[arg(long = "allowed-host", value_name = "NAME")]
    pub(crate) allowed_hosts: Vec<String>,
    /// A file with the token that clients must have as MLFLOW_TRACKING_TOKEN; or the variable ROPEWALK_SERVER_TOKEN
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A file with a line NAME:PASSWORD for each user, as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub(crate) users_file: Option<PathBuf>,
    /// A chain of certificates in PEM, to serve HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// An address; `localhost` is that of this machine.
fn address(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().map_err(|_| format!("`{text}` is no address: use 127.0.0.1 or 0.0.0.0, for example"))
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    #[command(flatten)]
    pub(crate) kept: Kept,
    #[command(subcommand)]
    pub(crate) command: RunsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List the newest 100
    #[command(alias = "ls")]
    List,
    /// Say everything of one run
    Show {
        /// The run's id, or its beginning
        run: String,
    },
    /// Say what differs between two runs: params, metrics, code, data, environment, machine
    Diff {
        /// A run's id, or its beginning
        first: String,
        /// Another run's id, or its beginning
        second: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Reproduce {
    /// The run's id, or its beginning
    pub(crate) run: String,
    /// How far metrics may be apart, relative to the larger one
    #[arg(long, default_value_t = 1e-9, value_name = "SHARE")]
    pub(crate) tolerance: f64,
}
