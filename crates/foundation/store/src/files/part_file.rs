use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::atomic::AtomicFile;
use super::error::FileError;

/// What is gathered before it is written, and written at once; it stays in the processor's cache. For a write of 2 MiB ext4 (Linux 6.18) takes one
/// page of that size, which cost seven times the CPU time of two writes of half of it.
const BUFFER: usize = 1 << 20;
/// Memory, offsets and lengths of direct I/O are multiples of this: the page size, and the largest logical block of
/// common disks (open(2), `O_DIRECT`).
const ALIGNMENT: usize = 4096;

/// An [`AtomicFile`] of many megabytes that is written in parts, and may be so past the page cache where the system can.
///
/// What is not read again soon gains nothing from the page cache: filling it costs a copy and the pages of what others
/// read. A part that is not aligned, the last one as a rule, ends direct I/O for the rest of the file.
#[derive(Debug)]
pub(crate) struct PartFile {
    file: AtomicFile,
    direct: bool,
    buffer: Option<AlignedBuffer>,
}

impl PartFile {
    /// Begins the file that will be at `path`, `direct` where that can be; missing parent directories are created.
    pub(crate) fn create(path: &Path, direct: bool) -> Result<Self, FileError> {
        let file = AtomicFile::create(path)?;
        let direct = direct && file.set_direct(true).is_ok();
        Ok(Self { file, direct, buffer: None })
    }

    /// Writes `pieces` one after another from `offset` on.
    pub(crate) fn write_at<'p>(&mut self, offset: u64, pieces: impl Iterator<Item = &'p [u8]>) -> io::Result<()> {
        if !self.direct {
            return self.write_from(offset, pieces);
        }
        let mut buffer = self.buffer.take().unwrap_or_default();
        let mut offset = offset;
        let mut filled = 0;
        for mut piece in pieces {
            while !piece.is_empty() {
                let length = piece.len().min(BUFFER - filled);
                let (now, later) = piece.split_at(length);
                buffer.bytes()[filled..filled + length].copy_from_slice(now);
                (piece, filled) = (later, filled + length);
                if filled == BUFFER {
                    self.write(offset, buffer.bytes())?;
                    (offset, filled) = (offset + BUFFER as u64, 0);
                }
            }
        }
        if filled > 0 {
            self.write(offset, &buffer.bytes()[..filled])?;
        }
        self.buffer = Some(buffer);
        Ok(())
    }

    /// Through the page cache pieces are written from where they lie, whatever their alignment: a copy is saved.
    fn write_from<'p>(&mut self, offset: u64, pieces: impl Iterator<Item = &'p [u8]>) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        let (mut slices, mut length) = (Vec::new(), 0);
        for mut piece in pieces {
            while !piece.is_empty() {
                let (now, later) = piece.split_at(piece.len().min(BUFFER - length));
                slices.push(IoSlice::new(now));
                (piece, length) = (later, length + now.len());
                if length == BUFFER {
                    write_slices(&mut self.file, &mut slices)?;
                    slices.clear();
                    length = 0;
                }
            }
        }
        write_slices(&mut self.file, &mut slices)
    }

    /// As [`AtomicFile::commit`].
    pub(crate) fn commit(self) -> Result<(), FileError> {
        self.file.commit()
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let aligned = offset.is_multiple_of(ALIGNMENT as u64) && bytes.len().is_multiple_of(ALIGNMENT);
        if self.direct && !aligned {
            self.buffered()?;
        }
        match self.put(offset, bytes) {
            // A file system that takes the flag and not the write, or a disk of larger blocks.
            Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                self.buffered()?;
                self.put(offset, bytes)
            }
            result => result,
        }
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.write_all(bytes)
    }

    fn buffered(&mut self) -> io::Result<()> {
        self.file.set_direct(false)?;
        self.direct = false;
        Ok(())
    }
}

fn write_slices(file: &mut AtomicFile, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// [`BUFFER`] bytes that begin at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BUFFER]
    }
}

impl Default for AlignedBuffer {
    fn default() -> Self {
        let memory = vec![0; BUFFER + ALIGNMENT];
        // The vector is never resized, so its bytes stay where they are.
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{list, read, temporary_directory};
    use crate::testing::noise;

    #[test]
    fn parts_in_any_order_and_pieces_of_any_size_make_the_file() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let part = 2 * BUFFER;
        let whole = noise(3, 3 * part + 12_345);
        for (number, order) in [[0, 1, 2, 3], [3, 1, 0, 2], [1, 0, 3, 2]].into_iter().enumerate() {
            let path = directory.path().join(format!("file{number}"));
            let mut file = PartFile::create(&path, number < 2).unwrap();
            for index in order {
                let bytes = &whole[index * part..whole.len().min((index + 1) * part)];
                file.write_at((index * part) as u64, bytes.chunks(60_001)).unwrap();
            }
            file.commit().unwrap();
            assert!(read(&path).unwrap() == whole, "{order:?}");
        }
    }

    #[test]
    fn dropped_before_commit_leaves_nothing() {
        let directory = temporary_directory(&std::env::temp_dir()).unwrap();
        let mut file = PartFile::create(&directory.path().join("file"), true).unwrap();
        file.write_at(0, std::iter::once(&noise(1, BUFFER)[..])).unwrap();
        drop(file);
        assert!(list(directory.path()).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_written_past_the_cache_is_written_through_it() {
        // A memory file system that knows no direct I/O, where there is one.
        let place = Path::new("/dev/shm");
        let place = if place.is_dir() { place.to_owned() } else { std::env::temp_dir() };
        let directory = temporary_directory(&place).unwrap();
        let path = directory.path().join("file");
        let whole = noise(5, BUFFER + 1);
        let mut file = PartFile::create(&path, true).unwrap();
        file.write_at(0, std::iter::once(&whole[..])).unwrap();
        file.commit().unwrap();
        assert!(read(&path).unwrap() == whole);
    }
}
