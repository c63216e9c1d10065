//! The bytes of what is taken over, on their way into the store.
//!
//! What is stored is what was held against the digest of the other tool: of a file on disk, the store's own digest was
//! found in the pass that verified it; an object of a remote is verified while it is stored.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ropewalk_store::{Blob, NewFile, TransferProgress, Writer};
use tokio::sync::mpsc;

use super::digests::{Md5Pass, Md5s};
use super::plan::{FileSource, PlannedFile, RemoteObject, other_bytes};
use crate::error::{VersionsError, blocking};

/// An object up to this size is held in memory as a whole …
const SMALL: u64 = 1 << 20;
/// … and so many of them at a time.
const SMALL_AT_ONCE: usize = 32;
/// Pieces of a large object that wait to be stored.
const PIECES_AHEAD: usize = 1;

const CHANGED: &str = "it changed while it was taken over";
const AGAIN: &str = "run the same command again";
const FETCH: &str =
    "see whether `dvc fetch` brings good bytes from another place into the cache, then run the same command again";

/// Adds the files and gives their blobs in the same order.
pub(super) async fn add_all(
    writer: &mut Writer,
    files: &[PlannedFile],
    progress: &dyn TransferProgress,
) -> Result<Vec<Blob>, VersionsError> {
    let mut blobs = vec![None; files.len()];
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    for (position, file) in files.iter().enumerate() {
        if let FileSource::RemoteObject(object) = &file.source {
            remote.push(Wanted { position, digest: file.digest.clone(), object: object.clone() });
        } else if let Some(path) = file.source.path() {
            local.push((position, NewFile { path: path.to_owned(), size: file.size }));
        }
    }
    let (positions, new): (Vec<_>, Vec<_>) = local.into_iter().unzip();
    let paths: Vec<PathBuf> = new.iter().map(|file| file.path.clone()).collect();
    for ((position, path), blob) in positions.into_iter().zip(paths).zip(writer.add_files(new).await?) {
        if let Some(PlannedFile { size, content, .. }) = files.get(position)
            && (blob.size != *size || content.is_some_and(|content| content != blob.digest))
        {
            return Err(other_bytes(&path, CHANGED, AGAIN));
        }
        if let Some(place) = blobs.get_mut(position) {
            *place = Some(blob);
        }
    }
    add_remote(writer, remote, &mut blobs, progress).await?;
    blobs.into_iter().collect::<Option<_>>().ok_or(VersionsError::Interrupted)
}

/// An object that is to be stored as the file at `position`.
struct Wanted {
    position: usize,
    digest: String,
    object: RemoteObject,
}

impl Wanted {
    fn check(&self, found: &Md5s) -> Result<(), VersionsError> {
        let md5 = self.digest.strip_prefix("md5:").unwrap_or(&self.digest);
        if found.size == self.object.size && found.fit(md5) {
            return Ok(());
        }
        let got = found.by_rule();
        let reason = format!("it is damaged, or was replaced: expected md5:{md5}, got md5:{got}");
        Err(other_bytes(self.object.url().as_ref(), &reason, FETCH))
    }

    /// All of it, verified.
    async fn whole(&self) -> Result<Bytes, VersionsError> {
        let pieces: Vec<Bytes> = self.object.read().try_collect().await?;
        let rule = self.object.rule;
        let (bytes, found) = blocking(move || {
            let bytes = Bytes::from(pieces.concat());
            let mut pass = Md5Pass::new(rule);
            pass.update(&bytes);
            Ok((bytes, pass.finish()))
        })
        .await?;
        self.check(&found).map(|()| bytes)
    }
}

async fn add_remote(
    writer: &mut Writer,
    wanted: Vec<Wanted>,
    blobs: &mut [Option<Blob>],
    progress: &dyn TransferProgress,
) -> Result<(), VersionsError> {
    if wanted.is_empty() {
        return Ok(());
    }
    progress.planned(wanted.len() as u64, wanted.iter().map(|wanted| wanted.object.size).sum());
    // One after the other: a transfer that nobody looks at while a large object is stored would run out of time.
    let (small, large): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.object.size <= SMALL);
    let fetched = stream::iter(small).map(|wanted| async move {
        let bytes = wanted.whole().await?;
        Ok::<_, VersionsError>((wanted, bytes))
    });
    let mut fetched = fetched.buffered(SMALL_AT_ONCE);
    let mut stored = |wanted: &Wanted, blob: Blob| {
        progress.moved(1, wanted.object.size);
        if let Some(place) = blobs.get_mut(wanted.position) {
            *place = Some(blob);
        }
    };
    while let Some((wanted, bytes)) = fetched.try_next().await? {
        stored(&wanted, writer.add_bytes(bytes).await?);
    }
    for wanted in large {
        stored(&wanted, add_large(writer, &wanted).await?);
    }
    Ok(())
}

/// Stores an object while it comes. When its bytes turn out not to be those that are wanted, `writer` holds what must not
/// be committed.
async fn add_large(writer: &mut Writer, wanted: &Wanted) -> Result<Blob, VersionsError> {
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let pass = Arc::new(Mutex::new(Some(Md5Pass::new(wanted.object.rule))));
    let incoming = Incoming { pieces, current: Bytes::new(), pass: Arc::clone(&pass) };
    let mut coming = wanted.object.read();
    let sending = async move {
        let mut failure = None;
        while let Some(piece) = coming.next().await {
            let (piece, failed) = match piece {
                Ok(piece) => (Ok(piece), None),
                Err(error) => (Err(std::io::Error::other("the transfer ended early")), Some(error)),
            };
            failure = failed;
            // Nobody takes the pieces once storing them has failed.
            if sender.send(piece).await.is_err() || failure.is_some() {
                break;
            }
        }
        failure
    };
    let url = wanted.object.url();
    let (blob, failure) = futures::join!(writer.add_stream(move || Ok(incoming), url.as_ref()), sending);
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    let blob = blob?;
    let pass = pass.lock().unwrap_or_else(PoisonError::into_inner).take();
    wanted.check(&pass.ok_or(VersionsError::Interrupted)?.finish())?;
    Ok(blob)
}

/// An object as it comes; it is hashed by who reads it, off the reactor.
struct Incoming {
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    current: Bytes,
    pass: Arc<Mutex<Option<Md5Pass>>>,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.current = piece?,
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        if let Some(pass) = self.pass.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            pass.update(&buffer[..length]);
        }
        Ok(length)
    }
}
