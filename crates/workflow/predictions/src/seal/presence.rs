use std::collections::BTreeSet;
use std::path::PathBuf;

use ropewalk_store::FileError;
use ropewalk_store::files::{self, FileLock};
use ropewalk_types::Ambient;

use crate::PredictionHome;
use crate::journal::{JournalName, WriterName, list_journals};

/// What a lock says of its holder.
const HOLDER: &str = "prediction log";

/// A new writer, and the lock by which others see that it lives.
pub(crate) async fn writer_begin(
    home: &PredictionHome,
    ambient: &dyn Ambient,
) -> Result<(WriterName, FileLock), FileError> {
    loop {
        let writer = WriterName(ambient.random());
        // Between its making and its locking, another process may have taken the file for that of a dead writer, and have
        // removed it.
        if let Some(lock) = lock_of(home, writer).await? {
            let path = writer.lock_path(&home.folder);
            // A name that left journals is that of a dead writer, where what is drawn repeats.
            if blocking(move || files::exists(&path)).await? && journals_of(home, writer).await?.is_empty() {
                return Ok((writer, lock));
            }
        }
    }
}

/// The lock of a writer; none while it lives.
pub(super) async fn lock_of(home: &PredictionHome, writer: WriterName) -> Result<Option<FileLock>, FileError> {
    let path = writer.lock_path(&home.folder);
    match blocking(move || files::lock(&path, HOLDER)).await {
        Err(FileError::Held { .. }) => Ok(None),
        locked => locked.map(Some),
    }
}

/// Removes what a writer leaves that has no journal any more.
pub(crate) async fn writer_end(home: &PredictionHome, writer: WriterName, lock: FileLock) -> Result<(), FileError> {
    let (scratch, path) = (writer.scratch(&home.folder), writer.lock_path(&home.folder));
    blocking(move || {
        files::remove_directory(&scratch)?;
        // Whoever locks another file of this name finds no journal.
        files::remove_file(&path)?;
        drop(lock);
        Ok(())
    })
    .await
}

pub(super) async fn journals_of(home: &PredictionHome, writer: WriterName) -> Result<BTreeSet<JournalName>, FileError> {
    let folder = home.folder.clone();
    let all = blocking(move || list_journals(&folder)).await?;
    Ok(all.into_iter().filter(|name| name.writer == writer).collect())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let broken = |error| FileError::Io {
        action: "work in",
        path: PathBuf::from("the folder of the prediction log"),
        source: std::io::Error::other(error),
    };
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}
