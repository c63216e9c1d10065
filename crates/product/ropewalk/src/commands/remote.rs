use std::process::ExitCode;

use ropewalk_server::DataProject;
use serde_json::json;

use crate::arguments::{Format, Remote, Shared};
use crate::failure::Ending;
use crate::{commands, output};

pub(super) async fn run(shared: &Shared, command: Remote) -> Ending {
    match command {
        Remote::Ls => list(shared),
        Remote::Add { name, url } => {
            commands::data_project(shared, "ropewalk remote add")?.remote_add(&name, &url).await?;
            Ok(told(shared, &name, Some(&url)))
        }
        Remote::Rm { name } => {
            DataProject::remote_remove(&commands::root(shared)?, &name)?;
            Ok(told(shared, &name, None))
        }
    }
}

fn list(shared: &Shared) -> Ending {
    let project = commands::data_project(shared, "ropewalk remote ls")?;
    let remotes: Vec<_> =
        project.file().remote.iter().map(|(name, remote)| (name.clone(), remote.url.clone())).collect();
    output::listing(shared.output, &remotes, &["REMOTE", "URL"], |(name, url)| vec![name.clone(), url.clone()]);
    Ok(ExitCode::SUCCESS)
}

fn told(shared: &Shared, name: &str, url: Option<&str>) -> ExitCode {
    match (shared.output, url) {
        (Format::Json, url) => output::json(&json!({ "remote": name, "url": url })),
        (Format::Text, Some(url)) => output::text(&format!("the remote {name} is {url}\n")),
        (Format::Text, None) => output::text(&format!("removed the remote {name}; what lies there stays\n")),
    }
    ExitCode::SUCCESS
}
