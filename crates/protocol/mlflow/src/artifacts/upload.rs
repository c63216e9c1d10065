use std::io::Write as _;
use std::path::PathBuf;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use ropewalk_store::Blob;
use ropewalk_store::files::{AtomicFile, FileError, TemporaryDirectory, temporary_directory};
use tokio::task::spawn_blocking;

use crate::{MlflowError, MlflowState};

/// What is gathered in memory before it is written; what is not longer never touches the spool.
const PIECE: usize = 1 << 20;

/// Puts a body into the store, with bounded memory whatever its length.
pub(super) async fn receive(state: &MlflowState, body: Body) -> Result<Blob, MlflowError> {
    let limit = state.artifact_bytes;
    let mut stream = body.into_data_stream();
    let mut gathered = BytesMut::new();
    let mut spooled: Option<Spooled> = None;
    let mut size = 0_u64;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| MlflowError::BodyBroken(error.to_string()))?;
        size += chunk.len() as u64;
        if size > limit {
            return Err(MlflowError::TooLarge { limit });
        }
        gathered.extend_from_slice(&chunk);
        if gathered.len() > PIECE {
            spooled = Some(Spooled::append(spooled, state.spool.clone(), gathered.split().freeze()).await?);
        }
    }
    let Some(spooled) = spooled else { return Ok(state.tracking.store().put_bytes(gathered.freeze()).await?) };
    let spooled = Spooled::append(Some(spooled), state.spool.clone(), gathered.freeze()).await?;
    let (directory, path) = spawn_blocking(move || spooled.close()).await??;
    let blob = state.tracking.store().put_file(&path).await?;
    // Removing is disk work too.
    spawn_blocking(move || drop(directory)).await?;
    Ok(blob)
}

/// A file in a directory of its own, which goes with it.
struct Spooled {
    // Before the directory, so that it is dropped first.
    file: AtomicFile,
    path: PathBuf,
    directory: TemporaryDirectory,
}

impl Spooled {
    async fn append(spooled: Option<Self>, spool: PathBuf, piece: Bytes) -> Result<Self, MlflowError> {
        spawn_blocking(move || {
            let mut spooled = match spooled {
                Some(spooled) => spooled,
                None => Self::create(&spool)?,
            };
            let written = spooled.file.write_all(&piece);
            written.map_err(|error| MlflowError::Spool { path: spooled.path.clone(), error })?;
            Ok(spooled)
        })
        .await?
    }

    fn create(spool: &std::path::Path) -> Result<Self, FileError> {
        let directory = temporary_directory(spool)?;
        let path = directory.path().join("artifact");
        Ok(Self { file: AtomicFile::create(&path)?, path, directory })
    }

    fn close(self) -> Result<(TemporaryDirectory, PathBuf), FileError> {
        self.file.commit()?;
        Ok((self.directory, self.path))
    }
}
