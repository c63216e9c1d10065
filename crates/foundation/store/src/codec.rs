//! Reading of binary formats whose bytes may come from anyone.

use ropewalk_types::Digest;

use crate::error::StoreError;

/// A cursor that never reads beyond its bytes and names the format in every error.
pub(crate) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Malformed { what: self.what, reason: reason.into() }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.error("it ends before its last field"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The four letters of the format and its version.
    pub(crate) fn header(&mut self, magic: [u8; 4], version: u8) -> Result<(), StoreError> {
        if self.array()? != magic {
            return Err(self.error("it does not begin with the mark of that format"));
        }
        match self.u8()? {
            found if found == version => Ok(()),
            found => Err(self.error(format!("version {found} is not known, only {version}"))),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, StoreError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn digest(&mut self) -> Result<Digest, StoreError> {
        Ok(Digest::from_bytes(self.array()?))
    }

    /// A count of items that take at least `least` bytes each, so that a short text cannot announce a billion.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, StoreError> {
        let count = self.u32()? as usize;
        if count > self.rest.len() / least {
            return Err(self.error(format!("it announces {count} items, more than its bytes can hold")));
        }
        Ok(count)
    }

    pub(crate) fn finish(self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("bytes follow its last field")) }
    }
}
