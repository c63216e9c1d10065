use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use ropewalk_types::Digest;

use super::{Inner, Store, blocking, failed};
use crate::chunk::{self, Encoding};
use crate::error::StoreError;
use crate::files::{AtomicFile, Doing as _, SHARED_BLOCK, ScratchFile};
use crate::index::{Kind, Location, PackId};
use crate::recipe::Recipe;

/// The largest blob that is given in memory.
const MAX_IN_MEMORY: u64 = 4 << 30;
/// Neighbours in a pack are read together up to this size …
const MAX_SEGMENT: u64 = 8 << 20;
/// … also when this much of no use lies between them.
const MAX_GAP: u64 = 32 << 10;
pub(super) const READS_AHEAD: usize = 2;

/// A piece that is wanted, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
    pub(crate) location: Location,
}

/// Pieces that are read from a pack at once.
#[derive(Debug)]
pub(super) struct Segment {
    pack: PackId,
    range: Range<u64>,
    pieces: Vec<Piece>,
}

/// How to put a blob together.
pub(super) struct Plan {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) pieces: Vec<Piece>,
    /// The object to blame when all chunks are right and the blob is not.
    recipe_pack: Option<PackId>,
}

impl Store {
    /// The bytes of the blob, checked against its digest; of a blob of more than 4 GiB, [`Store::materialize`] is the
    /// only way.
    pub async fn get_bytes(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        self.get_bounded(digest, MAX_IN_MEMORY, "the blob").await
    }

    /// Size in bytes of the blob.
    pub async fn size(&self, digest: &Digest) -> Result<u64, StoreError> {
        Ok(self.inner.plan(digest).await?.size)
    }

    /// Like [`Store::get_bytes`], for a blob that must not be larger than `limit`.
    pub(super) async fn get_bounded(&self, digest: &Digest, limit: u64, what: &str) -> Result<Bytes, StoreError> {
        self.inner.get_bounded(digest, limit, what).await
    }

    /// Lays the blob out as the file at `path`, which appears whole, checked and durable or not at all.
    ///
    /// A file that is there is replaced. Memory use does not grow with the blob.
    pub async fn materialize(&self, digest: &Digest, path: &Path) -> Result<(), StoreError> {
        self.lay_out(digest, path, AtomicFile::commit).await
    }

    /// [`Store::materialize`], with the last step given.
    pub(super) async fn lay_out<F>(&self, digest: &Digest, path: &Path, finish: F) -> Result<(), StoreError>
    where
        F: FnOnce(AtomicFile) -> Result<(), crate::files::FileError> + Send + 'static,
    {
        let target = path.to_owned();
        let file = blocking(move || Ok(AtomicFile::create(&target)?)).await?;
        let file = self.write_blob(digest, file, path).await?;
        blocking(move || Ok(finish(file)?)).await
    }

    /// Writes the blob as the new file `path`, checked but not forced to the disk; on failure nothing is left.
    pub(super) async fn write_unsynced(
        &self,
        digest: &Digest,
        path: &Path,
        executable: bool,
    ) -> Result<(), StoreError> {
        let target = path.to_owned();
        let file = blocking(move || Ok(ScratchFile::create(&target, executable)?)).await?;
        self.write_blob(digest, file, path).await?.keep();
        Ok(())
    }

    /// Writes the blob to `file`, which is at `path`, a few megabytes at a time.
    async fn write_blob<W>(&self, digest: &Digest, mut file: W, path: &Path) -> Result<W, StoreError>
    where
        W: std::io::Write + Send + 'static,
    {
        let plan = self.inner.plan(digest).await?;
        let mut hasher = blake3::Hasher::new();
        let mut reads = std::pin::pin!(self.inner.read_ahead(&plan.pieces));
        while let Some(chunks) = reads.try_next().await? {
            let path = path.to_owned();
            (file, hasher) = blocking(move || {
                for chunk in chunks {
                    hasher.update(&chunk);
                    file.write_all(&chunk).doing("write", &path)?;
                }
                Ok((file, hasher))
            })
            .await?;
        }
        plan.check(hasher.finalize().into()).map_err(|error| self.inner.here(error))?;
        Ok(file)
    }
}

