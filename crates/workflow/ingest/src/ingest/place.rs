use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::files;
use ropewalk_types::Digest;
use serde_json::json;
use tempfile::TempPath;
use zip::ZipArchive;

use super::archive::{ZipEntry, zip_unpack};
use super::decompress::decompressed_file;
use super::format::{Compression, FileKind};
use super::limits::Limits;
use super::stamp::Stamp;
use crate::IngestError;
use crate::scratch::Scratch;

/// A file with a path, which nothing holds open: a source may have more files than a process may have open.
#[derive(Clone, Debug)]
pub(crate) enum Readable {
    /// One of the user's, and what it was when its bytes were hashed.
    Local(PathBuf, Stamp),
    /// One of this run.
    Scratch(Arc<TempPath>),
}

impl Readable {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Local(path, _) => path,
            Self::Scratch(path) => path,
        }
    }

    /// Opens it; an error when it is not what was hashed any more.
    pub(crate) fn open(&self) -> Result<File, IngestError> {
        let file = files::open(self.path())?;
        match self {
            Self::Local(path, before) if Stamp::of(&file, path)? != *before => Err(IngestError::changed(path)),
            _ => Ok(file),
        }
    }

    /// An error when it was written to since it was hashed: what was read of it is not what its digest says.
    pub(crate) fn check_unchanged(&self) -> Result<(), IngestError> {
        match self {
            Self::Local(..) => self.open().map(drop),
            Self::Scratch(_) => Ok(()),
        }
    }

    /// What `read` makes of it, if it was not written to meanwhile. A file that was is often called damaged by its
    /// reader, so the change is what is told.
    pub(crate) fn unchanged<T>(&self, read: impl FnOnce() -> Result<T, IngestError>) -> Result<T, IngestError> {
        let result = read();
        self.check_unchanged()?;
        result
    }
}

/// A reader of a file that opens it when it is read first; each clone has a place of its own in it.
#[derive(Debug)]
pub(crate) struct Reopened {
    readable: Readable,
    file: Option<File>,
}

impl Reopened {
    pub(crate) fn new(readable: Readable) -> Self {
        Self { readable, file: None }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.file = Some(self.readable.open().map_err(io::Error::other)?);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Clone for Reopened {
    fn clone(&self) -> Self {
        Self::new(self.readable.clone())
    }
}

impl Read for Reopened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file()?.read(buffer)
    }
}

impl Seek for Reopened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file()?.seek(to)
    }
}

/// An opened zip archive. Its list of entries is read once, however many are unpacked.
pub(crate) struct OpenedZip {
    /// What errors call it.
    pub(crate) name: String,
    pub(crate) readable: Readable,
    /// Of the archive's bytes: with an entry's name it stands for what the entry holds.
    pub(crate) digest: Digest,
    pub(crate) zip: ZipArchive<Reopened>,
}

/// Where the bytes of a file are.
#[derive(Clone)]
pub(crate) enum Place {
    Whole(Readable, Digest),
    Zipped(Arc<OpenedZip>, ZipEntry),
}

/// A file of the source.
#[derive(Clone)]
pub(crate) struct FoundFile {
    /// What reports call it.
    pub(crate) name: String,
    /// Why it is nothing that is read, if it is not.
    pub(crate) kind: Result<FileKind, &'static str>,
    pub(crate) compression: Option<Compression>,
    pub(crate) place: Place,
}

impl FoundFile {
    /// Stands for its bytes, without unpacking them.
    pub(crate) fn identity(&self) -> Digest {
        match &self.place {
            Place::Whole(_, digest) => *digest,
            Place::Zipped(archive, entry) => {
                Digest::of_json(&json!({ "archive": archive.digest.to_string(), "entry": entry.name }))
            }
        }
    }

    /// Its bytes as they are, unpacked from its archive.
    pub(crate) fn size(&self) -> Result<u64, IngestError> {
        match &self.place {
            Place::Whole(Readable::Local(_, stamp), _) => Ok(stamp.size),
            Place::Whole(Readable::Scratch(path), _) => Ok(files::size(path)?),
            Place::Zipped(_, entry) => Ok(entry.size),
        }
    }

    /// The file as it is, and the digest of its bytes.
    pub(crate) fn unpack(&self, scratch: &Scratch) -> Result<(Readable, Digest), IngestError> {
        match &self.place {
            Place::Whole(readable, digest) => Ok((readable.clone(), *digest)),
            Place::Zipped(archive, entry) => {
                let mut target = scratch.file()?;
                let unpack = || zip_unpack(&archive.name, &mut archive.zip.clone(), entry, target.as_file_mut());
                let digest = archive.readable.unchanged(unpack)?;
                Ok((Readable::Scratch(Arc::new(target.into_temp_path())), digest))
            }
        }
    }

    /// What [`FoundFile::unpack`] gave, decompressed if the file is packed.
    pub(crate) fn decompress(
        &self,
        readable: Readable,
        limits: &Limits,
        scratch: &Scratch,
    ) -> Result<Readable, IngestError> {
        match self.compression {
            None => Ok(readable),
            Some(compression) => {
                let unpack = || decompressed_file(&self.name, readable.open()?, compression, limits, scratch);
                Ok(Readable::Scratch(Arc::new(readable.unchanged(unpack)?)))
            }
        }
    }
}
