mod messages;

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use ropewalk_listening::Rest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::room::UNIT;
use messages::Messages;

type Frames = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// What a body needed beyond what it said, held as long as its request is answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrun(Arc<Extra>);

#[derive(Debug, Default)]
struct Extra {
    /// What its endpoint did not read of it.
    rest: Rest,
    /// There was no room for all of it, and it was cut off.
    cut: AtomicBool,
    room: Mutex<Vec<OwnedSemaphorePermit>>,
    /// What a message became that was decompressed here.
    decompressed: Mutex<Option<ropewalk_open_inference::Room>>,
}

impl Overrun {
    pub(super) fn happened(&self) -> bool {
        self.0.cut.load(Ordering::Relaxed)
    }

    pub(super) fn rest(&self) -> Rest {
        self.0.rest.clone()
    }

    pub(super) fn hold_decompressed(&self, room: ropewalk_open_inference::Room) {
        *self.0.decompressed.lock().unwrap_or_else(PoisonError::into_inner) = Some(room);
    }

    fn hold(&self, room: OwnedSemaphorePermit) {
        self.0.room.lock().unwrap_or_else(PoisonError::into_inner).push(room);
    }
}

/// Ends a stream of messages between two of them, once a signal is given and nothing of the next has come.
pub(super) struct Closing {
    /// None once it was given.
    signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    messages: Messages,
}

impl Closing {
    pub(super) fn new(signal: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { signal: Some(Box::pin(signal)), messages: Messages::default() }
    }

    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        if self.signal.as_mut().is_some_and(|signal| signal.as_mut().poll(context).is_ready()) {
            self.signal = None;
        }
        self.signal.is_none() && self.messages.is_between()
    }
}

/// A request's body whose bytes are counted, and that must come in time.
pub(super) struct Metered {
    body: Body,
    /// Whether there is nothing more to come.
    ended: bool,
    /// Bytes that have come, and for how many there is room.
    come: usize,
    reserved: usize,
    /// Where more room is; none counts nothing.
    store: Option<Arc<Semaphore>>,
    longest: usize,
    time: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    overrun: Overrun,
    /// With it the body ends before its client ends it.
    closing: Option<Closing>,
}

impl Metered {
    pub(super) fn new(
        body: Body,
        reserved: usize,
        store: Option<Arc<Semaphore>>,
        time: Option<Duration>,
        overrun: Overrun,
        longest: usize,
        closing: Option<Closing>,
    ) -> Self {
        Self { body, ended: false, come: 0, reserved, store, longest, time, timer: None, overrun, closing }
    }

    /// Room for what has come; past the longest message the reader refuses anyway.
    fn reserve(&mut self) -> Result<(), Error> {
        let Some(store) = &self.store else { return Ok(()) };
        let needed = self.come.min(self.longest).saturating_sub(self.reserved);
        if needed == 0 {
            return Ok(());
        }
        // In steps that double, so that a long body asks seldom.
        let units = needed.max(self.reserved).div_ceil(UNIT);
        let least = needed.div_ceil(UNIT);
        let ask = |units: usize| Arc::clone(store).try_acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
        let Ok(permit) = ask(units).or_else(|_| ask(least)) else {
            self.overrun.0.cut.store(true, Ordering::Relaxed);
            return Err(Error::other("too many long requests are being read"));
        };
        self.reserved += permit.num_permits() * UNIT;
        self.overrun.hold(permit);
        Ok(())
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(time) = self.time else { return false };
        self.timer.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(context).is_ready()
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Frames {
        let poll = Pin::new(&mut self.body).poll_frame(context);
        self.ended |= matches!(poll, Poll::Ready(None | Some(Err(_))));
        match poll {
            Poll::Ready(Some(Ok(frame))) => {
                self.come += frame.data_ref().map_or(0, Bytes::len);
                if let (Some(closing), Some(bytes)) = (&mut self.closing, frame.data_ref()) {
                    closing.messages.pass(bytes);
                }
                match self.reserve() {
                    Ok(()) => Poll::Ready(Some(Ok(frame))),
                    Err(error) => Poll::Ready(Some(Err(axum::Error::new(error)))),
                }
            }
            Poll::Pending if self.closing.as_mut().is_some_and(|closing| closing.is_due(context)) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending if self.is_late(context) => {
                self.ended = true;
                let late = Error::new(ErrorKind::TimedOut, "the request body did not come in time");
                Poll::Ready(Some(Err(axum::Error::new(late))))
            }
            poll => poll,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.overrun.0.rest.keep(std::mem::take(&mut self.body));
        }
    }
}

/// An answer that holds its room until it is sent: a client that reads slowly counts as long as it does.
pub(super) struct Held {
    body: Body,
    _place: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

impl Held {
    pub(super) fn new(body: Body, place: OwnedSemaphorePermit, memory: OwnedSemaphorePermit) -> Self {
        Self { body, _place: place, _memory: memory }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Frames {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
