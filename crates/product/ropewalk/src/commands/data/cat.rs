use std::io::Write as _;
use std::process::ExitCode;

use futures::TryStreamExt as _;
use ropewalk_data::AuditAction;
use ropewalk_server::ServerError;
use ropewalk_store::Store;
use ropewalk_types::Digest;
use serde_json::json;

use crate::arguments::{DataSpec, Shared};
use crate::commands;
use crate::failure::Ending;

pub(super) async fn run(shared: &Shared, file: &DataSpec) -> Ending {
    let path = file.path.as_deref().unwrap_or_default();
    let tracked = commands::data_project(shared, "ropewalk data cat")?;
    if tracked.is_tracked(&file.name).await? {
        let (found, store) = tracked.workspace().file(&file.name, file.version.as_deref(), path).await?;
        tracked.audit(AuditAction::Read, &file.name, None, json!({ "file": path, "version": file.version })).await?;
        return print(store, &found.digest, found.size).await;
    }
    tracked.check_known(&file.name).await?;
    let project = commands::open(shared).await?;
    let (digest, size) = project.dataset_file(&file.name, file.version(), path).await?;
    let ending = print(project.store(), &digest, size).await;
    project.close().await;
    ending
}

async fn print(store: &Store, digest: &Digest, size: u64) -> Ending {
    let mut bytes = store.blob_stream(digest, 0..size);
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
