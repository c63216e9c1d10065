//! Time limits of bytes on their way: a client that stops in the middle must not keep what it holds for ever.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take to accept more of an answer.
const WRITE: Duration = Duration::from_mins(1);
/// How long the next piece of a large body may take.
const PIECE: Duration = Duration::from_secs(30);
/// How long a whole message may take.
const MESSAGE: Duration = Duration::from_mins(1);

/// A timer that is only made where something has to be waited for, which is rare.
#[derive(Default)]
struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Whether it has run out; it begins when it is first asked.
    fn is_over(&mut self, after: Duration, context: &mut Context<'_>) -> bool {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(after)));
        timer.as_mut().poll(context).is_ready()
    }

    fn renew(&mut self) {
        self.0 = None;
    }
}

/// A connection on which writing that makes no progress is an error after a while.
pub(super) struct Stalling<I> {
    io: I,
    after: Duration,
    patience: Patience,
}

impl<I> Stalling<I> {
    /// An error comes after [`WRITE`].
    pub(super) fn new(io: I) -> Self {
        Self::after(WRITE, io)
    }

    fn after(after: Duration, io: I) -> Self {
        Self { io, after, patience: Patience::default() }
    }

    fn judged<T>(&mut self, poll: Poll<Result<T>>, context: &mut Context<'_>) -> Poll<Result<T>> {
        if poll.is_ready() {
            self.patience.renew();
            return poll;
        }
        let after = self.after;
        if self.patience.is_over(after, context) {
            return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client does not read its answer")));
        }
        Poll::Pending
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Stalling<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Stalling<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(context, bytes);
        self.judged(poll, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(context, pieces);
        self.judged(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(context);
        self.judged(poll, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let poll = Pin::new(&mut self.io).poll_shutdown(context);
        self.judged(poll, context)
    }
}

/// A request's body that must come in time.
pub(super) struct Incoming {
    body: Body,
    after: Duration,
    /// Whether the time is that of the whole body, not of each piece.
    whole: bool,
    patience: Patience,
}

impl Incoming {
    /// A body of which the next piece must come in [`PIECE`].
    pub(super) fn streamed(body: Body) -> Body {
        Self::after(PIECE, false, body)
    }

    /// A body that must have come in [`MESSAGE`].
    pub(super) fn message(body: Body) -> Body {
        Self::after(MESSAGE, true, body)
    }

    fn after(after: Duration, whole: bool, body: Body) -> Body {
        Body::new(Self { body, after, whole, patience: Patience::default() })
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(context);
        if poll.is_ready() {
            if !self.whole {
                self.patience.renew();
            }
            return poll;
        }
        let after = self.after;
        if self.patience.is_over(after, context) {
            let late = Error::new(ErrorKind::TimedOut, "the request body did not come in time");
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream::{self, StreamExt as _};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const NEVER: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (ours, theirs) = tokio::io::duplex(4);
        let error = Stalling::after(SOON, ours).write_all(b"more than fits").await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(theirs);
    }

    /// A body that moves is in time as one of many pieces, which takes as long as it takes, but not as a message.
    #[tokio::test]
    async fn a_dripping_message_is_given_up_and_a_slow_upload_is_not() {
        let drip = || {
            Body::from_stream(stream::iter(0..10).then(|_: i32| async {
                sleep(SOON).await;
                Ok::<Bytes, Error>(Bytes::from_static(b"x"))
            }))
        };
        let read = async |body: Body| axum::body::to_bytes(body, 100).await;
        assert_eq!(read(Incoming::after(NEVER, false, drip())).await.expect("it moves").len(), 10);
        assert!(read(Incoming::after(SOON * 4, true, drip())).await.is_err());
        let silent = || Body::from_stream(stream::pending::<std::result::Result<Bytes, Error>>());
        assert!(read(Incoming::after(SOON, false, silent())).await.is_err());
        assert!(read(Incoming::after(SOON, true, silent())).await.is_err());
    }
}
