//! What costs time: cutting, hashing and compressing. All of it blocks and runs off the reactor.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ropewalk_types::Digest;
use tokio::sync::mpsc;

use crate::chunk::{self, Encoder};
use crate::error::StoreError;
use crate::files::Doing as _;
use crate::index::{Entry, Kind};
use crate::recipe::Recipe;
use crate::store::{Blob, Inner, Piece, Relied};

/// A piece that is ready for a pack.
pub(crate) struct Prepared {
    pub(crate) entry: Entry,
    pub(crate) stored: Bytes,
}

impl Prepared {
    /// A piece as it was read from another pack.
    pub(crate) fn stored(piece: &Piece, tree: bool, stored: Bytes) -> Self {
        let Piece { kind, digest, location } = *piece;
        let (encoding, raw_length) = (location.encoding, location.raw_length);
        let entry = Entry { digest, kind, tree, encoding, stored_length: stored.len() as u32, raw_length };
        Self { entry, stored }
    }
}

/// Which pieces this writer has taken upon itself, so that nothing is written twice, and which it need not write.
pub(super) struct Claims {
    inner: Arc<Inner>,
    state: Mutex<State>,
}

struct State {
    taken: HashSet<(Kind, Digest)>,
    relied: Relied,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

impl Claims {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let state = Mutex::new(State { taken: HashSet::new(), relied: Relied::new(&inner) });
        Self { inner, state }
    }

    /// Whether the caller must write the piece: neither the store has it nor has anybody else claimed it.
    fn claim(&self, kind: Kind, digest: Digest) -> bool {
        let visible = self.inner.index(|index| index.find(kind, &digest)).is_some();
        let mut state = self.state();
        if visible {
            state.relied.add(kind, digest);
        }
        !visible && state.taken.insert((kind, digest))
    }

    /// Whether the blob is in the store or in this commit.
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        let mut state = self.state();
        for kind in [Kind::Chunk, Kind::Recipe] {
            if self.inner.index(|index| index.find(kind, digest)).is_some() {
                state.relied.add(kind, *digest);
                return true;
            }
        }
        [Kind::Chunk, Kind::Recipe].iter().any(|kind| state.taken.contains(&(*kind, *digest)))
    }

    /// What was claimed of the store itself; nothing is left to be checked a second time.
    pub(super) fn relied(&self) -> Relied {
        std::mem::replace(&mut self.state().relied, Relied::new(&self.inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prepares blobs that are in memory; gives the pieces that must be written, in an order in which no recipe comes
/// before its chunks. `trees` says whether they are trees.
pub(super) fn prepare_all(
    claims: &Claims,
    blobs: impl IntoIterator<Item = Bytes>,
    trees: bool,
) -> Result<(Vec<Blob>, Vec<Prepared>), StoreError> {
    let mut encoder = Encoder::new()?;
    let mut prepared = Vec::new();
    let mut found = Vec::new();
    for bytes in blobs {
        let mut builder = Builder { claims, encoder: &mut encoder, recipe: Recipe::default() };
        let begin = prepared.len();
        let mut give = |piece| {
            prepared.push(piece);
            Ok(())
        };
        // A blob of no bytes is one chunk of no bytes.
        let mut first = bytes.is_empty().then_some(&bytes[..]);
        let mut chunks = chunk::chunks(&bytes);
        while let Some(chunk) = first.take().or_else(|| chunks.next()) {
            builder.chunk(chunk, &mut give)?;
        }
        let blob = builder.finish(|| Digest::of(&bytes), &mut give)?;
        for piece in &mut prepared[begin..] {
            piece.entry.tree = trees && piece.entry.digest == blob.digest;
        }
        found.push(blob);
    }
    Ok((found, prepared))
}

/// Prepares a blob of any size, sending its pieces as they come; `path` is named when it cannot be read.
pub(super) fn prepare_stream(
    claims: &Claims,
    mut source: impl Read,
    path: &Path,
    sender: &mpsc::Sender<Prepared>,
) -> Result<Blob, StoreError> {
    let mut encoder = Encoder::new()?;
    let mut builder = Builder { claims, encoder: &mut encoder, recipe: Recipe::default() };
    let mut hasher = blake3::Hasher::new();
    // Nobody takes the pieces once writing them has failed.
    let mut give = |piece| sender.blocking_send(piece).map_err(|_| StoreError::Interrupted);
    let read = |buffer: &mut [u8]| {
        let length = read_some(&mut source, buffer).doing("read", path)?;
        hasher.update(&buffer[..length]);
        Ok(length)
    };
    chunk::cut(read, |chunk| builder.chunk(chunk, &mut give))?;
    if builder.recipe.chunks.is_empty() {
        builder.chunk(&[], &mut give)?;
    }
    builder.finish(|| hasher.finalize().into(), &mut give)
}

fn read_some(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// One blob in the making.
struct Builder<'a> {
    claims: &'a Claims,
    encoder: &'a mut Encoder,
    recipe: Recipe,
}

impl Builder<'_> {
    fn chunk(
        &mut self,
        raw: &[u8],
        give: &mut impl FnMut(Prepared) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.recipe.chunks.len() == Recipe::MAX_CHUNKS {
            let limit = Recipe::MAX_CHUNKS as u64;
            return Err(StoreError::TooLarge { what: "the file".to_owned(), size: limit + 1, limit, unit: "chunks" });
        }
        let digest = Digest::of(raw);
        self.recipe.chunks.push((digest, raw.len() as u32));
        self.piece(Kind::Chunk, digest, raw, give)
    }

    /// Ends the blob; `whole` gives its digest when that is not the digest of its only chunk.
    fn finish(
        mut self,
        whole: impl FnOnce() -> Digest,
        give: &mut impl FnMut(Prepared) -> Result<(), StoreError>,
    ) -> Result<Blob, StoreError> {
        let size = self.recipe.size();
        if let [(digest, _)] = self.recipe.chunks[..] {
            return Ok(Blob { digest, size });
        }
        let digest = whole();
        let recipe = self.recipe.encode();
        self.piece(Kind::Recipe, digest, &recipe, give)?;
        Ok(Blob { digest, size })
    }

    fn piece(
        &mut self,
        kind: Kind,
        digest: Digest,
        raw: &[u8],
        give: &mut impl FnMut(Prepared) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if !self.claims.claim(kind, digest) {
            return Ok(());
        }
        let (encoding, stored) = self.encoder.encode(raw);
        let (stored_length, raw_length) = (stored.len() as u32, raw.len() as u32);
        let entry = Entry { digest, kind, tree: false, encoding, stored_length, raw_length };
        give(Prepared { entry, stored })
    }
}
