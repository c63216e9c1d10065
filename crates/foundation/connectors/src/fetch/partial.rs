//! What has been received of a file, so that it survives this process.
//!
//! A directory `.partial/<digest of source and name>` with `state`, which says of which version the bytes are, and
//! segments named by their first byte. A segment appears whole and durable; what a killed process had not yet made one
//! is received again. Of a file that is in its place, `.finished/<digest of source and name>` says which version it is,
//! so that nobody who needs the other files of its source receives it again.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use ropewalk_store::files::{self, AtomicFile, EntryKind, FileError};
use ropewalk_types::Digest;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::ConnectorError;

const DIRECTORY: &str = ".partial";
const STATE: &str = "state";
const FINISHED: &str = ".finished";

/// Bytes of a segment: what a kill loses at most.
const SEGMENT: u64 = 8 << 20;

/// Chunks of the network that wait for the disk.
const WAITING: usize = 32;

const STATE_LIMIT: u64 = 64 << 10;

/// Which version of a file some bytes are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validator {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Whether `last_modified` tells two versions apart (RFC 9110, section 8.8.2.2).
    pub(super) last_modified_is_strong: bool,
    /// Size of the whole file, where it is known.
    pub(super) size: Option<u64>,
}

impl Validator {
    /// The text that names the version for certain, if there is one.
    pub(super) fn strong(&self) -> Option<&str> {
        self.strong_tag().or_else(|| self.last_modified.as_deref().filter(|_| self.last_modified_is_strong))
    }

    fn strong_tag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/"))
    }
}

/// What is kept of a file of which a part is here.
#[derive(Serialize, Deserialize)]
struct Begun {
    validator: Validator,
    /// Stands for what was asked for, with the values of variables in it.
    asked: Digest,
}

/// What is kept of a file that is in its place.
#[derive(Serialize, Deserialize)]
struct Finished {
    validator: Validator,
    /// As in [`Begun`].
    asked: Digest,
    size: u64,
    digest: Digest,
}

/// The beginning of a file, or all of it. Its methods block.
pub(super) struct Partial {
    directory: PathBuf,
    /// Where [`Finished`] is.
    marker: PathBuf,
    target: PathBuf,
    /// Stands for what is asked for now.
    asked: Digest,
    /// Whether all of it is in its place.
    finished: bool,
    validator: Validator,
    segments: Vec<PathBuf>,
    open: Option<(AtomicFile, PathBuf, u64)>,
    received: u64,
    hasher: blake3::Hasher,
}

impl Partial {
    /// What is there of the file `name` from `source` that will be `directory/name`.
    ///
    /// `asked` is the key of the URL that is asked for, of which `source` may leave out values. What came for others counts
    /// only where a strong ETag can say that it is the same file. It is kept as a digest from which no value can be looked up.
    pub(super) fn open(directory: &Path, name: &str, source: &str, asked: &Digest) -> Result<Self, ConnectorError> {
        let key = Digest::of(format!("{source}\n{name}").as_bytes()).short();
        let mut partial = Self {
            directory: directory.join(DIRECTORY).join(&key),
            marker: directory.join(FINISHED).join(&key),
            target: directory.join(name),
            asked: Digest::of(format!("{source}\n{name}\n{asked}").as_bytes()),
            finished: false,
            validator: Validator::default(),
            segments: Vec::new(),
            open: None,
            received: 0,
            hasher: blake3::Hasher::new(),
        };
        if !partial.load_finished()? && !partial.load()? {
            partial.clear()?;
        }
        Ok(partial)
    }

