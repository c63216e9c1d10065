//! A blob that comes piece by piece from elsewhere, such as the body of a request.
//!
//! It is cut while it comes, a window at a time, so that nothing is written to the disk to be read again, and no thread
//! waits for a slow sender. A byte is copied once on its way to the system: into the window, in which its chunk lies in one
//! piece; a chunk that is stored as it is remains a part of that window. See docs/adr/016-artifact-bodies.md.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use super::Writer;
use super::prepare::{Builder, Claims, Prepared};
use crate::chunk::{Encoder, Grain, MAX_CHUNK};
use crate::error::StoreError;
use crate::recipe::Recipe;
use crate::store::{Blob, blocking};

/// Bytes that are cut together, about: what fits into the processor's cache beside what is done with it.
const WINDOW: usize = 1 << 20;
/// A window, the piece that went over its end, and what the last window left.
const MEMORY: usize = 2 * WINDOW;
/// So many windows wait to be filled again at most.
const KEPT: usize = 8;

impl Writer {
    /// Adds what `stream` gives, holding a few megabytes of it in memory at a time.
    ///
    /// When that fails, be it by an error of the stream, nothing that was added to this writer can be committed.
    pub async fn add_body<S, E>(&mut self, stream: S) -> Result<Blob, E>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: From<StoreError> + Send,
    {
        self.begin()?;
        let mut stream = std::pin::pin!(stream);
        let mut cutting = Box::new(Cutting::new(Arc::clone(&self.claims))?);
        let mut window = gather(stream.as_mut()).await?;
        loop {
            let Window { pieces, ended } = window;
            let cut = blocking(move || {
                let (prepared, blob) = cutting.take(&pieces, ended)?;
                Ok((cutting, prepared, blob))
            });
            let next = async { if ended { Ok(Window::default()) } else { gather(stream.as_mut()).await } };
            let (cut, next) = futures::join!(cut, next);
            window = next?;
            let (still_cutting, prepared, blob) = cut?;
            cutting = still_cutting;
            self.append_all(prepared).await?;
            if let Some(blob) = blob {
                self.unfinished = false;
                return Ok(blob);
            }
        }
    }
}

/// Pieces that are cut together.
#[derive(Default)]
struct Window {
    pieces: Vec<Bytes>,
    /// Nothing follows.
    ended: bool,
}

async fn gather<S, E>(mut stream: Pin<&mut S>) -> Result<Window, E>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let (mut pieces, mut length) = (Vec::new(), 0);
    while length < WINDOW {
        match stream.next().await {
            Some(piece) => {
                let piece = piece?;
                length += piece.len();
                pieces.push(piece);
            }
            None => return Ok(Window { pieces, ended: true }),
        }
    }
    Ok(Window { pieces, ended: false })
}

/// A blob between two windows.
struct Cutting {
    claims: Arc<Claims>,
    encoder: Encoder,
    recipe: Recipe,
    hasher: blake3::Hasher,
    grain: Grain,
    memory: Arc<Memory>,
    /// What was not cut of the last window.
    rest: Bytes,
}

impl Cutting {
    fn new(claims: Arc<Claims>) -> Result<Self, StoreError> {
        Ok(Self {
            claims,
            encoder: Encoder::new()?,
            recipe: Recipe::default(),
            hasher: blake3::Hasher::new(),
            grain: Grain::default(),
            memory: Arc::default(),
            rest: Bytes::new(),
        })
    }

    /// The pieces that must be written of the next window; with the last one, the blob.
    fn take(&mut self, pieces: &[Bytes], ended: bool) -> Result<(Vec<Prepared>, Option<Blob>), StoreError> {
        let mut window = self.memory.take();
        window.extend_from_slice(&self.rest);
        let carried = window.len();
        for piece in pieces {
            window.extend_from_slice(piece);
        }
        self.hasher.update(&window[carried..]);
        let window = Memory::share(&self.memory, window);
        let mut prepared = Vec::new();
        let mut give = |piece: Prepared| -> Result<(), StoreError> {
            prepared.push(piece);
            Ok(())
        };
        let mut builder = Builder::resume(&self.claims, &mut self.encoder, std::mem::take(&mut self.recipe));
        let mut start = 0;
        // A cut depends on nothing beyond the largest chunk, so that windows do not show in the result.
        while window.len() - start >= MAX_CHUNK || (ended && start < window.len()) {
            let length = self.grain.cut(&window[start..]);
            let chunk = window.slice(start..start + length);
            builder.look(&mut self.grain, &chunk);
            builder.chunk_of(&chunk, &mut give)?;
            start += length;
        }
        if !ended {
            self.recipe = builder.into_recipe();
            self.rest = window.slice(start..);
            return Ok((prepared, None));
        }
        if builder.is_empty() {
            builder.chunk_of(&Bytes::new(), &mut give)?;
        }
        let whole = self.hasher.finalize();
        let blob = builder.finish(|| whole.into(), &mut give)?;
        Ok((prepared, Some(blob)))
    }
}

/// Windows that are filled again: an allocator gives pieces of this size back to the system, which clears each page anew.
#[derive(Default)]
struct Memory {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Memory {
    fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Vec::with_capacity(MEMORY))
    }

    /// The window as bytes, whose memory comes back here when the last of them is dropped.
    fn share(self: &Arc<Self>, window: Vec<u8>) -> Bytes {
        Bytes::from_owner(Filled { window, home: Arc::clone(self) })
    }
}

struct Filled {
    window: Vec<u8>,
    home: Arc<Memory>,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.window
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let mut window = std::mem::take(&mut self.window);
        let mut free = self.home.free.lock().unwrap_or_else(PoisonError::into_inner);
        // One piece of many megabytes must not be kept for the rest of the blob.
        if free.len() < KEPT && window.capacity() <= MEMORY {
            window.clear();
            free.push(window);
        }
    }
}
