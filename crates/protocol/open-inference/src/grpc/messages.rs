//! The messages of a call that are compressed, decompressed before tonic reads them: each is a flag, its length in four
//! bytes, and as many bytes (gRPC over HTTP/2, "Length-Prefixed-Message").

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, BodyDataStream};
use bytes::{Buf as _, Bytes, BytesMut};
use futures::stream::{Fuse, Stream, StreamExt as _, try_unfold};
use tonic::Status;

use super::compression::message_decompressed;
use crate::room::{Room, Rooms};
use crate::{ProtocolError, off_reactor};

/// Length of what stands before a message.
const PREFIX: usize = 5;

/// What the messages of one call take once they are decompressed, in the order in which they come: an extension of its
/// request.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken(Arc<Mutex<VecDeque<Room>>>);

impl Taken {
    fn push(&self, room: Room) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(room);
    }

    /// What the next message of a stream takes.
    pub(super) fn pop(&self) -> Option<Room> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A body of messages of which some are compressed.
pub(super) struct Messages {
    body: Fuse<BodyDataStream>,
    encoding: &'static str,
    limit: usize,
    rooms: Rooms,
    taken: Taken,
    /// What has come and was not passed on.
    come: BytesMut,
    /// Bytes that are passed on as they are.
    plain: usize,
    /// The message whose prefix was passed on.
    message: Option<Bytes>,
}

impl Messages {
    pub(super) fn new(body: Body, encoding: &'static str, limit: usize, rooms: Rooms, taken: Taken) -> Self {
        let (body, come) = (body.into_data_stream().fuse(), BytesMut::new());
        Self { body, encoding, limit, rooms, taken, come, plain: 0, message: None }
    }

    /// The same messages, none of them compressed. What is broken or longer than may be is passed on for tonic to
    /// refuse.
    pub(super) fn decompressed(self) -> impl Stream<Item = Result<Bytes, Status>> + Send + 'static {
        try_unfold(self, |mut messages| async move {
            let next = messages.next().await;
            next.map(|piece| piece.map(|piece| (piece, messages)))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(message) = self.message.take() {
            return Ok(Some(message));
        }
        loop {
            if self.plain > 0 && !self.come.is_empty() {
                let count = self.plain.min(self.come.len());
                self.plain -= count;
                return Ok(Some(self.come.split_to(count).freeze()));
            }
            if self.plain == 0
                && let Some([flag, length @ ..]) = self.come.first_chunk::<PREFIX>().copied()
            {
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                if flag != 1 || length > self.limit {
                    self.taken.push(self.rooms.room());
                    self.plain = length.saturating_add(PREFIX);
                    continue;
                }
                if self.come.len() - PREFIX >= length {
                    self.come.advance(PREFIX);
                    let packed = self.come.split_to(length).freeze();
                    return self.decompress(packed).await.map(Some).map_err(status);
                }
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.come.extend_from_slice(&piece),
                Some(Err(problem)) => return Err(Status::from_error(problem.into())),
                None if self.come.is_empty() => return Ok(None),
                None => return Ok(Some(self.come.split().freeze())),
            }
        }
    }

    /// The prefix of the message; what follows it comes next.
    async fn decompress(&mut self, packed: Bytes) -> Result<Bytes, ProtocolError> {
        let (encoding, limit, mut room) = (self.encoding, self.limit, self.rooms.room());
        // A message can grow by a thousand times, so its length says little about the work.
        let read = off_reactor(usize::MAX, move || {
            message_decompressed(encoding, &packed, limit, &mut room).map(|message| (message, room))
        });
        let (message, room) = read.await?;
        let length = u32::try_from(message.len()).map_err(|_| ProtocolError::TooLarge { limit })?;
        self.taken.push(room);
        self.message = Some(message).filter(|message| !message.is_empty()).map(Bytes::from);
        Ok([[0].as_slice(), &length.to_be_bytes()].concat().into())
    }
}

/// A message that becomes too large is refused as tonic does it.
fn status(problem: ProtocolError) -> Status {
    match problem {
        ProtocolError::TooLarge { .. } => Status::resource_exhausted(problem.to_string()),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures::{TryStreamExt as _, stream};
    use tonic::Code;

    use super::*;
    use crate::ProtocolLimits;

    const LIMIT: usize = 100_000;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        [[flag].as_slice(), &(message.len() as u32).to_be_bytes(), message].concat()
    }

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(message).unwrap();
        packed.finish().unwrap()
    }

    fn rooms() -> Rooms {
        Rooms::new(&ProtocolLimits { message_bytes: LIMIT, memory_bytes: 0, ..ProtocolLimits::default() })
    }

    /// What becomes of a body that comes in pieces of this length.
    async fn read(body: &[u8], piece: usize, rooms: &Rooms, taken: &Taken) -> Result<Vec<u8>, Status> {
        let pieces: Vec<Result<Bytes, Status>> =
            body.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let body = Body::from_stream(stream::iter(pieces));
        let messages = Messages::new(body, "gzip", LIMIT, rooms.clone(), taken.clone());
        messages.decompressed().map_ok(|piece| piece.to_vec()).try_concat().await
    }

    #[tokio::test]
    async fn messages_are_decompressed_however_they_are_cut() {
        let (one, two) = (b"one ".repeat(500), b"two".to_vec());
        let packed = [framed(1, &gzip(&one)), framed(0, &two), framed(1, &gzip(b"")), framed(1, &gzip(&two))].concat();
        let plain = [framed(0, &one), framed(0, &two), framed(0, b""), framed(0, &two)].concat();
        for piece in [1, 2, 7, packed.len()] {
            let taken = Taken::default();
            assert_eq!(read(&packed, piece, &rooms(), &taken).await.unwrap(), plain, "in pieces of {piece}");
            // 2000 bytes, and none for the one that came as it is.
            let units: Vec<usize> = std::iter::from_fn(|| taken.pop()).map(|room| room.units()).collect();
            assert_eq!(units, [2, 0, 0, 1]);
        }
    }

    #[tokio::test]
    async fn what_tonic_refuses_is_passed_on() {
        let broken = framed(1, &gzip(b"one"));
        let long = [[1].as_slice(), &u32::MAX.to_be_bytes(), b"abc"].concat();
        for body in [&broken[..broken.len() - 1], &framed(7, b"abc"), &long, b"\x01\0"] {
            assert_eq!(read(body, 3, &rooms(), &Taken::default()).await.unwrap(), body);
        }
    }

    #[tokio::test]
    async fn what_a_message_becomes_is_bounded_alone_and_in_sum() {
        let code = async |body: &[u8], rooms: &Rooms, taken: &Taken| read(body, 1000, rooms, taken).await.unwrap_err();
        let long = framed(1, &gzip(&vec![0; LIMIT + 1]));
        assert_eq!(code(&long, &rooms(), &Taken::default()).await.code(), Code::ResourceExhausted);
        let damaged = framed(1, b"no gzip");
        assert_eq!(code(&damaged, &rooms(), &Taken::default()).await.code(), Code::InvalidArgument);

        let (rooms, taken) = (rooms(), Taken::default());
        let large = framed(1, &gzip(&vec![0; LIMIT]));
        read(&large, 1000, &rooms, &taken).await.unwrap();
        let refused = code(&large, &rooms, &Taken::default()).await;
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().starts_with("compressed requests take up the 100001 bytes"), "{refused}");
        drop(taken);
        read(&large, 1000, &rooms, &Taken::default()).await.unwrap();
    }
}
