//! Answers over HTTP/2 that their clients do not read: the window of a stream may stay closed on a connection on which
//! all else is alive, so that no time limit of the connection ends it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;

use crate::stalling::Patience;

/// Most bytes that are handed over at once: what was handed over waits for its client where nobody counts it.
const PIECE: usize = 64 << 10;

/// The piece of an answer that waits for its client to take it, by its number; 0 if none does.
#[derive(Debug, Default)]
struct Waiting(AtomicU64);

tokio::task_local! {
    /// Of the stream that the task runs.
    static WAITING: Arc<Waiting>;
}

/// Runs the streams of an HTTP/2 connection. One whose client takes nothing of its answer for a while is reset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    after: Duration,
}

impl Streams {
    pub(crate) fn reset_after(after: Duration) -> Self {
        Self { after }
    }
}

impl<S: Future<Output = ()> + Send + 'static> Executor<S> for Streams {
    fn execute(&self, stream: S) {
        let (after, waiting) = (self.after, Arc::new(Waiting::default()));
        tokio::spawn(async move {
            let mut stream = pin!(WAITING.scope(Arc::clone(&waiting), stream));
            let (mut patience, mut last) = (Patience::default(), 0);
            poll_fn(|context| {
                if stream.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                let piece = waiting.0.load(Ordering::Relaxed);
                if piece != last {
                    patience.renew();
                    last = piece;
                }
                // A stream that is dropped before its end is reset.
                if piece != 0 && patience.is_over(after, context) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }
}

/// An answer in pieces of which [`Streams`] knows how long they wait.
struct Answer {
    body: Body,
    /// What is left of a frame.
    left: Bytes,
    /// Pieces that were handed over.
    pieces: u64,
    waiting: Arc<Waiting>,
}

/// The answer of a stream that [`Streams`] runs, as it can be watched.
pub(crate) fn watched(answer: Response) -> Response {
    let Ok(waiting) = WAITING.try_with(Arc::clone) else { return answer };
    answer.map(|body| Body::new(Answer { body, left: Bytes::new(), pieces: 0, waiting }))
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Who asks for more has got rid of what it had.
        self.waiting.0.store(0, Ordering::Relaxed);
        if self.left.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.left = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let count = self.left.len().min(PIECE);
        let piece = self.left.split_to(count);
        self.pieces += 1;
        self.waiting.0.store(self.pieces, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, left) = (self.body.size_hint(), self.left.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower().saturating_add(left));
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(left));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_handed_over_in_pieces() {
        let text: Vec<u8> = (0..=3 * PIECE).map(|place| place as u8).collect();
        let whole = text.clone();
        let waiting = Arc::new(Waiting::default());
        WAITING
            .scope(Arc::clone(&waiting), async move {
                let answer = watched(Response::new(Body::from(text)));
                assert_eq!(answer.body().size_hint().exact(), Some(whole.len() as u64));
                let mut pieces = answer.into_body().into_data_stream();
                let (mut read, mut number) = (Vec::new(), 0);
                while let Some(piece) = pieces.next().await {
                    let piece = piece.expect("a piece");
                    number += 1;
                    assert_eq!(waiting.0.load(Ordering::Relaxed), number);
                    assert!(piece.len() <= PIECE);
                    read.extend_from_slice(&piece);
                }
                assert_eq!((number, waiting.0.load(Ordering::Relaxed)), (4, 0));
                assert!(read == whole);
            })
            .await;
    }
}
