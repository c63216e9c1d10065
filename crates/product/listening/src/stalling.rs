//! Time limits of bytes on their way: a client that stops in the middle must not keep what it holds for ever.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

/// How long a client may take to accept more of an answer.
pub(crate) const WRITE: Duration = Duration::from_mins(1);
/// How long the next piece of a large body may take.
const PIECE: Duration = Duration::from_secs(30);
/// How much is read of a body that nobody wants, and for how long.
const REST_BYTES: usize = 256 << 20;
const REST: Duration = Duration::from_secs(5);
/// How long a whole message may take.
const MESSAGE: Duration = Duration::from_mins(1);

/// A timer that is only made where something has to be waited for, which is rare.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Whether it has run out; it begins when it is first asked.
    pub(crate) fn is_over(&mut self, after: Duration, context: &mut Context<'_>) -> bool {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(after)));
        timer.as_mut().poll(context).is_ready()
    }

    pub(crate) fn renew(&mut self) {
        self.0 = None;
    }
}

/// A connection on which writing that makes no progress is an error after a while.
pub(crate) struct Stalling<I> {
    io: I,
    after: Duration,
    patience: Patience,
    /// How long the first bytes of the client may take; none once they are here, or where somebody else looks after it.
    greeting: Option<Duration>,
    waiting: Patience,
}

impl<I> Stalling<I> {
    /// An error comes after [`WRITE`].
    pub(crate) fn new(io: I) -> Self {
        Self::after(WRITE, io)
    }

    fn after(after: Duration, io: I) -> Self {
        Self { io, after, patience: Patience::default(), greeting: None, waiting: Patience::default() }
    }

    /// Reading is an error, too, if nothing at all has come by then.
    pub(crate) fn greeted_within(mut self, time: Duration) -> Self {
        self.greeting = Some(time);
        self
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
        let poll = Pin::new(&mut self.io).poll_read(context, buffer);
        if let Some(time) = self.greeting {
            if poll.is_ready() {
                self.greeting = None;
                self.waiting.renew();
            } else if self.waiting.is_over(time, context) {
                return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client says nothing")));
            }
        }
        poll
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

/// What was left of a request's body when its handler had enough of it.
#[derive(Clone, Debug, Default)]
pub struct Rest(Arc<Mutex<Option<Body>>>);

impl Rest {
    /// A body that nobody has looked at.
    pub fn of(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    /// Keeps what a handler has left of a body.
    pub fn keep(&self, body: Body) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// Reads it and forgets it, within [`REST_BYTES`] and [`REST`]: a client that still sends when the connection is
    /// closed may never see why.
    pub async fn drain(self) {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body else { return };
        let read = async move {
            let mut left = REST_BYTES;
            let mut pieces = body.into_data_stream();
            while let Some(Ok(piece)) = pieces.next().await {
                left = left.saturating_sub(piece.len());
                if left == 0 {
                    break;
                }
            }
        };
        // Who is too slow for that is cut off.
        let _ = timeout(REST, read).await;
    }
}

/// A request's body that must come in time.
#[derive(Debug)]
pub struct Incoming {
    body: Body,
    rest: Rest,
    /// Whether there is nothing more to come.
    ended: bool,
    after: Duration,
    /// Whether the time is that of the whole body, not of each piece.
    whole: bool,
    patience: Patience,
}

impl Incoming {
    /// A body of which the next piece must come in [`PIECE`].
    pub fn streamed(body: Body, rest: Rest) -> Body {
        Self::after(PIECE, false, body, rest)
    }

    /// A body that must have come in [`MESSAGE`].
    pub fn message(body: Body, rest: Rest) -> Body {
        Self::after(MESSAGE, true, body, rest)
    }

    fn after(after: Duration, whole: bool, body: Body, rest: Rest) -> Body {
        Body::new(Self { body, rest, ended: false, after, whole, patience: Patience::default() })
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
            self.ended |= !matches!(poll, Poll::Ready(Some(Ok(_))));
            return poll;
        }
        let after = self.after;
        if self.patience.is_over(after, context) {
            self.ended = true;
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

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            let left = std::mem::take(&mut self.body);
            self.rest.keep(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
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

    #[tokio::test]
    async fn a_client_that_says_nothing_is_given_up() {
        use tokio::io::AsyncReadExt as _;
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut silent = Stalling::after(NEVER, ours).greeted_within(SOON);
        let error = silent.read_u8().await.expect_err("nobody speaks");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let (ours, mut speaker) = tokio::io::duplex(4);
        let mut spoken = Stalling::after(NEVER, ours).greeted_within(SOON * 100);
        speaker.write_all(b"ab").await.expect("write");
        assert_eq!(spoken.read_u8().await.expect("a byte"), b'a');
        theirs.shutdown().await.expect("shutdown");
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
        assert_eq!(read(Incoming::after(NEVER, false, drip(), Rest::default())).await.expect("it moves").len(), 10);
        assert!(read(Incoming::after(SOON * 4, true, drip(), Rest::default())).await.is_err());
        let silent = || Body::from_stream(stream::pending::<std::result::Result<Bytes, Error>>());
        assert!(read(Incoming::after(SOON, false, silent(), Rest::default())).await.is_err());
        assert!(read(Incoming::after(SOON, true, silent(), Rest::default())).await.is_err());
    }
}
