use std::process::ExitCode;

use ropewalk_listening::RUST_LOG;
use ropewalk_server::{ApiOptions, ApiServer, CredentialSources, Credentials, ServerError, ServerLimits, TlsFiles};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::{Format, Server, Shared};
use crate::failure::Ending;
use crate::{commands, output, terminal};

/// The variable with the token that clients must have: no flag, which others on the machine could see.
const TOKEN: &str = "ROPEWALK_SERVER_TOKEN";

pub(super) async fn run(shared: &Shared, arguments: Server) -> Ending {
    let mut environment = commands::environment();
    ropewalk_listening::tell(environment.get(RUST_LOG).map(String::as_str))?;
    let token = environment.remove(TOKEN).filter(|token| !token.is_empty());
    let (token_file, users_file) = (arguments.token_file, arguments.users_file);
    let credentials = Credentials::read(&CredentialSources { token, token_file, users_file })?;
    let tls = arguments.tls_cert.zip(arguments.tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
    let options = ApiOptions {
        host: arguments.host,
        port: arguments.port,
        allowed_hosts: arguments.allowed_hosts,
        credentials,
        tls,
        limits: ServerLimits::default(),
    };
    // Before anything is said, so that who reads that line can stop the server already.
    let stop = Stop::listen()?;
    let home = commands::open_home(shared, &arguments.kept).await?;
    let server = home.serve(&options).await?;
    tell(shared.output, &server);
    until_stopped(server, stop).await?;
    home.close().await;
    Ok(ExitCode::SUCCESS)
}

fn tell(format: Format, server: &ApiServer) {
    let url = server.url();
    if format == Format::Json {
        output::json(&json!({ "url": url, "pid": std::process::id() }));
    }
    terminal::say(&format!("ready: export MLFLOW_TRACKING_URI={url}"));
}

/// The signals that end a server.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self, ServerError> {
        let failed = |error: std::io::Error| ServerError::Serve(format!("cannot wait for signals: {error}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(failed)? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Serves until a signal, then answers what is under way; a second signal does not wait for that.
async fn until_stopped(mut server: ApiServer, mut stop: Stop) -> Result<(), ServerError> {
    tokio::select! {
        error = server.broken() => return Err(error),
        () = stop.asked() => {}
    }
    terminal::say("stopping: answering what is under way");
    tokio::select! {
        stopped = server.stop() => stopped,
        () = stop.asked() => Ok(()),
    }
}
