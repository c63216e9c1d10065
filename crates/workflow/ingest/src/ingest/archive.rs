//! Archives are foreign bytes: every entry passes the same guards, whatever the format.

mod guard;
mod tar;
mod zip;

use std::fs::File;
use std::io::{self, Write};

use ropewalk_types::Digest;

use crate::IngestError;
use crate::error::{DAMAGED, LIMIT};

pub(crate) use guard::{Budget, Guard, plain_name};
pub(crate) use tar::tar_unpack;
pub(crate) use zip::{ZipEntry, check_workbook, zip_list, zip_unpack};

/// Small entries may compress as well as they like: a page of zeros is no attack.
pub(crate) const RATIO_FREE_BYTES: u64 = 1 << 20;

pub(crate) fn refused(archive: &str, reason: impl Into<String>) -> IngestError {
    let hint =
        "make the archive again from the files themselves, without links, passwords and paths that lead out of it";
    IngestError::Archive { archive: archive.to_owned(), reason: reason.into(), hint }
}

/// More would be unpacked than is accepted.
pub(crate) fn too_much(archive: &str, reason: impl Into<String>) -> IngestError {
    IngestError::Archive { archive: archive.to_owned(), reason: reason.into(), hint: LIMIT }
}

/// The archive is not whole.
pub(crate) fn damaged(archive: &str, reason: impl Into<String>) -> IngestError {
    IngestError::Archive { archive: archive.to_owned(), reason: reason.into(), hint: DAMAGED }
}

/// More was unpacked than is accepted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Exceeded(pub(crate) String);

/// What a failed read of packed bytes means: they are more than is accepted, or damaged, or this machine could not
/// read or write.
pub(crate) fn unpack_error(archive: &str, what: &str, error: io::Error) -> IngestError {
    // Readers of archives wrap the errors of the reader below them.
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = source {
        if let Some(Exceeded(reason)) = error.downcast_ref() {
            return too_much(archive, reason.as_str());
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        source = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    match error.kind() {
        io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::Other => damaged(archive, format!("{what} is damaged or cut off ({error})")),
        _ => IngestError::Stream { action: format!("unpack {what} of `{archive}`"), source: error },
    }
}

/// Writes through to a file and hashes what was written.
pub(crate) struct HashingWriter<'a> {
    target: &'a mut File,
    hasher: blake3::Hasher,
}

impl<'a> HashingWriter<'a> {
    pub(crate) fn new(target: &'a mut File) -> Self {
        Self { target, hasher: blake3::Hasher::new() }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.hasher.finalize().into()
    }
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.target.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}