    /// `false` when the file is not in its place, or is not the one that was put there.
    fn load_finished(&mut self) -> Result<bool, ConnectorError> {
        if !files::exists(&self.marker)? || files::kind(&self.target)? != Some(EntryKind::File) {
            return Ok(false);
        }
        let bytes = files::read_bounded(&self.marker, STATE_LIMIT)?;
        let Ok(Finished { validator, asked, size, digest }) = serde_json::from_slice(&bytes) else { return Ok(false) };
        // Without either the source cannot say whether it is still the same.
        let can_be_asked = validator.etag.is_some() || validator.strong().is_some();
        if !can_be_asked || !self.is_asked(asked, &validator) || files::size(&self.target)? != size {
            return Ok(false);
        }
        self.hash(&self.target.clone())?;
        if Digest::from(self.hasher.finalize()) != digest {
            self.hasher.reset();
            return Ok(false);
        }
        (self.finished, self.received, self.validator) = (true, size, validator);
        Ok(true)
    }

    /// `false` when what is there cannot be continued.
    fn load(&mut self) -> Result<bool, ConnectorError> {
        let state = self.directory.join(STATE);
        if !files::exists(&state)? {
            return Ok(false);
        }
        let begun = serde_json::from_slice(&files::read_bounded(&state, STATE_LIMIT)?);
        let Ok(Begun { validator, asked }) = begun else { return Ok(false) };
        if validator.strong().is_none() || !self.is_asked(asked, &validator) {
            return Ok(false);
        }
        self.validator = validator;
        for entry in files::list(&self.directory)? {
            // Leftovers of a killed process have other names.
            if entry.kind != EntryKind::File || entry.name.len() != 20 {
                continue;
            }
            if entry.name != segment_name(self.received) {
                return Ok(false);
            }
            self.hash(&entry.path)?;
            self.received += entry.size;
            self.segments.push(entry.path);
        }
        Ok(true)
    }

    /// Whether what came for `asked` can be what is asked for now.
    fn is_asked(&self, asked: Digest, validator: &Validator) -> bool {
        asked == self.asked || validator.strong_tag().is_some()
    }

    fn hash(&mut self, path: &Path) -> Result<(), ConnectorError> {
        let read = self.hasher.update_reader(files::open(path)?);
        read.map(|_| ()).map_err(|source| failed("read", path, source))
    }

    /// Forgets all bytes.
    pub(super) fn clear(&mut self) -> Result<(), ConnectorError> {
        self.open = None;
        self.finished = false;
        files::remove_file(&self.marker)?;
        files::remove_directory(&self.directory)?;
        self.segments.clear();
        self.hasher.reset();
        self.received = 0;
        self.validator = Validator::default();
        Ok(())
    }

    /// Forgets all bytes; the next ones are the first of this version.
    pub(super) fn begin(&mut self, validator: Validator) -> Result<(), ConnectorError> {
        self.clear()?;
        let begun = Begun { validator, asked: self.asked };
        let state =
            serde_json::to_vec(&begun).map_err(|error| ConnectorError::Encoding { reason: error.to_string() })?;
        files::write_atomic(&self.directory.join(STATE), &state)?;
        self.validator = begun.validator;
        Ok(())
    }

    pub(super) fn validator(&self) -> &Validator {
        &self.validator
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Whether all of it is in its place: what is left to ask is whether that is still the source's version.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectorError> {
        let (mut file, path, mut length) = if let Some(open) = self.open.take() {
            open
        } else {
            let path = self.directory.join(segment_name(self.received));
            (AtomicFile::create(&path)?, path, 0)
        };
        file.write_all(bytes).map_err(|source| failed("write", &path, source))?;
        self.hasher.update(bytes);
        length += bytes.len() as u64;
        self.received += bytes.len() as u64;
        self.open = Some((file, path, length));
        if length >= SEGMENT { self.end_segment() } else { Ok(()) }
    }

    fn end_segment(&mut self) -> Result<(), ConnectorError> {
        if let Some((file, path, _)) = self.open.take() {
            file.commit()?;
            self.segments.push(path);
        }
        Ok(())
    }

