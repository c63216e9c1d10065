//! Blobs that come from and go to other machines: bodies of requests and answers.

use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use ropewalk_types::Digest;

use super::stream::Care;
use super::{Blob, Store};
use crate::error::StoreError;

/// What is not longer is stored as one piece of memory.
const SMALL: usize = 1 << 20;

/// A collector leaves what it condemned for much longer than this.
const STALE: Duration = Duration::from_mins(10);

impl Store {
    /// Stores what `stream` gives, holding a few megabytes of it in memory at a time; it is durable and visible on return.
    ///
    /// An error of the stream is given back, and nothing is stored. What cannot be asked for again is not tried again: with
    /// [`StoreError::Collected`] the sender has to.
    pub async fn put_stream<S, E>(&self, stream: S) -> Result<Blob, E>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: From<StoreError> + Send,
    {
        let mut stream = std::pin::pin!(stream);
        let (mut first, mut length) = (Vec::new(), 0);
        while length <= SMALL {
            let Some(piece) = stream.next().await else { return Ok(self.put_bytes(joined(first)).await?) };
            let piece: Bytes = piece?;
            length += piece.len();
            first.push(piece);
        }
        self.refresh_if_stale().await?;
        let mut writer = self.writer();
        let pieces = futures::stream::iter(first.into_iter().map(Ok::<Bytes, E>)).chain(stream);
        let blob = writer.add_body(pieces).await?;
        let all_new = writer.is_all_new();
        writer.commit().await?;
        if all_new {
            self.inner.trusted.note(blob.digest);
        }
        Ok(blob)
    }

    /// A handle that had not looked for days may rely on what was removed long ago, and a body has one try only; but to look
    /// costs more the more index objects there are, and is not done for every body.
    async fn refresh_if_stale(&self) -> Result<(), StoreError> {
        let due = {
            let mut looked = self.inner.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let due = looked.is_none_or(|at| at.elapsed() > STALE);
            if due {
                *looked = Some(Instant::now());
            }
            due
        };
        if due { self.refresh().await } else { Ok(()) }
    }

    /// The bytes of a blob that lie in `range`, as far as the blob has them, in pieces of about a megabyte.
    ///
    /// Like [`Store::blob_stream`], but a blob whose bytes this process has checked or written, all of them, in the last
    /// hour is not checked again: that would cost twice what reading and sending it costs (docs/adr/016-artifact-bodies.md).
    pub fn blob_body(&self, digest: &Digest, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let care = if self.inner.trusted.has(digest) { Care::Trusting } else { Care::Checking };
        super::stream::blob_stream(Arc::clone(&self.inner), *digest, range, care)
    }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 | 1 => pieces.pop().unwrap_or_default(),
        _ => {
            let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            for piece in &pieces {
                whole.extend_from_slice(piece);
            }
            whole.freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures::TryStreamExt as _;

    use super::*;
    use crate::files::{self, EntryKind, temporary_directory};
    use crate::testing::noise;

    fn pieces(bytes: &[u8], length: usize) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + use<> {
        let pieces: Vec<_> = bytes.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures::stream::iter(pieces)
    }

    async fn body(store: &Store, digest: &Digest, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let parts: Vec<Bytes> = store.blob_body(digest, range).try_collect().await?;
        Ok(parts.concat())
    }

    /// Changes one byte in the middle of every file of more than a megabyte.
    fn damage(directory: &Path) -> usize {
        let mut damaged = 0;
        for entry in files::list(directory).unwrap() {
            if entry.kind == EntryKind::Directory {
                damaged += damage(&entry.path);
            } else if entry.size > 1 << 20 {
                let mut bytes = files::read(&entry.path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                files::write_atomic(&entry.path, &bytes).unwrap();
                damaged += 1;
            }
        }
        damaged
    }

    #[tokio::test]
    async fn bodies_come_back_whatever_their_pieces() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let text = b"hemp yarn strand rope ".repeat(1 << 18);
        for url in ["memory:".to_owned(), format!("file:{}", directory.path().display())] {
            for (number, length) in [0, 1, SMALL, SMALL + 1, (5 << 20) + 17, (9 << 20) + 1].into_iter().enumerate() {
                for piece in [999, 70_000, 3 << 20] {
                    let bytes = [noise(number as u64, length), text[..length / 3].to_vec()].concat();
                    let store = Store::open(&url).await.unwrap();
                    let blob = store.put_stream(pieces(&bytes, piece)).await.unwrap();
                    let size = bytes.len() as u64;
                    assert_eq!(blob, Blob { digest: Digest::of(&bytes), size });
                    let checked = store.get_bytes(&blob.digest).await.unwrap();
                    assert!(checked == bytes, "{length} bytes by {piece}");
                    for range in [0..size, 0..u64::MAX, size / 3..size / 2, size..size, 1..size + 9] {
                        let expected = &bytes[range.start.min(size) as usize..range.end.min(size) as usize];
                        assert!(body(&store, &blob.digest, range).await.unwrap() == expected);
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_breaks_stores_nothing() {
        let store = Store::open("memory:").await.unwrap();
        let bytes = noise(1, 4 << 20);
        for kept in [0, 3, 40] {
            let broken = futures::stream::iter([Err(StoreError::Interrupted)]);
            let body = pieces(&bytes, 100_000).take(kept).chain(broken);
            assert!(matches!(store.put_stream(body).await, Err(StoreError::Interrupted)), "{kept}");
        }
        assert!(!store.contains(&Digest::of(&bytes)).await.unwrap());
        assert!(!store.contains(&Digest::of(&bytes[..4_000_000])).await.unwrap());
    }

    #[tokio::test]
    async fn only_who_wrote_or_checked_a_blob_gives_it_without_checking() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let url = format!("file:{}", directory.path().display());
        let (writer, reader) = (Store::open(&url).await.unwrap(), Store::open(&url).await.unwrap());
        let bytes = noise(2, 3 << 20);
        let digest = writer.put_stream(pieces(&bytes, 50_000)).await.unwrap().digest;
        assert!(body(&reader, &digest, 0..u64::MAX).await.unwrap() == bytes);
        let late = Store::open(&url).await.unwrap();
        // It writes nothing of this, so it has not seen what lies there.
        assert_eq!(late.put_stream(pieces(&bytes, 50_000)).await.unwrap().digest, digest);
        assert_eq!(damage(directory.path()), 1);
        for trusting in [&writer, &reader] {
            assert!(body(trusting, &digest, 0..u64::MAX).await.unwrap() != bytes);
            let checked: Result<Vec<Bytes>, _> = trusting.blob_stream(&digest, 0..u64::MAX).try_collect().await;
            assert!(matches!(checked, Err(StoreError::Damaged { .. })));
        }
        assert!(matches!(body(&late, &digest, 0..u64::MAX).await, Err(StoreError::Damaged { .. })));
    }
}
