use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_store::files;
use ropewalk_types::Digest;
use tempfile::NamedTempFile;
use zip::ZipArchive;

use super::archive::{ZipEntry, zip_unpack};
use super::decompress::decompressed_file;
use super::format::{Compression, FileKind};
use super::limits::Limits;
use crate::IngestError;
use crate::scratch::Scratch;

/// A file with a path: one of the user's, or one of this run.
#[derive(Clone, Debug)]
pub(crate) enum Readable {
    Local(PathBuf),
    Scratch(Arc<NamedTempFile>),
}

impl Readable {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Local(path) => path,
            Self::Scratch(file) => file.path(),
        }
    }

    pub(crate) fn open(&self) -> Result<File, IngestError> {
        Ok(files::open(self.path())?)
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
            self.file = Some(files::open(self.readable.path()).map_err(io::Error::other)?);
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
    /// The file as it is, and the digest of its bytes.
    pub(crate) fn unpack(&self, scratch: &Scratch) -> Result<(Readable, Digest), IngestError> {
        match &self.place {
            Place::Whole(readable, digest) => Ok((readable.clone(), *digest)),
            Place::Zipped(archive, entry) => {
                let mut target = scratch.file()?;
                let digest = zip_unpack(&archive.name, &mut archive.zip.clone(), entry, target.as_file_mut())?;
                Ok((Readable::Scratch(Arc::new(target)), digest))
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
                let target = decompressed_file(&self.name, readable.open()?, compression, limits, scratch)?;
                Ok(Readable::Scratch(Arc::new(target)))
            }
        }
    }
}
