//! Small blobs by what they hold: for what nothing leads to any more.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;

use super::read::{Piece, Segment, segments};
use super::{Inner, Store};
use crate::error::StoreError;
use crate::index::Kind;

impl Store {
    /// Reads all that may be a blob of at most `limit` bytes, and gives the digests of what is `wanted`, in no order.
    ///
    /// Trees are passed over, blobs of several chunks, and what is damaged. Chunks of larger blobs are read, too.
    pub async fn small_blobs(
        &self,
        limit: u32,
        wanted: &(dyn Fn(&Digest, &[u8]) -> bool + Send + Sync),
    ) -> Result<Vec<Digest>, StoreError> {
        self.inner.refresh().await?;
        let mut pieces: Vec<Piece> = self.inner.index(|index| {
            let small = index.chunks().filter(|(_, location)| !location.tree && location.raw_length <= limit);
            small.map(|(&digest, &location)| Piece { kind: Kind::Chunk, digest, location }).collect()
        });
        pieces.sort_unstable_by_key(|piece| (piece.location.pack, piece.location.offset));
        let reads = segments(pieces).into_iter().map(|segment| self.inner.read_what_is_right(segment));
        let mut reads = std::pin::pin!(futures::stream::iter(reads).buffered(self.inner.segments_at_once()));
        let mut found = Vec::new();
        while let Some(read) = reads.try_next().await? {
            let right = read.into_iter().filter(|(digest, bytes)| wanted(digest, bytes));
            found.extend(right.map(|(digest, _)| digest));
        }
        Ok(found)
    }
}

impl Inner {
    /// The chunks of a segment that are not damaged.
    async fn read_what_is_right(&self, segment: Segment) -> Result<Vec<(Digest, Bytes)>, StoreError> {
        let pieces: Vec<Piece> = segment.pieces().copied().collect();
        match self.read_segment(segment).await {
            Err(error) if error.is_of_content() => {}
            read => return Ok(pieces.iter().map(|piece| piece.digest).zip(read?).collect()),
        }
        let mut right = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match self.read_segment(piece.into()).await {
                Err(error) if error.is_of_content() => {}
                read => right.extend(read?.into_iter().map(|bytes| (piece.digest, bytes))),
            }
        }
        Ok(right)
    }
}
