//! Blobs as streams.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use ropewalk_types::Digest;

use super::read::{Plan, READS_AHEAD, segments, segments_within};
use super::{Inner, Store, blocking};
use crate::error::StoreError;

/// Bytes that nobody looks at are read in pieces that stay in the processor's cache until they are sent.
const TRUSTED_SEGMENT: u64 = 1 << 20;

impl Store {
    /// The bytes of a blob that lie in `range`, as far as the blob has them; reads only the chunks that the range touches.
    ///
    /// Every chunk is checked against its digest before it is given. That the chunks are those of this blob only the
    /// whole can tell: when the range is the whole blob, and that has another digest, [`StoreError::Damaged`] comes in
    /// place of the last chunk.
    pub fn blob_stream(&self, digest: &Digest, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        blob_stream(Arc::clone(&self.inner), *digest, range, Care::Checking)
    }
}

/// Whether chunks are checked against their digests on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// All of them; and the whole, when it is read.
    Checking,
    /// None: this process has checked or written them not long ago.
    Trusting,
}

/// See [`Store::blob_stream`].
pub(super) fn blob_stream(
    inner: Arc<Inner>,
    digest: Digest,
    range: Range<u64>,
    care: Care,
) -> BoxStream<'static, Result<Bytes, StoreError>> {
    let reading = async move {
        let plan = inner.plan(&digest).await?;
        let parts = Reading::new(&inner, plan, range, care);
        Ok::<_, StoreError>(futures::stream::try_unfold(parts, |mut reading| async move {
            Ok(reading.next().await?.map(|bytes| (bytes, reading)))
        }))
    };
    futures::stream::once(reading).try_flatten().boxed()
}

/// A stream on its way.
struct Reading {
    plan: Plan,
    reads: BoxStream<'static, Result<Vec<Bytes>, StoreError>>,
    inner: Arc<Inner>,
    ready: VecDeque<Bytes>,
    /// Bytes of the next chunk that lie before the range.
    skip: usize,
    left: u64,
    /// When all is read.
    hasher: Option<blake3::Hasher>,
}

impl Reading {
    fn new(inner: &Arc<Inner>, plan: Plan, range: Range<u64>, care: Care) -> Self {
        let range = range.start.min(plan.size)..range.end.min(plan.size);
        let (mut offset, mut skip, mut wanted) = (0, 0, Vec::new());
        for piece in &plan.pieces {
            let end = offset + u64::from(piece.location.raw_length);
            if end > range.start && offset < range.end {
                if wanted.is_empty() {
                    skip = (range.start - offset) as usize;
                }
                wanted.push(*piece);
            }
            offset = end;
        }
        let checking = care == Care::Checking;
        let whole = checking && plan.pieces.len() > 1 && wanted.len() == plan.pieces.len() && range == (0..plan.size);
        let reader = Arc::clone(inner);
        let read = move |segment| {
            let inner = Arc::clone(&reader);
            async move {
                match care {
                    Care::Checking => inner.read_segment(segment).await,
                    Care::Trusting => inner.read_trusted(segment).await,
                }
            }
        };
        let segments = if checking { segments(wanted) } else { segments_within(wanted, TRUSTED_SEGMENT) };
        let reads = futures::stream::iter(segments).map(read).buffered(READS_AHEAD).boxed();
        let hasher = whole.then(blake3::Hasher::new);
        let inner = Arc::clone(inner);
        Self { plan, reads, inner, ready: VecDeque::new(), skip, left: range.end.saturating_sub(range.start), hasher }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if let Some(mut chunk) = self.ready.pop_front() {
                let chunk = chunk.split_off(std::mem::take(&mut self.skip));
                let length = self.left.min(chunk.len() as u64);
                self.left -= length;
                if self.left == 0 {
                    self.check_whole()?;
                }
                return Ok(Some(chunk.slice(..length as usize)));
            }
            match self.reads.try_next().await? {
                Some(chunks) => self.ready = self.hashed(chunks).await?.into(),
                None => break,
            }
        }
        self.check_whole()?;
        Ok(None)
    }

    /// Before the last chunk is given, because who was told the length may never ask what comes behind it.
    fn check_whole(&mut self) -> Result<(), StoreError> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        self.plan.check(hasher.finalize().into()).map_err(|error| self.inner.here(error))?;
        self.inner.trusted.note(self.plan.digest);
        Ok(())
    }

    async fn hashed(&mut self, chunks: Vec<Bytes>) -> Result<Vec<Bytes>, StoreError> {
        let Some(mut hasher) = self.hasher.take() else { return Ok(chunks) };
        let (hasher, chunks) = blocking(move || {
            for chunk in &chunks {
                hasher.update(chunk);
            }
            Ok((hasher, chunks))
        })
        .await?;
        self.hasher = Some(hasher);
        Ok(chunks)
    }
}
