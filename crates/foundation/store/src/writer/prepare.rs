//! What costs time: cutting, hashing and compressing. All of it blocks and runs off the reactor.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ropewalk_types::Digest;
use tokio::sync::mpsc;

use crate::chunk::{self, Encoder, Encoding, Grain};
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

    /// A new piece of these bytes.
    pub(super) fn encoded(kind: Kind, digest: Digest, raw: &[u8], encoder: &mut Encoder) -> Self {
        let (encoding, stored) = encoder.encode(raw);
        Self::new(kind, digest, encoding, stored, raw.len())
    }

    fn new(kind: Kind, digest: Digest, encoding: Encoding, stored: Bytes, raw_length: usize) -> Self {
        let (stored_length, raw_length) = (stored.len() as u32, raw_length as u32);
        Self { entry: Entry { digest, kind, tree: false, encoding, stored_length, raw_length }, stored }
    }
}

/// Which pieces this writer has taken upon itself, so that nothing is written twice, and which it need not write.
pub(super) struct Claims {
    inner: Arc<Inner>,
    /// What is written although the store seems to have it.
    distrusted: HashSet<(Kind, Digest)>,
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
    pub(super) fn new(inner: Arc<Inner>, distrusted: HashSet<(Kind, Digest)>) -> Self {
        let state = Mutex::new(State { taken: HashSet::new(), relied: Relied::new(&inner) });
        Self { inner, distrusted, state }
    }

    /// Whether the caller must write the piece: neither the store has it nor has anybody else claimed it.
    fn claim(&self, kind: Kind, digest: Digest) -> bool {
        let visible =
            !self.distrusted.contains(&(kind, digest)) && self.inner.index(|index| index.find(kind, &digest)).is_some();
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

    pub(super) fn relies_on_nothing(&self) -> bool {
        self.state().relied.len() == 0
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
        let mut builder = Builder::new(claims, &mut encoder);
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
    let mut builder = Builder::new(claims, &mut encoder);
    // Nobody takes the pieces once writing them has failed.
    let mut give = |piece| sender.blocking_send(piece).map_err(|_| StoreError::Interrupted);
    let whole = read_all(&mut builder, &mut source, path, |builder, chunk| builder.chunk(chunk, &mut give))?;
    if builder.recipe.chunks.is_empty() {
        builder.chunk(&[], &mut give)?;
    }
    builder.finish(|| whole, &mut give)
}

/// Cuts what `source` gives and hands every chunk to `each`; gives the digest of all of it.
pub(super) fn read_all<'a>(
    builder: &mut Builder<'a>,
    source: &mut impl Read,
    path: &Path,
    mut each: impl FnMut(&mut Builder<'a>, &[u8]) -> Result<(), StoreError>,
) -> Result<Digest, StoreError> {
    let mut hasher = blake3::Hasher::new();
    let read = |buffer: &mut [u8]| {
        let length = read_some(source, buffer).doing("read", path)?;
        hasher.update(&buffer[..length]);
        Ok(length)
    };
    chunk::cut(read, |chunk| each(builder, chunk))?;
    Ok(hasher.finalize().into())
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
pub(super) struct Builder<'a> {
    claims: &'a Claims,
    encoder: &'a mut Encoder,
    recipe: Recipe,
}

impl<'a> Builder<'a> {
    pub(super) fn new(claims: &'a Claims, encoder: &'a mut Encoder) -> Self {
        Self::resume(claims, encoder, Recipe::default())
    }

    /// Goes on with the blob of which `recipe` are the first chunks.
    pub(super) fn resume(claims: &'a Claims, encoder: &'a mut Encoder, recipe: Recipe) -> Self {
        Self { claims, encoder, recipe }
    }

    /// For [`Builder::resume`].
    pub(super) fn into_recipe(self) -> Recipe {
        self.recipe
    }

    /// Whether no chunk was taken yet.
    pub(super) fn is_empty(&self) -> bool {
        self.recipe.chunks.is_empty()
    }

    /// Lets `grain` see a chunk.
    pub(super) fn look(&mut self, grain: &mut Grain, raw: &[u8]) {
        grain.look(self.encoder, raw);
    }

    /// Takes the next chunk, which is not copied when it is stored as it is.
    pub(super) fn chunk_of(
        &mut self,
        raw: &Bytes,
        give: &mut impl FnMut(Prepared) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (digest, new) = self.claim_chunk(raw)?;
        if !new {
            return Ok(());
        }
        let (encoding, stored) = self.encoder.encode_shared(raw);
        give(Prepared::new(Kind::Chunk, digest, encoding, stored, raw.len()))
    }

    /// Takes the next chunk; says whether the caller must see to it that it is written.
    pub(super) fn claim_chunk(&mut self, raw: &[u8]) -> Result<(Digest, bool), StoreError> {
        if self.recipe.chunks.len() == Recipe::MAX_CHUNKS {
            let limit = Recipe::MAX_CHUNKS as u64;
            return Err(StoreError::TooLarge { what: "the file".to_owned(), size: limit + 1, limit, unit: "chunks" });
        }
        let digest = Digest::of(raw);
        self.recipe.chunks.push((digest, raw.len() as u32));
        Ok((digest, self.claims.claim(Kind::Chunk, digest)))
    }

    fn chunk(
        &mut self,
        raw: &[u8],
        give: &mut impl FnMut(Prepared) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (digest, new) = self.claim_chunk(raw)?;
        if new { give(Prepared::encoded(Kind::Chunk, digest, raw, self.encoder)) } else { Ok(()) }
    }

    /// Ends the blob; `whole` gives its digest when that is not the digest of its only chunk.
    pub(super) fn finish(
        self,
        whole: impl FnOnce() -> Digest,
        give: &mut impl FnMut(Prepared) -> Result<(), StoreError>,
    ) -> Result<Blob, StoreError> {
        let size = self.recipe.size();
        if let [(digest, _)] = self.recipe.chunks[..] {
            return Ok(Blob { digest, size });
        }
        let digest = whole();
        let recipe = self.recipe.encode();
        if self.claims.claim(Kind::Recipe, digest) {
            give(Prepared::encoded(Kind::Recipe, digest, &recipe, self.encoder))?;
        }
        Ok(Blob { digest, size })
    }
}