impl Plan {
    /// The pack in which the bytes of the blob lie one after another and as they are, at a place where blocks can be
    /// shared, and that place.
    pub(super) fn lies_whole(&self) -> Option<(PackId, u64)> {
        let first = self.pieces.first()?.location;
        let mut end = first.offset;
        let whole = self.pieces.iter().all(|Piece { location, .. }| {
            let next = location.pack == first.pack && location.offset == end && location.encoding == Encoding::Plain;
            end = location.end();
            next
        });
        (whole && first.offset.is_multiple_of(SHARED_BLOCK)).then_some((first.pack, first.offset))
    }

    /// Every chunk is right by now; this tells whether they are the chunks of this blob.
    pub(super) fn check(&self, found: Digest) -> Result<(), StoreError> {
        if found == self.digest {
            return Ok(());
        }
        let object = self.recipe_pack.map_or_else(String::new, |pack| pack.path().to_string());
        let reason = "its recipe makes other bytes of right chunks".to_owned();
        Err(StoreError::Damaged { digest: self.digest, object, reason })
    }
}

impl Inner {
    /// Finds the blob, looking for what other processes wrote before it gives up.
    pub(super) async fn plan(&self, digest: &Digest) -> Result<Plan, StoreError> {
        if let Some(plan) = self.plan_known(digest).await? {
            return Ok(plan);
        }
        self.refresh().await?;
        self.plan_known(digest).await?.ok_or(StoreError::NotFound { digest: *digest })
    }

    pub(super) async fn get_bounded(&self, digest: &Digest, limit: u64, what: &str) -> Result<Bytes, StoreError> {
        let plan = self.plan(digest).await?;
        if plan.size > limit {
            let what = format!("{what} `{digest}`");
            return Err(StoreError::TooLarge { what, size: plan.size, limit, unit: "bytes" });
        }
        let mut chunks = Vec::with_capacity(plan.pieces.len());
        let mut reads = std::pin::pin!(self.read_ahead(&plan.pieces));
        while let Some(read) = reads.try_next().await? {
            chunks.extend(read);
        }
        match <[Bytes; 1]>::try_from(chunks) {
            // One chunk has the digest of its blob, which was checked.
            Ok([chunk]) => Ok(chunk),
            Err(chunks) => blocking(move || {
                let bytes = chunks.concat();
                plan.check(Digest::of(&bytes))?;
                Ok(bytes.into())
            })
            .await
            .map_err(|error| self.here(error)),
        }
    }

    async fn plan_known(&self, digest: &Digest) -> Result<Option<Plan>, StoreError> {
        let digest = *digest;
        if let Some(location) = self.index(|index| index.find_readable(Kind::Chunk, &digest)) {
            let size = u64::from(location.raw_length);
            let pieces = vec![Piece { kind: Kind::Chunk, digest, location }];
            return Ok(Some(Plan { digest, size, pieces, recipe_pack: None }));
        }
        let Some(location) = self.index(|index| index.find_readable(Kind::Recipe, &digest)) else {
            return Ok(None);
        };
        self.plan_at(digest, location).await.map(Some)
    }

    /// The plan that the recipe at a place makes.
    pub(super) async fn plan_at(&self, digest: Digest, location: Location) -> Result<Plan, StoreError> {
        let recipe = self.recipe_at(digest, location).await?;
        let damaged = |reason| StoreError::Damaged { digest, object: location.pack.path().to_string(), reason };
        let pieces = self.pieces(&recipe).map_err(|reason| self.here(damaged(reason)))?;
        Ok(Plan { digest, size: recipe.size(), pieces, recipe_pack: Some(location.pack) })
    }

    pub(super) async fn recipe_at(&self, digest: Digest, location: Location) -> Result<Recipe, StoreError> {
        let piece = Piece { kind: Kind::Recipe, digest, location };
        let stored = self.read_stored(piece.into()).await?;
        let recipe = |(piece, stored): (Piece, Bytes)| piece.recipe(stored);
        let read = blocking(move || stored.into_iter().next().map_or(Err(StoreError::NotFound { digest }), recipe));
        read.await.map_err(|error| self.here(error))
    }

