//! Parts of files read to memory that was used before.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::error::{Doing as _, FileError};

/// Smaller parts are not worth keeping memory for.
const KEPT_FROM: usize = 256 << 10;
/// So much memory waits for the next parts at most …
const KEPT: usize = 4;
/// … in pieces of at most this size.
const LARGEST: usize = 8 << 20;

/// Memory for parts of files.
///
/// An allocator gives large pieces back to the system, which clears a page for each 4 KiB when they are needed again: twice the
/// cost of reading a file that is in the page cache.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// The bytes of `range` in the file at `path`, or those that are there of them.
    ///
    /// The memory comes back here when the last of the bytes is dropped.
    pub(crate) fn read(self: &Arc<Self>, path: &Path, range: Range<u64>) -> Result<Bytes, FileError> {
        let mut file = super::open(path)?;
        file.seek(SeekFrom::Start(range.start)).doing("read", path)?;
        let length = range.end.saturating_sub(range.start) as usize;
        let mut buffer = Buffer { memory: self.take(length), length: 0, home: Arc::clone(self) };
        buffer.fill(&mut file, length).doing("read", path)?;
        Ok(Bytes::from_owner(buffer))
    }

    fn take(&self, length: usize) -> Vec<u8> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let large = (KEPT_FROM..=LARGEST).contains(&length);
        let mut memory = if large { free.pop().unwrap_or_default() } else { Vec::new() };
        drop(free);
        if memory.len() < length {
            // What is longer than before is cleared once.
            memory.resize(length, 0);
        }
        memory
    }

    fn give(&self, memory: Vec<u8>) {
        if !(KEPT_FROM..=LARGEST).contains(&memory.len()) {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(memory);
        }
    }
}

/// Memory that is in use; of what is in it, the first `length` bytes count.
#[derive(Debug)]
struct Buffer {
    memory: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl Buffer {
    /// Reads up to `length` bytes, fewer only at the end of the file.
    fn fill(&mut self, file: &mut File, length: usize) -> io::Result<()> {
        while self.length < length {
            match file.read(&mut self.memory[self.length..length]) {
                Ok(0) => return Ok(()),
                Ok(read) => self.length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{temporary_directory, write_atomic};
    use crate::testing::noise;

    #[test]
    fn parts_are_those_of_the_file_whatever_the_memory_held_before() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("file");
        let whole = noise(1, 3 << 20);
        write_atomic(&path, &whole).unwrap();
        let buffers = Arc::new(Buffers::default());
        let size = whole.len() as u64;
        let ranges =
            [0..size, 5..700_000, 0..0, 1..2, size - 300_000..size + 300_000, size + 9..size + 400_000, 0..size];
        for range in ranges {
            let bytes = buffers.read(&path, range.clone()).unwrap();
            let (start, end) = (range.start.min(size) as usize, range.end.min(size) as usize);
            assert!(bytes == whole[start..end], "{range:?}");
        }
        assert!(buffers.read(&directory.path().join("none"), 0..1).unwrap_err().is_not_found());
    }

    #[test]
    fn memory_comes_back_once_nobody_reads_it() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let path = directory.path().join("file");
        let whole = noise(2, 2 << 20);
        write_atomic(&path, &whole).unwrap();
        let buffers = Arc::new(Buffers::default());
        let waiting = || buffers.free.lock().unwrap().len();
        let size = whole.len() as u64;
        let first = buffers.read(&path, 0..size).unwrap();
        let slice = first.slice(7..9);
        drop(first);
        assert_eq!(waiting(), 0, "a slice still reads it");
        assert!(buffers.read(&path, 0..size).unwrap() == whole);
        assert!(slice == whole[7..9]);
        drop(slice);
        assert_eq!(waiting(), 2);
        let many: Vec<_> = (0..9).map(|_| buffers.read(&path, 0..size).unwrap()).collect();
        drop(many);
        assert_eq!(waiting(), KEPT);
        drop(buffers.read(&path, 0..10).unwrap());
        assert_eq!(waiting(), KEPT);
    }
}
