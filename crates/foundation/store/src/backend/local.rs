use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::Caching;
use crate::error::StoreError;
use crate::files::{self, AtomicFile, FileError, PartFile};

const NAME: &str = "local directory";
/// Small pieces are gathered to writes of this size.
const BUFFER: usize = 1 << 20;

/// A directory as an object store whose objects are on the disk before they can be seen.
///
/// `object_store`'s own [`LocalFileSystem`] (0.13) renames without `fsync`, so that after a power failure an object can
/// be there, and empty. It still reads, lists and deletes; every byte is written here.
#[derive(Debug)]
pub(crate) struct DurableLocal {
    inner: LocalFileSystem,
    directory: PathBuf,
}

impl DurableLocal {
    /// The store in `directory`, which is created if it is missing.
    pub(crate) fn open(directory: &FilePath) -> std::result::Result<Self, StoreError> {
        files::create_directories(directory)?;
        let inner = LocalFileSystem::new_with_prefix(directory).map_err(|source| StoreError::Backend {
            action: "open",
            object: directory.display().to_string(),
            source,
        })?;
        Ok(Self { inner, directory: directory.to_owned() })
    }

    pub(crate) fn directory(&self) -> &FilePath {
        &self.directory
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME} {}", self.directory.display())
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) {
            return Err(not_implemented("conditional overwriting"));
        }
        let path = self.inner.path_to_filesystem(location)?;
        let name = location.to_string();
        blocking(move || {
            let taken =
                || Error::AlreadyExists { path: name, source: Box::new(io::Error::from(io::ErrorKind::AlreadyExists)) };
            // Decided by `commit_new` below; this only spares a loser the way to the disk.
            if options.mode == PutMode::Create && files::exists(&path).map_err(file_error)? {
                return Err(taken());
            }
            let mut file = AtomicFile::create(&path).map_err(file_error)?;
            write(&mut file, &payload).map_err(generic)?;
            let created = match options.mode {
                PutMode::Create => file.commit_new(),
                PutMode::Overwrite | PutMode::Update(_) => file.commit().map(|()| true),
            };
            if created.map_err(file_error)? { Ok(PutResult { e_tag: None, version: None }) } else { Err(taken()) }
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let direct = options.extensions.get() == Some(&Caching::PassedBy);
        let file = blocking(move || PartFile::create(&path, direct).map_err(file_error)).await?;
        Ok(Box::new(Upload { file: Arc::new(Mutex::new(Some(file))), offset: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copying objects"))
    }
}

/// An object written in parts.
#[derive(Debug)]
struct Upload {
    /// `None` once completed or aborted.
    file: Arc<Mutex<Option<PartFile>>>,
    offset: u64,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.offset;
        self.offset += data.content_length() as u64;
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let file = file.as_mut().ok_or_else(finished)?;
            file.write_at(offset, data.iter().map(|piece| &piece[..])).map_err(generic)
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let file = self.take().ok_or_else(finished)?;
        blocking(move || file.commit().map_err(file_error)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let file = self.take().ok_or_else(finished)?;
        blocking(move || {
            drop(file);
            Ok(())
        })
        .await
    }
}

impl Upload {
    fn take(&self) -> Option<PartFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn write(file: &mut AtomicFile, payload: &PutPayload) -> io::Result<()> {
    let mut buffer = io::BufWriter::with_capacity(BUFFER.min(payload.content_length()), file);
    for piece in payload {
        buffer.write_all(piece)?;
    }
    buffer.flush()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn finished() -> Error {
    generic(io::Error::other("the upload is already finished"))
}

fn file_error(error: FileError) -> Error {
    Error::Generic { store: NAME, source: Box::new(error) }
}

fn generic(error: io::Error) -> Error {
    Error::Generic { store: NAME, source: Box::new(error) }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: NAME.to_owned() }
}
