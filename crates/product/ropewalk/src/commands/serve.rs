use std::process::ExitCode;

use ropewalk_server::{InferenceServer, ServerError};
use serde_json::json;

use crate::arguments::{Format, Serve, Shared};
use crate::failure::Ending;
use crate::{commands, output, terminal};

pub(super) async fn run(shared: &Shared, arguments: Serve) -> Ending {
    let project = commands::open(shared).await?;
    let mut options = project.serve_options();
    if !arguments.models.is_empty() {
        options.models = arguments.models;
    }
    options.host = arguments.host.unwrap_or(options.host);
    options.rest_port = arguments.rest_port.unwrap_or(options.rest_port);
    options.grpc_port = arguments.grpc_port.unwrap_or(options.grpc_port);
    if options.models.is_empty() {
        let hint = "name one, or write models = [\"models:/NAME@champion\"] in [serve]".to_owned();
        return Err(ServerError::Unknown { what: "there is no model to serve".to_owned(), hint });
    }
    let server = project.serve(&options).await?;
    tell(shared.output, &server);
    until_interrupted(server).await?;
    project.close().await;
    Ok(ExitCode::SUCCESS)
}

fn tell(format: Format, server: &InferenceServer) {
    let models: Vec<String> = server.models().iter().map(|model| format!("{}/{}", model.name, model.version)).collect();
    if format == Format::Json {
        return output::json(&json!({
            "rest_url": server.rest_url(), "grpc_url": server.grpc_url(), "models": models,
        }));
    }
    terminal::say(&format!("serving {}", models.join(", ")));
    terminal::say(&format!("REST  {}/v2", server.rest_url()));
    terminal::say(&format!("gRPC  {}", server.grpc_url()));
    terminal::say("stop with Ctrl-C");
}

/// Serves until Ctrl-C or SIGTERM, then answers what is under way and writes the rest of the log.
pub(super) async fn until_interrupted(mut server: InferenceServer) -> Result<(), ServerError> {
    let failed = |error: std::io::Error| ServerError::Serve(format!("cannot wait for signals: {error}"));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        error = server.broken() => return Err(error),
        ended = tokio::signal::ctrl_c() => ended.map_err(failed)?,
        _ = terminate.recv() => {}
    }
    terminal::say("stopping");
    server.stop().await
}
