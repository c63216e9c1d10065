//! A large file whose blocks become those of a pack, where the file system can share blocks: nothing is copied.
//!
//! Such a pack holds the whole file behind a gap, its chunks as they are. The blocks are shared before they are read, so
//! that what is hashed is what the pack holds, whatever becomes of the file meanwhile.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::prepare::{Builder, Claims, Prepared, read_all};
use super::{CHUNKS_AHEAD, Writer};
use crate::chunk::{Encoder, Encoding, MAX_CHUNK};
use crate::error::StoreError;
use crate::files::{self, AtomicFile, Doing as _, SHARED_BLOCK};
use crate::index::{Entry, Kind, PackEntries, PackId, Slot};
use crate::store::{Blob, blocking};

/// A pack for each smaller file would be many packs.
const SHARED_FROM: u64 = 16 << 20;
/// Of so many places in a file it is tried whether compression pays …
const TRIED: u64 = 32;
/// … with so many bytes each.
const TRIED_BYTES: usize = 32 << 10;
/// Where it pays at more of them than this, the file is stored smaller than it is instead.
const PAYING: usize = 3;
/// Of the bytes of a pack this part is new, or else a collector would soon write them anew.
const NEW_PART: (u64, u64) = (2, 3);

impl Writer {
    /// Adds a file by sharing its blocks; `None` where that cannot be or does not pay.
    pub(super) async fn add_shared(&mut self, path: &Path, size: u64) -> Result<Option<Blob>, StoreError> {
        let pack = PackId::random();
        let Some(place) = self.inner.pack_file(pack).filter(|_| size >= SHARED_FROM) else { return Ok(None) };
        self.begin()?;
        let (sender, pieces) = mpsc::channel(CHUNKS_AHEAD);
        let (claims, path) = (Arc::clone(&self.claims), path.to_owned());
        let sharing = blocking(move || share(&claims, (pack, &place), &path, &sender));
        let (shared, appended) = futures::join!(sharing, self.append_from(pieces));
        appended?;
        let shared = shared?;
        self.unfinished = false;
        let Some((blob, pack)) = shared else { return Ok(None) };
        if let Some(pack) = pack {
            self.packs.adopt(pack);
        }
        Ok(Some(blob))
    }
}

/// Gives the blob and, if it has one of its own, its pack; what does not lie in that is sent.
fn share(
    claims: &Claims,
    (pack, place): (PackId, &Path),
    path: &Path,
    sender: &mpsc::Sender<Prepared>,
) -> Result<Option<(Blob, Option<PackEntries>)>, StoreError> {
    let mut source = files::open(path)?;
    let size = source.metadata().doing("read the size of", path)?.len();
    let mut encoder = Encoder::new()?;
    let Some(length) = NonZeroU64::new(size) else { return Ok(None) };
    if compression_pays(&mut encoder, &mut source, size).doing("read", path)? {
        return Ok(None);
    }
    let mut file = AtomicFile::create(place)?;
    file.write_all(PackId::MARK).doing("write", path)?;
    if file.share(&source, 0, SHARED_BLOCK, length).is_err() {
        // Another file system, or one that cannot.
        return Ok(None);
    }
    let mut snapshot = file.reader()?;
    snapshot.seek(SeekFrom::Start(SHARED_BLOCK)).doing("read", path)?;
    let mut slots = vec![Slot::Gap((SHARED_BLOCK - PackId::MARK.len() as u64) as u32)];
    let mut give = |piece| sender.blocking_send(piece).map_err(|_| StoreError::Interrupted);
    let mut builder = Builder::new(claims, &mut encoder);
    let each = |builder: &mut Builder<'_>, chunk: &[u8]| {
        let (digest, new) = builder.claim_chunk(chunk)?;
        let length = chunk.len() as u32;
        let (stored_length, raw_length) = (length, length);
        let entry =
            Entry { digest, kind: Kind::Chunk, tree: false, encoding: Encoding::Plain, stored_length, raw_length };
        slots.push(if new { Slot::Piece(entry) } else { Slot::Gap(length) });
        Ok(())
    };
    let whole = read_all(&mut builder, &mut snapshot, path, each)?;
    let blob = builder.finish(|| whole, &mut give)?;
    let mut entries = PackEntries { pack, slots };
    let new: u64 = entries.pieces().map(|(_, entry)| u64::from(entry.stored_length)).sum();
    let (part, of) = NEW_PART;
    if new * of >= entries.size() * part {
        // A gap is written with its neighbours as one.
        entries.remove(|_| false);
        file.commit()?;
        return Ok(Some((blob, Some(entries))));
    }
    copy(&entries, &mut snapshot, path, &mut encoder, &mut give)?;
    Ok(Some((blob, None)))
}

/// Whether the file would be much smaller, as far as some places of it tell.
fn compression_pays(encoder: &mut Encoder, file: &mut File, size: u64) -> std::io::Result<bool> {
    let mut part = vec![0; TRIED_BYTES];
    let mut paid = 0;
    for number in 0..TRIED {
        file.seek(SeekFrom::Start(size / TRIED * number))?;
        // It may have become shorter.
        match file.read_exact(&mut part) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        paid += usize::from(encoder.pays(&part));
    }
    Ok(paid > PAYING)
}

/// Sends the pieces as they would have been without a pack of their own.
fn copy(
    entries: &PackEntries,
    snapshot: &mut File,
    path: &Path,
    encoder: &mut Encoder,
    give: &mut impl FnMut(Prepared) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut raw = vec![0; MAX_CHUNK];
    for (offset, entry) in entries.pieces() {
        let raw = &mut raw[..entry.raw_length as usize];
        snapshot.seek(SeekFrom::Start(offset)).and_then(|_| snapshot.read_exact(raw)).doing("read", path)?;
        give(Prepared::encoded(entry.kind, entry.digest, raw, encoder))?;
    }
    Ok(())
}