    /// Puts the whole file in its place: its size, digest and version.
    pub(super) fn finish(mut self) -> Result<(PathBuf, u64, Digest, Validator), ConnectorError> {
        let digest = self.hasher.finalize().into();
        if self.finished {
            return Ok((self.target, self.received, digest, self.validator));
        }
        self.end_segment()?;
        if let Some(parent) = self.target.parent() {
            files::create_directories(parent)?;
        }
        // Before the file: what it says is checked against the file, and without it the file would be received again.
        let finished = Finished { validator: self.validator, asked: self.asked, size: self.received, digest };
        let state =
            serde_json::to_vec(&finished).map_err(|error| ConnectorError::Encoding { reason: error.to_string() })?;
        files::write_atomic(&self.marker, &state)?;
        match self.segments.as_slice() {
            [only] => files::rename(only, &self.target)?,
            segments => join(segments, &self.target)?,
        }
        files::remove_directory(&self.directory)?;
        Ok((self.target, self.received, digest, finished.validator))
    }
}

fn segment_name(first: u64) -> String {
    format!("{first:020}")
}

fn join(segments: &[PathBuf], target: &Path) -> Result<(), ConnectorError> {
    let mut whole = AtomicFile::create(target)?;
    for path in segments {
        let mut segment = files::open(path)?;
        std::io::copy(&mut segment, &mut whole).map_err(|source| failed("write", target, source))?;
    }
    Ok(whole.commit()?)
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> ConnectorError {
    FileError::Io { action, path: path.to_owned(), source }.into()
}

/// Runs something that blocks on a partial file.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConnectorError> + Send + 'static,
) -> Result<T, ConnectorError> {
    tokio::task::spawn_blocking(work).await?
}

/// How a body ended.
pub(super) enum Ended<E> {
    /// With all of its bytes.
    Whole,
    /// In the middle.
    Torn(E),
    /// It has more bytes than it may.
    TooLarge,
}

/// Appends `body`, until `limit` bytes are there in all; what came is kept however it ends, also when this future is
/// dropped.
pub(super) async fn append<E>(
    partial: Partial,
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    limit: u64,
    received: &(dyn Fn(u64) + Sync),
) -> Result<(Partial, Ended<E>), ConnectorError> {
    let mut total = partial.received();
    let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING);
    let writer = tokio::task::spawn_blocking(move || {
        let mut partial = partial;
        while let Some(bytes) = receiver.blocking_recv() {
            partial.write(&bytes)?;
        }
        partial.end_segment()?;
        Ok::<_, ConnectorError>(partial)
    });
    let ended = loop {
        match body.next().await {
            None => break Ended::Whole,
            Some(Err(error)) => break Ended::Torn(error),
            Some(Ok(bytes)) => {
                total += bytes.len() as u64;
                if total > limit {
                    break Ended::TooLarge;
                }
                received(bytes.len() as u64);
                if sender.send(bytes).await.is_err() {
                    // The writer failed, and says below why.
                    break Ended::Whole;
                }
            }
        }
    };
    drop(sender);
    Ok((writer.await??, ended))
}

#[cfg(test)]
mod tests {
    use ropewalk_store::files::temporary_directory;

    use super::*;

    const ASKED: Digest = Digest::from_bytes([1; 32]);

    fn validator(etag: &str) -> Validator {
        Validator { etag: Some(etag.to_owned()), ..Validator::default() }
    }

