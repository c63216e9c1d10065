use std::process::ExitCode;

use ropewalk_config::Serve as Configured;
use ropewalk_inference_server::{Ended, serve_file};
use ropewalk_listening::RUST_LOG;
use ropewalk_server::{ModelServer, ServerError, serve_files};
use serde_json::json;

use crate::arguments::{Format, Serve, Shared};
use crate::failure::{Ending, INTERRUPTED};
use crate::output::printable;
use crate::{commands, output, terminal};

pub(super) async fn run(shared: &Shared, arguments: Serve) -> Ending {
    let Serve { kept, flags } = arguments;
    let environment = commands::environment();
    ropewalk_listening::tell(environment.get(RUST_LOG).map(String::as_str))?;
    let file = flags.config.as_deref().map(serve_file).transpose()?;
    if kept.data.is_none() && flags.needs_no_project() {
        let serve = checked(flags.over(file.clone().unwrap_or_default()))?;
        // A file of configuration may name registered models all the same.
        if serve.models.iter().all(|model| matches!(model, ropewalk_config::ModelPlace::Path { .. })) {
            return told(shared.output, serve_files(&serve, &environment).await?).await;
        }
    }
    if kept.data.is_some() {
        let home = commands::open_home(shared, &kept).await?;
        let serve = checked(flags.over(file.unwrap_or_default()))?;
        let ending = told(shared.output, home.serve_models(&serve, &environment).await?).await;
        home.close().await;
        return ending;
    }
    let project = commands::open(shared).await?;
    let serve = checked(flags.over(file.unwrap_or_else(|| project.serve_options())))?;
    let ending = told(shared.output, project.serve(&serve, &environment).await?).await;
    project.close().await;
    ending
}

fn checked(serve: Configured) -> Result<Configured, ServerError> {
    if serve.models.is_empty() {
        let hint =
            "name a file, a folder or models:/NAME@ALIAS, or write models = [\"models:/NAME@champion\"] in [serve]";
        return Err(ServerError::Unknown { what: "there is no model to serve".to_owned(), hint: hint.to_owned() });
    }
    Ok(serve)
}

async fn told(format: Format, server: ModelServer) -> Ending {
    tell(format, &server);
    match until_interrupted(server).await? {
        Ended::Stopped => Ok(ExitCode::SUCCESS),
        Ended::Cut => Ok(INTERRUPTED.into()),
    }
}

fn tell(format: Format, server: &ModelServer) {
    for note in server.notes() {
        terminal::say(&printable(&format!("note: {note}")));
    }
    let server = server.server();
    let models = server.models();
    let named = models.iter().map(|model| (format!("{}/{}", model.name, model.version), model.engine.as_str()));
    if format == Format::Json {
        let (models, engines): (Vec<String>, Vec<&str>) = named.unzip();
        return output::json(&json!({
            "rest_url": server.rest_url(), "grpc_url": server.grpc_url(), "models": models, "engines": engines,
        }));
    }
    let models: Vec<String> = named.map(|(model, engine)| format!("{model} ({engine})")).collect();
    terminal::say(&format!(
        "serving {}",
        if models.is_empty() { "no model yet".to_owned() } else { models.join(", ") }
    ));
    terminal::say(&format!("REST  {}/v2", server.rest_url()));
    terminal::say(&format!("gRPC  {}", server.grpc_url()));
    terminal::say("stop with Ctrl-C");
}

/// Serves until Ctrl-C or SIGTERM, then answers what is under way and writes the rest of the log; a second one ends it.
pub(super) async fn until_interrupted(server: ModelServer) -> Result<Ended, ServerError> {
    Ok(server.until_stopped(|| terminal::say("stopping")).await?)
}
