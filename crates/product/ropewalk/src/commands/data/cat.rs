use std::io::Write as _;
use std::process::ExitCode;

use futures::TryStreamExt as _;
use ropewalk_server::ServerError;

use crate::arguments::{DataSpec, Shared};
use crate::commands;
use crate::failure::Ending;

pub(super) async fn run(shared: &Shared, file: &DataSpec) -> Ending {
    let project = commands::data_project(shared, "ropewalk data cat")?;
    let workspace = project.workspace();
    let found = workspace.file(&file.name, file.version(), file.path.as_deref().unwrap_or_default()).await?;
    let mut bytes = workspace.store().await?.blob_stream(&found.digest, 0..found.size);
    let mut output = std::io::stdout().lock();
    while let Some(piece) = bytes.try_next().await? {
        match output.write_all(&piece) {
            // Whoever reads may stop early, as `head` does.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            written => written.map_err(|error| ServerError::Serve(format!("cannot write the file: {error}")))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