    #[test]
    fn segments_are_continued_and_joined() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        for (index, piece) in [&b"one "[..], b"two ", b"three"].into_iter().enumerate() {
            let mut partial = Partial::open(directory.path(), "rope", "http://x/rope", &ASKED).unwrap();
            if index == 0 {
                partial.begin(validator("\"v1\"")).unwrap();
            }
            assert_eq!(partial.validator().strong(), Some("\"v1\""));
            partial.write(piece).unwrap();
            partial.end_segment().unwrap();
        }
        let partial = Partial::open(directory.path(), "rope", "http://x/rope", &ASKED).unwrap();
        assert_eq!(partial.received(), 13);
        let (path, size, digest, _) = partial.finish().unwrap();
        assert_eq!(files::read(&path).unwrap(), b"one two three");
        assert_eq!((size, digest), (13, Digest::of(b"one two three")));
        let partial = Partial::open(directory.path(), "rope", "http://y/rope", &ASKED).unwrap();
        assert_eq!(partial.received(), 0, "another source");
    }

    #[test]
    fn a_finished_file_is_known_until_it_is_another() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let open = || Partial::open(directory.path(), "rope", "http://x/rope", &ASKED).unwrap();
        let finish = || {
            let mut partial = open();
            partial.begin(validator("\"v1\"")).unwrap();
            partial.write(b"hemp").unwrap();
            partial.finish().unwrap()
        };
        let first = finish();
        let partial = open();
        assert_eq!((partial.is_finished(), partial.received()), (true, 4));
        assert_eq!(partial.finish().unwrap(), first);
        // Somebody wrote into it, with as many bytes, or took it away.
        files::write_atomic(&first.0, b"jute").unwrap();
        assert!(!open().is_finished());
        finish();
        files::remove_file(&first.0).unwrap();
        assert!(!open().is_finished());
        finish();
        // The next version has begun.
        open().begin(validator("\"v2\"")).unwrap();
        assert!(!open().is_finished());
    }

    #[test]
    fn what_came_for_other_values_is_continued_by_a_strong_tag_only() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let open =
            |asked: &[u8]| Partial::open(directory.path(), "rope", "http://x/${WHO}", &Digest::of(asked)).unwrap();
        let dated = Validator {
            last_modified: Some("Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
            last_modified_is_strong: true,
            ..Validator::default()
        };
        for (validator, for_others) in [(validator("\"v1\""), 4), (dated, 0)] {
            let mut partial = open(b"me");
            partial.begin(validator.clone()).unwrap();
            partial.write(b"hemp").unwrap();
            partial.end_segment().unwrap();
            assert_eq!((open(b"me").received(), open(b"you").received()), (4, for_others));
            let mut partial = open(b"me");
            partial.begin(validator).unwrap();
            partial.write(b"hemp").unwrap();
            partial.finish().unwrap();
            assert_eq!((open(b"me").received(), open(b"you").received()), (4, for_others));
            assert!(!open(b"you").is_finished() || for_others > 0);
        }
    }

    #[test]
    fn what_cannot_be_trusted_is_not_continued() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let open = || Partial::open(directory.path(), "rope", "http://x/rope", &ASKED).unwrap();
        // No version is known.
        let mut partial = open();
        partial.begin(validator("W/\"weak\"")).unwrap();
        partial.write(b"x").unwrap();
        partial.end_segment().unwrap();
        assert_eq!(open().received(), 0);
        // A segment is missing.
        let mut partial = open();
        partial.begin(validator("\"v\"")).unwrap();
        for _ in 0..2 {
            partial.write(b"xy").unwrap();
            partial.end_segment().unwrap();
        }
        assert_eq!(open().received(), 4);
        files::remove_file(&partial.directory.join(segment_name(0))).unwrap();
        assert_eq!(open().received(), 0);
        // Damaged state.
        partial.begin(validator("\"v\"")).unwrap();
        files::write_atomic(&partial.directory.join(STATE), b"{").unwrap();
        assert_eq!(open().received(), 0);
        // Another source of the same name.
        partial.begin(validator("\"v\"")).unwrap();
        partial.write(b"x").unwrap();
        partial.end_segment().unwrap();
        assert_eq!(Partial::open(directory.path(), "rope", "http://y/rope", &ASKED).unwrap().received(), 0);
    }

    #[test]
    fn an_empty_file_is_a_file() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let mut partial = Partial::open(directory.path(), "empty", "http://x/empty", &ASKED).unwrap();
        partial.begin(Validator::default()).unwrap();
        let (path, size, ..) = partial.finish().unwrap();
        assert_eq!((files::read(&path).unwrap().len(), size), (0, 0));
    }
}