    fn pieces(&self, recipe: &Recipe) -> Result<Vec<Piece>, String> {
        let piece = |index: &crate::index::Index, digest: Digest, length: u32| match index
            .find_readable(Kind::Chunk, &digest)
        {
            Some(location) if location.raw_length == length => Ok(Piece { kind: Kind::Chunk, digest, location }),
            Some(location) => Err(format!("its chunk `{digest}` has {} bytes, not {length}", location.raw_length)),
            None => Err(format!("its chunk `{digest}` is in no index")),
        };
        self.index(|index| recipe.chunks.iter().map(|(digest, length)| piece(index, *digest, *length)).collect())
    }

    /// The chunks in order, read a little ahead, decoded and checked.
    fn read_ahead(
        &self,
        pieces: &[Piece],
    ) -> impl futures::Stream<Item = Result<Vec<Bytes>, StoreError>> + Send + use<'_> {
        let reads = segments(pieces.iter().copied()).into_iter().map(|segment| self.read_segment(segment));
        futures::stream::iter(reads).buffered(READS_AHEAD)
    }

    /// The chunks of a segment, in its order, checked.
    pub(super) async fn read_segment(&self, segment: Segment) -> Result<Vec<Bytes>, StoreError> {
        let stored = self.read_stored(segment).await?;
        let decoded = blocking(move || stored.into_iter().map(|(piece, stored)| piece.decode(stored)).collect());
        decoded.await.map_err(|error| self.here(error))
    }

    /// The chunks of a segment, in its order, not checked.
    pub(super) async fn read_trusted(&self, segment: Segment) -> Result<Vec<Bytes>, StoreError> {
        let stored = self.read_stored(segment).await?;
        let unpack = |(piece, stored): (Piece, Bytes)| piece.unpack(stored);
        let unpacked: Result<Vec<Bytes>, StoreError> =
            if stored.iter().all(|(piece, _)| piece.location.encoding == Encoding::Plain) {
                // Nothing is computed.
                stored.into_iter().map(unpack).collect()
            } else {
                blocking(move || stored.into_iter().map(unpack).collect()).await
            };
        unpacked.map_err(|error| self.here(error))
    }

    /// The pieces of a segment, in its order, as they are stored, checked.
    pub(super) async fn read_checked(&self, segment: Segment) -> Result<Vec<(Piece, Bytes)>, StoreError> {
        let stored = self.read_stored(segment).await?;
        let checked = blocking(move || {
            stored.iter().try_for_each(|(piece, stored)| piece.check(stored.clone()))?;
            Ok(stored)
        });
        checked.await.map_err(|error| self.here(error))
    }

    /// Checks the pieces of a segment where they are said to lie.
    pub(super) async fn read_in_place(&self, segment: Segment) -> Result<(), StoreError> {
        let Some(first) = segment.pieces.first().copied() else { return Ok(()) };
        let stored = self.read(&first.digest, segment.pack, segment.range.clone()).await?;
        blocking(move || segment.cut(&stored).into_iter().try_for_each(|(piece, stored)| piece.check(stored))).await
    }

    /// The pieces of a segment, in its order, as they are stored, and where they were found.
    pub(super) async fn read_stored(&self, segment: Segment) -> Result<Vec<(Piece, Bytes)>, StoreError> {
        let Some(first) = segment.pieces.first().copied() else { return Ok(Vec::new()) };
        let error = match self.read(&first.digest, segment.pack, segment.range.clone()).await {
            Ok(stored) => return Ok(segment.cut(&stored)),
            Err(error) => error,
        };
        // A collector may have moved what was still needed of that pack to another.
        self.refresh().await?;
        let find = |piece: &Piece| self.index(|index| index.find_readable(piece.kind, &piece.digest));
        let mut found = Vec::with_capacity(segment.pieces.len());
        for piece in &segment.pieces {
            let location = match find(piece) {
                Some(location) if location != piece.location => location,
                Some(_) => return Err(error),
                None => return Err(StoreError::NotFound { digest: piece.digest }),
            };
            let stored = self.read(&piece.digest, location.pack, location.offset..location.end()).await?;
            found.push((Piece { location, ..*piece }, stored));
        }
        Ok(found)
    }

    /// Bytes of a pack; `digest` is what they are read for.
    async fn read(&self, digest: &Digest, pack: PackId, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let path = pack.path();
        let damaged = |reason: &str| {
            let reason = reason.to_owned();
            self.here(StoreError::Damaged { digest: *digest, object: path.to_string(), reason })
        };
        let wanted = range.end - range.start;
        if let Some(file) = self.pack_file(pack) {
            let buffers = Arc::clone(&self.buffers);
            return match blocking(move || Ok(buffers.read(&file, range)?)).await {
                Ok(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
                Ok(_) => Err(damaged("the pack is too short")),
                Err(StoreError::File(error)) if error.is_not_found() => Err(damaged("the pack is missing")),
                Err(error) => Err(error),
            };
        }
        match self.backend.get_range(&path, range.clone()).await {
            Ok(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
            Ok(_) => Err(damaged("the pack is too short")),
            Err(object_store::Error::NotFound { .. }) => Err(damaged("the pack is missing")),
            // Back-ends say in different words that a range is not there.
            Err(source) => match self.backend.head(&path).await {
                Ok(meta) if meta.size < range.end => Err(damaged("the pack is too short")),
                _ => Err(failed("read", &path)(source)),
            },
        }
    }
}

impl Piece {
    /// What tells it from others, also from copies in other packs.
    pub(super) fn place(&self) -> (PackId, Kind, Digest) {
        (self.location.pack, self.kind, self.digest)
    }

    /// The bytes of a chunk.
    pub(super) fn decode(&self, stored: Bytes) -> Result<Bytes, StoreError> {
        let Self { digest, location, .. } = self;
        chunk::decode_verified(digest, location.encoding, stored, location.raw_length)
            .map_err(|reason| self.damaged(reason))
    }

    /// The bytes of a chunk that was checked already.
    pub(super) fn unpack(&self, stored: Bytes) -> Result<Bytes, StoreError> {
        let Location { encoding, raw_length, .. } = self.location;
        chunk::decode(encoding, stored, raw_length).map_err(|reason| self.damaged(reason))
    }

    /// Of a recipe only the form can be checked here: it is named by what it makes.
    pub(super) fn check(&self, stored: Bytes) -> Result<(), StoreError> {
        match self.kind {
            Kind::Chunk => self.decode(stored).map(drop),
            Kind::Recipe => self.recipe(stored).map(drop),
        }
    }

    pub(super) fn recipe(&self, stored: Bytes) -> Result<Recipe, StoreError> {
        let Location { encoding, raw_length, .. } = self.location;
        let raw = chunk::decode(encoding, stored, raw_length).map_err(|reason| self.damaged(reason))?;
        Recipe::decode(&raw).map_err(|error| self.damaged(error.to_string()))
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { digest: self.digest, object: self.location.pack.path().to_string(), reason }
    }
}

impl From<Piece> for Segment {
    fn from(piece: Piece) -> Self {
        let location = &piece.location;
        Self { pack: location.pack, range: location.offset..location.end(), pieces: vec![piece] }
    }
}

/// Joins neighbours in a pack, keeping the order of `pieces`.
pub(super) fn segments(pieces: impl IntoIterator<Item = Piece>) -> Vec<Segment> {
    segments_within(pieces, MAX_SEGMENT)
}

/// [`segments`] of at most `most` bytes, or one piece.
pub(super) fn segments_within(pieces: impl IntoIterator<Item = Piece>, most: u64) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for piece in pieces {
        let location = &piece.location;
        match segments.last_mut() {
            Some(last) if last.takes(location, most) => {
                last.range.end = last.range.end.max(location.end());
                last.pieces.push(piece);
            }
            _ => segments.push(piece.into()),
        }
    }
    segments
}

impl Segment {
    /// The pieces in the bytes of the segment.
    fn cut(self, stored: &Bytes) -> Vec<(Piece, Bytes)> {
        let bytes = |piece: &Piece| {
            let start = (piece.location.offset - self.range.start) as usize;
            stored.slice(start..start + piece.location.stored_length as usize)
        };
        self.pieces.iter().map(|piece| (*piece, bytes(piece))).collect()
    }

    pub(super) fn pieces(&self) -> impl ExactSizeIterator<Item = &Piece> {
        self.pieces.iter()
    }

    fn takes(&self, location: &Location, most: u64) -> bool {
        self.pack == location.pack
            && location.offset >= self.range.start
            && location.offset <= self.range.end + MAX_GAP
            && location.end() <= self.range.start + most
    }
}
