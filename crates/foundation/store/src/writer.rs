mod body;
mod directory;
mod pack;
mod pack_writer;
mod prepare;
mod shared;
mod tree_of;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use ropewalk_types::Digest;
use tokio::sync::mpsc;

use crate::error::StoreError;
use crate::files;
use crate::index::{Kind, PackEntries};
use crate::store::{Blob, Inner, blocking, failed};
use crate::tree::{DIRECTORY_UNIT, Tree};

pub use directory::NewFile;
pub(crate) use pack_writer::PackWriter;
pub(crate) use prepare::Prepared;

use pack::OpenPack;
use prepare::{Claims, prepare_all, prepare_stream};

/// A blob up to this size is prepared as a whole.
const SMALL: u64 = 1 << 20;
/// Chunks that wait for their place in a pack; bounds what a slow backend lets pile up.
const CHUNKS_AHEAD: usize = 32;

/// A commit in the making: blobs that share packs and become visible together at [`Writer::commit`].
///
/// Dropped before, it leaves nothing that anybody sees: at most packs that no index names, which
/// [`crate::Store::sweep_orphans`] removes. What the store or this writer already has is not written again. Memory use
/// does not grow with what is added, but for about a hundred bytes a chunk.
#[derive(Debug)]
pub struct Writer {
    inner: Arc<Inner>,
    claims: Arc<Claims>,
    packs: PackWriter,
    /// Set while something is being added, so that a failed or cancelled addition is noticed.
    unfinished: bool,
}

impl Writer {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self::distrusting(inner, HashSet::new())
    }

    /// A writer that writes these pieces although the store seems to have them.
    pub(crate) fn distrusting(inner: Arc<Inner>, pieces: HashSet<(Kind, Digest)>) -> Self {
        let claims = Arc::new(Claims::new(Arc::clone(&inner), pieces));
        let packs = PackWriter::new(&inner);
        Self { inner, claims, packs, unfinished: false }
    }

    /// Adds `bytes`.
    pub async fn add_bytes(&mut self, bytes: Bytes) -> Result<Blob, StoreError> {
        if bytes.len() as u64 > SMALL {
            return self.add_stream(move || Ok(std::io::Cursor::new(bytes)), "the bytes in memory".as_ref()).await;
        }
        self.add_small(bytes, false).await
    }

    /// Adds the content of the file at `path`, holding a few megabytes of it in memory at a time.
    ///
    /// In a store on the same file system, where that can share blocks, a large file that compression would not make
    /// smaller is not copied.
    pub async fn add_file(&mut self, path: &Path) -> Result<Blob, StoreError> {
        let source = path.to_owned();
        let found = blocking(move || {
            let size = files::size(&source)?;
            let small = (size <= SMALL).then(|| files::read_bounded(&source, SMALL)).transpose();
            match small {
                // It grew while it was read.
                Err(files::FileError::TooLarge { .. }) => Ok((size, None)),
                small => Ok((size, small?)),
            }
        });
        let (size, small) = found.await?;
        if let Some(bytes) = small {
            return self.add_small(bytes.into(), false).await;
        }
        if let Some(blob) = self.add_shared(path, size).await? {
            return Ok(blob);
        }
        let source = path.to_owned();
        self.add_stream(move || Ok(files::open(&source)?), path).await
    }

    /// Adds a tree, not what it names.
    pub async fn add_tree(&mut self, tree: &Tree) -> Result<Digest, StoreError> {
        Ok(self.add_small(encode_tree(tree, || "a directory".to_owned())?, true).await?.digest)
    }

    /// Makes all that was added durable and then visible, all at once.
    ///
    /// Fails with [`StoreError::Collected`] when a collector condemned something that was not written because the store
    /// had it; adding the same again then writes it.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.unfinished {
            return Err(StoreError::WriterFailed);
        }
        let finished = self.packs.finish().await?;
        for pack in &finished {
            check_present(&self.inner, pack).await?;
        }
        if !finished.is_empty() {
            self.inner.publish(finished).await?;
        }
        self.claims.relied().check(&self.inner).await
    }

    /// Whether all that was added so far is in what this writer writes, and nothing of it was in the store before.
    pub(crate) fn is_all_new(&self) -> bool {
        self.claims.relies_on_nothing()
    }

    async fn add_small(&mut self, bytes: Bytes, tree: bool) -> Result<Blob, StoreError> {
        self.begin()?;
        let claims = Arc::clone(&self.claims);
        let (blob, prepared) = blocking(move || {
            let (mut blobs, prepared) = prepare_all(&claims, [bytes], tree)?;
            Ok((blobs.pop(), prepared))
        })
        .await?;
        self.append_all(prepared).await?;
        self.unfinished = false;
        blob.ok_or(StoreError::Interrupted)
    }

    /// Adds what `open` gives, holding a few megabytes of it in memory at a time; `path` is named when it cannot be read.
    ///
    /// When that fails, nothing that was added to this writer can be committed.
    pub async fn add_stream<R: std::io::Read>(
        &mut self,
        open: impl FnOnce() -> Result<R, StoreError> + Send + 'static,
        path: &Path,
    ) -> Result<Blob, StoreError> {
        self.begin()?;
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let (claims, path) = (Arc::clone(&self.claims), path.to_owned());
        let preparing = blocking(move || prepare_stream(&claims, open()?, &path, &sender));
        let (blob, appended) = futures::join!(preparing, self.append_from(chunks));
        // A backend that failed is why nobody took the chunks.
        appended?;
        let blob = blob?;
        self.unfinished = false;
        Ok(blob)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if self.unfinished {
            return Err(StoreError::WriterFailed);
        }
        self.unfinished = true;
        Ok(())
    }

    /// Owns `chunks`, so that a failure here ends the preparation too.
    async fn append_from(&mut self, mut chunks: mpsc::Receiver<Prepared>) -> Result<(), StoreError> {
        while let Some(prepared) = chunks.recv().await {
            self.packs.append(prepared).await?;
        }
        Ok(())
    }

    async fn append_all(&mut self, prepared: Vec<Prepared>) -> Result<(), StoreError> {
        for prepared in prepared {
            self.packs.append(prepared).await?;
        }
        Ok(())
    }
}

/// A pack that was durable may have been swept before it was named.
pub(crate) async fn check_present(inner: &Inner, pack: &PackEntries) -> Result<(), StoreError> {
    let path = pack.pack.path();
    match inner.backend.head(&path).await {
        Ok(_) => Ok(()),
        Err(object_store::Error::NotFound { .. }) => Err(StoreError::PackRemoved { object: path.to_string() }),
        Err(source) => Err(failed("look for", &path)(source)),
    }
}

/// The encoding of a tree that can be read back; `what` names the directory that it is.
fn encode_tree(tree: &Tree, what: impl FnOnce() -> String) -> Result<Bytes, StoreError> {
    let bytes = tree.encode();
    let (size, limit) = (bytes.len() as u64, Tree::MAX_ENCODED as u64);
    if size > limit {
        return Err(StoreError::TooLarge { what: what(), size, limit, unit: DIRECTORY_UNIT });
    }
    Ok(bytes.into())
}
